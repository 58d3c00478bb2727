"""Two threads, and a child process that they speak to through pipes: all of it is one program. Reads {"n": …} from standard input."""

import json
import queue
import subprocess
import sys
import threading

n = json.load(sys.stdin)["n"]
square = "import sys\nfor line in sys.stdin: print(int(line) ** 2, flush=True)"
child = subprocess.Popen([sys.executable, "-c", square], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
work, done = queue.Queue(), queue.Queue()


def squares():
    while (number := work.get()) is not None:
        child.stdin.write(f"{number}\n")
        child.stdin.flush()
        done.put(int(child.stdout.readline()))


def busy(rounds):
    total = 0
    for i in range(rounds):
        total = (total * 31 + i) % 1_000_003
    done.put(total)


threads = [threading.Thread(target=squares), threading.Thread(target=busy, args=(40 * n,))]
for thread in threads:
    thread.start()
for number in range(n):
    work.put(number)
work.put(None)
for thread in threads:
    thread.join()
child.stdin.close()
print(json.dumps({"sum": sum(done.get() for _ in range(n + 1)), "child": child.wait()}))
