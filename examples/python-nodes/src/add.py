import collections
import json
import sys

total = collections.Counter()
for counts in json.load(sys.stdin)["counts"]:
    total.update(counts)
json.dump(total, sys.stdout)
