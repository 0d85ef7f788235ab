#!/usr/bin/env python3
"""Lay out our C as .clang-format says; `--check` only says which files differ, and fails then.

labs/ is left alone: it is generated, and then the students'.
"""

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
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print("usage: format.py [--check]", file=sys.stderr)
        return 2
    names = files()
    if not check:
        return subprocess.run(["clang-format", "-i", *names], cwd=ROOT, check=False).returncode
    bad = 0
    for name in names:
        text = (ROOT / name).read_bytes()
        done = subprocess.run(["clang-format", f"--assume-filename={name}"], cwd=ROOT, input=text,
                              capture_output=True, check=False)
        if done.returncode:
            sys.stderr.buffer.write(done.stderr)
            return 2
        if done.stdout != text:
            lines = zip(text.split(b"\n"), done.stdout.split(b"\n"))
            first = next((i for i, (a, b) in enumerate(lines, 1) if a != b), 0)
            print(f"{name}:{first}: layout differs from .clang-format: `make format`")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
