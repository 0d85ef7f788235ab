#!/usr/bin/env python3
"""Fetches Debian's PvGrub, GRUB as a PV kernel that nobody here wrote, as a guest: build/xen/pvgrub.

It comes as tools/linux_guest.py brings Linux: nothing is installed. Then

    make qemu LAB=7 SOLUTION=1 APPEND="-- start pvgrub"

`xen_guest.py linux` makes Debian's Linux as dom0 wants it, an ELF file and its RAM disk, which has Xen's drivers and types
guest/linux/drivers: build/linux64/linux-pv, pv/initrd64. With the RAM disk pv/initrdback it has a disk for others, and a
back end for it, as guest/linux/back says.
The status is 1, after one line, if the network or the package is missing.
"""

import os
import subprocess
import sys

import linux_guest
import trouble
import vmlinux

PVGRUB = linux_guest.System("amd64", linux_guest.PLACE.with_name("xen"), {},
                            {"pvgrub": ("grub-xen-host", "usr/lib/grub-xen/grub-x86_64-xen.bin")}, "", b"")
DRIVERS = linux_guest.ROOT / "guest/linux/drivers"
BACK = linux_guest.ROOT / "guest/linux/back"
RAM_DISK = linux_guest.LINUX_64.place / "pv/initrd64"


def linux_pv():
    """Debian's 64-bit Linux, fetched, and as the ELF file that a PV domain starts from. Raises NoGuest."""
    linux_guest.bring(linux_guest.LINUX_64)
    packed, plain = (linux_guest.LINUX_64.place / name for name in ("linux64", "linux-pv"))
    if not plain.is_file() or plain.stat().st_mtime < packed.stat().st_mtime:
        plain.write_bytes(vmlinux.unpacked(packed.read_bytes()))
    return plain


def main():
    """The command line."""
    try:
        if sys.argv[1:] == ["linux"]:
            linux_pv()
            RAM_DISK.parent.mkdir(exist_ok=True)
            linux_guest.make_initrd(linux_guest.LINUX_64, DRIVERS.read_bytes(), RAM_DISK, "xen", "xen-net")
            linux_guest.make_initrd(linux_guest.LINUX_64, BACK.read_bytes(), RAM_DISK.with_name("initrdback"), "xen-back")
            return 0
        linux_guest.bring(PVGRUB)
    except (linux_guest.NoGuest, OSError, subprocess.SubprocessError) as error:
        print(f"no PvGrub: {error}", file=sys.stderr)
        return 1
    print(f"{os.path.relpath(PVGRUB.place, linux_guest.ROOT)}: {(PVGRUB.place / 'version').read_text().strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main, 0, 1))
