#!/usr/bin/env python3
"""Put files into an archive "newc" for dom0: `mkfiles.py -o ARCHIVE PATH...`; NAME=PATH gives one another name.

There are no times and no owners in it, so that the same files make the same bytes.
"""

import argparse
import stat
import sys
from pathlib import Path

import trouble
from linux_guest import TRAILER, entry


def archive(files):
    """The bytes of an archive with {name: bytes}."""
    whole = [(name, stat.S_IFREG | 0o644, data) for name, data in files.items()] + [(TRAILER, 0)]
    return b"".join(entry(number, *file) for number, file in enumerate(whole, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("paths", nargs="*")
    args = parser.parse_args()
    files = {}
    for word in args.paths:
        name, _, path = word.rpartition("=")
        try:
            files[name or Path(path).stem] = Path(path).read_bytes()
        except OSError as error:
            print(f"mkfiles.py: {path}: {error.strerror}", file=sys.stderr)
            return 1
    Path(args.output).write_bytes(archive(files))
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
