// The steps of the benchmark as a service of Restate: `node restate.mjs PORT streams|calls`.
//
// With `streams` the server holds a connection for as long as a handler runs. With `calls` each invocation is one request with one
// answer, as on a platform for functions: a handler ends at each step that is not recorded yet, and is called again.
import * as http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

const [port, mode] = process.argv.slice(2);
const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);
const invocations = new Map();

const steps = restate.service({
  name: mode,
  handlers: {
    // As `records` of our own: `n` steps, `at_once` of them side by side.
    records: async (ctx, { n, at_once, bytes }) => {
      const id = ctx.request().id.toString();
      invocations.set(id, (invocations.get(id) ?? 0) + 1);
      const value = "x".repeat(bytes);
      const times = [];
      for (let round = 0; round < n / at_once; round++) {
        const beganUs = nowUs();
        const runs = Array.from({ length: at_once }, (_, i) => ctx.run(`step-${round}-${i}`, () => value));
        await restate.RestatePromise.all(runs);
        const endedUs = nowUs();
        for (let i = 0; i < at_once; i++) times.push([beganUs, endedUs]);
      }
      return { times, invocations: invocations.get(id) };
    },
    // As `stamps` of our own: when the effect of each step was.
    stamps: async (ctx, { n }) => {
      const times = [];
      for (let i = 0; i < n; i++) times.push(await ctx.run(`step-${i}`, nowUs));
      return times;
    },
  },
});

const handle = restate.createEndpointHandler({ services: [steps], bidirectional: mode === "streams" });
const server = http2.createServer({ noDelay: true }, handle);
server.listen(Number(port), "127.0.0.1");
