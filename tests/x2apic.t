#!/usr/bin/env python3
"""The local APIC's x2APIC mode: ways there and back, each MSR bit by bit, IPIs; on the bare machine of VT-x, and on svm.

QEMU 7.2 has none, so svm is compared with Bochs 2.7. Where that takes reserved bits of a register, and where its firmware has
left something in one, the manual's tables stand here.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, assembled, boot  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402
from zeno.machines import machine  # noqa: E402


LINES = 73
LINT = 0x1f7ff
BITS = {"808": 0xff, "80f": 0x1ff, "832": 0x710ff, "833": 0x117ff, "834": 0x117ff, "835": LINT, "836": LINT, "837": 0x110ff,
        "838": 0xffffffff, "83e": 0xb}
"""SDM 3A figure 11-8 "Local Vector Table", 11.5.4 and table 11-6."""
OWN = ("82f", "830", *sorted(BITS), "83f")
IPIS = [" 00000001" * 5 + " 00000000" * 3, "+ 00000000 fee00100- 00000000"]


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of Lab 5 builds", out=built.out)
    elf = assembled("x2apic/x2apic.asm")
    text = Engine("5", "svm").host(["start x2apic platform=pc-apic"], [elf])
    said = re.findall(r"^d1\| (.*)$", text, re.M)
    ok("x2apic: ended: exit code 0" in text and len(said) == LINES, "the guest comes to its end", text=text)
    by_msr = {line.split()[0][5:8]: line.rpartition(" ")[2][8:] for line in said if " 000008" in line}
    for msr, bits in BITS.items():
        takes = "".join("1" if bits >> n & 1 else "." for n in range(32)) + "."
        ok(by_msr.get(msr) == takes, f"MSR {msr}: the bits that can be written", got=by_msr.get(msr), wanted=takes)
    ok(said[-2:] == IPIS, "IPIs to itself come, others don't; and a way off, with all that it held", got=said[-2:], wanted=IPIS)
    if machine.missing("bochs"):
        skip("the bare machine", machine.missing("bochs"))
        finish()
    bare = [line for line in boot("bochs", "vmx", elf).splitlines() if line]
    parted = [pair for pair in zip(bare, said) if pair[0] != pair[1] and not set(OWN) & set(re.findall(r" 00000(8\w\w)", pair[0][:9]))]
    ok(len(bare) == LINES and parted == [(bare[-2], said[-2])], "all else as on the bare machine", parted=parted, bare=bare)
    finish()


if __name__ == "__main__":
    main()
