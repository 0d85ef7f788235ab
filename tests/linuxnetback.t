#!/usr/bin/env python3
"""Network cards, as tests/linuxback.t has disks: who is in front, who behind, and a fault in each pair.

    front      back       frames       the fault
    ours       ours       net.t        net.t: front ends that lie, or end at any step; back ends that go
    Linux      ours       net.t        here: its card is taken from it while it pings
    ours       Linux      here         here: it lies, dies with frames on their way, its back end is asked to let go, and dies
    Linux      Linux      here         here: its back end dies

Linux' back end is Debian's xen-netback in a domain of its own. That domain is the one neighbour there, which answers pings: Linux
takes frames out of pages that are granted to it, and copies what it sends into others. Who waits for an
answer does so in the machine's own time, however busy ours is (icount). Three boots of Linux take 16 s of CPU.
"""

import re
import sys
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
AT = "10.0.2.1"

# A card is up a second later, at most, than it is there; a prompt is not what is echoed of it.
BACK = [linux_guest.INSERT, "mkdir /sys; mount -t sysfs s /sys",
        "echo -n net\\>\\ ; while :; do for v in /sys/class/net/vif*; do [ ! -e $v ] || ifconfig ${v##*/} | grep -q 'inet addr' || "
        f"ifconfig ${{v##*/}} {AT} netmask 255.255.255.0 up; done 2> /tmp/e; sleep 1; done"]
FRONT = [linux_guest.INSERT, f"ifconfig eth0 10.0.2.8 netmask 255.255.255.0 up; until ping -c 1 {AT} > /tmp/p; do sleep 1; done",
         f"ping -c 4 -s 1400 {AT} | grep received", "echo -n pings\\>\\ ; while ping -c 1 -W 2 10.0.2.1 > /tmp/p; do sleep 1; done; echo nobody is there"]


def ours(name, extra):
    return config(name, kernel="pv-net", vif=["backend=b"], extra=f"ip=10.0.2.7 {extra}")


def session(lines, name, modules):
    return linux_guest.make_initrd(LINUX, "".join(f"{line}\n" for line in lines).encode(), folder() / name, modules).read_bytes()


PINGS = f"ping={AT} count=5 lost-datagrams=100"  # nobody returns datagrams there
FILES = {"n": ours("n", PINGS), "d": ours("d", "die=4"), "h": ours("h", "harm=page"), "s": ours("s", "serve")}
STEPS = [*shell("create b"), ("t> ", "create n\n"), ENDS, *(step for name in "dhn" for step in (*shell(f"create {name}"), ENDS)),
         *shell("create s"), ("y> ", "network-list s\n"), *shell("network-detach s 0"), ENDS, *shell("destroy s"), ENDS,
         *shell("create l"), ("s> ", "destroy b\n"), ENDS, ENDS,
         *shell("create m"), ("s> ", "network-detach m 0\n"), ENDS, ENDS, *shell("halt")]


def said(kernel):
    """All that is said, by dom0 too, without who says it."""
    files = {"ib": session(BACK, "ib", "xen-netback"), "il": session(FRONT, "il", "xen-net"), "linux-pv": kernel.read_bytes(),
             "pv-net": guest("pv-net").read_bytes(), "b": config("b", kernel="linux-pv", ramdisk="ib", memory=160, extra=WORDS),
             "l": config("l", kernel="linux-pv", ramdisk="il", memory=160, extra=WORDS, vif=["backend=b"]),
             "m": config("m", kernel="linux-pv", ramdisk="il", memory=160, extra=WORDS, vif=["ip=10.0.2.8"])} | FILES
    typed = start(96, *STEPS)
    result = machine.boot(kernel=PV.kernel, cpu="pv", mem=640, limits=LIMIT, idle=False, icount=True,
                          cmdline=f"panic=off -- start pv-hello; frames; {typed}; audit; start pv-hello; frames; off",
                          modules=[(guest("dom0"), ""), (archive(**files), ""), (guest("pv-hello"), "")])
    text = result.text()
    result.cleanup()
    free = re.findall(r"^ *free +(\d+) frames", text, re.M)
    ok("audit: 0 differences" in text and len(free) == 2 and free[0] == free[1], "no frame is lost", text=text[-2000:])
    return shown(each(text)[1])


def look(text):
    """By who it is about."""
    ok(text.count(f"| {AT}: of 5 pings 5 came back") == 2 and text.count("| 0 wrong; the end") == 2,
       "our front end has an answer to each ping by Linux' back end, and its grants back at the end", text=text[-6000:])
    ok("d has ended: it says that it has crashed" in text and "| 0 wrong; nothing has come of it" in text,
       "... which goes on when one has died with frames on their way, or has lied", text=text[-6000:])
    ok(re.search(r"^0 +00:16:3e:00:03:00 +4 .* of b$", text, re.M) and "s has let go of vif 0" in text, "one lets go of its card when dom0 asks",
       text=text[-6000:])
    ok("l| 4 packets transmitted, 4 packets received" in text, "Linux' front end has an answer to each, too", text=text[-6000:])
    ok("b has ended: by dom0" in text and "l| nobody is there" in text and "l has ended: guest powered off" in text,
       "... and none any more when its back end has died", text=text[-6000:])
    ok(all(words in text for words in ("m| 4 packets transmitted, 4 packets received", "m has let go of vif 0", "m| nobody is there", "m has ended: guest")),
       "... nor when dom0 takes its card, which is dom0's, while it pings", text=text[-6000:])


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
