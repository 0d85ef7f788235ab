#!/usr/bin/env python3
"""Networks: dom0's back end and bridge with our front end, and Debian's Linux's.

`pv-net` pings, and sends datagrams that are drawn, to dom0 and to another one of its kind, by frames of every length; each must come
back as it was. Back ends come and go. Front ends send what is no frame, break the rings' and the store's rules, or end at each
step, while two others have their network. Linux asks for its address, pings both, and tells ours something, whose checksum it
leaves to others. A boot takes 2 s of CPU, that of Linux 8.
"""

import random
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
LIMIT = machine.Limits(instructions=60_000_000_000, cpu_seconds=40)
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=4"
READY = "y> "
DOM0 = "10.0.2.1"
ALL = "{0}: of 5 pings 5 came back, and of 5 datagrams 5"


def net(name, *vif, extra=""):
    return config(name, kernel="pv-net", vif=list(vif), extra=extra)


def booted(starts, **files):
    """The console of each dom0, one behind the other; checks that nothing is left of them."""
    to = archive(**{"pv-net": guest("pv-net").read_bytes()} | files)
    said = PV.host(["start pv-hello", "frames", *starts, "audit", "start pv-hello", "frames"], [guest("dom0"), to, "pv-hello"])
    free = re.findall(r"^ *free +(\d+) frames", said, re.M)
    ok("audit: 0 differences" in said and len(free) == 2 and free[0] == free[1], "no frame is lost", text=said[-3000:])
    return [shown(part) for part in each(said)[1:-1]]


BAD = {"mac.cfg": ("mac=00:16:3e:01:02", "4:8: mac is the address of one: 00:16:3e:01:02:03"),
       "group.cfg": ("mac=01:16:3e:01:02:03", "4:8: mac is the address of one: 00:16:3e:01:02:03"),
       "ip.cfg": ("ip=10.0.2.256", "4:8: ip is an address: 10.0.2.7"), "key.cfg": ("bridge=br0", "4:8: a card's parameters are "),
       "own.cfg": ("mac=00:16:3e:00:00:00", "4:8: somebody else has that mac")}


def ours():
    """Two domains, and dom0; cards that come and go, and dom0 itself."""
    draw = random.Random()
    a, b = (f"10.0.2.{n}" for n in draw.sample(range(2, 255), 2))
    seed = draw.randrange(1, 1000)
    words = f"seed={seed} ping={DOM0} and={b}"
    files = {"b.cfg": net("b", f"ip={b}, mac=00:16:3e:01:02:03", extra="serve"), "a.cfg": net("a", f"ip={a}", extra=words)}
    files |= {name: net(name.removesuffix(".cfg"), vif) for name, (vif, _) in BAD.items()}
    first, second, third = booted([
        start(24, *shell(*(f"create {name}" for name in BAD), "create b.cfg", "create a.cfg"), ENDS, *shell("shutdown b"), ENDS,
              *shell("halt")),
        start(24, *shell("create b.cfg"), (READY, "network-attach b\n"), *shell("network-list b", "network-detach b 7",
              "network-detach b 0"), ENDS, *shell(f"network-attach b ip={b}"), (READY, "halt\n")),
        start(24, (READY, "network-attach b x=y\n"), *shell("network-attach b mac=00:16:3e:01:02:03", "create a.cfg"), ENDS,
              *shell("shutdown b"), ENDS, *shell("halt"))],
        **files)
    ok(all(words in first for _, words in BAD.values()), "what is wrong with a card is said", text=first)
    ok(f"vif 0: 4/4, 00:16:3e:01:02:03 is {b}\n" in first and all(f"| {ALL.format(who)}\n" in first for who in (DOM0, b))
       and first.count("| 0 wrong; the end") == 2, f"two domains ping each other, and dom0 (seed={seed})", text=first)
    ok(re.search(r"^0   00:16:3e:01:02:03 +4 .*\n1   00:16:3e:00:02:01 +2 ", second, re.M) and "b has no vif 7" in second and "b has let go of vif 0" in second
       and third.count("b gets no vif: ") == 2, "cards are attached, listed, detached", text=second)
    ok("b was here before" in third and f"| {ALL.format(b)}\n" in third and third.count("| 0 wrong; the end") == 2,
       "and a front end outlives `network-detach`, and dom0", text=third)


def ruled():
    """Rules from a file, and typed; a rate, of which there is no more than there may be."""
    files = {"b.cfg": net("b", "ip=10.0.2.8, rules=in drop icmp from 10.0.2.0/24; in accept", extra="serve"),
             "a.cfg": net("a", "ip=10.0.2.7", extra="ping=10.0.2.8 lost-pings=200"),
             "c.cfg": net("c", "ip=10.0.2.9, rules=out drop udp dport 1-7", extra="ping=10.0.2.8 lost-datagrams=200"),
             "slow.cfg": net("slow", "rate=100KB/s", extra="ip=10.0.2.11 blast=30")}
    (said,) = booted([start(32, *shell("create b.cfg"), (READY, "create a.cfg\n"), ENDS,
                            *shell("vif-rule b 0", "vif-rule b 0 none", "vif-rule b 0 drop tpc", "create c.cfg"), ENDS,
                            *shell("create slow.cfg"), ENDS, *shell("shutdown b"), ENDS, *shell("halt"))], **files)
    ok("10.0.2.8: of 5 pings 0 came back, and of 5 datagrams 5" in said and re.search(r"^ +5 in drop icmp from 10\.0\.2\.0/24\n +\d+ in accept$", said, re.M)
       and "behind accept or drop: " in said, "a rule for what comes, which is shown", text=said)
    ok("10.0.2.8: of 5 pings 5 came back, and of 5 datagrams 0" in said, "... and for what goes; `none` takes rules away", text=said)
    took = re.search(r"\| 30 frames in (\d+) ms$", said, re.M)
    ok(took and int(took[1]) >= (30 * 1514 - 5000) * 1000 // 100_000 - 1 and said.count("0 wrong; the end") == 4,
       "a rate: 30 of the longest frames are there no sooner than they may be", text=said)


HARM = ("frames", "chains", "any", "jump", "shake", "room", "store")
CLOSED = ("chains", "jump", "store")
STEPS = range(1, 8)


def harmful():
    """Front ends that lie, or end at any step: others have their network meanwhile, and dom0 goes on."""
    files = {"b.cfg": net("b", "ip=10.0.2.8", extra=f"ping={DOM0} count=40 serve"),
             "a.cfg": net("a", "ip=10.0.2.7", extra=f"ping={DOM0} and=10.0.2.8")}
    files |= {word: net(word, "ip=10.0.2.9", extra=f"harm={word}") for word in HARM}
    files |= {f"{n}": net(f"end{n}", "", extra=f"die={n}") for n in STEPS}

    def beside(*names):
        ends = [step for name in names for step in (*shell(f"create {name}"), ENDS)]
        return start(24, *shell("create b.cfg"), *ends, *shell("create a.cfg"), ENDS, *shell("shutdown b"), ENDS, *shell("halt"))

    parts = booted([beside(*HARM[:4]), beside(*HARM[4:]), beside(*map(str, STEPS))], **files)
    lies = "".join(parts[:2])
    ok(lies.count("0 wrong; nothing has come of it") == len(HARM)
       and all(lies.count(f"{name}'s vif 0 is closed to it: ") == (name in CLOSED) for name in HARM if name != "shake"),
       "front ends that lie have their own card closed to them, once said, and no more", text=lies)
    ok(all(f"end{n} has ended: " in parts[2] for n in STEPS), "front ends that end at any step let dom0 go on", text=parts[2])
    for part in parts:
        ok(f"{DOM0}: of 40 pings 40 came back, and of 40 datagrams 40" in part and all(ALL.format(who) in part for who in (DOM0, "10.0.2.8"))
           and part.count("| 0 wrong; the end") == 2, "... and two others have their network meanwhile", text=part)


def linux(kernel):
    """Debian's xen-netfront, and dom0's DHCP."""
    draw = random.Random()
    mine, ours, nonce, size = "10.0.2.77", "10.0.2.8", f"{draw.getrandbits(64):x}", draw.randrange(100, 1400)
    all_back = "3 packets transmitted, 3 packets received, 0% packet loss"
    session = {linux_guest.INSERT: "", "ifconfig eth0 up; ifconfig eth0 | grep -o HWaddr.*[0-9]": "HWaddr 00:16:3E:77:01:02",
               "echo '[ $1 != bound ] || ifconfig $interface $ip netmask $subnet' > /bin/u; sed -i '1i#!/bin/sh' /bin/u; chmod 755 /bin/u": "",
               "udhcpc -q -n -f -i eth0 -s /bin/u 2> /tmp/u; grep -o 'lease of [0-9.]*' /tmp/u": f"lease of {mine}",
               f"ping -q -c 3 -s {size} {DOM0} | grep rec": all_back, f"ping -q -c 3 {ours} | grep rec": all_back,
               f"syslogd -R {ours}; for n in 1 2 3; do sleep 1; logger {nonce}; done; sleep 1": "", linux_guest.LOUD: ""}
    typed = "".join(f"{line}\n" for line in session).encode()
    initrd = linux_guest.make_initrd(linux_guest.LINUX_64, typed, folder() / "initrd64", "xen-net")
    files = archive(**{"l": config("linux", kernel="linux-pv", ramdisk="initrd64", memory=192, extra=WORDS,
                                   vif=[f"ip={mine},mac=00:16:3e:77:01:02"]),
                       "b": net("b", f"ip={ours}", extra="serve"), "pv-net": guest("pv-net").read_bytes(), "linux-pv": kernel.read_bytes(),
                       "initrd64": initrd.read_bytes()})
    steps = start(96, *shell("create b", "create l"), ENDS, *shell("network-list b", "shutdown b"), ENDS, *shell("halt"))
    result = machine.boot(kernel=PV.kernel, cpu="pv", mem=512, limits=LIMIT, modules=[(guest("dom0"), ""), (files, "")], idle=False, icount=True,
                          cmdline=f"panic=off -- {steps}; audit; off")
    console = result.text()
    result.cleanup()
    text = shown(console, "linux")
    for line, answer in session.items():
        if answer:
            ok(f"zeno# {line}\n{answer}\n" in text, f"Linux: {line[:60]}", got=text[-4000:], want=answer)
    ok(re.search(rf"\| {mine} says: .*{nonce}", text), "... and what it says by UDP comes with the checksum that it left to others", text=text[-3000:])
    ok("linux has ended: guest powered off" in text and "0 wrong; the end" in text and "audit: 0 differences" in console, "and it halts",
       text=text[-2000:])
    ok("timeout closing" not in text, "... and nobody keeps it waiting there", text=text[-2000:])


def main():
    ours()
    ruled()
    harmful()
    try:
        linux(xen_guest.linux_pv())
    except linux_guest.NoGuest as why:
        skip("Debian's Linux with a network", f"it could not be fetched: {why}")
    finish()


if __name__ == "__main__":
    main()
