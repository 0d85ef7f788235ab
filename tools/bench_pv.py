#!/usr/bin/env python3
"""The third part of `make bench`: what a PV guest's calls cost, in instructions, beside Xen 4.17's and the aims.

The guest pv-bench measures itself under QEMU's -icount shift=0. Xen's numbers were measured in the same way, on the same QEMU.
pv-disk counts what a request to dom0's back end costs, and pv-net what a frame does: of all domains that have to do with it and of
Zeno between them, while the CPU is never idle.
"""

import re
import sys
import tempfile
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))
sys.path.insert(0, str(ROOT / "tools"))

import mkfiles  # noqa: E402
from bench import measured  # noqa: E402
from zeno.machines import machine  # noqa: E402

GUEST = ROOT / "build/guest/pv-bench.elf"
HOST = ROOT / "build/lab8-solution/zeno.mb"
LIMIT = machine.Limits(instructions=1_000_000_000)
ROWS = {  # Xen's, the aim, and the most that it may be
    "null hypercall": (278, 160, 142),
    "unknown hypercall": (235, None, 156),
    "multicall of 8, each": (236, None, 225),
    "update_va_mapping, the same": (599, None, 206),
    "update_va_mapping, W on and off": (890, 250, 249),
    "... with INVLPG": (956, None, 268),
    "... 32 in a multicall, each": (None, None, 296),
    "mmu_update of 1": (1067, 350, 334),
    "mmu_update of 32, each": (667, 150, 146),
    "MACHPHYS_UPDATE": (533, None, 261),
    "write to a page table": (1883, 700, 700),
    "unpin and pin L1, each entry": (368, 120, 80),
    "INVLPG_LOCAL": (487, None, 306),
    "TLB_FLUSH_LOCAL": (501, None, 304),
    "NEW_BASEPTR, the same": (609, None, 428),
    "stack_switch": (245, None, 135),
    "set_segment_base": (252, None, 150),
    "#UD to its handler, and iret": (816, None, 665),
    "#PF to its handler, and iret": (814, 450, 611),
    "event to itself, masked": (503, None, 380),
    "event to itself, upcall, iret": (1271, 600, 945),
    "grant map and unmap": (2770, 800, 1284),
    "grant copy of 4 KiB": (2133, 900, 1030),
    "... 16 of them, each": (777, None, 855),
    "a frame back, and a new one": (2682, 1341, 1550),
}

DISK = ROOT / "build/guest/pv-disk.elf"
NET = ROOT / "build/guest/pv-net.elf"
DOM0 = ROOT / "build/guest/dom0.elf"
REQUESTS = {  # the most that it may be
    "block read of 4 KiB": 12_100,
    "block write of 4 KiB": 12_100,
    "... 16 in flight, read, each": 2_900,
    "... 16 in flight, write, each": 2_900,
    "block flush": 10_200,
}
FRAMES = {  # the most that it may be
    "frame to dom0": 13_400,
    "... 16 in flight, each": 3_650,
    "frame to dom0 and back": 16_400,
    "... 16 of them, each": 6_950,
    "frame to a domain and back": 28_600,
    "... 16 to it, each": 8_500,
}
REQUEST = re.compile(r"^d\d\| (.+): \d+ (\d+) \d+\nd\d\| \1, events of 100: (\d+) out, (\d+) in$", re.M)


def medians():
    """{row: instructions}; of a guest that did not come to its end it has not all."""
    run = machine.boot(kernel=HOST, cpu="pv", icount=True, limits=LIMIT, modules=[(GUEST, "")],
                       cmdline="panic=off -- start pv-bench; off")
    rows = measured(run.text().replace("\r", ""))
    run.cleanup()
    return {name: median for name, (_, median, _) in rows.items()}


def rows_of(typed, **files):
    """{row: (instructions, events that the front end sends for a hundred, and takes)} of the domain that prints them."""
    with tempfile.NamedTemporaryFile(suffix=".cpio") as disk:
        disk.write(mkfiles.archive(files))
        disk.flush()
        run = machine.boot(kernel=HOST, cpu="pv", icount=True, limits=LIMIT, modules=[(DOM0, ""), (Path(disk.name), "")],
                           cmdline=f"panic=off -- start dom0 mem=24 module={Path(disk.name).stem} -- input={typed}; off")
    text = run.text().replace("\r", "")
    run.cleanup()
    return {name: tuple(map(int, numbers)) for name, *numbers in REQUEST.findall(text)}


def requests():
    """Those of a disk."""
    config = b"name='disk'; kernel='pv-disk'; memory=8; extra='bench'; disk=['img,,xvda']\n"
    return rows_of("0#~|create~disk.cfg_|0#~||0#~|halt_", **{"disk.cfg": config, "img": bytes(1 << 17), "pv-disk": DISK.read_bytes()})


def frames():
    """Those of a network: the longest frames, to dom0 and to another domain."""
    config = "name='{0}'; kernel='pv-net'; memory=8; extra='{1}'; vif=['ip={2}']\n"
    return rows_of("0#~|create~b_|y>~|create~a_|0#~||0#~|halt_", a=config.format("a", "bench=10.0.2.8", "10.0.2.7").encode(),
                   b=config.format("b", "serve", "10.0.2.8").encode(), **{"pv-net": NET.read_bytes()})


def shown(title, who, rows, most):
    """The rows are printed; those that are dearer than they may be."""
    if set(rows) != set(most):
        return [f"{who} did not print its rows"]
    print(f"\n{title}, in instructions of all domains and Zeno; and events of a hundred of them\n")
    print(f"  {'':34}{'pv':>6}{'out':>7}{'in':>7}")
    for name, (median, sent, came) in rows.items():
        print(f"  {name:34}{median:>6}{sent:>7}{came:>7}")
    return [f"{name} takes {row[0]}, and may take {most[name]}" for name, row in rows.items() if row[0] > most[name]]


def main():
    rows = medians()
    if set(rows) != set(ROWS):
        print("bench: pv-bench did not print its rows", file=sys.stderr)
        return 1
    print("\nA PV guest's calls, in instructions from guest to guest (median of 200; QEMU, -icount shift=0)\n")
    print(f"  {'':34}{'pv':>6}{'Xen':>7}{'aim':>7}")
    for name, median in rows.items():
        xen, aim, _ = ROWS[name]
        print(f"  {name:34}{median:>6}{xen or '':>7}{aim or '':>7}{'  over it' if aim and median > aim else ''}")
    more = shown("A request to dom0's disk", "pv-disk", requests(), REQUESTS)
    more += shown("A frame of 1,514 bytes", "pv-net", frames(), FRAMES)
    more += [f"{name} takes {median}, and may take {ROWS[name][2]}" for name, median in rows.items() if median > ROWS[name][2]]
    print("".join(f"bench: {words}\n" for words in more), end="", file=sys.stderr)
    return 1 if more else 0


if __name__ == "__main__":
    try:
        sys.exit(trouble.plain(main, 0, 0))
    except machine.MachineMissing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        sys.exit(1)
