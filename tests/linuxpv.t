#!/usr/bin/env python3
"""Debian's 64-bit Linux, which nobody here wrote, as a PV domain that dom0 makes: to a shell on hvc0, and halted from there.

Its kernel and its RAM disk are files of dom0's, which has the other end of its console and the store that it asks. The session and what is typed into the shell carry numbers that are drawn here, so no line of the output can be known
before. It has two CPUs, which are both busy, and call each other. Its own balloon gives memory back, and takes it again, as dom0's `mem-set` wants, and its
second CPU goes and comes back, as `vcpu-set` wants. It runs a program of 32 bits. A boot takes 10 s of CPU; with ZENO_ALL=1 there is another, in which dom0
asks it for a reboot, and it boots on Bochs, too, in 230 s.
"""

import base64
import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
import xenlinux  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import mkfiles  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

LINUX = linux_guest.LINUX_64

WAIT = 'o=/sys/devices/system/cpu/cpu1/online; until grep -q "l: *$1" /proc/meminfo && [ $(nproc) = $2 ]; do sleep 1; ' \
       '[ $2 = 1 ] || (echo 1 > $o) 2> /dev/null; done; sleep 1; nproc; grep MemT /proc/meminfo; echo -n k$1; sleep 1'
"""MemTotal begins so, and it has so many CPUs (one that may be on again waits for somebody to say so); both a second later, and a prompt for who types."""
CALLED = "awk '/ timer0/ && $2 || / timer1/ && $3 || /(resched|callfuncsingle)1/ && $3 {n++} END {print (n > 2)}' /proc/interrupts"
"""Both its CPUs have their timer, and the second one is called by the first."""
BUSY = "(for c in 1 2; do taskset $c sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done; cut -d\" \" -f39 /proc/self/stat' & done; wait) | sort"
"""A program for each CPU, which says at its end where it is."""


def narrow(status):
    """A line that runs tests/pv/i386.asm, which ends with that status: its kernel has another way in for it, and so has Zeno."""
    program = folder() / "i386"
    made = run("nasm", "-f", "bin", f"-DSTATUS={status}", "-o", program, ROOT / "tests/pv/i386.asm")
    if made.status:
        raise RuntimeError(made.out)
    return f"echo {base64.b64encode(program.read_bytes()).decode()} | base64 -d > /tmp/n; chmod 755 /tmp/n; /tmp/n; echo $?"


def session(draw):
    """{line that /init types: what it prints}"""
    status = draw.randrange(2, 100)
    return xenlinux.first_lines(draw) | {
        "i=0; while [ $i -lt 20 ]; do (exit $i) & wait $! || true; i=$((i + 1)); done; echo $i children": "20 children",
        "sh -c 'kill -SEGV $$'; echo died of $?": "Segmentation fault\ndied of 139",
        f"mkdir -p /sys; mount -t sysfs s /sys; echo '{WAIT}' > /bin/m; chmod 755 /bin/m; echo m": "m",
        narrow(status): f"by int 0x80\nby its vdso\n{status}", "nproc": "2", CALLED: "1", BUSY: "0\n1",
        "uptime > /tmp/u; sleep 1; [ \"$(uptime)\" ] && echo slept": "slept"}


def balloon(typed):
    """What is typed: less memory, and as much as before; one CPU, and two; Linux itself says what it has, and dom0 what it knows of."""
    leave, at = "\x14|#~|", "#~|console~2_m~"
    less = f"m~1~2_|k1|{leave}vcpu-set~2~1_mem-set~2~128_|{at}[89]~1_|k[89]|{leave}list_"
    return typed.replace("_exit_", f"_{less}vcpu-set~2~2_mem-set~2~192_|{at}1[4-9]~2_|k1[4-9]|exit_")


def look_at_balloon(text):
    """It is in the words of both."""
    before, less, after = (int(n) for n in (*re.findall(r"^MemTotal: +(\d+) kB", text, re.M), 0, 0, 0)[:3])
    ok(before - less == 64 << 10 and after == before, "mem-set: its memory is 64 MiB less, and then as before", got=(before, less, after))
    ok(re.findall(r"^linux +2 +(\d+) ", text, re.M) == ["128"], "list shows what it has", got=text[-2000:])
    ok(re.findall(r"^zeno# m .*\n(.*)$", text, re.M) == ["2", "1", "2"], "vcpu-set: one of its CPUs goes, and comes back", got=text[-2000:])


def booted(where, kernel, again=False, less=False):
    """A session on this machine; `again`: dom0 asks it for a reboot first, so that there is a second one. `less`: for memory."""
    draw = random.Random()
    said, first, second = session(draw), draw.randrange(1000, 10**4), draw.randrange(1000, 10**4)
    initrd = linux_guest.make_initrd(LINUX, xenlinux.typed(said), folder() / "initrd64")
    config = f'name="linux"; kernel="linux-pv"; ramdisk="initrd64"; memory=192; vcpus=2; extra="{xenlinux.WORDS}"\n'
    files = folder() / "files.cpio"
    files.write_bytes(mkfiles.archive({"l": config.encode(), "linux-pv": kernel.read_bytes(), "initrd64": initrd.read_bytes()}))
    typed = f"#~|create~l_|#~|console~2__echo~$(({first}*{second}))~typed_exit_|0#~|halt_"
    if less:
        typed = balloon(typed)
    if again:
        typed = typed.replace("_exit_", f"_echo~-n~$(({second}+{first}))~&&~sleep~3_|{first + second}|\x14|dom0#~|reboot~linux_|dom0#~||"
                                        "dom0#~|console~linux__exit_")
    console, text = xenlinux.booted(where, 8, "pv", [f"start dom0 mem=96 module=files -- input={typed}", "audit"],
                                    [ROOT / "build/guest/dom0.elf", files], 512)
    xenlinux.check(where, console, text, said, first * second)
    if less:
        look_at_balloon(text)
    if again:
        ok(text.count(xenlinux.expected(said)) == 2 and "linux has ended: guest has asked for a reboot" in text,
           f"{where}: it reboots when dom0 asks, and comes again", got=text[-3000:])
    ok("d2 linux: ended: guest powered off" in console and "linux has ended: guest powered off" in text,
       f"{where}: and it halts, which ends the domain, and dom0 is told", console=console[-2000:])
    ok("audit: 0 differences" in console, f"{where}: which had nothing of it mapped behind that", console=console[-2000:])


def main():
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux as a PV domain", f"it could not be fetched: {why}")
        finish()
    booted("qemu", kernel, less=True)
    if os.environ.get("ZENO_ALL"):
        booted("qemu", kernel, again=True)
    if os.environ.get("ZENO_ALL") and not machine.missing("bochs"):
        booted("bochs", kernel)
    finish()


if __name__ == "__main__":
    main()
