#!/usr/bin/env python3
"""Guests with a CPU of their own and Xen's services (xen=1), entered by their PVH note.

`pvh-calls` finds its monitor and calls it, also where it may not; `pvh-events` has ports and an upcall that is an interrupt, moves the page
that it shares with Zeno about, and, with `harm`, pulls it away under itself; `pvh-grants` grants to itself, and to `pv-grants`, which maps
and outlives it. dom0 makes both of the first two, and has their consoles; it makes `pvh-disk` and `pvh-net`, too, which are our PV guests'
front ends again: with a disk and a network, and as those that lie or end at any step; `pvh-siege` asks anything. No frame is lost. On QEMU by
AMD-V, and on Bochs by VT-x; five boots, some 7 s of CPU.
"""

import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import ENDS, archive, config, says, shell, start  # noqa: E402
from engine import Engine, each, guest  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

ALL = Engine("all", "svm")
LIVES = 20 if os.environ.get("ZENO_ALL") else 4
XEN = "engine=svm platform=pc-apic boot=pvh xen=1"
CALLS = ["a kernel with a CPU of its own: 12 ", "4 leaves behind 40000000", "version 4.17", "extraversion -zeno, features 305",
         "ring 3: -1, 32 bits: -38"]
GRANTS = {1: ["it has written: hello from who maps", "revoked: not while it is in use", "revoked: yes", "it has written: copied",
              "0 wrong; the end"],
          2: ["map: hello from who grants", "unmap: nothing is there", "copy: hello from who grants", "copy of eight: bcdefghi, 0 of them refused",
              "who granted has ended: bBc", "0 wrong; the end"]}
MAPS = {1: [*GRANTS[1][:3], "0 wrong; the end"], 2: [*GRANTS[2][:2], *GRANTS[2][-2:]]}
EVENTS = ["to itself: 500 of 500, none lost, none twice", "timer: 4 times, by block and by hlt", "a line by the console's ring"]
REFUSED = {"engine=te boot=multiboot platform=pc": "is for engine=svm and engine=vmx", "engine=svm mmu=shadow platform=pc": "is for mmu=nested",
           "engine=svm mmu=flat platform=pc": "is for mmu=nested", "engine=svm platform=user": "is for platform=pc",
           "engine=svm platform=pc-apic vcpus=2": "is for one vCPU", "engine=svm platform=pc log=1": "is for mmu=nested, without log=1"}


def free(text):
    return re.findall(r"^ *free +(\d+) frames", text, re.M)


def both(parts, title):
    """What each of the two guests says, which has come to its end."""
    calls, events = parts
    ok(says(calls)[:len(CALLS)] == CALLS and "wrong: 0" in calls and "pvh-calls: ended: guest powered off" in calls,
       f"{title}: who is there, what it may call, and where its pointers may lead", text=calls)
    ok(calls.count("Zeno has none such: -ENOSYS") == 15 and calls.count("(mmu_update): Zeno has none") == 1,
       f"{title}: what is a PV kernel's is told once", text=calls)
    ok(says(events)[:len(EVENTS)] == EVENTS and "wrong: 0" in events and "pvh-events: ended: guest powered off" in events,
       f"{title}: events, time and rings by the code of PV kernels", text=events)


def mapped(title, part):
    for domain, lines in MAPS.items():
        ok(says(part, domain) == lines,
           f"{title}by a PV domain, {'whose pages it maps' if domain == 1 else 'which it outlives'}", text=part)


def of_dom0():
    """dom0, which makes them: what is typed there, and its files."""
    names = ("pvh-calls", "pvh-events")
    files = {name: guest(name).read_bytes() for name in names}
    files |= {f"{name[4]}.cfg": config(name, kernel=name, type="pvh", memory=16, extra="12") for name in names}
    return start(24, *shell("create c.cfg"), ENDS, *shell("create e.cfg", "pause pvh-events", "list", "unpause pvh-events"),
                 ENDS, *shell("create e.cfg", "destroy pvh-events"), ENDS, *shell("halt")), files


def look_at_dom0(title, part):
    calls, events, killed = (re.split(r"^d2 pvh-\w+: made by dom0 with 16 MiB$", part, flags=re.M)[1:] + [""] * 3)[:3]
    ok(says(calls)[:1] == CALLS[:1] and "wrong: 0" in calls and "| pvh-calls has ended: guest powered off" in calls,
       f"{title}: dom0 makes one by its file", text=part)
    ok(re.search(r"^d1\| pvh-events +2 +16 +paused", events, re.M)
       and re.search(r"^d1\| (dom0# )?pvh-events\| a line by the console's ring$", events, re.M) and "wrong: 0" in events
       and "| pvh-events has ended: guest powered off" in events, f"{title}: which it lists, holds, lets go on, and whose console it has", text=part)
    ok("| pvh-events has ended: by dom0" in killed and "dom0: ended: guest powered off" in killed, f"{title}: ... and ends", text=part)


HARM = ("requests", "any", "jump", "shake", "store")
STEPS = range(1, 10)


def of_fronts(draw):
    """Front ends in domains of dom0's: what is typed there, and its files. The disk is not larger than what is written of it."""
    files = {name: guest(name).read_bytes() for name in ("pvh-disk", "pvh-net")} | {"img": draw.randbytes(draw.randrange(60, 130) * 512)}
    disk = {"kernel": "pvh-disk", "type": "pvh", "memory": 16, "disk": ["img,,xvda"]}
    files |= {"d.cfg": config("d", **disk, extra=f"rounds=20 seed={draw.randrange(1, 1000)}"),
              "n.cfg": config("n", kernel="pvh-net", type="pvh", memory=16, vif=["ip=10.0.2.7"], extra="ping=10.0.2.1")}
    files |= {f"{word}.cfg": config(word, **disk, extra=f"harm={word}") for word in HARM}
    files |= {f"{n}.cfg": config(f"end{n}", **disk, extra=f"die={n}") for n in STEPS}

    def session(names, *behind):
        return start(24, *(step for name in names for step in (*shell(f"create {name}.cfg"), ENDS)), *shell(*behind, "halt"))

    return [session("dn", "crc32 img"), session(HARM), session(STEPS[:6]), session(STEPS[6:], "list")], files


def look_at_fronts(title, part):
    crc = re.search(r"^d2\| vbd 51712: crc32 (\w+)\nd2\| 0 wrong; the end$", part, re.M)
    ok(crc and f"| {crc[1]} img" in part, f"{title}: what it writes on its disk, by grants of its own frames, is in dom0's file", text=part)
    ok("10.0.2.1: of 5 pings 5 came back, and of 5 datagrams 5\nd2| 0 wrong; the end" in part, f"{title}: it has a network", text=part)


def fronts(starts, files):
    calls, hello = f"start pvh-calls {XEN}", "start pv-hello"
    text = ALL.host([calls, hello, "frames", *starts, "audit", hello, "frames"], [guest("dom0"), archive(**files), "pv-hello", "pvh-calls"])
    works, lies, *ends = each(text)[2:-1] if len(each(text)) == 7 else [""] * 4
    look_at_fronts("pvh-disk, pvh-net", works)
    ok(lies.count("0 wrong; nothing has come of it") == len(HARM)
       and all(lies.count(f"{name}'s xvda is closed to it: ") == 1 for name in ("jump", "store")),
       "those that lie have their own disk closed to them, and no more", text=lies)
    ok(all(f"end{n} has ended: " in "".join(ends) for n in STEPS), "... and that end at any step let dom0 go on", text="".join(ends))
    ok("audit: 0 differences" in text and len(free(text)) == 2 and free(text)[0] == free(text)[1], "no frame of theirs is lost", free=free(text),
       text=text[-1500:])


def siege():
    """Calls with words of all kinds, Zeno's pages and another's shown anywhere: each life ends, and is as its tables say."""
    seed = random.randrange(1, 1 << 20)
    others = ["start pv-grants -- me=1", f"start pvh-calls {XEN}", "start pv-hello"]
    lives = [word for n in range(LIVES) for word in ("start pv-grants & -- me=1 peer=2 serve=1", "sleep 20",
             f"start pvh-siege {XEN} mem=16 -- peer=1 seed={seed + n} calls=2000", "audit", "stop d1", "audit", "start pv-hello")]
    text = ALL.host([*others, "frames", *lives, "frames"], ["pvh-calls", "pvh-siege", "pv-grants", "pv-hello"])
    ok(len(re.findall(r"\d mapped still, .* refused; the end$|exception \d+ at .*; the end$", text, re.M)) == LIVES
       and text.count("audit: 0 differences") == 2 * LIVES and len(free(text)) == 2 and free(text)[0] == free(text)[1],
       f"a siege of the services: each comes to its end, and nothing is lost (seed={seed})", text=text[-3000:])


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=all", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of all labs builds", out=built.out)
    starts = [f"start pvh-calls {XEN} -- 12", f"start pvh-events {XEN}"]
    dom0, files = of_dom0()
    other_maps = ["start pv-grants & -- me=1 peer=2 serve=1", f"start pvh-grants {XEN} -- me=2 of=1"]
    once = "start pv-grants -- me=1"  # the first PV guest has tables made that stay
    text = ALL.host([once, starts[0], "frames", *starts, f"start pvh-grants {XEN} -- me=1", f"start pvh-grants {XEN} & -- me=1 peer=2", "start pv-hello", "audit",
                     "start pv-grants -- me=2 peer=1", *other_maps,
                     f"start pvh-events {XEN} -- harm", f"start pvh-calls {XEN.replace('xen=1', '')}",
                     *(f"start pvh-calls {words} xen=1" for words in REFUSED), dom0, "audit", starts[0], "frames"],
                    ["pvh-calls", "pvh-events", "pvh-grants", "pv-grants", "pv-hello", guest("dom0"), archive(**files)])
    _, _, calls, events, own, granter, _, user, serves, maps, harm, plain, *refused, made, _ = (
        each(text) if len(each(text)) == 14 + len(REFUSED) else [""] * (14 + len(REFUSED)))
    both([calls, events], "pc-apic")
    ok(says(own) == ["0 wrong; the end"], "grants to itself: what it names so, and what it may not lend", text=own)
    for domain, lines in GRANTS.items():
        ok(says(granter + user, domain) == lines,
           f"to a PV domain, which {'has asked' if domain == 1 else 'maps, copies, and outlives it'}", text=granter + user)
    mapped("", serves + maps)
    ok("wrong: 0" in harm and "not reached" not in harm and re.search(r"pvh-events: (stopped|ended): ", harm),
       "a page of nonsense, and one that is pulled away, are its own affair", text=harm)
    ok(not says(plain) and "dead halt" in plain, "without xen=1 CPUID says nothing of a monitor", text=plain)
    ok(all(f"xen=1 {why}" in part for why, part in zip(REFUSED.values(), refused)), "what it is not for is told in words", text="".join(refused))
    look_at_dom0("dom0", made)
    ok(text.count("audit: 0 differences") == 2 and len(free(text)) == 2 and free(text)[0] == free(text)[1], "no frame is lost", free=free(text), text=text[-2500:])
    text = ALL.host([start.replace("pc-apic", "pc") for start in (*starts, *other_maps)], ["pvh-calls", "pvh-events", "pv-grants", "pvh-grants"],
                    options="poison=1 audit=16")
    parts = each(text) if len(each(text)) == 4 else [""] * 4
    both(parts[:2], "pc, and nobody uses what he has not asked for")
    mapped("pc, ", "".join(parts[2:]))
    ok("audit: " not in text, "and at no moment tables are wrong", text=text)
    of_drivers = of_fronts(random.Random())
    fronts(*of_drivers)
    siege()
    missing = machine.missing("bochs")
    if missing:
        skip("the same by VT-x", missing)
        finish()
    text = Engine("all", "vmx").host([*(start.replace("svm", "vmx") for start in (*starts, *other_maps)), dom0, of_drivers[0][0], "audit"],
                                    ["pvh-calls", "pvh-events", "pv-grants", "pvh-grants", guest("dom0"), archive(**files, **of_drivers[1])], "bochs")
    parts = each(text) if len(each(text)) == 6 else [""] * 6
    both(parts[:2], "bochs, by vmcall")
    mapped("bochs, ", "".join(parts[2:4]))
    look_at_dom0("bochs", parts[4])
    look_at_fronts("bochs", parts[5])
    ok("audit: 0 differences" in text, "bochs: and nothing of theirs is left", text=text[-2000:])
    finish()


if __name__ == "__main__":
    main()
