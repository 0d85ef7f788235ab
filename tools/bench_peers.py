#!/usr/bin/env python3
"""`make bench PEERS=1`: Zeno's exits beside those of Linux' KVM, in instructions, in the same emulator and with the same guest.

Debian's kernel boots where Zeno would, and its first process (trials/peers/kvm.c) runs guest/nano by /dev/kvm. The guest
is the same file for both, and what it measures it measures itself, by the time stamp counter, which counts
instructions under QEMU's -icount. A sleep's instructions can't be counted so, for the counter goes on through it: two runs
that differ in the number of sleeps alone are counted from outside, by the plugin.
"""

import stat
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import bench_table
import linux_guest
import trouble
from bench_table import DM, NANO, ROOT
from zeno.machines import machine

KVM = ROOT / "build/peers/kvm"
ZENO = ROOT / "build/laball-solution/zeno.mb"
LIMIT = machine.Limits(instructions=60_000_000_000, cpu_seconds=600)
# mitigations=off: its processor has none of the bugs, and calls by way of them cost a tenth.
CMDLINE = "console=ttyS0 mitigations=off nokaslr panic=-1 quiet --"
SLEEPS = 100, 1100
SLEEP = "HLT, timer"
IN_KERNEL = "engine=svm mmu=nested platform=pc-apic mem=32"
IN_RING_3 = "engine=svm mmu=nested devices=user mem=32"
RING_3 = 62  # in and out with all registers
CLEARED = 512  # words of a frame
SHARE = 4  # the aim is a quarter of KVM's
FLOOR = bench_table.Engine("the floor", "laball-solution", "engine=svm mmu=flat", "svm")
NOTES = ("The same file is the guest of both, with APIC, 8259 and 8254 in the kernel, memory given a page at a time, and devices of "
         "programs by ports and by memory. KVM's program is one loop that answers at once, Zeno's is a device model. Where it has registers in memory, there are none: the kernel answers that row for it. Zeno has "
         "no hypercalls on this engine: its vmmcall ends with the guest's #UD handler. A first touch clears a frame, 512 words, on both: "
         "these are aside for the aim. HLT is a sleep of a millisecond, the timer's interrupt, its handler and its end at the 8259.")


@dataclass
class Row:
    name: str
    least: int | None  # what stands beside an exit's floor, and nothing can do without; None: it is no exit alone
    aside: int = 0  # what does not count for the aim
    change: str = ""  # what would bring it down, where it misses its aim


ROWS = [
    Row("cpuid", 0),
    Row("vmmcall", 0),
    Row("in, 8259", 0),
    Row("APIC EOI", 0, change="The instruction is known, and emulated with all that its operand could be, as each is that meets a "
        "register in memory. A plain mov that is answered by the violation's address alone would be a way beside the one that is taught."),
    Row("first touch", CLEARED, CLEARED),
    Row(SLEEP, None, change="Two exits, a turn of the host's scheduler, the host's alarm and the guest's interrupt. All devices are "
        "asked what they have at each of these."),
    Row("port write, program", RING_3),
    Row("MMIO write, program", RING_3, change="Of it the way to ring 3 and back is what a port write takes. The rest "
        "is the instruction: see APIC EOI."),
    Row("doorbell, program", 0),
]


def missing():
    """None, or what to do: this installs and fetches nothing."""
    if machine.missing("qemu"):
        return machine.missing("qemu")
    if not linux_guest.here(linux_guest.LINUX_64):
        return "Debian's kernel and its KVM are not here; this fetches them: make linux"
    return None


def archive(more):
    """A RAM disk: the program as /init, KVM's modules in /lib, and files of `more`; and the modules' paths, as its words."""
    modules = sorted((linux_guest.LINUX_64.place / "kvm").glob("*.ko"))
    program = stat.S_IFREG | 0o755
    files = [(name, stat.S_IFDIR | 0o755, b"", (0, 0)) for name in ("dev", "lib")]
    files += [(f"lib/{path.name}", program, path.read_bytes(), (0, 0)) for path in modules]
    files += [
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        ("dev/kvm", stat.S_IFCHR | 0o600, b"", (10, 232)),
        ("init", program, KVM.read_bytes(), (0, 0)),
        *more,
        (linux_guest.TRAILER, 0, b"", (0, 0)),
    ]
    return b"".join(linux_guest.entry(number, *file) for number, file in enumerate(files, 1)), " ".join(
        f"/lib/{path.name}" for path in modules)


def initrd():
    """The RAM disk with guest/nano, and the program's words."""
    data, modules = archive([(NANO.name, stat.S_IFREG | 0o755, NANO.read_bytes(), (0, 0))])
    return data, f"{modules} /{NANO.name}"


def result(run, who):
    """What the guest measured, and how many instructions ran in all."""
    text, total = run.text(), run.counts.total if run.counts else 0
    rows = bench_table.measured(text)
    run.cleanup()
    if not run.end.orderly or run.code or not rows:
        raise SystemExit(f"bench: {who} did not run its guest to the end: {run.detail}\n{text[-2000:]}")
    return rows, total


def on_kvm(words):
    data, init = initrd()
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "initrd"
        disk.write_bytes(data)
        return result(machine.boot(kernel=linux_guest.LINUX_64.place / "linux64", modules=[(disk, "")], cpu="svm", mem=256,
                                   icount=True, idle=False, limits=LIMIT, cmdline=f"{CMDLINE} {init} {words}"), "Linux' KVM")


def on_zeno(start, words):
    return result(machine.boot(kernel=ZENO, modules=[(NANO, ""), (DM, "")], cpu="svm", icount=True, idle=False, limits=LIMIT,
                               cmdline=f"panic=off -- start nano {start} -- {words}; off"), "Zeno")


def with_sleeps(run):
    """{row: instructions} of two runs, of one sleep, too; run() takes a number of sleeps."""
    (rows, few), (_, many) = map(run, SLEEPS)
    return rows | {SLEEP: round((many - few) / (SLEEPS[1] - SLEEPS[0]))}


def kvms():
    return with_sleeps(lambda n: on_kvm(f"peers=all halts={n}"))


def zenos():
    rows = with_sleeps(lambda n: on_zeno(IN_KERNEL, f"peers=1 halts={n}"))
    return rows | on_zeno(IN_RING_3, "peers=user")[0]


def is_met(row, ours, peers):
    return (ours - row.aside) * SHARE <= peers - row.aside


def show_notes(notes):
    print(textwrap.fill(notes, 100, initial_indent="\n  ", subsequent_indent="  "))


def show(ours, peers, floor):
    """The table, and what would bring down what misses its aim."""
    print("\nZeno beside Linux' KVM, on AMD-V in the same emulator: instructions from guest to guest (median of 1,000)\n")
    print(f"  {'':22}{'floor':>8}{'Zeno':>8}{'KVM':>8}{'aim':>8}{'KVM/Zeno':>10}")
    missed = []
    for row in ROWS:
        zeno, kvm = ours[row.name], peers[row.name]
        least = "" if row.least is None else floor + row.least
        aim = (kvm - row.aside) // SHARE + row.aside
        met = is_met(row, zeno, kvm)
        print(f"  {row.name:22}{least:>8}{zeno:>8}{kvm:>8}{aim:>8}{kvm / zeno:>10.1f}{'' if met else '   missed'}")
        missed += [] if met else [row]
    for row in missed:
        print(f"\n  {row.name}, what would change it:")
        print(textwrap.fill(row.change or "nothing that is known", 96, initial_indent="    ", subsequent_indent="    "))
    show_notes(NOTES)


def main():
    absent = missing()
    if absent:
        print(f"bench: PEERS=1: {absent}", file=sys.stderr)
        return 1
    show(zenos(), kvms(), bench_table.floor("qemu", FLOOR))
    return 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main))
