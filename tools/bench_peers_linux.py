#!/usr/bin/env python3
"""The second half of `make bench PEERS=1`: a boot of Debian's 64-bit Linux on Zeno, and on Linux' KVM in the same emulator.

Both get the same kernel, RAM disk, words and memory, on a PC without APICs whose CPU says the same of itself: what it
says to Zeno's guests is read first, by guest/nano, and KVM's program (trials/peers/) is given that. Counted is from the
guest's first instruction to the reset that its first process asks for: instructions by the plugin, in guest and host
alike, and exits by each hypervisor itself.
"""

import re
import stat
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bench_peers
import linux_guest
import trouble
from bench_peers import KVM, LIMIT, NANO, ZENO
from zeno.machines import machine
from zeno.machines.symbols import Symbols

LINUX = linux_guest.LINUX_64
SESSION = b"grep flags /proc/cpuinfo | md5sum\nreboot -f\n"
SHELL = "zeno# reboot -f"
WORDS = f"reboot=k {linux_guest.CLASSIC_64}"  # by the keyboard's controller, which both have
START = "engine=svm mmu=nested"
HOST_MEMORY = 512  # MiB; the guest's are 128, KVM's program says so itself
WITH_SUBLEAVES = (4, 7, 0xb, 0xd)
NOTES = ("The same kernel, RAM disk, words, 128 MiB, CPUID and devices: 8259, 8254 in the kernel, the others on Zeno, too, on KVM in its "
         "program, which has Zeno's own sources of them. Instructions are the guest's and the host's together, from the guest's first "
         "one to its reset; both give memory a page of 4 KiB at a time (Zeno has page=2m, KVM what its program asks for).")


@dataclass
class Boot:
    instructions: int
    exits: int
    cpu: str  # a digest of what Linux found its CPU to have


def shown_cpuid():
    """What Zeno's CPU says to a guest, as KVM takes it: struct kvm_cpuid_entry2, one behind the other."""
    run = machine.boot(kernel=ZENO, modules=[(NANO, "")], cpu="svm", limits=LIMIT,
                       cmdline=f"panic=off -- start nano {START} -- cpuid=1; off")
    lines = re.findall(r"^d1\| cpuid:((?: [0-9a-f]{8}){6})\r?$", run.text(), re.M)
    run.cleanup()
    rows = [[int(word, 16) for word in line.split()] for line in lines]
    return b"".join(struct.pack("<10I", leaf, sub, leaf in WITH_SUBLEAVES, *said, 0, 0, 0) for leaf, sub, *said in rows)


def counted(who, pattern, **setup):
    """A boot that came to its shell and to its reset; `pattern` finds the exits."""
    run = machine.boot(cpu="svm", mem=HOST_MEMORY, icount=True, idle=False, limits=LIMIT, **setup)
    text, counts, orderly = run.text().replace("\r", ""), run.counts, run.end.orderly
    run.cleanup()
    exits = re.search(pattern, text, re.M)
    cpu = re.search(r"^([0-9a-f]{32})  -$", text, re.M)
    if not orderly or not exits or not cpu or SHELL not in text:
        raise SystemExit(f"bench: Linux on {who} did not come to its end: {run.detail}\n{text[-2000:]}")
    return Boot(counts.total, int(exits[1]), cpu[1])


def on_zeno(initrd):
    return counted("Zeno", r"^d1 linux64: (\d+) exits$", kernel=ZENO, modules=[(LINUX.place / "linux64", WORDS), (initrd, "")],
                   counted_from=Symbols([ZENO.with_suffix(".elf")]).address("svm_enter"),
                   cmdline=f"panic=off -- start linux64 {START} mem=128 -- boot=linux initrd={initrd.name}; exits; off")


def on_kvm(initrd, place):
    program = stat.S_IFREG | 0o755
    more = [(name, program, data, (0, 0)) for name, data in
            (("linux64", (LINUX.place / "linux64").read_bytes()), ("initrd64", initrd.read_bytes()), ("cpuid", shown_cpuid()))]
    data, modules = bench_peers.archive(more)
    (place / "outer").write_bytes(data)
    return counted("Linux' KVM", r"^exits: (\d+)$", kernel=LINUX.place / "linux64", modules=[(place / "outer", "")],
                   counted_from=Symbols([KVM]).address("run_linux"),
                   cmdline=f"{bench_peers.CMDLINE} {modules} /linux64 initrd=/initrd64 {WORDS}")


def both():
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        initrd = linux_guest.make_initrd(LINUX, SESSION, place / "initrd64")
        zeno, kvm = on_zeno(initrd), on_kvm(initrd, place)
    if zeno.cpu != kvm.cpu:
        raise SystemExit("bench: Linux has found another CPU on KVM than on Zeno")
    return zeno, kvm


def show(zeno, kvm):
    print("\nA boot of Debian's 64-bit Linux to its shell, and its reset\n")
    print(f"  {'':22}{'Zeno':>16}{'KVM':>16}{'KVM/Zeno':>10}")
    for name, ours, peers in (("exits", zeno.exits, kvm.exits), ("instructions", zeno.instructions, kvm.instructions)):
        print(f"  {name:22}{ours:>16,}{peers:>16,}{peers / ours:>10.3f}{'' if ours < peers else '   missed'}")
    bench_peers.show_notes(NOTES)


def main():
    absent = bench_peers.missing()
    if absent:
        print(f"bench: PEERS=1: {absent}", file=sys.stderr)
        return 1
    show(*both())
    return 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main))
