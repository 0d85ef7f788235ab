#!/usr/bin/env python3
"""`keep_objects.py STORE` gives the grader what `make` has compiled in this tree, below STORE, and the guests.

`make check` builds every lab before its first test. Without this the graders of several tests would compile all of it
again, at the same time. Commands and sources are the grader's, so the bytes are (tests/build.t, tests/objects.t).
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))
sys.dont_write_bytecode = True

import trouble  # noqa: E402
from zeno.judging import build, objects  # noqa: E402


def main():
    """Objects, then guests."""
    store = objects.Store(ROOT, build.own_environment())
    store.keep(ROOT, Path(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="zeno-keep-") as scratch:
        store.guests(ROOT, Path(scratch), lambda: None)


if __name__ == "__main__":
    sys.exit(trouble.plain(main, 1, 1))
