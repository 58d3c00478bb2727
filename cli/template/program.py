"""The start below a bound with the longest Collatz sequence, and how long that is. It knows nothing of time limits."""

import json
import sys


def length(start):
    n, length = start, 1
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        length += 1
    return length


def longest(below):
    best = (1, 1)
    for start in range(1, below):
        found = length(start)
        if found > best[1]:
            best = (start, found)
    return best


if __name__ == "__main__":
    print(json.dumps(longest(int(sys.argv[1]))))
