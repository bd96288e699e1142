#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
#   valid.py WHAT <JSON
#
# Whether what is on stdin, one document or several, is what the schema says of WHAT.
# Needs Debian's python3-jsonschema, and so Debian's Python.
import json
import os
import sys

import jsonschema

here = os.path.dirname(os.path.realpath(__file__))
schema = json.load(open(here + "/../../userlib/cli/goheap.schema.json"))
jsonschema.Draft202012Validator.check_schema(schema)
one = {"$ref": "#/$defs/" + sys.argv[1], "$defs": schema["$defs"]}
if sys.argv[1] not in schema["$defs"]:
    sys.exit("no such thing in the schema: " + sys.argv[1])

text = sys.stdin.read().strip()
seen = 0
while text:
    value, end = json.JSONDecoder().raw_decode(text)
    text = text[end:].strip()
    for error in jsonschema.Draft202012Validator(one).iter_errors(value):
        sys.exit("%s: %s" % ("/".join(map(str, error.absolute_path)), error.message))
    seen += 1
sys.exit(None if seen else "nothing to validate")
