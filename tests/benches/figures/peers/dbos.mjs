// The steps of the benchmark as workflows of DBOS: `node dbos.mjs PORT DATABASE_URL`. Answers `POST /records` and `POST /stamps` with what
// the workflow of this idempotency key returned.
import * as http from "node:http";
import { DBOS } from "@dbos-inc/dbos-sdk";

const [port, systemDatabaseUrl] = process.argv.slice(2);
const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

// As `records` of our own: `n` steps, `at_once` of them side by side.
async function records({ n, at_once, bytes }) {
  const value = "x".repeat(bytes);
  const times = [];
  for (let round = 0; round < n / at_once; round++) {
    const runs = Array.from({ length: at_once }, async (_, i) => {
      const beganUs = nowUs();
      await DBOS.runStep(async () => value, { name: `step-${round}-${i}` });
      times.push([beganUs, nowUs()]);
    });
    await Promise.all(runs);
  }
  return { times };
}

// As `stamps` of our own: when the effect of each step was.
async function stamps({ n }) {
  const times = [];
  for (let i = 0; i < n; i++) times.push(await DBOS.runStep(async () => nowUs(), { name: `step-${i}` }));
  return times;
}

DBOS.setConfig({
  name: "steps",
  systemDatabaseUrl,
  systemDatabasePoolSize: 32,
  runAdminServer: false,
  logLevel: "error",
  applicationVersion: "1",
});
const workflows = {
  records: DBOS.registerWorkflow(records, { name: "records" }),
  stamps: DBOS.registerWorkflow(stamps, { name: "stamps" }),
};
await DBOS.launch();

const answer = async (request) => {
  const name = request.url.slice(1);
  const workflowID = request.headers["idempotency-key"];
  const body = await request.reduce((all, piece) => all + piece, "");
  const handle = await DBOS.startWorkflow(workflows[name], { workflowID })(JSON.parse(body));
  return handle.getResult();
};
const server = http.createServer((request, response) =>
  answer(request).then(
    (result) => response.end(JSON.stringify(result)),
    (error) => response.writeHead(500).end(String(error)),
  ),
);
server.listen(Number(port), "127.0.0.1");
