"""Checks JSON values against JSON schemas: a file of [what, schema, value]."""

import json
import sys

from jsonschema.validators import validator_for

faults = 0
for what, schema, value in json.load(open(sys.argv[1], encoding="utf-8")):
    kind = validator_for(schema)
    kind.check_schema(schema)
    for error in kind(schema).iter_errors(value):
        faults += 1
        print(f"{what}: {error.message[:500]} at {error.json_path}: {json.dumps(value)[:300]}")
sys.exit(1 if faults else 0)
