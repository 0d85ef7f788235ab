#!/usr/bin/env python3
"""Debian's 64-bit Linux, which nobody here wrote, as a guest of AMD-V with Xen's services: a domain that dom0 makes.

It is entered by its PVH note, finds Zeno by CPUID, and has its clock, its timer and its console from there: by hypercalls, and by the
upcall's vector beside its APICs. dom0 has the other end of its console and its store, and is its disk and its network: an ext2 that was
made here is written and read back, and has the same CRC for both. The session and what is typed carry numbers that are drawn here, so no
line of the output can be known before. A boot takes 14 s of CPU; with ZENO_ALL=1 the monitor starts it without dom0, and it boots on
Bochs, too, by VT-x.
"""

import os
import random
import re
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
import xenlinux  # noqa: E402
from dom0 import archive, config, ext2, shell, start  # noqa: E402
from engine import guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

LEAVE = "\x14"  # Ctrl-T: the console's
KNOWS = ("Booting kernel on Xen PVH", "Xen HVM callback vector for event delivery is enabled", "Switched to clocksource xen",
         "installing Xen timer for CPU 0", "Grant tables using version 1 layout")
MINE, DOM0 = "10.0.2.77", "10.0.2.1"
WAIT = 'until grep -q "l: *$1" /proc/meminfo; do sleep 1; done; sleep 1; grep MemT /proc/meminfo; echo -n k$1; sleep 1'
"""MemTotal begins so, also a second later; and a prompt for who types."""


def session(draw):
    """{line that /init types: what it prints}"""
    return xenlinux.first_lines(draw) | {
        f"dmesg | grep -oE '{'|'.join(KNOWS)}' | sort": "\n".join(sorted(KNOWS)),
        "dmesg | grep -c 'add_to_physmap failed'": "0",
        "mkdir /s; mount -t sysfs s /s; cat /s/hypervisor/type /s/hypervisor/version/extra": "xen\n-zeno",
        "grep -cE 'xen-(dyn|percpu).* (hvc_console|timer0|xenbus)' /proc/interrupts": "3",
        "sleep 1; [ $(grep timer0 /proc/interrupts | tr -s ' ' | cut -d ' ' -f 3) -gt 20 ] && echo ticks": "ticks"}


def drivers(draw):
    """... of its xen-blkfront and xen-netfront."""
    (line, answer), = list(xenlinux.first_lines(draw).items())[2:]
    size = draw.randrange(100, 1400)
    return {linux_guest.INSERT: None, "mount -t devtmpfs d /dev; mkdir /mnt; mount -t ext2 /dev/xvda /mnt": None,
            line.replace("/tmp", "/mnt"): answer, "umount /mnt; echo 3 > /proc/sys/vm/drop_caches; mount -t ext2 /dev/xvda /mnt; md5sum < /mnt/f": answer,
            "cmp /mnt/big /dev/xvdb && umount /mnt && echo same": "same",
            "echo '[ $1 != bound ] || ifconfig $interface $ip netmask $subnet' > /bin/u; sed -i '1i#!/bin/sh' /bin/u; chmod 755 /bin/u": None,
            "ifconfig eth0 up; udhcpc -q -n -f -i eth0 -s /bin/u 2> /tmp/u; grep -o 'lease of [0-9.]*' /tmp/u": f"lease of {MINE}",
            f"ping -q -c 3 -s {size} {DOM0} | grep rec": "3 packets transmitted, 3 packets received, 0% packet loss",
            f"echo '{WAIT}' > /bin/m; chmod 755 /bin/m; echo m": "m"}


def of_dom0(where, cpu, kernel):
    draw = random.Random()
    said, first, second = session(draw) | drivers(draw), draw.randrange(1000, 10**4), draw.randrange(1000, 10**4)
    big = draw.randbytes(300 << 10)
    fs = ext2("1M", big=big)
    initrd = linux_guest.make_initrd(linux_guest.LINUX_64, xenlinux.typed([*said, "crc32 < /dev/xvda"]), folder() / "initrd64", "xen", "xen-net")
    files = archive(**{"l": config("linux", kernel="linux-pv", ramdisk="initrd64", type="pvh", memory=192, extra=xenlinux.WORDS,
                                   disk=["fs,,xvda", "big,,xvdb,r"], vif=[f"ip={MINE}"]),
                       "linux-pv": kernel.read_bytes(), "initrd64": initrd.read_bytes(), "fs": fs, "big": big})
    dom0 = start(96, *shell("create l", f"console 2\nm 1\n"), ("k1", LEAVE), *shell("mem-set 2 128", "console 2\nm [89]\n"), ("k[89]", LEAVE),
                 *shell("list", f"console 2\necho $(({first}*{second})) typed\nexit", "crc32 fs", "halt"))
    hello = "start pv-hello"
    console, text = xenlinux.booted(where, "all", cpu, [hello, dom0, "audit", hello, "frames", dom0.split(" input=")[0] + " input=0#~|create~l_|0#~|"
                                                        "destroy~linux_|0#~||0#~|halt_", hello, "frames"],
                                    [guest("dom0"), files, guest("pv-hello")], 512, icount=True)
    where = f"{where}, by dom0"
    xenlinux.check(where, console, text, said, first * second)
    at = re.search(r"zeno# crc32 < /dev/xvda\n(\w+)\n", text)
    ok(at and f"\n{int(at[1], 16):x} fs\n" in text and int(at[1], 16) != zlib.crc32(fs), f"{where}: what it has written is in dom0's file",
       got=text[-3000:])
    before, less = (int(n) for n in (*re.findall(r"^MemTotal: +(\d+) kB", text, re.M), 0, 0)[:2])
    ok(before - less == 64 << 10 and re.findall(r"^linux +2 +(\d+) ", text, re.M) == ["128"], f"{where}: its balloon gives back what mem-set wants",
       got=(before, less), text=text[-2000:])
    ok("d2 linux: ended: guest powered off" in console and "linux has ended: guest powered off" in text,
       f"{where}: it halts, which ends the domain, and dom0 is told", console=console[-2000:])
    free = re.findall(r"^ *free +(\d+) frames", console, re.M)
    ok("audit: 0 differences" in console and "linux has ended: by dom0" in text and len(free) == 2 and free[0] == free[1],
       f"{where}: and no frame is lost, of one that is destroyed at its start either", free=free, console=console[-2000:])


def alone(where, cpu, kernel):
    draw = random.Random()
    said, first, second = session(draw), draw.randrange(1000, 10**4), draw.randrange(1000, 10**4)
    initrd = linux_guest.make_initrd(linux_guest.LINUX_64, xenlinux.typed(said), folder() / "initrd64")
    command = (f"start linux-pv engine={cpu} mem=192 platform=pc-apic boot=pvh xen=1 module=initrd64 -- {xenlinux.WORDS} "
               f"input=_echo~$(({first}*{second}))~typed_exit_")
    console, text = xenlinux.booted(where, "all", cpu, [command], [kernel, initrd], 384)
    xenlinux.check(where, console, text, said, first * second)
    ok("linux-pv: ended: guest powered off" in console, f"{where}: and it halts, which ends the domain", console=console[-2000:])


def main():
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux as a PVH domain", f"it could not be fetched: {why}")
        finish()
    built = run("make", "-s", "-C", ROOT, "LAB=all", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of all labs builds", out=built.out)
    of_dom0("qemu", "svm", kernel)
    if os.environ.get("ZENO_ALL"):
        alone("qemu", "svm", kernel)
    if os.environ.get("ZENO_ALL") and not machine.missing("bochs"):
        of_dom0("bochs", "vmx", kernel)
    finish()


if __name__ == "__main__":
    main()
