#!/usr/bin/env python3
"""The second half of `make bench`: software against hardware, in instructions, each engine beside the bare machine.

Small operations (guest/nano) and loads (programs of guest/os), with the reference solutions: under QEMU's -icount, and
on Bochs, where VT-x is, in its ticks. Both are instructions. An engine joins by a line of TABLES. Where a number misses
its aim, one operation is stepped through from outside, instruction by instruction, and what would change it is said.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

from zeno.machines import gdbremote, machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

NANO = ROOT / "build/guest/nano.elf"
SMALL_OS = ROOT / "build/guest/os.elf"
# The first is so long that its start counts little.
LOADS = ["bench-compute 100", "bench-fork", "bench-files"]
LIMIT = machine.Limits(instructions=8_000_000_000, cpu_seconds=400)
BOCHS_LIMIT = machine.Limits(instructions=None, cpu_seconds=200)
HIGH = 0xFFFF800000000000
STEPS = 40_000
SETTLED = 200  # times that an operation is run before it is stepped through


@dataclass
class Engine:
    name: str  # its column's
    build: str  # below build/: the first lab that has it
    words: str  # of `start`
    cpu: str = "te"
    apic: str = ""  # below build/: where there is an APIC, reached by violation

    @property
    def host(self):
        return ROOT / "build" / self.build


@dataclass
class Table:
    title: str
    machine: str
    bare: str  # its first column
    engines: list
    loads: list


SOFTWARE = Table("Software against hardware", "qemu", "bare", [
    Engine("te", "lab2-solution", "engine=te"),
    Engine("bt", "lab3-solution", "engine=bt"),
], LOADS)
AMD_V = Table("AMD-V", "qemu", "bare", [
    Engine("svm nested", "lab4s-solution", "engine=svm mmu=flat", "svm", "lab5-solution"),
    Engine("svm shadow", "laball-solution", "engine=svm mmu=shadow", "svm", "laball-solution"),
], LOADS)
BOCHS = Table("AMD-V and VT-x on Bochs", "bochs", "bare Bochs", [
    Engine("svm Bochs", "lab4s-solution", "engine=svm mmu=flat", "svm", "lab5-solution"),
    Engine("vmx nested", "lab4-solution", "engine=vmx mmu=flat", "vmx", "lab5-solution"),
    Engine("vmx shadow", "laball-solution", "engine=vmx mmu=shadow", "vmx", "laball-solution"),
], ["bench-fork"])  # each takes it seconds
TABLES = [SOFTWARE, AMD_V, BOCHS]
IN_KERNEL = Engine("its own", "laball-solution", "engine=svm mmu=flat", "svm")
IN_RING_3 = Engine("ring 3", "laball-solution", "engine=svm mmu=flat devices=user", "svm")
ENGINES = [engine for one in TABLES for engine in one.engines]
DM = ROOT / "build/user/dm.elf"


@dataclass
class Aim:
    row: str
    engine: str
    limit: float
    of: str | None  # instructions, or times the number of this column
    change: str | None = None  # what would make it, by a name in CHANGES
    through: str | None = None  # where it is missed, a stay in the host is shown that leads through this function


CHANGES = {
    "start": "It runs directly: what is left is its start, the clock at 100 Hz, and pages that come by faults.",
    "ret": "A stack of return addresses in the cache beside the guest's own: a call would put its translation there, and a "
           "ret would compare one word. It helps functions with many callers, too, whose prediction is mostly wrong.",
    "rings on te": "Gate, TSS, stack and two descriptors are read and checked each time, as Lab 1B teaches it. A change of "
                   "rings known by the values that it was made from would leave those checks out, as it does on bt.",
    "rings on bt": "Its changes of rings are known by the values that they were made from, and of the two ways out and in "
                   "one is left, for the CPU does the `iret` inside of the cache. The other one stays: in IA-32e mode a "
                   "gate leads to 64-bit code, so no event can go from ring 3 to ring 1 by itself.",
    "table": "The way out and in is 330, and the rest the store and the shadows' entries that go with it. A write that is "
             "noted in a list, which the host reads when the TLB is to be flushed, would not leave the guest.",
    "call-out": "The store and the shadows' entries that go with it are te's. Beyond a trap of te a call-out finds the place in "
                "the cache that the guest left and the one where it goes on, and brings flags and selectors to the page that "
                "translated code reads, and back. One that is answered before that would be a second way beside the one "
                "that is taught.",
    "touch": "The touch is a hidden fault: a walk of the guest's tables, and three levels of shadows. An entry that is "
             "filled when it is written, if it led somewhere before, would spare it.",
    "split": "The way to ring 3 and back is some 60, what the program does as many, and the exit itself what it is with the "
             "device in the kernel. The rest lets nobody suffer: a clock that is read twice, for the program's time and its "
             "limit, roots and descriptors that are there only while it runs, a page of which each half has one owner.",
    "exit": "Beyond the floor are: the instruction found again and compared, where the CPU does not tell how long it is; the "
            "state that each handler and debugger sees, into the control structure and back; the exit in words that all engines "
            "share, counted and remembered; and calls of functions that are a lab's exercises. An exit that needs none of these, answered before anything is copied, would take half, and be a second way "
            "beside the one that is taught.",
}

AIMS = [
    Aim("system call", "te", 2200, None, "rings on te"),
    Aim("system call", "bt", 1000, None, "rings on bt", "bt_returned"),
    Aim("page fault", "te", 2000, None, "rings on te"),
    Aim("page fault", "bt", 1600, None, "rings on bt"),
    Aim("page-table write", "te", 1000, None, "table"),
    Aim("page-table write", "bt", 1, "te", "call-out", "shadow_table_written"),
    Aim("cr3 write", "te", 1500, None),
    Aim("invlpg and touch", "te", 2000, None, "touch"),
    Aim("invlpg and touch", "bt", 2500, None, "touch"),
    Aim("call and ret", "bt", 4, "bare", "ret"),
    Aim("bench-compute 100", "te", 1.01, "bare", "start"),
    Aim("bench-compute 100", "bt", 1.01, "bare", "start"),
    Aim("bench-fork", "te", 5, "bare"),
    Aim("bench-fork", "bt", 5, "bare"),
    Aim("bench-files", "bt", 4, "bare", "rings on bt"),
    Aim("cpuid", "svm nested", 220, None, "exit", "exit_cpuid"),
    Aim("in", "svm nested", 250, None, "exit", "exit_io"),
    Aim("port write", "ring 3", 700, None, "split"),
    Aim("cpuid", "svm Bochs", 150, None, "exit"),
    Aim("cpuid", "vmx nested", 160, None, "exit"),
]


def measured(text):
    """{row: instructions} of what the guests printed: medians, and the ticks of loads."""
    text = re.sub(r"^d1\| ", "", text.replace("\r", ""), flags=re.M)
    rows = {name: int(median) for name, median in re.findall(r"^(.+?): \d+ (\d+) \d+$", text, re.M)}
    rows |= {name: int(n) for name, n in re.findall(r"^\$ ticks (.+)\n.*\nticks: (\d+)$", text, re.M)}
    return rows


def printed(on, kernel, cmdline="", modules=(), **setup):
    """What a boot prints on QEMU, where the TSC then counts instructions, or on Bochs, where it always does."""
    if on == "qemu":
        done = machine.boot(icount=True, limits=LIMIT, kernel=kernel, cmdline=cmdline, modules=modules, **setup)
    else:
        with tempfile.TemporaryDirectory() as folder:
            disk = Path(folder) / "bench.img"
            subprocess.run([sys.executable, ROOT / "tools/mkimage.py", "-o", disk, "--cmdline", cmdline,
                            "--mbr", ROOT / "build/boot/mbr.bin", "--loader", ROOT / "build/boot/loader.bin",
                            "--kernel", kernel, *(word for elf, _ in modules for word in ("--module", elf, elf.stem))], check=True)
            done = machine.boot(machine="bochs", disk=disk, limits=BOCHS_LIMIT, **setup)
    text = done.text().replace("\r", "")
    done.cleanup()
    return text


def run(*words, **setup):
    return measured(printed(*words, **setup))


def floor(on, engine):
    """What a cpuid costs in a loop with nothing around it, in the same image (trials/); None: it has no such loop."""
    command = engine.words.split()[0].removeprefix("engine=") + "-floor"
    text = printed(on, engine.host / "zeno.mb", f"panic=off -- {command}; off", cpu=engine.cpu)
    found = re.search(r"^floor of a cpuid exit: (\d+)$", text, re.M)
    return int(found[1]) if found else None


def script(loads):
    return "script=" + "+".join(f"ticks {load}" for load in loads).replace(" ", "_")


def with_apic(on, engine):
    """A local APIC's registers, as operands: with Lab 5's tables where there are any, filled by violation."""
    words = engine.words.replace("mmu=flat", "mmu=nested")
    return run(on, ROOT / "build" / engine.apic / "zeno.mb", f"panic=off -- start nano {words} platform=pc-apic -- apic=1; off",
               [(NANO, "")], cpu=engine.cpu)


def bare(on, engine, loads):
    cpu = engine.cpu
    rows = run(on, NANO, cpu=cpu)
    if engine.apic:
        rows |= run(on, NANO, "apic=1", cpu=cpu)
    return rows | run(on, SMALL_OS, f"os {script(loads)}", mem=64, cpu=cpu) if loads else rows


def on_engine(on, engine, loads):
    kernel = engine.host / "zeno.mb"
    rows = run(on, kernel, f"panic=off -- start nano {engine.words}; off", [(NANO, "")], cpu=engine.cpu)
    if engine.apic:
        rows |= with_apic(on, engine)
    if not loads:
        return rows
    return rows | run(on, kernel, f"panic=off -- start os mem=32 {engine.words} -- {script(loads)}; off", [(SMALL_OS, "")],
                      cpu=engine.cpu)


def table(columns, rows):
    """Prints rows of the columns {name: {row: instructions}}; the first is what the others are compared with."""
    first, *others = columns
    print(f"  {'':22}{first:>14}" + "".join(f"{name:>14}{'':9}" for name in others).rstrip())
    for row in rows:
        floor = columns[first][row]
        cells = "".join(f"{columns[name][row]:>14,}{'x' + ratio(columns[name][row], floor):>9}"
                        for name in others)
        print(f"  {row:22}{floor:>14,}{cells}")


def ratio(n, floor):
    return f"{n / floor:.3f}" if n < 10 * floor else f"{n / floor:,.1f}" if n < 1000 * floor else f"{n / floor:,.0f}"


def visits(gdb, symbols):
    """Steps, and gives each stay in the host, from one instruction of the guest to its next."""
    counts = Counter()
    for _ in range(STEPS):
        gdb.step()
        rip = gdb.regs()["rip"]
        if rip >= HIGH:
            counts[(symbols.name(rip) or "trap_stub").split("+")[0]] += 1
        elif counts:
            yield counts
            counts = Counter()


def profile(engine, through):
    """The stay in the host that leads through a function of its: {function: instructions}."""
    symbols = Symbols([engine.host / "zeno.elf"])
    with machine.start(kernel=engine.host / "zeno.mb", icount=True, paused=True, modules=[(NANO, "")], limits=LIMIT,
                       cpu=engine.cpu, cmdline=f"panic=off -- start nano {engine.words}; off") as live:
        gdb = live.gdb()
        start = symbols.address(through)
        gdb.insert(start)
        for _ in range(SETTLED):
            gdb.cont()
        gdb.remove(start)
        stays = visits(gdb, symbols)
        next(stays, None)  # the rest of this one
        found = next((counts for counts in stays if through in counts), Counter())
        live.stop()
        live.wait().cleanup()
    return found


def show_profile(engine, through):
    counts = profile(engine, through)
    words = [f"{function} {n}" for function, n in counts.most_common(18)]
    print(f"    one exit through {through}() is {sum(counts.values()):,} instructions in the host, "
          "stepped through from outside:")
    for i in range(0, len(words), 6):
        print("      " + ", ".join(words[i:i + 6]) + ("," if i + 6 < len(words) else ""))


def amount(aim, columns, n):
    """A number of this row in the aim's own unit, in words."""
    return f"{n / columns[aim.of][aim.row]:.3f} x {aim.of}" if aim.of else f"{n:,}"


def is_met(aim, columns):
    most = columns[aim.of][aim.row] * aim.limit if aim.of else aim.limit
    return columns[aim.engine][aim.row] <= most


def aims_of(columns):
    """Those of the machines that are here."""
    return [aim for aim in AIMS if aim.engine in columns]


def show_aims(columns):
    print(f"\n  {'':22}{'engine':>12}{'aim':>14}{'it is':>16}")
    for aim in aims_of(columns):
        limit = f"{aim.limit:g} x {aim.of}" if aim.of else f"{aim.limit:,}"
        it_is = amount(aim, columns, columns[aim.engine][aim.row])
        print(f"  {aim.row:22}{aim.engine:>12}{limit:>14}{it_is:>16}{'' if is_met(aim, columns) else '   missed'}")
    missed = [aim for aim in aims_of(columns) if not is_met(aim, columns)]
    for change in dict.fromkeys(aim.change for aim in missed if aim.change):
        rows = ", ".join(f"{aim.row} on {aim.engine}" for aim in missed if aim.change == change)
        print(f"\n  What would change it ({rows}):")
        for line in textwrap.wrap(CHANGES[change], 96):
            print(f"    {line}")
    for aim in missed:
        if aim.through:
            show_profile(next(e for e in ENGINES if e.name == aim.engine), aim.through)


def columns_of(one, loads=True):
    """{column: {row: instructions}}, the bare machine first. Of the bare CPUs that there are on a machine all count alike."""
    these = one.loads if loads else []
    return {one.bare: bare(one.machine, one.engines[0], these)} | {
        engine.name: on_engine(one.machine, engine, these) for engine in one.engines}


def show(one):
    """Measures and prints a table, or says why not; its columns."""
    absent = machine.missing(one.machine)
    if absent:
        print(f"\n{one.title}: not measured: {absent}")
        return {}
    columns = columns_of(one)
    rows = list(columns[one.bare])
    missing = [f"{row} on {name}" for name, got in columns.items() for row in rows if row not in got]
    if missing or len(rows) <= len(one.loads):
        raise SystemExit(f"bench: not measured: {', '.join(missing) or 'anything'}: do the labs work? (make grade)")
    print(f"\n{one.title}: instructions (median of 1,000; loads once), and times the bare machine\n")
    table(columns, rows)
    for engine in one.engines:
        found = floor(one.machine, engine) if "flat" in engine.words else None
        if found:
            print(f"\n  The floor of cpuid, a loop of entries and exits with nothing around it, in the image of {engine.name}: "
                  f"{found}")
    return columns


def port_write(engine):
    """Of a device's register, by a guest with devices in the kernel or in ring 3."""
    return run("qemu", engine.host / "zeno.mb", f"panic=off -- start nano {engine.words} -- port=1; off", [(NANO, ""), (DM, "")],
               cpu=engine.cpu)


def show_split():
    """Devices in the kernel and in ring 3; the aims' column."""
    here, there = port_write(IN_KERNEL), port_write(IN_RING_3)
    if not here or not there:
        raise SystemExit("bench: not measured: a write to a port: does Lab 5 work? (make grade)")
    row = "port write"
    print(f"\nDevices in ring 3 (devices=user), on svm with nested tables: a {row} is {there[row]} instructions, {here[row]} in the "
          f"kernel.\nThe floor of an exit is {floor('qemu', IN_KERNEL)}; that of ring 3, in and out with all registers, 62 more.")
    return {IN_RING_3.name: there}


def main():
    columns = {}
    for one in TABLES:
        columns |= show(one)
    if not machine.missing("qemu"):
        columns |= show_split()
    show_aims(columns)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(trouble.plain(main))
    except machine.MachineMissing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        sys.exit(1)
    except gdbremote.Gone:
        print("bench: the machine ended while it was stepped through", file=sys.stderr)
        sys.exit(1)
