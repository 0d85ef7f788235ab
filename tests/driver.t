#!/usr/bin/env python3
"""A driver domain: the back end of a disk in a domain of its own, which has the machine's IDE channel. It is killed under load.

`pv-driver` serves the drive to `pv-disk`, which writes numbers that grow, says those that are acknowledged, and goes on over
the back end's death, whenever that was. What the image outside holds then is no number older than one that was acknowledged
there. Driver domains that end at any step of the handshake, or do anything, end nobody else, and no frame is lost.

With ZENO_ALL=1 the front end is Debian's xen-blkfront, too, which dies under load: 10 s of CPU.
"""

import os
import random
import re
import struct
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
SECTORS = 512
FLIGHT = 8
CHANNEL = {"ioports": ["1f0-1f7", "3f6"], "irqs": [14]}
DISK = "/dev/hda,raw,xvda,w,backend=drv"


def driver(extra="", **keys):
    return config("drv", kernel="pv-driver", extra=extra, **CHANNEL, **keys)


def booted(steps, image=None, **files):
    """What is said, with dom0's shell in between: each of the starts; and the image behind it."""
    files |= {name: guest(name).read_bytes() for name in ("pv-disk", "pv-driver")}
    path = folder() / "hda"
    path.write_bytes(image or bytes(SECTORS * 512))
    said = PV.host(["start pv-hello", "frames", *(start(24, *some) for some in steps), "audit", "start pv-hello", "frames"],
                   [guest("dom0"), archive(**files), "pv-hello"], extra=("-drive", f"file={path},format=raw,if=ide,index=0"))
    free = re.findall(r"^ *free +(\d+) frames", said, re.M)
    ok("audit: 0 differences" in said and len(free) == 2 and free[0] == free[1], "no frame is lost", text=said[-2000:])
    return [shown(part) for part in each(said)[1:-1]], path.read_bytes()


def acknowledged(text):
    """[(number, first sector, sectors)]"""
    return [tuple(map(int, one)) for one in re.findall(r"^d\d+\| ack (\d+) at (\d+), (\d+)$", text, re.M)]


def older(acks, image):
    """Sectors that hold anything but the last number that was acknowledged there, or a later one: {sector: (that, what it holds)}"""
    last = {}
    for number, at, sectors in acks:
        last |= dict.fromkeys(range(at, at + sectors), number)
    held = {sector: set(struct.unpack_from("<64Q", image, sector * 512)) for sector in last}
    return {sector: (number, held[sector]) for sector, number in last.items() if len(held[sector]) != 1 or min(held[sector]) < number}


def killed():
    """Killed by dom0 some writes behind a cue, and made anew: what was acknowledged is on the disk, or newer."""
    draw = random.Random()
    kills = 3
    words = f"log={draw.randrange(10, 40)} lives={kills + 1} seed={draw.randrange(1, 1000)}"
    steps = [*shell("create d", "create f")]
    for _ in range(kills):
        steps += [("w> ", "destroy drv\n"), ENDS, *shell("create d")]
    parts, image = booted([[*steps, ENDS, *shell("destroy drv"), ENDS, *shell("halt")]], **{
        "d": driver(), "f": config("front", kernel="pv-disk", disk=[DISK], extra=words)})
    text, acks = parts[0], acknowledged(parts[0])
    ok(acks and [number for number, _, _ in acks] == list(range(1, len(acks) + 1)) and "d3| 0 wrong; the end" in text,
       "each write is acknowledged, over its back end's deaths", text=text[-3000:])
    ok(text.count("drv has ended: by dom0") == kills + 1 and text.count("| back end ") == kills, "... which came, each time, under load",
       text=text[-3000:])
    ok(not older(acks, image), "no sector of the image outside is older than what was acknowledged there", old=older(acks, image), text=text[-3000:])


STEPS = range(1, 8)


def harmful():
    """Driver domains that end at any step, and one that does anything: who waits for a disk waits, and dom0 goes on."""
    files = {"f": config("front", kernel="pv-disk", disk=[DISK], extra=f"log=5 lives=2"), "d": driver(), "h": driver("harm"),
             "r": config("r", kernel="pv-disk", disk=[DISK], extra="log=9 lives=1"),
             "q": config("quiet", kernel="pv-disk", disk=["img,,xvda"], extra="rounds=3"), "img": bytes(64 * 512)}
    files |= {f"{n}": driver(f"die={n}") for n in STEPS}
    starts = [[*shell("create d", "create f"), ("w> ", "destroy drv\n"), ENDS, *(step for n in some for step in (*shell(f"create {n}"), ENDS)),
               *shell("create d"), ENDS, *shell("destroy drv"), ENDS, *shell("halt")] for some in (STEPS[:4], STEPS[4:])]
    starts.append([*shell("create d", "create f"), ("w> ", "destroy front\n"), ENDS, *shell("create r"), ENDS, *shell("destroy drv"), ENDS, *shell("halt")])
    starts.append([*shell("create h", "create f"), ENDS, *shell("create q"), ENDS, ENDS, *shell("list", "halt")])
    *ends, anew, harms = booted(starts, **files)[0]
    ok(sum(part.count("drv has ended: it says that it has crashed") for part in ends) == len(STEPS) and all("d3| 0 wrong; the end" in part for part in ends),
       "a front end waits for a back end that does not end at any step", text="".join(ends))
    ok("front has ended: by dom0" in anew and "d3| 0 wrong; the end" in anew, "a front end dies under load, and another one comes under its number",
       text=anew[-3000:])
    ok("d2| nothing has come of it" in harms and "d2| WRONG" not in harms and "drv has ended: it says that it has crashed" in harms,
       "one that does anything comes to its own end", text=harms[-6000:])
    ok("| 0 wrong; the end" in harms and "quiet has ended: guest powered off" in harms, "... and to nobody else's", text=harms[-6000:])


# ---- with a front end that nobody here wrote ----

LINUX = linux_guest.LINUX_64
LIMIT = machine.Limits(instructions=200_000_000_000, cpu_seconds=200)
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=4"
FRONT = [linux_guest.INSERT, "mount -t devtmpfs d /dev; until [ -b /dev/xvda ]; do sleep 1; done",
         "seq 100000 140000 | head -c 262144 > /tmp/n; dd if=/tmp/n of=/dev/xvda bs=4096 conv=fsync 2> /tmp/e; echo 3 > /proc/sys/vm/drop_caches",
         "crc32 < /dev/xvda", "echo goes o$((0))n; while :; do dd if=/tmp/n of=/dev/xvda bs=4096 conv=fsync 2> /tmp/e; done"]
NUMBERS = "".join(f"{n}\n" for n in range(100000, 140001))[:262144].encode()


def with_linux(kernel, starts, **files):
    """What is said in each of the starts; the image behind it."""
    session = "".join(f"{line}\n" for line in FRONT).encode()
    files["il"] = linux_guest.make_initrd(LINUX, session, folder() / "il", "xen").read_bytes()
    files |= {name: guest(name).read_bytes() for name in ("pv-disk", "pv-driver")} | {"linux-pv": kernel.read_bytes(), "d": driver()}
    path = folder() / "hda"
    path.write_bytes(bytes(SECTORS * 512))
    commands = "; ".join(("start pv-hello", "frames", *(start(96, *some) for some in starts), "audit", "start pv-hello", "frames"))
    result = machine.boot(kernel=PV.kernel, cpu="pv", mem=640, limits=LIMIT, idle=False, cmdline=f"panic=off -- {commands}; off",
                          modules=[(guest("dom0"), ""), (archive(**files), ""), (guest("pv-hello"), "")],
                          extra=("-drive", f"file={path},format=raw,if=ide,index=0"))
    said = result.text()
    result.cleanup()
    free = re.findall(r"^ *free +(\d+) frames", said, re.M)
    ok("audit: 0 differences" in said and len(free) == 2 and free[0] == free[1], "no frame is lost", text=said[-2000:])
    return [shown(part, "drv", "l") for part in each(said)[1:-1]], path.read_bytes()


def sums(text):
    """What both ends say of the disk, in their order: our front end, and Linux."""
    return [int(crc, 16) for crc in re.findall(r"^(?:d\d\| vbd \d+: crc32 |zeno# crc32 .*\n)(\w+)$", text, re.M)]


def linux_in_front(kernel):
    """Debian's xen-blkfront on our driver domain, which goes on when its front end has died under load."""
    files = {"l": config("l", kernel="linux-pv", ramdisk="il", memory=192, disk=[DISK], extra=WORDS),
             "f": config("f", kernel="pv-disk", disk=[DISK], extra="rounds=5")}
    steps = [*shell("create d", "create l"), ("o0n", "\n"), *shell("destroy l"), ENDS, *shell("create f"), ENDS, *shell("destroy drv"), ENDS, *shell("halt")]
    (text,), image = with_linux(kernel, [steps], **files)
    said = sums(text)
    ok(len(said) == 2 and said[0] == zlib.crc32(NUMBERS), "Linux' front end reads what it has written", text=text[-5000:], said=said)
    ok("l has ended: by dom0" in text and "| 0 wrong; the end" in text and said[1:] == [zlib.crc32(image)],
       "... and behind its death under load ours has the disk: what is in the image outside", text=text[-5000:], said=said)


def linuxes():
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux in front", f"it could not be fetched: {why}")
        return
    linux_in_front(kernel)


def main():
    killed()
    harmful()
    if os.environ.get("ZENO_ALL"):
        linuxes()
    finish()


if __name__ == "__main__":
    main()
