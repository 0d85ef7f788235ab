#!/usr/bin/env python3
"""A guest's PCI bus and IDE disk, from a guest that means them no good, on AMD-V and on VT-x; what can't be started with one.

Linux uses the disk in tests/linux64.t; by the manuals' tables it is tested in tests/unit/ide.c and pci.c.
"""

import shutil
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, assembled, folder  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

SECTORS = 4096
WORDS = "platform=pc-apic mmu={} disk=sectors"


def sectors():
    """A disk whose sectors begin with their numbers."""
    path = folder() / "sectors"
    path.write_bytes(b"".join(struct.pack("<I", n).ljust(512, b"\0") for n in range(SECTORS)))
    return path


def short(size):
    """A disk of that many bytes."""
    path = folder() / f"of{size}"
    path.write_bytes(b"\1" * size)
    return path


def contained(engine, where, mode):
    """All is refused; DMA over its own page tables ends it, and the next one finds its disk."""
    start = f"start hostile {WORDS.format(mode)}"
    text = engine.host([start, f"{start} -- t", start, "disk", "start hello"], [assembled("disk/hostile.asm"), "hello", sectors()], where)
    parts = text.split("K> start ")[1:]
    ok(len(parts) == 4 and all("hostile: ended: exit code 0" in parts[n] for n in (0, 2)),
       f"{where}, mmu={mode}: a hostile guest's accesses are refused, and its disk works", text=text)
    ok(len(parts) == 4 and "hostile: stopped: " in parts[1] and "exit code" not in parts[1],
       f"{where}, mmu={mode}: DMA over its own page tables ends it", text=text)
    ok(len(parts) == 4 and "hello: ended: exit code 0" in parts[3], f"{where}, mmu={mode}: and a guest behind them runs", text=text)


def refusals(engine):
    """A platform without disks, a disk that is not there, one that another guest has, and one of no sector."""
    words = WORDS.format("flat")
    text = engine.host([f"start hostile {words} & -- s", f"start hostile {words}", "stop d1", f"start hostile {words}",
                        "start hostile disk=sectors", f"start hostile {words}x"], [assembled("disk/hostile.asm"), sectors()])
    ok("disk sectors is d1's" in text and "disk= is for a platform that has one: platform=pc-apic" in text
       and text.count("hostile: ended: exit code 0") == 1 and "guests to start: hostile sectors" in text,
       "a disk is one guest's, on a platform that has disks", text=text)
    sizes = (1, 511, 512, 1023)
    text = engine.host([f"start hello platform=pc-apic disk=of{size}" for size in sizes] + ["disk"],
                       ["hello", *map(short, sizes)])
    ok(all(f"disk of{size} has no whole sector of 512 bytes" in text for size in (1, 511)) and "disk of1023, 1 sectors" in text
       and text.count("hello: ended: exit code 0") == 2, "a disk has a sector at least", text=text)


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of Lab 5 builds", out=built.out)
    svm = Engine("5", "svm")
    refusals(svm)
    for mode in ("flat", "nested"):
        contained(svm, "qemu", mode)
    if shutil.which("bochs"):
        contained(Engine("5", "vmx"), "bochs", "nested")
    else:
        skip("the same on Bochs", "Bochs is not installed: make demo installs it")
    finish()


if __name__ == "__main__":
    main()
