"""The prime factors of a number, by trial division. Says on standard error how far it came."""

import json
import sys


def factors(n):
    found = []
    divisor = 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
        divisor += 1
        if divisor % 1_000_000 == 0:
            print("tried all up to", divisor, file=sys.stderr, flush=True)
    return found + [n] if n > 1 else found


print(json.dumps(factors(int(sys.argv[1]))))
