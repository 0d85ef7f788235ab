#!/usr/bin/env python3
"""Print compile_commands.json: `compdb.py COMMAND FILE...`; for editors and clang's tools."""

import json
import shlex
import sys

import trouble
from course import ROOT


def main():
    command, *files = sys.argv[1:]
    words = shlex.split(command)
    json.dump([{"directory": str(ROOT), "file": name, "arguments": [*words, "-c", name]}
               for name in files if name.endswith(".c")], sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
