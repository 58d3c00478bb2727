import collections
import json
import sys

text = json.load(sys.stdin)["text"]
json.dump(collections.Counter(text.lower().split()), sys.stdout)
