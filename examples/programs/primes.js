// Counts the primes below n, a slice at a time, with a timer between slices. Reads {"n": …} from standard input.

const { n } = JSON.parse(require("fs").readFileSync(0, "utf8"));
let at = 2;
let found = 0;

function isPrime(number) {
  for (let d = 2; d * d <= number; d++) if (number % d === 0) return false;
  return true;
}

function slice() {
  const until = Math.min(at + 20000, n);
  for (; at < until; at++) if (isPrime(at)) found++;
  if (at < n) setTimeout(slice, 1);
  else console.log(JSON.stringify({ n, found }));
}

slice();
