#!/usr/bin/env python3
"""Guests with a CPU of their own and Xen's services (xen=1), entered by their PVH note.

`pvh-calls` finds its monitor and calls it, also where it may not; `pvh-events` has ports and an upcall that is an interrupt, moves the page
that it shares with Zeno about, and, with `harm`, pulls it away under itself; `pvh-grants` grants to itself, and to `pv-grants`, which maps
and outlives it. dom0 makes both of the first two, and has their consoles. No frame is lost. On QEMU by AMD-V, and on Bochs by VT-x; three
boots, some 4 s of CPU.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import ENDS, archive, config, shell, start  # noqa: E402
from engine import Engine, each, guest  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

ALL = Engine("all", "svm")
XEN = "engine=svm platform=pc-apic boot=pvh xen=1"
CALLS = ["a kernel with a CPU of its own: 12 ", "4 leaves behind 40000000", "version 4.17", "extraversion -zeno, features 305",
         "ring 3: -1, 32 bits: -38"]
GRANTS = {1: ["it has written: hello from who maps", "revoked: not while it is in use", "revoked: yes", "it has written: copied",
              "0 wrong; the end"],
          2: ["map: hello from who grants", "unmap: nothing is there", "copy: hello from who grants", "copy of eight: bcdefghi, 0 of them refused",
              "who granted has ended: bBc", "0 wrong; the end"]}
EVENTS = ["to itself: 500 of 500, none lost, none twice", "timer: 4 times, by block and by hlt", "a line by the console's ring"]
REFUSED = {"engine=te boot=multiboot platform=pc": "is for engine=svm and engine=vmx", "engine=svm mmu=shadow platform=pc": "is for mmu=nested",
           "engine=svm mmu=flat platform=pc": "is for mmu=nested", "engine=svm platform=user": "is for platform=pc",
           "engine=svm platform=pc-apic vcpus=2": "is for one vCPU", "engine=svm platform=pc log=1": "is for mmu=nested, without log=1"}


def said(part):
    return re.findall(r"^d\d+\| (.*)$", part, re.M)


def free(text):
    return re.findall(r"^ *free +(\d+) frames", text, re.M)


def both(parts, title):
    """What each of the two guests says, which has come to its end."""
    calls, events = parts
    ok(said(calls)[:len(CALLS)] == CALLS and "wrong: 0" in calls and "pvh-calls: ended: guest powered off" in calls,
       f"{title}: who is there, what it may call, and where its pointers may lead", text=calls)
    ok(calls.count("Zeno has none such: -ENOSYS") == 15 and calls.count("(mmu_update): Zeno has none") == 1,
       f"{title}: what is a PV kernel's is told once", text=calls)
    ok(said(events)[:len(EVENTS)] == EVENTS and "wrong: 0" in events and "pvh-events: ended: guest powered off" in events,
       f"{title}: events, time and rings by the code of PV kernels", text=events)


def of_dom0():
    """dom0, which makes them: what is typed there, and its files."""
    names = ("pvh-calls", "pvh-events")
    files = archive(**{name: guest(name).read_bytes() for name in names},
                    **{f"{name[4]}.cfg": config(name, kernel=name, type="pvh", memory=16, extra="12") for name in names})
    return start(24, *shell("create c.cfg"), ENDS, *shell("create e.cfg", "pause pvh-events", "list", "mem-set pvh-events 8", "unpause pvh-events"),
                 ENDS, *shell("create e.cfg", "destroy pvh-events"), ENDS, *shell("halt")), files


def look_at_dom0(title, part):
    calls, events, killed = (re.split(r"^d2 pvh-\w+: made by dom0 with 16 MiB$", part, flags=re.M)[1:] + [""] * 3)[:3]
    ok(said(calls)[:1] == CALLS[:1] and "wrong: 0" in calls and "| pvh-calls has ended: guest powered off" in calls,
       f"{title}: dom0 makes one by its file", text=part)
    ok(re.search(r"^d1\| pvh-events +2 +16 +paused", events, re.M) and "pvh-events: a PVH domain keeps its memory here" in events
       and re.search(r"^d1\| (dom0# )?pvh-events\| a line by the console's ring$", events, re.M) and "wrong: 0" in events
       and "| pvh-events has ended: guest powered off" in events, f"{title}: which it lists, holds, lets go on, and whose console it has", text=part)
    ok("| pvh-events has ended: by dom0" in killed and "dom0: ended: guest powered off" in killed, f"{title}: ... and ends", text=part)


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=all", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of all labs builds", out=built.out)
    starts = [f"start pvh-calls {XEN} -- 12", f"start pvh-events {XEN}"]
    dom0, files = of_dom0()
    once = "start pv-grants -- me=1"  # the first PV guest has tables made that stay
    text = ALL.host([once, starts[0], "frames", *starts, f"start pvh-grants {XEN} -- me=1", f"start pvh-grants {XEN} & -- me=1 peer=2",
                     "start pv-grants -- me=2 peer=1", f"start pvh-events {XEN} -- harm", f"start pvh-calls {XEN.replace('xen=1', '')}",
                     *(f"start pvh-calls {words} xen=1" for words in REFUSED), dom0, "audit", starts[0], "frames"],
                    ["pvh-calls", "pvh-events", "pvh-grants", "pv-grants", guest("dom0"), files])
    _, _, calls, events, own, granter, user, harm, plain, *refused, made, _ = (
        each(text) if len(each(text)) == 11 + len(REFUSED) else [""] * (11 + len(REFUSED)))
    both([calls, events], "pc-apic")
    ok(said(own) == ["0 wrong; the end"], "grants to itself: what it names so, and what it may not lend", text=own)
    for domain, lines in GRANTS.items():
        ok(re.findall(rf"^d{domain}\| (.*)$", granter + user, re.M) == lines,
           f"to a PV domain, which {'has asked' if domain == 1 else 'maps, copies, and outlives it'}", text=granter + user)
    ok("wrong: 0" in harm and "not reached" not in harm and re.search(r"pvh-events: (stopped|ended): ", harm),
       "a page of nonsense, and one that is pulled away, are its own affair", text=harm)
    ok(not said(plain) and "dead halt" in plain, "without xen=1 CPUID says nothing of a monitor", text=plain)
    ok(all(f"xen=1 {why}" in part for why, part in zip(REFUSED.values(), refused)), "what it is not for is told in words", text="".join(refused))
    look_at_dom0("dom0", made)
    ok("audit: 0 differences" in text and len(free(text)) == 2 and free(text)[0] == free(text)[1], "no frame is lost", free=free(text), text=text[-2500:])
    text = ALL.host([start.replace("pc-apic", "pc") for start in starts], ["pvh-calls", "pvh-events"], options="poison=1")
    both(each(text) if len(each(text)) == 2 else ["", ""], "pc, and nobody uses what he has not asked for")
    missing = machine.missing("bochs")
    if missing:
        skip("the same by VT-x", missing)
        finish()
    text = Engine("all", "vmx").host([*(start.replace("svm", "vmx") for start in starts), dom0, "audit"],
                                    ["pvh-calls", "pvh-events", guest("dom0"), files], "bochs")
    parts = each(text) if len(each(text)) == 3 else [""] * 3
    both(parts[:2], "bochs, by vmcall")
    look_at_dom0("bochs", parts[2])
    ok("audit: 0 differences" in text, "bochs: and nothing of theirs is left", text=text[-2000:])
    finish()


if __name__ == "__main__":
    main()
