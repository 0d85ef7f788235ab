#!/usr/bin/env python3
"""The third part of `make bench PEERS=1`: what a PV guest's calls cost on Zeno, and on Debian's Xen in the same emulator.

guest/pv/bench is the same file for both, and measures itself, by the time stamp counter, which counts instructions under
QEMU's -icount. On Xen it is dom0, since a domain there would need a toolstack beside it. So is Debian's Linux, of which a boot
to its first process and to its end is counted on both, from its first instruction on, by the plugin.
"""

import struct
import sys
import tempfile
from pathlib import Path

import bench_peers
import bench_pv
import linux_guest
import mkfiles
import trouble
import vmlinux
import xen_peer
from bench import measured
from zeno.machines import machine

CHANGES = {  # what would bring a row down that misses its aim; numbers are of one, stepped through from outside
    "#PF to its handler, and iret": "60 are the guest's own. The frame is 150, the way to the handler 150, and the iret behind it a "
    "call of 250: all of it in C, with the state that the lab's functions know, put there before and fetched behind.",
    "event to itself, upcall, iret": "150 are the guest's own. It is two calls of 290 and 250, and the frame of an upcall: see #PF.",
    "grant map and unmap": "Two calls are 270; of each 100 are the request's copies, there and back; 240 the walk to the entry and its types.",
    "grant copy of 4 KiB": "524 are the copy itself, 134 the call; 150 the request's own copies, there and back.",
}
NOTES = ("The same file is the guest of both: a domain of Zeno's, and Xen's dom0. The aims are those that the rows have had from the "
         "first, whatever Xen takes today. A number is from the guest to the guest, with some ten of the guest's own around a "
         "hypercall and some 150 around an exception.")

WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=5 acpi=off pci=off"
ENTRY = b"\x04\0\0\0\x08\0\0\0\x01\0\0\0Xen\0"  # the head of the note that says where it begins (elfnote.h)
LINUX_MEMORY = 192  # MiB, on both
LIMIT = machine.Limits(instructions=20_000_000_000, cpu_seconds=400)
LINUX_NOTES = ("The same kernel, RAM disk, words and memory. Counted is from its first instruction to the end that it makes: on Xen it is "
               "dom0, and probes a machine's devices by ports that answer; on Zeno it is a domain, and our dom0, which serves its console "
               "and its store, is in the guests' part. So of both the hypervisor's part says more than the whole.")


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


def counted(run, who):
    """(all, the hypervisor's) of a boot that came to its first process and to its end."""
    text, counts, orderly = run.text(), run.counts, run.end.orderly
    run.cleanup()
    if not orderly or who == "Zeno" and "reboot: System halted" not in text:
        raise SystemExit(f"bench: Linux did not come to its end on {who}: {run.detail}\n{text[-2000:]}")
    return counts.total, counts.high


def linux():
    """Instructions of a boot of Linux on Zeno and on Xen: ((all, the hypervisor's), (...))."""
    linux_guest.bring(xen_peer.LINUX)
    packed = xen_peer.LINUX.place / "linux"
    elf = vmlinux.unpacked(packed.read_bytes())
    entry = struct.unpack_from("<Q", elf, elf.index(ENTRY) + len(ENTRY))[0]
    common = {"cpu": "pv", "mem": 700, "icount": True, "idle": False, "limits": LIMIT, "counted_from": entry}
    with tempfile.TemporaryDirectory() as name:
        disk, files = Path(name) / "initrd", Path(name) / "files"
        linux_guest.make_initrd(linux_guest.LINUX_64, b"", disk)
        config = f'name="linux"; kernel="linux-pv"; ramdisk="initrd64"; memory={LINUX_MEMORY}; extra="{WORDS}"\n'
        files.write_bytes(mkfiles.archive({"linux.cfg": config.encode(), "linux-pv": elf, "initrd64": disk.read_bytes()}))
        ours = counted(machine.boot(kernel=bench_pv.HOST, modules=[(bench_pv.ROOT / "build/guest/dom0.elf", ""), (files, "")],
                                    cmdline="panic=off -- start dom0 mem=150 module=files -- "
                                            "input=dom0#~|create~linux.cfg_|dom0#~||dom0#~|halt_; off", **common), "Zeno")
        return ours, counted(xen_peer.boot(packed, WORDS, LINUX_MEMORY, more=[(disk, "")], **common), "Xen")


def show_linux(ours, peers):
    print(f"\nA boot of Debian's Linux, {(xen_peer.LINUX.place / 'version').read_text().strip()}: instructions\n")
    print(f"  {'':22}{'Zeno':>16}{'Xen':>16}")
    for name, zeno, xen in (("all", ours[0], peers[0]), ("the hypervisor's", ours[1], peers[1])):
        print(f"  {name:22}{zeno:>16,}{xen:>16,}{'' if zeno < xen else '   missed'}")
    bench_peers.show_notes(LINUX_NOTES)


def main():
    absent = xen_peer.missing()
    if absent:
        print(f"bench: PEERS=1: {absent}", file=sys.stderr)
        return 1
    try:
        show(bench_pv.medians(), xens())
        show_linux(*linux())
    except linux_guest.NoGuest as error:
        print(f"bench: PEERS=1: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main))
