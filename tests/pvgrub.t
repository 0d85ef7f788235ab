#!/usr/bin/env python3
"""Debian's PvGrub, a PV kernel that nobody here wrote: to its prompt on its console's ring, and what is typed there.

It makes page tables of its own for all of its memory, and looks for disks in its store, which has none.
tools/xen_guest.py fetches it.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from engine import BUILD, LIMIT  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tools")]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

START = "mem=32 -- input=grub>~|echo~zeno-$grub~types_|grub>~|ls_|grub>~|halt_"
CURSOR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def grub(where):
    """What it prints, as bytes, and how it ends."""
    setup = boot_from(where, BUILD / "lab7-solution/zeno.mb", f"panic=off -- start pvgrub {START}; off",
                      [xen_guest.PVGRUB.place / "pvgrub"])
    result = machine.boot(**setup, cpu="pv", limits=LIMIT, mem=128)
    said = CURSOR.sub(b"", b"".join(bytes.fromhex(line.split()[1]) for _, line in result.tagged("out")))
    console = result.text()
    result.cleanup()
    for words in (b"GNU GRUB  version", b"zeno- types", b"(memdisk) (proc)"):
        ok(words in said, f"{where}: PvGrub says {words.decode()}", console=console[-3000:])
    ok("pvgrub: ended: guest powered off" in console, f"{where}: and switches itself off", console=console[-3000:])


def main():
    try:
        linux_guest.bring(xen_guest.PVGRUB)
    except linux_guest.NoGuest as why:
        skip("Debian's PvGrub", f"it could not be fetched: {why}")
        finish()
    done = run("make", "-s", "-C", ROOT, "pvgrub")
    ok(done.status == 0 and "grub-xen-host" in done.out, "make pvgrub, which fetches it, needs no lab", out=done.out)
    for where in ("qemu", "bochs"):
        grub(where)
    finish()


main()
