#!/usr/bin/env python3
"""The third part of `make bench PEERS=1`: what a PV guest's calls cost on Zeno, and on Debian's Xen in the same emulator.

guest/pv/bench is the same file for both, and measures itself, by the time stamp counter, which counts instructions under
QEMU's -icount. On Xen it is dom0, since a domain there would need a toolstack beside it.
"""

import sys

import bench_peers
import bench_pv
import linux_guest
import trouble
import xen_peer
from bench import measured

CHANGES = {  # what would bring a row down that misses its aim; numbers are of one, stepped through from outside
    "update_va_mapping, W on and off": "172 of two are what every call is answered by on the spot, 152 the two types that are given back and "
    "taken, 80 the walk to the entry: without its last entry kept from call to call there is no less.",
    "mmu_update of 1": "A batch has 250 once: the way in and out, the count of what is done. Nothing of it can be left out for one.",
    "mmu_update of 32, each": "Request and entry are looked at one by one, and the types that an entry gives back and takes.",
    "write to a page table": "The instruction is fetched, decoded and emulated as any is, which takes 400, in an exit, which takes 200: a "
    "mov with its operand in a register could be known by its first bytes, in a second way beside the one that is taught.",
    "#PF to its handler, and iret": "60 are the guest's own. The frame is 170, the way to the handler 150, and the iret behind it a "
    "call of 260: all of it in C, with the state that the lab's functions know, put there before and fetched behind.",
    "event to itself, upcall, iret": "150 are the guest's own. It is two calls of 300 and 260, and the frame of an upcall: see #PF.",
    "grant map and unmap": "Two calls; of each 155 are the request's copies, there and back, and its budget.",
    "grant copy of 4 KiB": "524 are the copy itself; 156 the request's own copies, there and back.",
}
NOTES = ("The same file is the guest of both: a domain of Zeno's, and Xen's dom0. The aims are those that the rows have had from the "
         "first, whatever Xen takes today. A number is from the guest to the guest, with some ten of the guest's own around a "
         "hypercall and some 150 around an exception.")


def xens():
    """{row: instructions}, of the guest as Xen's dom0."""
    run = xen_peer.boot(bench_pv.GUEST, "", 8, icount=True)
    rows = {name: median for name, (_, median, _) in measured(run.text().replace("\r", "")).items()}
    run.cleanup()
    return rows


def show(ours, peers):
    """The table, and what would bring down what misses its aim."""
    print(f"\nZeno's PV beside Debian's Xen {xen_peer.version()}: instructions from guest to guest (median of 200)\n")
    print(f"  {'':34}{'Zeno':>6}{'Xen':>7}{'aim':>7}{'Xen/Zeno':>10}")
    missed = []
    for name, (_, aim, _) in bench_pv.ROWS.items():
        zeno, xen = ours[name], peers[name]
        is_over = aim is not None and zeno > aim
        print(f"  {name:34}{zeno:>6}{xen:>7}{aim or '':>7}{xen / zeno:>10.1f}{'   missed' if is_over else ''}")
        missed += [name] if is_over else []
    for name in missed:
        print(f"\n  {name}, what would change it:")
        bench_peers.show_notes(CHANGES.get(name, "nothing that is known"))
    bench_peers.show_notes(NOTES)


def main():
    absent = xen_peer.missing()
    if absent:
        print(f"bench: PEERS=1: {absent}", file=sys.stderr)
        return 1
    try:
        show(bench_pv.medians(), xens())
    except linux_guest.NoGuest as error:
        print(f"bench: PEERS=1: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main))
