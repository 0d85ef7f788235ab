#!/usr/bin/env python3
"""Lay out our C as .clang-format says; `--check` only says which files differ, and fails then.

labs/ is left alone: it is generated, and then the students'.
"""

import argparse
import re
import subprocess
import sys

import trouble
from course import ROOT

PLACES = ("kern", "vmm", "trials", "inc", "guest", "boot", "user", "solutions", "tests", "grade")


def files():
    """The C files of this tree, those of the build not among them."""
    found = []
    for place in PLACES:
        for suffix in ("c", "h"):
            found += (ROOT / place).rglob(f"*.{suffix}")
    return sorted(str(path.relative_to(ROOT)) for path in found)


def main():
    parser = argparse.ArgumentParser(description="Lay out our C as .clang-format says.")
    parser.add_argument("--check", action="store_true", help="only say which files differ, and fail then")
    check = parser.parse_args().check
    names = files()
    if not check:
        return subprocess.run(["clang-format", "-i", *names], cwd=ROOT, check=False).returncode
    # One process for all of them: clang-format takes thirty times as long to start as to lay out a file.
    done = subprocess.run(["clang-format", "--dry-run", "--Werror", *names], cwd=ROOT, stderr=subprocess.PIPE,
                          text=True, errors="replace", check=False)
    bad = dict(reversed(re.findall(r"^(\S+):(\d+):\d+: error: code should be clang-formatted", done.stderr, re.M)))
    if done.returncode and not bad:
        sys.stderr.write(done.stderr)
        return 2
    for name in sorted(bad):
        print(f"{name}:{bad[name]}: layout differs from .clang-format: `make format`")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
