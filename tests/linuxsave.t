#!/usr/bin/env python3
"""Debian's Linux, with two CPUs, a disk and a program at work, is put away on a drive by dom0's `save`, and goes on by `restore`.

What it knew before it says behind it: a shell's variable, a file of its RAM disk, a file on its disk, of which a part was written
before, and the rest is written by a program that did not end meanwhile. Numbers are drawn here. It takes 13 s of CPU: with ZENO_ALL=1.
"""

import hashlib
import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
import xenlinux  # noqa: E402
from dom0 import archive, config, ext2, shown, start  # noqa: E402
from engine import guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

LINUX = linux_guest.LINUX_64
LIMIT = machine.Limits(instructions=120_000_000_000, cpu_seconds=120)
LEAVE = "\x14"
ROOM = 192 << 20


def saved(kernel):
    """One boot: a session, a shell that begins what it does not end, there and back, and the end of it."""
    draw = random.Random()
    first, count, known = draw.randrange(10**5, 9 * 10**5), draw.randrange(9000, 12000), draw.randrange(1000, 9000)
    numbers = "".join(f"{n}\n" for n in range(first, first + count)).encode()
    said = {linux_guest.INSERT: "", "mount -t devtmpfs d /dev; mkdir /mnt; mount -t ext2 /dev/xvda /mnt": "", f"seq {first} {first + count - 1} > /mnt/n": "",
            "cp /mnt/n /tmp/n; sync": "", "echo 'for n in 1 2 3 4; do cat /tmp/n; sleep 2; done > /mnt/slow; md5sum < /mnt/slow > /tmp/sum' > /tmp/s": "",
            "echo 'wait; echo 3 > /proc/sys/vm/drop_caches; md5sum /mnt/n /tmp/n /mnt/slow /tmp/sum; echo x is $x; nproc' > /tmp/e": ""}
    initrd = linux_guest.make_initrd(LINUX, xenlinux.typed(said), folder() / "initrd64", "xen")
    files = archive(**{"l.cfg": config("linux", kernel="linux-pv", ramdisk="initrd64", memory=128, vcpus=2, extra=xenlinux.WORDS, disk=["fs,raw,xvda,rw"]),
                       "linux-pv": kernel.read_bytes(), "initrd64": initrd.read_bytes(), "fs": ext2("2M", motd=b"here\n")})
    image = folder() / "hda"
    image.write_bytes(b"")
    os.truncate(image, ROOM)
    steps = [("0# ", "create l.cfg\n"), ("0# ", f"console 2\n\nx={known}\nsh /tmp/s &\necho -n k1 && sleep 1\n"), ("k1", LEAVE), ("0# ", "save linux phy:hda\n"),
             ("0# ", "list\n"), ("0# ", "restore phy:hda\n"),
             ("0# ", "console linux\n\n. /tmp/e\nexit\n"),
             ("0# ", "halt\n")]
    result = machine.boot(kernel=str(ROOT / "build/lab8-solution/zeno.mb"), cpu="pv", mem=512, limits=LIMIT, modules=[(guest("dom0"), ""), (files, "")], idle=False,
                          extra=("-drive", f"file={image},format=raw,if=ide,index=0"), cmdline=f"panic=off -- {start(96, *steps)}; audit; off")
    console = result.text()
    result.cleanup()
    text = shown(console, "linux")
    ok("linux is saved in phy:hda: " in text and "d2 linux: ended: guest was put away" in text and "linux is back" in text, "Linux is put away, and is back", text=text[-6000:])
    sums = dict((name, digest) for digest, name in re.findall(r"^(\w{32}) +(\S+)$", text, re.M))
    ok(sums.get("/mnt/n") == sums.get("/tmp/n") == hashlib.md5(numbers).hexdigest(), "it has the files that it had, on its disk, too", sums=sums, text=text[-6000:])
    slow = hashlib.md5(numbers * 4).hexdigest()
    ok(sums.get("/mnt/slow") == slow and sums.get("/tmp/sum") == hashlib.md5(f"{slow}  -\n".encode()).hexdigest(),
       "a program that was at work ends it, and its disk has all", sums=sums, want=slow, text=text[-6000:])
    ok(f"x is {known}\n2\n" in text, "its shell knows what it knew, on two CPUs", text=text[-6000:])
    ok("linux has ended: guest powered off" in text and "audit: 0 differences" in console and not re.search(xenlinux.COMPLAINS, console),
       "and it halts, without a complaint", text=text[-6000:])


def main():
    if not os.environ.get("ZENO_ALL"):
        skip("Debian's Linux is put away", "13 s of CPU: with ZENO_ALL=1")
        finish()
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux is put away", f"it could not be fetched: {why}")
        finish()
    saved(kernel)
    finish()


main()
