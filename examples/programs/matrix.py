"""Multiplies two n × n matrices of integers row by row; the result is the product's trace. Reads {"n": …} from standard input."""

import json
import sys

n = json.load(sys.stdin)["n"]
a = [[(i * j + 1) % 10 for j in range(n)] for i in range(n)]
b = [[(i + j) % 10 for j in range(n)] for i in range(n)]
columns = list(zip(*b))
product = []
for row in a:
    product.append([sum(x * y for x, y in zip(row, column)) for column in columns])
print(json.dumps({"n": n, "trace": sum(product[i][i] for i in range(n))}))
