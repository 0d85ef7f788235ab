#!/usr/bin/env python3
"""What the monitor's `screen` shows of a guest's display: of any bytes there and in the CRTC's registers, and of Debian's
memtest86+, which writes to nothing else, while it tests a machine of AMD-V's.

Its 32-bit image runs on the classic PC, the 64-bit one on two CPUs.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, assembled  # noqa: E402
from harness import ROOT, TOOLS, finish, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

CELLS, COLUMNS, ROWS = 0x4000, 80, 25
CASES = {"a": (0, 0x0000, 85), "b": (0, 0x3ff0, 0), "c": (0, 0xffff, 0xffff), "d": (0x20, 0x1234, 0x1234), "e": (0, 0x0800, 0x07ff),
         "f": (0x21, 0, 0)}
LIMIT = machine.Limits(instructions=None, cpu_seconds=120, wall_seconds=1200)
FRAMES = {0: " ", 0xff: " ", 0xc4: "-", 0xcd: "-", 0xb3: "|", 0xba: "|"}
"""tests/screen/cells.asm's."""


def shown(byte):
    if 0x20 <= byte <= 0x7e:
        return chr(byte)
    return FRAMES.get(byte, "+" if 0xb3 < byte < 0xdb else ".")


def seen(case):
    """By its registers, from what the guest writes."""
    begin, start, cursor = CASES[case]
    cells = [shown((7 * n + (n >> 8)) & 0xff) for n in range(CELLS)] if begin != 0x21 else CELLS * [" "]
    rows = ["".join(cells[(start + COLUMNS * row + n) % CELLS] for n in range(COLUMNS)) for row in range(ROWS)]
    rows = [f"| {row}".rstrip(" ") if row.strip() else "| " for row in rows]
    while rows and rows[-1] == "| ":
        rows.pop()
    at = (cursor - start) % CELLS
    where = "no cursor" if begin & 0x20 or at >= ROWS * COLUMNS else f"cursor in row {at // COLUMNS}, column {at % COLUMNS}"
    return "".join(f"{row}\n" for row in rows) + f"d1: {len(rows)} rows of {ROWS}, {where}\n"


def any_bytes():
    """Each bit of the registers, and a terminal's own bytes among the characters."""
    te = Engine("3", "te")
    text = te.host([word for case in CASES for word in (f"start cells -- {case}", "screen d1")] + ["screen 3", "start cells platform=none"],
                   [assembled("screen/cells.asm")])
    got = re.findall(r"^K> screen d1\n(.*?)(?=^K> )", text, re.M | re.S)
    for case, part in zip(CASES, got):
        ok(part == seen(case), f"registers {CASES[case]}: what is seen is what is there", expected=seen(case), got=part)
    ok(len(got) == len(CASES) and "\x1b" not in text and "there is no guest 3" in text, "no byte of it reaches the terminal as it is", text=text)


def memtest(name, words, cpus):
    """Looked at until it is behind its first tests, or has a whole pass."""
    place = linux_guest.LINUX_64.place if name.endswith("64") else linux_guest.PLACE
    live = machine.start(kernel=str(ROOT / "build/lab5-solution/zeno.mb"), cpu="svm", mem=64, interactive=True, idle=False, limits=LIMIT,
                         cmdline="panic=off", modules=[(place / name, f"{words} boot=linux -- nopause nobench nosm")])
    live.wait_for(b"K> ")
    live.send(f"start {name} &\r".encode())
    tests, errors, passes, text = set(), {"0"}, 0, ""
    while live.wait_for(b"K> ") and not passes and not (tests and max(tests) > 4) and errors == {"0"}:
        live.send(b"sleep 500; screen\r")
        if not live.wait_for(b" rows of 25"):
            break
        text = live.console().decode("ascii", "replace").rpartition("sleep 500; screen")[2]
        tests |= {int(n) for n in re.findall(r"Test #(\d+)", text)}
        errors |= set(re.findall(r"Errors: (\d+)", text))
        passes = max([0, *map(int, re.findall(r"Pass: +(\d+)", text))])
    live.send(b"off\r")
    result = live.wait()
    print(f"# {name}: {result.cpu_seconds:.1f} s of CPU, saw tests {sorted(tests)}")
    result.cleanup()
    ok("Memtest86+ v" in text and cpus in text and errors == {"0"} and (passes or max(tests or [0]) > 4), f"{name} on svm: its first tests find no error",
       text=text)


def main():
    for lab in ("3", "5"):
        built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
        ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out)
    any_bytes()
    try:
        for system in (linux_guest.LINUX_32, linux_guest.LINUX_64):
            linux_guest.bring(system)
    except linux_guest.NoGuest as why:
        skip("Debian's memtest86+", f"it could not be fetched: {why}")
        finish()
    memtest("memtest", "mem=6 platform=pc", "CPU: 1 Cores 1 Threads ")
    memtest("memtest64", "mem=6 platform=pc-apic vcpus=2", "SMP: 2T (PAR)")
    finish()


if __name__ == "__main__":
    main()
