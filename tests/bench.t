#!/usr/bin/env python3
"""`make bench`: what it prints is complete, adds up, and is the same twice. How large numbers are decides
little: there are upper bounds, with slack, and counts are of instructions, not of time."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

sys.path.insert(0, str(ROOT / "tools"))
import bench_table  # noqa: E402

ROW = re.compile(r"^  (\S.*?)  +(\d+) +(\d+) / (\d+) / (\d+)$", re.M)
PART = re.compile(r"^ +(-?\d+)  (\S.*)$", re.M)
OPERATIONS = {"cli", "out 0x80, al", "mov cr3, eax", "int", "iret", "int and iret", "out, interrupt"}
AIM = re.compile(r"^  (\S.*?)  +(te|bt) +([\d,.]+(?: x \w+)?) +([\d,.]+)(?: x \w+)?(   missed)?$", re.M)
TABLE = re.compile(r"^  (\S.*?)  +([\d,]+) +([\d,]+) +x([\d.,]+) +([\d,]+) +x([\d.,]+)$", re.M)

# Row: what te and bt may need, with slack: a change that makes one of them much dearer is to be noticed.
MOST = {"system call": (2_350, 3_300), "in": (640, 1_050), "cr3 write": (1_200, 1_900), "call and ret": (2, 20),
        "page fault": (2_150, 3_300), "divide error": (1_750, 2_800), "page-table write": (1_080, 1_400),
        "invlpg and touch": (2_150, 3_500)}
TIMES = {"bench-compute 100": 1.01, "bench-fork": 5.5, "bench-files": 11}  # the bare machine's


def plain(number):
    return float(number.replace(",", ""))


def table(text):
    """Software against hardware: complete, within bounds, and the same when it is measured again."""
    rows = {name: list(map(plain, cells)) for name, *cells in TABLE.findall(text.split("Software against")[-1])}
    ok(set(rows) == set(MOST) | set(TIMES), "the table has its rows", rows=sorted(rows), out=text[-3000:])
    ok(all(abs(n / bare - times) < max(1, times) * .01 for bare, *rest in rows.values()
           for n, times in zip(rest[::2], rest[1::2])), "its ratios are its numbers'", rows=rows)
    over = {name: rows.get(name) for name, most in MOST.items()
            if name not in rows or any(n > m for n, m in zip(rows[name][1::2], most))}
    ok(not over, "no operation takes more than it may", over=over, most=MOST)
    over = {name: rows.get(name) for name, most in TIMES.items() if name not in rows or max(rows[name][2::2]) > most}
    ok(not over, "and no load", over=over, times=TIMES)
    ok("What would change it" in text or "missed" not in text.split("Software against")[-1],
       "a missed aim says what would change it", out=text[-3000:])
    aims = [(row, engine, plain(it_is) > plain(aim.split()[0]), bool(missed))
            for row, engine, aim, it_is, missed in AIM.findall(text)]
    ok([aim[:2] for aim in aims] == [(aim.row, aim.engine) for aim in bench_table.AIMS] and
       all(over == missed for _, _, over, missed in aims), "each aim beside its result, and whether it was missed", aims=aims)
    again = bench_table.columns_of(loads=False)
    ok(all(rows.get(row, [0] * 5)[i] == again[name][row] for i, name in ((0, "bare"), (1, "te"), (3, "bt"))
           for row in MOST), "the same numbers when measured again", rows=rows, again=again)


def main():
    absent = machine.missing("qemu")
    if absent:
        skip("make bench", absent)
        finish()
    done = run("make", "-s", "bench", cwd=ROOT)
    again = run(sys.executable, ROOT / "tools/bench.py", "build/lab1-solution")
    if not ok(done.status == 0, "make bench runs to its end", out=done.out):
        finish()
    rows = {name: list(map(int, numbers)) for name, *numbers in ROW.findall(done.out)}
    ok(OPERATIONS <= set(rows), "it measures what it should", missing=OPERATIONS - set(rows), out=done.out)
    ok(all(low <= median <= high for _, low, median, high in rows.values()), "minimum, median and maximum in order",
       rows=rows)
    bare, _, both, _ = rows.get("int and iret", [0] * 4)
    ok(bare == 2 and both == rows["int"][2] + rows["iret"][2], "a round trip is its two ways", rows=rows)
    exits = done.out[done.out.index("Instructions from"):].split("Software against")[0]
    parts = PART.findall(exits.split("stepped through")[-1])
    total = re.search(r"stepped through from outside: (\d+)", done.out)
    ways = [int(n) for n, what in parts if int(n) < 0]
    ok(total and sum(int(n) for n, what in parts if int(n) > 0 and "would be left" not in what) == int(total[1]),
       "the parts of a cli add up", parts=parts)
    left = [int(n) for n, what in parts if "would be left" in what]
    ok(not left or (ways and left[0] == int(total[1]) + sum(ways)), "and so does what would change it", parts=parts)
    ok(exits.strip() == again.out.strip(), "the same twice", first=exits, second=again.out)
    table(done.out)
    finish()


if __name__ == "__main__":
    main()
