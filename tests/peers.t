#!/usr/bin/env python3
"""`make bench PEERS=1`: KVM's program builds and gets the very guest that Zeno runs, and Zeno's column is measured here.

KVM's own takes two boots of Linux, and a third one with Linux as its guest, some 40 s of CPU: make check-all alone has it.
"""

import os
import re
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import bench_peers  # noqa: E402
import bench_peers_linux  # noqa: E402
import linux_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

LINE = re.compile(r"^  (\S.*?)  +(?:(\d+) +)?(\d+) +(\d+) +(\d+) +([\d.]+)(   missed)?$", re.M)
# Zeno's own, with slack: what makes one of them dearer is to be noticed.
MOST = {"cpuid": 255, "vmmcall": 415, "in, 8259": 360, "APIC EOI": 1570, "first touch": 1450, "HLT, timer": 4240,
        "port write, program": 710, "MMIO write, program": 1725, "doorbell, program": 400}


def files(archive):
    """{name: bytes} of an archive "newc"."""
    found, at = {}, 0
    while archive[at:at + 6] == b"070701":
        size, length = int(archive[at + 54:at + 62], 16), int(archive[at + 94:at + 102], 16)
        data = (at + 110 + length + 3) & ~3
        found[archive[at + 110:at + 109 + length].decode()] = archive[data:data + size]
        at = (data + size + 3) & ~3
    return found


def program():
    """It is a static program for Linux, and its guest is the file that Zeno's boot module is."""
    bench_peers.KVM.unlink(missing_ok=True)
    built = run("make", "-s", "-C", ROOT, "WERROR=1", "build/peers/kvm")
    ok(built.status == 0, "KVM's program builds without a warning", out=built.out)
    image = bench_peers.KVM.read_bytes()
    parts = run("readelf", "-lW", bench_peers.KVM).out
    ok(image[:4] == b"\x7fELF" and "INTERP" not in parts and "DYNAMIC" not in parts, "it is static", out=parts)
    data, words = bench_peers.initrd()
    held = files(data)
    ok(held.get("nano.elf") == bench_peers.NANO.read_bytes() and held.get("init") == image and words.endswith("/nano.elf"),
       "Linux is given that program, and the guest with Zeno's own bytes", names=sorted(held), words=words)


def absent():
    """It fetches nothing, and says what does."""
    done = run(sys.executable, TOOLS / "bench_peers.py", env=os.environ | {"ZENO_LINUX": str(folder() / "none")})
    ok(done.status == 1 and done.out.count("\n") == 1 and "make linux" in done.out, "without Linux: the command that is missing",
       out=done.out)


def judged(lines, whose):
    """The printed table against itself."""
    ok([line[0] for line in lines] == [row.name for row in bench_peers.ROWS], f"{whose}: each row once", lines=lines)
    for (_, _, ours, peers, aim, ratio, missed), row in zip(lines, bench_peers.ROWS):
        ours, peers, aim = int(ours), int(peers), int(aim)
        ok(aim == row.aside + (peers - row.aside) // 4 and bool(missed) == (ours > aim) and
           abs(peers / ours - float(ratio)) < .06, f"{whose}: {row.name}: aim, ratio and verdict are the numbers'",
           line=(ours, peers, aim, ratio, missed))


def cpuid():
    """What KVM's guest is told of its CPU is complete: the leaves that Linux asks for, and what AMD-V's guests have on Zeno."""
    table = bench_peers_linux.shown_cpuid()
    rows = {row[:2]: row[3:7] for row in struct.iter_unpack("<10I", table)}
    vendor = struct.pack("<3I", *(rows[0, 0][n] for n in (1, 3, 2))) if (0, 0) in rows else b""
    ok(vendor == b"AuthenticAMD" and {(n, 0) for n in range(rows[0, 0][0] + 1)} <= set(rows) and rows[0x80000001, 0][3] >> 29 & 1
       and not rows[1, 0][3] >> 9 & 1, "a CPU of AMD's with long mode and without an APIC is what KVM's Linux is told of", rows=rows)


def judged_linux(text):
    """A boot of Linux: fewer exits, and fewer instructions."""
    rows = {name: tuple(int(n.replace(",", "")) for n in (ours, peers))
            for name, ours, peers in re.findall(r"^  (exits|instructions) +([\d,]+) +([\d,]+) ", text, re.M)}
    ok(len(rows) == 2 and all(0 < ours < peers for ours, peers in rows.values()),
       "Linux boots with fewer exits and fewer instructions than on KVM", rows=rows, text=text[-1500:])


def main():
    lack = machine.missing("qemu")
    if lack:
        skip("Zeno beside KVM", lack)
        finish()
    program()
    absent()
    cpuid()
    ours = bench_peers.zenos()
    ok(set(ours) == set(MOST), "Zeno's column is complete", got=sorted(ours))
    over = {name: n for name, n in ours.items() if n > MOST[name]}
    ok(not over, "no row of it takes more than it may", over=over, most=MOST)
    ok(ours == bench_peers.zenos(), "the same numbers when measured again", ours=ours)
    if os.environ.get("ZENO_ALL") and linux_guest.here(linux_guest.LINUX_64):
        done = run("make", "-s", "-C", ROOT, "bench", "PEERS=1")
        judged(LINE.findall(done.out), "beside KVM")
        judged_linux(done.out)
        ok(done.status == 0, "make bench PEERS=1 runs to its end", out=done.out)
    else:
        skip("KVM's column", "make check-all measures it, where make linux has fetched Linux")
    finish()


if __name__ == "__main__":
    main()
