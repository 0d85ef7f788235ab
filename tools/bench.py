#!/usr/bin/env python3
"""`make bench`, `bench.py BUILD-DIRECTORY`: what an exit costs, in instructions, from guest to guest.

The guest `bench` measures itself under QEMU's -icount shift=0, where the time stamp counter counts
instructions and two runs are the same; bare and on each engine, with the reference solutions. Then one
exit is stepped through from outside, instruction by instruction, to see where they go.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

from zeno.machines import gdbremote, machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

GUEST = ROOT / "build/guest/bench.elf"
ENGINES = ["te"]
HIGH = 0xFFFF800000000000
LIMIT = machine.Limits(instructions=1_000_000_000)
STEPS = 20_000
AIMS = {"cli": 370}

PHASES = [
    ("entry into the host", r"trap_|from_|ring_leave|te_from_frame|te_segments_in|guest_rflags|taken"),
    ("what the trap means", r"te_translate|te_decode|decode|gva_|gpa_|p2m_|insn_|memcpy"),
    ("dispatch and log", r"exit_log|exit_dispatch|exit_stream|vcpu_turn|te_run"),
    ("emulation", r"exit_|do_|te_write|te_load|io_|gpr_|platform|unclaimed|read_byte|write_byte|claim"),
    ("back into the guest", r"te_to_frame|real_rflags|ring_enter|te_load_data|load_cr0"),
]

WAYS = [
    (r"exit_log|exit_stream", "no record of each exit: then no `last`, no traces, no reasons in a report"),
    (r"te_from_frame|te_to_frame|te_segments_in|real_rflags|guest_rflags",
     "what the CPU holds left in the frame until a handler asks: then `struct vcpu` is no longer the one truth"),
]


def measured(text):
    """{operation: (min, median, max)} of the lines that the guest printed."""
    found = re.findall(r"^(?:d1\| )?(.+?): (\d+) (\d+) (\d+)$", text, re.M)
    return {name: tuple(map(int, numbers)) for name, *numbers in found}


def bare():
    run = machine.boot(kernel=GUEST, cmdline="int=1", icount=True, limits=LIMIT)
    text = run.text().replace("\r", "")
    run.cleanup()
    return measured(text)


def on_engine(host, engine):
    run = machine.boot(kernel=host / "zeno.mb", icount=True, limits=LIMIT, modules=[(GUEST, "")],
                       cmdline=f"panic=off -- start bench engine={engine} -- int=1; off")
    text = run.text().replace("\r", "")
    run.cleanup()
    return measured(text)


def profile(host, operation):
    """Steps from one instruction of the guest to its next: {function: instructions}."""
    symbols, guest = Symbols([host / "zeno.elf"]), Symbols([GUEST])
    start = guest.address(f"bench_{operation}")
    counts = Counter()
    with machine.start(kernel=host / "zeno.mb", icount=True, paused=True, modules=[(GUEST, "")], limits=LIMIT,
                       cmdline="panic=off -- start bench; off") as live:
        gdb = live.gdb()
        gdb.insert(start)
        for _ in range(3):  # the first ones warm nothing up here, but may meet a tick
            gdb.cont()
        gdb.remove(start)
        for _ in range(STEPS):
            gdb.step()
            rip = gdb.regs()["rip"]
            if rip < HIGH:
                break
            counts[(symbols.name(rip) or "trap_stub").split("+")[0]] += 1
        live.stop()
        live.wait().cleanup()
    return counts


def phase_of(function):
    for phase, pattern in PHASES:
        if re.match(pattern, function):
            return phase
    return "other"


def show_profile(counts):
    total = sum(counts.values())
    phases = Counter()
    for function, n in counts.items():
        phases[phase_of(function)] += n
    print(f"\nOne `cli` on te, stepped through from outside: {total} instructions in the host")
    for phase, n in phases.most_common():
        inside = [(f, k) for f, k in counts.most_common() if phase_of(f) == phase]
        words = ", ".join(f"{f} {k}" for f, k in inside[:7])
        print(f"  {n:6}  {phase:20} {words}{', ...' if len(inside) > 7 else ''}")


def show_ways(counts):
    """What would be saved where, by what a change of the design would leave out."""
    total = sum(counts.values())
    if total <= AIMS["cli"]:
        return
    print("\nWhat would bring it down, and why it is not so")
    for pattern, what in WAYS:
        n = sum(k for function, k in counts.items() if re.match(pattern, function))
        total -= n
        print(f"  {-n:6}  {what}")
    print(f"  {total:6}  instructions would be left")


def main():
    host = ROOT / sys.argv[1]
    floor = bare()
    columns = {engine: on_engine(host, engine) for engine in ENGINES}
    if not floor or not all(columns.values()):
        print("bench: a guest printed nothing: does the lab work? (make grade)", file=sys.stderr)
        return 1
    print("Instructions from guest to guest, min / median / max of 1,000 (QEMU, -icount shift=0)\n")
    print(f"  {'':18}{'bare':>6}" + "".join(f"{engine:>24}" for engine in ENGINES))
    for name, numbers in floor.items():
        cells = []
        for engine in ENGINES:
            got = columns[engine].get(name)
            cells.append(" / ".join(map(str, got)) if got else "-")
        print(f"  {name:18}{numbers[1]:>6}" + "".join(f"{cell:>24}" for cell in cells))
    for engine in ENGINES:
        raised = columns[engine].get("out, interrupt", (0, 0, 0))[1] - columns[engine].get("out 0x80, al", (0, 0, 0))[1]
        if raised > 0:
            print(f"\n  an injected interrupt on {engine} (the last row less an out): {raised}")
    for name, aim in AIMS.items():
        got = columns["te"].get(name, (0, 0, 0))[1]
        print(f"\n  aim for {name} on te: at most {aim}; it is {got}"
              f"{'' if got <= aim else ': missed, see below where it goes'}")
    counts = profile(host, "op_cli")
    show_profile(counts)
    show_ways(counts)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(trouble.plain(main, 1, 1))
    except machine.MachineMissing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        sys.exit(1)
    except gdbremote.Gone:
        print("bench: the machine ended while it was stepped through", file=sys.stderr)
        sys.exit(1)
