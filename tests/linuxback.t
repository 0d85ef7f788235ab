#!/usr/bin/env python3
"""Both ends of a disk meet one that nobody here wrote: who is in front, who behind, and a fault in each pair.

    front      back       reads and writes   the fault
    ours       ours       block.t            driver.t: its back end is killed under load, some times; front ends that lie (block.t)
    Linux      ours       block.t            driver.t, with ZENO_ALL=1: it is killed under load, itself
    ours       Linux      here               here: it lies, dies with requests on their way, and so does its back end
    Linux      Linux      here               here: its back end ends, and it is killed under load itself

Linux' back end is Debian's xen-blkback in a domain of its own, which dom0 brings together with each front end, over a RAM disk
(brd, which has no cache) and a file by loop (which has one). What a front end has read there, and what Linux reads below its
back end, have the same CRC. Three boots of Linux take 16 s of CPU.
"""

import random
import re
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import ENDS, archive, config, shell, shown, start  # noqa: E402
from engine import Engine, each, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

PV = Engine("8", "pv")
LINUX = linux_guest.LINUX_64
LIMIT = machine.Limits(instructions=200_000_000_000, cpu_seconds=100)
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=4"
SIZE = 256 << 10
DRAW = random.Random()
FIRST = DRAW.randrange(100000, 800000)
RAM, LOOP = "1:0", "7:0"  # as Linux numbers them

NUMBERS = b"".join(b"%d\n" % n for n in range(FIRST, FIRST + 40000))[:SIZE]
MAKE = f"seq {FIRST} {FIRST + 39999} | head -c {SIZE} > /n"
FORGET = "echo 3 > /proc/sys/vm/drop_caches"

# A prompt is not what is echoed of it. Its prompt comes before its driver: when a front end has its disk, Linux says nothing any more that could stand behind what that one says.
BACK = ["mount -t devtmpfs d /dev; mount -t tmpfs t /tmp", f"insmod /lib/*brd.ko rd_nr=1 rd_size={SIZE >> 10}", "insmod /lib/*loop.ko max_loop=1",
        f"dd if=/dev/zero of=/tmp/l bs=1k count={SIZE >> 10} 2> /dev/null; losetup /dev/loop0 /tmp/l", "echo -n back\\>\\ ; insmod /lib/*xen_blkback.ko",
        f"while read -r x < /dev/console; do {FORGET}; echo below: $(crc32 < /dev/ram0) $(crc32 < /dev/loop0); echo -n back\\>\\ ; done"]
FRONT = [linux_guest.INSERT, "mount -t devtmpfs d /dev; until [ -b /dev/xvdb ]; do sleep 1; done",
         "dmesg | grep -c 'persistent grants: enabled; indirect descriptors: enabled'; dmesg | grep -c 'flush diskcache: enabled'",
         f"{MAKE}; for d in a b; do dd if=/n of=/dev/xvd$d bs=4096 conv=fsync 2> /tmp/e; done; {FORGET}; echo $(crc32 < /dev/xvda) $(crc32 < /dev/xvdb)",
         "exec 3< /dev/xvda; echo -n goes\\>\\ ; while [ -b /dev/xvda ]; do sleep 1; done; dd bs=4096 count=1 <&3 2>&1",
         "until [ -b /dev/xvdc ]; do sleep 1; done; crc32 < /dev/xvdc",
         "echo -n busy\\>\\ ; while :; do dd if=/n of=/dev/xvdc bs=4096 conv=fsync 2> /tmp/e; done"]


def disk(numbers, vdev="xvda"):
    return f"phy:{numbers},{vdev},w,backend=b"


def ours(name, numbers, extra):
    return config(name, kernel="pv-disk", disk=[disk(numbers)], extra=extra)


def session(lines, name, folder_of_modules):
    return linux_guest.make_initrd(LINUX, "".join(f"{line}\n" for line in lines).encode(), folder() / name, folder_of_modules).read_bytes()


def below(prompt="0# "):
    """Linux is asked what it has below its back end."""
    return [(prompt, "console b\n\n"), ("k> ", "\x14")]


FILES = {"f": ours("f", RAM, f"rounds=5 seed={DRAW.randrange(1, 500)}"), "c": ours("c", LOOP, f"rounds=5 flushes seed={DRAW.randrange(500, 1000)}"), "r": ours("r", RAM, "harm=requests"),
         "a": ours("a", LOOP, "harm=any count=40"), "e": ours("e", LOOP, "die=6"), "g": ours("g", LOOP, "log=20 lives=3")}
STEPS = [*shell("create b"), ("k> ", "create f\n"), ENDS, *shell("create c"), ENDS, *below(),
         *(step for name in "rae" for step in (*shell(f"create {name}"), ENDS)), *shell("create l"), *below("s> "), *shell("create g"),
         ("w> ", "destroy b\n"), ENDS, *shell("block-detach l xvda", "block-detach l xvdb", "create b"), ("w> ", "destroy g\n"), ENDS,
         *shell(f"block-attach l {disk(RAM, 'xvdc')}"), ("y> ", "destroy l\n"), ENDS, *below(), *shell("destroy b"), ENDS, *shell("halt")]


def said(kernel):
    """All that is said, by dom0 too, without who says it."""
    files = {"ib": session(BACK, "ib", "xen-back"), "il": session(FRONT, "il", "xen"), "linux-pv": kernel.read_bytes(),
             "pv-disk": guest("pv-disk").read_bytes(), "b": config("b", kernel="linux-pv", ramdisk="ib", memory=160, extra=WORDS),
             "l": config("l", kernel="linux-pv", ramdisk="il", memory=160, extra=WORDS, disk=[disk(RAM), disk(LOOP, "xvdb")])} | FILES
    typed = start(96, *STEPS)
    result = machine.boot(kernel=PV.kernel, cpu="pv", mem=640, limits=LIMIT, idle=False,
                          cmdline=f"panic=off -- start pv-hello; frames; {typed}; audit; start pv-hello; frames; off",
                          modules=[(guest("dom0"), ""), (archive(**files), ""), (guest("pv-hello"), "")])
    text = result.text()
    result.cleanup()
    free = re.findall(r"^ *free +(\d+) frames", text, re.M)
    ok("audit: 0 differences" in text and len(free) == 2 and free[0] == free[1], "no frame is lost", text=text[-2000:])
    return shown(each(text)[1])


def look(text):
    """By who it is about."""
    sums = re.findall(r"^d\d+\| vbd 51712: crc32 (\w+)$", text, re.M)
    under = [one.split() for one in re.findall(r"^below: (.*)$", text, re.M)]
    ok(len(sums) == 2 and text.count("| 0 wrong; the end") == 2 and under and [int(n, 16) for n in under[0]] == [int(n, 16) for n in sums],
       "our front end reads and writes on Linux' back end, and flushes its cache: Linux has what it has read", sums=sums, under=under, text=text[-6000:])
    ok(text.count("| 0 wrong; nothing has come of it") == 2 and "e has ended: it says that it has crashed" in text,
       "one that lies, or dies with requests on their way, is answered, and Linux goes on", text=text[-6000:])
    want = f"{zlib.crc32(NUMBERS):08x}"
    ok(re.search(rf"^l\| 2\nl\| 1\n(?:l\| zeno# .*\n)l\| {want} {want}$", text, re.M) and under[1:2] == [[want, want]],
       "Linux' front end reads what it has written on Linux' back end, with persistent grants and indirect descriptors", under=under, text=text[-6000:])
    numbers = [int(n) for n in re.findall(r"^d\d+\| ack (\d+) at", text, re.M)]
    ok(numbers and numbers == list(range(1, len(numbers) + 1)) and re.search(r"\| back end 2, from domain \d+$", text, re.M),
       "Linux' back end dies under load: our front end has another one, and each of its writes is acknowledged", text=text[-6000:])
    ok(re.search(rf"l\| 0\+0 records in\n(?:.*\n)*.*l\| {zlib.crc32(bytes(SIZE)):08x}$", text, re.M),
       "... and Linux' one is told by dom0, has nothing to read there any more, and a disk of the next back end's", text=text[-6000:])
    ok(all(f"{name} has ended: by dom0" in text for name in "gl") and len(under) == 3,
       "... which goes on when its front ends die under load, ours and Linux'", under=under, text=text[-6000:])


def main():
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux as a back end", f"it could not be fetched: {why}")
        finish()
    look(said(kernel))
    finish()


if __name__ == "__main__":
    main()
