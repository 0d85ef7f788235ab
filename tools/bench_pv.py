#!/usr/bin/env python3
"""The third part of `make bench`: what a PV guest's calls cost, in instructions, beside Xen 4.17's and the aims.

The guest pv-bench measures itself under QEMU's -icount shift=0. Xen's numbers were measured in the same way, on the same QEMU.
"""

import sys
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))
sys.path.insert(0, str(ROOT / "tools"))

from bench import measured  # noqa: E402
from zeno.machines import machine  # noqa: E402

GUEST = ROOT / "build/guest/pv-bench.elf"
HOST = ROOT / "build/lab6-solution/zeno.mb"
LIMIT = machine.Limits(instructions=1_000_000_000)
XEN = {"null hypercall": 278, "unknown hypercall": 235, "multicall of 8, each": 236, "update_va_mapping, the same": 599,
       "update_va_mapping, W on and off": 890, "... with INVLPG": 956, "mmu_update of 1": 1067, "mmu_update of 32, each": 667,
       "MACHPHYS_UPDATE": 533, "write to a page table": 1883, "unpin and pin L1, each entry": 368, "INVLPG_LOCAL": 487,
       "TLB_FLUSH_LOCAL": 501, "NEW_BASEPTR, the same": 609}
AIMS = {"null hypercall": 160, "update_va_mapping, W on and off": 250, "mmu_update of 1": 350, "mmu_update of 32, each": 150,
        "write to a page table": 700, "unpin and pin L1, each entry": 120}


def main():
    run = machine.boot(kernel=HOST, cpu="pv", icount=True, limits=LIMIT, modules=[(GUEST, "")],
                       cmdline="panic=off -- start pv-bench; off")
    rows = measured(run.text().replace("\r", ""))
    run.cleanup()
    if set(rows) != set(XEN):
        print("bench: pv-bench did not print its rows", file=sys.stderr)
        return 1
    print("\nA PV guest's calls, in instructions from guest to guest (median of 200; QEMU, -icount shift=0)\n")
    print(f"  {'':34}{'pv':>6}{'Xen':>7}{'aim':>7}")
    for name, (_, median, _) in rows.items():
        aim = AIMS.get(name)
        print(f"  {name:34}{median:>6}{XEN[name]:>7}{aim or '':>7}{'  over it' if aim and median > aim else ''}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(trouble.plain(main, 0, 0))
    except machine.MachineMissing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        sys.exit(1)
