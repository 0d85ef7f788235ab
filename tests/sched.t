#!/usr/bin/env python3
"""The scheduler: domains share the CPU by their weights, whatever they try; the plugin counts their instructions.

Each guest spins in a loop of its own, of 100 instructions, whose first one is watched. On QEMU with icount the machine's
time is its instructions, so a run repeats exactly; one of them is 16 ns, which makes 320 ticks of two hundred million.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import BUILD, assembled, guest  # noqa: E402
from harness import ROOT, finish, ok, run  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

KERNEL = BUILD / "laball-solution/zeno.mb"
WINDOW = 200_000_000
LOOP = 100
NEAR = 0.03
WAYS = ("dodge", "yield", "wake", "self")
"""It sleeps when the clock strikes; gives way all the time; sleeps and wakes; sends itself events."""


def host(commands, elf, policy="", window=None, cpu="pv"):
    """The console, and what part of all instructions each of the four loops had, from the first one's first turn on."""
    symbols = Symbols([elf])
    watched = [symbols.address(f"spun_{n}") for n in range(1, 5)]
    done = machine.boot(kernel=str(KERNEL), cpu=cpu, mem=128, icount=True, shift=4, watch=watched,
                        counted_from=watched[0] if window else None, modules=[(str(elf), "")],
                        limits=machine.Limits(instructions=window or 2_000_000_000, cpu_seconds=20),
                        cmdline=f"panic=off{policy and f' sched={policy}'} -- {'; '.join(commands)}{'' if window else '; off'}")
    end = machine.End.INSTRUCTIONS if window else machine.End.SHUTDOWN
    text = done.console.decode("ascii", "replace").replace("\r", "")
    ok(done.end is end, f"{policy or 'credit'}: {commands[-1]!r}: the run comes to its end", end=done.end, text=text[-2000:])
    parts = [LOOP * done.counts.watches[address] / done.counts.total for address in watched]
    done.cleanup()
    return text, parts


def pv(ways, policy="", window=WINDOW // 2):
    """These ways of (weight, way), side by side."""
    return host([f"start pv-turns weight={weight} & -- {way}" for weight, way in ways], guest("pv-turns"), policy, window)


def by_weight(what, weights, parts):
    """Each has its part of what all have."""
    whole = sum(parts)
    far = [abs(part / whole / (weight / sum(weights)) - 1) for weight, part in zip(weights, parts)]
    ok(whole > 0.95 and max(far) < NEAR, f"{what}: instructions as the weights {weights}", parts=parts, far=far)


def shares():
    """PV domains; engines of all kinds beside each other."""
    by_weight("pv", (256, 512, 1024), pv([(256, "spin 1"), (512, "spin 2"), (1024, "spin 3")], window=WINDOW)[1])
    by_weight("pv, light ones", (3, 1, 1, 3), pv([(3, "spin 1"), (1, "spin 2"), (1, "spin 3"), (3, "spin 4")], window=WINDOW)[1])
    elf = assembled("sched/spin.asm")
    kinds = ("te", "bt", "svm")
    commands = [f"start spin engine={kind} weight={100 * (n + 1)} & -- {n + 1}" for n, kind in enumerate(kinds)]
    parts = host(commands, elf, window=WINDOW, cpu="svm")[1]  # bt's runs elsewhere, in the translation cache: the rest is its
    ok(abs(parts[0] * 6 - 1) < NEAR and abs(parts[2] * 2 - 1) < NEAR, "te, bt, svm with 100, 200, 300: each its part", parts=parts)
    commands = ["start spin engine=svm & -- 1", "start spin engine=svm & -- +2"]
    parts = host(commands, elf, window=WINDOW // 4, cpu="svm")[1]
    ok(parts[0] > 0.5 * (1 - NEAR), "svm: one that says by each pause that it waits has no more than its part", parts=parts)


def hostile():
    """What one tries costs nobody else his part. Round robin, which counts turns, gives one that is brief less than it wants, and late."""
    for way in WAYS:
        parts = pv([(256, "spin 1"), (256, f"{way} 2")])[1]
        ok(parts[0] > 0.5 * (1 - NEAR) and parts[1] > 0, f"beside one that does {way} the other has its half", parts=parts)
    parts = pv([(256, "spin 1"), (512, "yield 2")])[1]
    ok(abs(parts[0] * 3 - 1) < NEAR, "one that gives way all the time has two parts of three, by its weight", parts=parts)
    late = {}
    for policy in ("credit", "rr"):
        text, parts = pv([(256, "spin 1"), (256, "spin 2"), (256, "brief 3")], policy)
        found = re.search(r"d3\| woken 50 times, at most (\d+) us late", text)
        late[policy] = int(found[1]) if found else None
        ok(abs(parts[0] / parts[1] - 1) < NEAR, f"{policy}: and the others have the same", parts=parts)
    ok(late["credit"] is not None and late["credit"] <= 1200, "who sleeps and does little is let in within a millisecond", late=late)
    ok(late["rr"] is not None and late["rr"] >= 9000, "by round robin it waits for others' slices", late=late)


def inverted():
    """Of three the greatest asks the lightest, and waits for it behind the third; so weights go with the work."""
    had = [pv([(256, "spin 1"), (weight, "serve 3 3"), (1024, "ask 2 2")])[1] for weight in (16, 1024)]
    ok(had[0][0] > 0.9 and 0 < had[0][1] < had[1][1] / 10, "a heavy guest that waits for a light one has ten times as many answers once that is heavy",
       parts=had)


def called():
    """One that is sent to is let in then, though who sends has no exit for it, and nothing else to wait for."""
    parts = pv([(1024, "serve 1 2"), (256, "seldom 2 1")], window=WINDOW // 4)[1]
    # of 2,000 passes for each event the server has 100 at once; by the next tick three or four would have become one
    ok(parts[0] > 0.04 and parts[1] > 0.9, "one that is sent to has its turn before the next tick", parts=parts)


def told():
    """The monitor's command: weights change, time adds up, the last turns and why they ended."""
    text, _ = host(["start pv-turns & -- spin 1", "start pv-turns weight=512 & -- brief 2", "sched d1 weight=768", "sleep 300",
                    "sched", "sched turns", "uptime",
                    "sched rr", "sleep 100", "sched"], guest("pv-turns"))
    parts = re.split(r"^K> ", text, flags=re.M)
    shown = [part for part in parts if part.startswith("sched\n")]
    rows = [re.findall(r"^  (d\d) pv-turns +(\d+) +(\d+) % +(\d+) % +(-?\d+) us +(\d+) +(\d+) +(\d+)$", part, re.M) for part in shown]
    ok(len(shown) == 2 and shown[0].startswith("sched\ncredit: ") and shown[1].startswith("sched\nrr: "), "both policies are told", text=text)
    ok(rows and [row[:3] for row in rows[0]] == [("d1", "768", "60"), ("d2", "512", "40")], "weights, and what part that is", text=shown)
    for row in rows[0] if rows else ():
        ok(280 <= sum(map(int, row[5:])) <= 450, f"{row[0]}: it ran, was ready, slept: in all the time it was there", row=row)
    found = [re.search(r"up (\d+)\.(\d{3})", text), re.search(r"the host itself: (\d+) ms; nobody: (\d+) ms", text)]
    ok(all(found), "how long the machine is up, and whom else it worked for", text=text)
    if all(found):
        ran = sum(int(row[5]) for row in rows[0]) + sum(map(int, found[1].groups()))
        ok(abs(ran - int(found[0][1]) * 1000 - int(found[0][2])) < 40, "all time is charged to somebody", ran=ran, text=text)
    turns = next((part for part in parts if part.startswith("sched turns\n")), "")
    ok(all(re.search(rf"^ +\d+ us: {who} \S+ +\d+\.\d{{3}} us, {why}$", text, re.M) for who, why in (
        ("d1", "another one woke"), ("d2", "waits"))), "the last turns, and why they ended", turns=turns)
    text, _ = host(["start pv-turns weight=1024 & -- serve 3 2", "start pv-turns & -- call 1 1", "sleep 100", "sched turns"],
                   guest("pv-turns"))
    ok(re.search(r"^ +\d+ us: d2 pv-turns  +\d+\.\d{3} us, another one woke$", text, re.M), "an event ends the turn of another one", text=text)


def refused():
    """What is no weight, nobody, no policy."""
    text, _ = host(["sched d1 weight=1", "start pv-turns weight=65536 & -- spin 1", "start pv-turns & -- spin 1", "sched d1 weight=0", "sched d1 weight=65536",
                    "sched d9 weight=1", "sched none", "sched"], guest("pv-turns"), "nice")
    ok(text.count("sched: invalid argument") == 3 and text.count("sched: no such thing") == 2 and text.count("start: invalid argument") == 1,
       "what is no weight, and who is nobody", text=text[-2000:])
    ok("sched=nice: there is no such policy in this build; it is rr" in text and re.search(r"^rr: ", text, re.M), "and what is no policy", text=text)


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    built = run("make", "-s", "-C", ROOT, "LAB=all", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of all labs builds", out=built.out)
    shares()
    hostile()
    inverted()
    called()
    told()
    refused()
    finish()


if __name__ == "__main__":
    main()
