#!/usr/bin/env python3
"""`make bench`: what it prints is complete, adds up, and is the same twice. How large it is decides nothing."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno import machine  # noqa: E402

ROW = re.compile(r"^  (\S.*?)  +(\d+) +(\d+) / (\d+) / (\d+)$", re.M)
PART = re.compile(r"^ +(-?\d+)  (\S.*)$", re.M)
OPERATIONS = {"cli", "out 0x80, al", "mov cr3, eax", "int", "iret", "int and iret", "out, interrupt"}


def main():
    absent = machine.missing("qemu")
    if absent:
        skip("make bench", absent)
        finish()
    done, again = run("make", "-s", "bench", cwd=ROOT), run("make", "-s", "bench", cwd=ROOT)
    if not ok(done.status == 0, "make bench runs to its end", out=done.out):
        finish()
    rows = {name: list(map(int, numbers)) for name, *numbers in ROW.findall(done.out)}
    ok(OPERATIONS <= set(rows), "it measures what it should", missing=OPERATIONS - set(rows), out=done.out)
    ok(all(low <= median <= high for _, low, median, high in rows.values()), "minimum, median and maximum in order",
       rows=rows)
    bare, _, both, _ = rows.get("int and iret", [0] * 4)
    ok(bare == 2 and both == rows["int"][2] + rows["iret"][2], "a round trip is its two ways", rows=rows)
    parts = PART.findall(done.out.split("stepped through")[-1])
    total = re.search(r"stepped through from outside: (\d+)", done.out)
    ways = [int(n) for n, what in parts if int(n) < 0]
    ok(total and sum(int(n) for n, what in parts if int(n) > 0 and "would be left" not in what) == int(total[1]),
       "the parts of a cli add up", parts=parts)
    left = [int(n) for n, what in parts if "would be left" in what]
    ok(not left or (ways and left[0] == int(total[1]) + sum(ways)), "and so does what would change it", parts=parts)
    ok(done.out == again.out, "the same twice", first=done.out, second=again.out)
    finish()


if __name__ == "__main__":
    main()
