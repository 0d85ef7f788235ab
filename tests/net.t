#!/usr/bin/env python3
"""Networks: dom0's back end and bridge with our front end.

`pv-net` pings, and sends datagrams that are drawn, to dom0 and to another one of its kind, by frames of every length; each must come
back as it was. Back ends come and go. Front ends send what is no frame, break the rings' and the store's rules, or end at each
step, while two others have their network. A boot takes 2 s of CPU.
"""

import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import ENDS, archive, config, shell, start  # noqa: E402
from engine import Engine, each, guest  # noqa: E402
from harness import finish, ok  # noqa: E402

PV = Engine("8", "pv")
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
    return [re.sub(r"^d1\| ", "", part, flags=re.M) for part in each(said)[1:-1]]


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


HARM = ("frames", "chains", "any", "jump", "shake", "room", "store")
CLOSED = ("chains", "jump", "store")
STEPS = range(1, 8)


def harmful():
    """Front ends that lie, or end at any step: others have their network meanwhile, and dom0 goes on."""
    files = {"b.cfg": net("b", "ip=10.0.2.8", extra=f"ping={DOM0} count=40 serve"),
             "a.cfg": net("a", "ip=10.0.2.7", extra=f"ping={DOM0} and=10.0.2.8")}
    files |= {word: net(word, "", extra=f"harm={word} ip=10.0.2.9") for word in HARM}
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


def main():
    ours()
    harmful()
    finish()


if __name__ == "__main__":
    main()
