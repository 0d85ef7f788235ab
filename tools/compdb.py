#!/usr/bin/env python3
"""Print compile_commands.json: `compdb.py COMMAND FILE...`; for editors and clang's tools."""

import argparse
import json
import shlex
import sys

import trouble
from course import ROOT


def main():
    parser = argparse.ArgumentParser(description="Print compile_commands.json, for editors and clang's tools.")
    parser.add_argument("command", help="the compiler and its options, as one word")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    words = shlex.split(options.command)
    json.dump([{"directory": str(ROOT), "file": name, "arguments": [*words, "-c", name]}
               for name in options.files if name.endswith(".c")], sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
