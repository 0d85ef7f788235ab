#!/usr/bin/env python3
"""`make bench`: what it prints is complete, adds up, and is the same twice. How large numbers are decides
little: there are upper bounds, with slack, and counts are of instructions, not of time."""

import os
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
AIM = re.compile(r"^  (\S.*?)  +([a-z]+(?: \w+)?) +([\d,.]+(?: x \w+)?) +([\d,.]+)(?: x \w+)?(   missed)?$", re.M)
TABLE = re.compile(r"^  (\S.*?)  +([\d,]+)((?: +[\d,]+ +x[\d.,]+)+)$", re.M)
FLOORS = ("svm nested", "svm Bochs", "vmx nested")
FLOOR = re.compile(r"^  The floor of cpuid, .*: (\d+)$", re.M)

# Row: what te and bt, svm with nested and with shadow tables, and on Bochs svm and vmx with both may need, with slack: a
# change that makes one of them much dearer is to be noticed.
MOST = {"system call": (2_200, 900, 2, 2, 2, 2, 2), "in": (385, 615, 275, 530, 275, 345, 600),
        "cpuid": (1, 1, 255, 1_370, 220, 268, 520), "cr3 write": (1_080, 1_480, 1, 2_000, 1, 1, 1_700),
        "call and ret": (2, 8, 2, 2, 2, 2, 2), "page fault": (2_000, 1_380, 3, 1_150, 4, 4, 1_500),
        "divide error": (1_700, 1_000, 2, 2, 3, 3, 3), "page-table write": (1_000, 1_000, 1, 3_000, 1, 1, 3_400),
        "invlpg and touch": (2_000, 2_500, 2, 1_900, 2, 2, 1_900),
        "APIC read": (None, None, 1_690, 3_420, 1_690, 2_400, 3_720),
        "APIC EOI": (None, None, 1_730, 3_500, 1_730, 2_450, 3_800)}
TIMES = {"bench-compute 100": (1.01, 1.01, 1.01, 1.01), "bench-fork": (4.6, 4.7, 1.01, 4.5, 1.05, 1.05, 4.5),
         "bench-files": (7.8, 4.0, 1.01, 1.05)}  # the bare machine's


def plain(number):
    return float(number.replace(",", ""))


def table(text, one, at):
    """One of the tables: complete, within bounds, and the same when it is measured again. Its engines are MOST's from `at` on."""
    part = text.split(f"\n{one.title}: ")[1].split("median of 1,000")[1]
    rows = {name: [plain(bare), *map(plain, re.findall(r"[\d.,]+", cells))] for name, bare, cells in TABLE.findall(part)}
    mine = range(len(one.engines))
    most = {name: numbers for name, numbers in MOST.items() if numbers[at] is not None}
    ok(set(rows) == set(most) | set(one.loads), f"{one.title}: the table has its rows", rows=sorted(rows), out=part)
    ok(all(abs(n / bare - times) < max(1, times) * .01 for bare, *rest in rows.values()
           for n, times in zip(rest[::2], rest[1::2])), "its ratios are its numbers'", rows=rows)
    over = {name: rows.get(name) for name, numbers in most.items()
            if name not in rows or any(rows[name][1 + 2 * i] > numbers[at + i] for i in mine)}
    ok(not over, "no operation takes more than it may", over=over, most=most)
    over = {name: rows.get(name) for name in one.loads
            if name not in rows or any(rows[name][2 + 2 * i] > TIMES[name][at + i] for i in mine)}
    ok(not over, "and no load", over=over, times=TIMES)
    again = bench_table.columns_of(one, loads=False)
    columns = [one.bare, *(engine.name for engine in one.engines)]
    ok(all(rows.get(row, [0] * 9)[max(0, 2 * i - 1)] == again[name][row] for i, name in enumerate(columns) for row in most),
       "the same numbers when measured again", rows=rows, again=again)


def tables(text):
    """Those of the machines that are here, and the aims."""
    at, names = 0, []
    for one in bench_table.TABLES:
        if not machine.missing(one.machine):
            table(text, one, at)
            names += [engine.name for engine in one.engines]
        at += len(one.engines)
    if not machine.missing("qemu"):
        split = re.search(r" a port write is (\d+) instructions, (\d+) in the kernel", text)
        ok(split and int(split[1]) < 720 and int(split[2]) < 630, "a port write with devices in the kernel and in ring 3", text=text)
        names.append("ring 3")
    floors = [int(n) for n in FLOOR.findall(text)]
    ok(len(floors) == len([name for name in names if name in FLOORS]) and all(30 < n < 80 for n in floors),
       "the floors of cpuid: two dozen moves of registers, and little else", floors=floors)
    ok("What would change it" in text or "missed" not in text, "a missed aim says what would change it", out=text[-3000:])
    aims = [(row, engine, plain(it_is) > plain(aim.split()[0]), bool(missed))
            for row, engine, aim, it_is, missed in AIM.findall(text)]
    ok([aim[:2] for aim in aims] == [(aim.row, aim.engine) for aim in bench_table.AIMS if aim.engine in names] and
       all(over == missed for _, _, over, missed in aims), "each aim beside its result, and whether it was missed", aims=aims)


def linux():
    """A boot of Debian's Linux on bt: a minute of CPU, and make check-all's."""
    done = run(sys.executable, ROOT / "tools/bench_linux.py")
    if done.out.startswith("bench: "):
        skip("a boot of Linux", done.out.strip())
        return
    found = re.search(r"([\d,]+) bare, ([\d,]+) on bt: ([\d.]+) times bare\n  aim: at most 1\.25; it is \3\n", done.out)
    ok(done.status == 0 and found and 1e9 < int(found[1].replace(",", "")) < int(found[2].replace(",", "")),
       "a boot of Debian's Linux on bt is within its aim", out=done.out)


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
    tables(done.out[done.out.index("Software against") - 1:])
    if os.environ.get("ZENO_ALL"):
        linux()
    finish()


if __name__ == "__main__":
    main()
