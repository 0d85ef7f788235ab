#!/usr/bin/env python3
"""The engine pv: PV kernels of our own in Xen's ABI, on QEMU and on Bochs.

`pv-hello` says what it was given and ends. `pv-machine` uses what a kernel has of its machine: privileged
instructions, descriptors, breakpoints. `pv-hostile` tries what a PV kernel must not do, and prints a line for each
that is not refused as it should be; of its other words each ends it, in one line, and nothing else. Events are Lab 7's:
without it they answer -ENOSYS. A build of Lab 6 has no other engine; with all labs a PV guest and one on te take turns.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from engine import BUILD, LIMIT, Engine, assembled, each, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, ok, run  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

PV, EVENTS_TOO = Engine("6", "pv"), Engine("7", "pv")
HELLO = ["hello from a kernel that knows: ring 3", "xen-3.0-x86_64, Xen's ABI 4.17-zeno, 2048 pages, 5 page tables",
         "my own handler: vector 6 at cs e030", "caught 1; the end"]
ENDINGS = {
    **{f"stack_{name}": "#UD, and there is no memory for its handler's frame"
       for name in ("unmapped", "hole", "edge", "wraps", "table", "wild")},
    "iret_hole": "iret with no frame at ffff830000000000", "iret_edge": "iret with no frame at ffffffffffffffef",
    "iret_rootless": "iret to its user, which has no page tables",
    **{f"handler_{name}": "#UD, for which it has a handler where none can be" for name in ("hole", "wild")},
    "no_handler": "#UD, for which it has no handler", "nulls": "#UD, for which it has no handler", "for_ever": "#PF, and there is no memory for its handler's frame",
    **{f"pf_{name}": f"#PF, {end}" for name, end in (  # with no exit before
        *((f"stack_{name}", "and there is no memory for its handler's frame") for name in ("unmapped", "hole", "edge", "wraps", "table", "wild")),
        *((f"handler_{name}", "for which it has a handler where none can be") for name in ("hole", "wild")),
        ("no_handler", "for which it has no handler"))},
    "v86": "",  # QEMU's iret goes there, Bochs' to a page that is not there
}
ENDLESS = ("spin", "calls", "answers")
"""What a guest may do for ever: others have their turns."""


def said(part):
    return re.findall(r"^d\d+\| (.*)$", part, re.M)


def works(where):
    """Both guests come to their ends, twice, and leave no frame behind."""
    spare = Symbols([guest("pv-hostile")]).address("spare")
    text = PV.host(["start pv-hello", "audit", "start pv-hostile", f"gwalk {spare:#x}", "audit", "start pv-hello mem=2",
                    "audit", "start pv-hello", "start pv-machine", "audit", "start pv-tables mem=40", "audit", "damage 1", "start pv-events -- harm=none"],
                   ["pv-hello", "pv-hostile", "pv-tables", "pv-machine", "pv-events"], where)
    hello, hostile, small, again, mine, tables, none = each(text) + [""] * (7 - len(each(text)))
    ok(said(hello) == HELLO and said(again) == HELLO and "ended: guest powered off" in hello,
       f"{where}: a PV kernel says what it was given, catches its own exception, and ends", text=text)
    ok("512 pages, 4 page tables" in small, f"{where}: ... in two MiB, too", text=small)
    ok(said(hostile) == ["37 instructions raise #UD, #NP or #GP", "0 wrong; the end"],
       f"{where}: what must be refused is, and its user's calls and faults come to it", text=hostile)
    ok(f"{spare:016x}: entry fffffffffffffffe, guest frame ffffffffffffffff" in text,
       f"{where}: the monitor looks at what its tables say of no frame", text=hostile)
    ok(said(mine) == ["0 wrong; the end"],
       f"{where}: privileged instructions, descriptors, bases, breakpoints are what its machine's would be", text=mine)
    ok(said(tables)[:1] == ["10240 pages by tables of my own; the old 5 are memory"] and "0 wrong; the end" in tables,
       f"{where}: new page tables over all its memory, and none that may not be", text=tables)
    ok(tables.count("its own level's, too (linear)") == 1, f"{where}: which is said of a linear one, once", text=tables)
    ok(text.count("audit: 0 differences") == 5, f"{where}: the auditor counts the same behind each", text=text[-3000:])
    ok(text.count(": seen") == 10 and ": not seen" not in text, f"{where}: and sees ten ways to break it", text=text[-3000:])
    ok(none.count("hypercall 32 (event_channel_op): Zeno has none such: -ENOSYS") == 1 and "still there" in none,
       f"{where}: events are Lab 7's, and that is told once", text=none)
    ok(all(hostile.count(f"hypercall {n} (unknown): Zeno has none such") == 1 for n in (63, 64)),
       f"{where}: an unknown hypercall is told once", text=hostile)


EVENTS = ["channels: 5 upcalls", "timer: it slept until then", "timers: one, in the past, periods, stopped",
          "poll: a time, a port, at once", "clock: it never goes back", "rings: console, store, grant table",
          "placed: vcpu_info, runstate", "0 wrong; the end"]
NO_CALLBACK = r"^d\d+ pv-events: stopped: an event, and there is no memory for its callback's frame below [0-9a-f]+, or none to run at "


def events(where):
    """Event channels and time, between two domains, too; and those that mean harm by them."""
    text = EVENTS_TOO.host(["start pv-events -- input=x", "start pv-events & -- peer=2", "start pv-events -- peer=1 port=3", "start pv-hello",
                    "start pv-events -- harm=all", "start pv-events -- harm=none", "start pv-events -- harm=hole",
                    "start pv-events & -- harm=storm", "start pv-events & -- harm=for_ever", "start pv-hello", "list", "stop d1",
                    "stop d2", "start pv-bell", "frames"], ["pv-events", "pv-hello", "pv-bell"], where)
    parts = each(text)
    ok(said(parts[0]) == EVENTS, f"{where}: ports, timers, polls, the clock", text=text)
    ok("d2| pong from d1" in text and "d1| ping from d2" in text and "d1| d2 has ended, and port 3 waits for the next" in text,
       f"{where}: two domains call each other, and one sees the other's end", text=text)
    ok(re.search(r"d2\| polled port \d+, which d1 has rung", text), f"{where}: one sleeps by a poll of a port, and the other one wakes it", text=text)
    # Which number it has depends on whether the one that listened has ended by then.
    ok(re.search(r"d[12]\| 0 wrong; the end", text[text.find("harm=all"):]), f"{where}: pointers, ports, times that are none do no harm", text=text)
    ends = re.findall(NO_CALLBACK + r"([0-9a-f]+)", text, re.M)
    ok(ends == ["0", "ffff830000000000"], f"{where}: an event and no callback ends it", text=text)
    bell = ["ports 3, 4, 5; sent to where nobody listens: 0", "closed: 0; sent there: -22; the next new port: 4",
            "three events, masked: 0 upcalls", "unmasked: 1", "its port masked: 1", "... and unmasked: 2"]
    ok(said(parts[-1]) == bell, f"{where}: what is masked waits, and is heard once", text=parts[-1])
    ok(text.count("caught 1; the end") == 2 and text.count("stopped: by the monitor's stop command") == 2,
       f"{where}: a storm of timers, and one that sleeps for ever, leave the others their turns", text=text)


CPUS = ["refused: contexts of 25 kinds; it is not up: 0", "begun: registers, FPU, bases, GDT", "IPIs: 500 there, 500 back",
        "times: its timer, its period", "ports: polled by one, moved to the other", "flushed: of both, of all", "roots: each has its own",
        "NMIs: 1, 3, two of them behind each other", "down and up: by another, by itself", "0 wrong; the end"]


def cpus(where):
    """A domain's second CPU, started, called and stopped by the first; and four that call anything at any time."""
    # Each CPU of a domain that has ended has a turn to come in which it learns of it; until then the next start keeps its frames.
    text = EVENTS_TOO.host(["start pv-bell", "frames", "start pv-cpus vcpus=2", "sleep 50", "audit", "start pv-cpus vcpus=4 -- storm",
                            "sleep 50", "audit", "start pv-bell", "frames"], ["pv-cpus", "pv-bell"], where, "audit=40")
    parts = each(text)
    ok(said(parts[1]) == CPUS, f"{where}: a second CPU has its own registers, tables, ports, timers and root", text=text)
    ok("all have called; the end" in text and text.count("audit: 0 differences") == 2,
       f"{where}: four of them, that start and stop each other at any moment, leave all counts right", text=text)
    free = re.findall(r"^ *free +(\d+) frames", text, re.M)
    ok(len(free) == 2 and free[0] == free[1], f"{where}: what they had is free again", free=free)


def ends(where):
    """Each ending is one line, and the guest behind it is well."""
    words = list(ENDINGS)
    text = PV.host([*(f"start pv-hostile -- end={word}" for word in words), "start pv-hello"], ["pv-hello", "pv-hostile"], where)
    parts = each(text)
    ok(len(parts) == len(words) + 1 and said(parts[-1]) == HELLO, f"{where}: the host and the next guest are well",
       text=text[-3000:])
    for word, part in zip(words, parts):
        ok(re.search(rf"^d\d+ pv-hostile: stopped: {re.escape(ENDINGS[word])}", part, re.M) and not said(part),
           f"{where}: {word} ends it", text=part)
    for word, part in zip(words, parts):
        at = "00123456" if word == "for_ever" else "00001000" if word.startswith("pf_") else ""
        ok(not at or f", cr2 {at};" in part, f"{where}: {word}: the #PF that is told is the guest's, and none of Zeno's", text=part)
    told = re.findall(r"^  exit (\d+): (.*?) at (\w+), (\w+)", parts[words.index("nulls")], re.M)
    first, at = int(told[-9][0]), int(told[-9][2], 16)
    ok(told[-9:] == [(str(first + n), "no trap", f"{at + 8 * n:x}", "hypercall") for n in range(8)] + [(str(first + 8), "#UD", f"{at + 58:x}", "the")],
       f"{where}: its last words tell each call, in its place", told=told)


def frames():
    """What a PV guest took is free again when the next one's end has freed it."""
    text = PV.host(["start pv-hello", "frames", "start pv-hostile", "start pv-tables", "start pv-hello", "frames"],
                   ["pv-hello", "pv-hostile", "pv-tables"], icount=True)
    counts = re.findall(r"^ *free +(\d+) frames", text, re.M)
    ok(len(counts) == 2 and counts[0] == counts[1], "no frame is lost", text=text)


def costs():
    """Each row of `make bench` is measured, and none has grown."""
    table = run(sys.executable, TOOLS / "bench_pv.py")
    ok(not table.status and "mmu_update of 32, each" in table.out, "what its calls cost", out=table.out)


def slowly():
    """Where no hypercall is answered on the spot, each guest says the same, by as many exits."""
    guests = ["pv-machine", "pv-tables"]
    usual, *slow = (each(PV.host(["start pv-machine", "start pv-tables mem=40"], guests, options=options, icount=True))
                    for options in ("", "paranoid=1", "poison=1"))
    for options, text in zip(("paranoid=1", "poison=1"), slow):
        ok(len(usual) == 2 and usual == text, f"{options}: as exits hypercalls do what they do on the spot", usual=usual, slow=text)


def struck():
    """An NMI at each instruction at which rsp is the guest's, or no stack: into the host, and out of it on the spot."""
    symbols, hit = Symbols([PV.kernel.with_name("zeno.elf")]), []
    with machine.start(**boot_from("qemu", PV.kernel, "panic=off -- start pv-machine; off", [guest("pv-machine")]), cpu="pv", mem=128,
                       paused=True, limits=LIMIT) as live:
        client = live.gdb()
        for name, count in (("pv_syscall", 9), ("pv_syscall.answered", 5), ("pv_spot_end", 7)):
            for steps in range(count):
                client.insert(symbols.address(name), hardware=True)
                client.cont()
                client.remove(symbols.address(name), hardware=True)
                for _ in range(steps):
                    client.step()
                hit.append(client.regs()["rip"])
                client.monitor("nmi")
        client.detach()
        run_ = live.wait()
        text = run_.text()
        run_.cleanup()
    told = [int(at, 16) for at in re.findall(r"^NMI at ([0-9a-f]+)$", text, re.M)]
    ok(len(told) == len(hit) and set(told) <= set(hit) and set(hit[-2:]) <= set(told), "NMIs are told where they came: there, up to an iretq",
       told=told, hit=hit)
    ok("d1| 0 wrong; the end" in text, "... and the guest sees none of them", text=text)


def refused():
    """What can't be started is told in a line."""
    text = PV.host(["start hello", "start pv-hello platform=pc", "start pv-hello boot=multiboot", "start pv-hello vcpus=2",
                    "start pv-hello vcpus=5", "start pv-hello"], ["hello", "pv-hello"])
    for words in ("engine pv: it takes kernels with Xen's notes", "a PV kernel has no platform",
                  "it is not a 32-bit x86 image", "a second vCPU is one of Lab 7's calls", "a domain has 1 to 4 vCPUs", "caught 1; the end"):
        ok(words in text, f"said: {words}", text=text)


def together():
    """With every lab's engines: turns of a PV guest between those of te, and of one that never ends."""
    everything = Engine("all", "pv")
    everything.kernel = BUILD / "laball-solution/zeno.mb"
    text = everything.host([*(f"start pv-hostile & -- end={word}" for word in ENDLESS), "start hello", "start pv-hello &",
                            "start traps", "start pv-hello", "start pv-hello engine=te", "stop d1", "stop d2", "stop d3", "list",
                            "start pv-hostile & -- end=descriptors", "sleep 50", "start peek engine=te"],
                           ["hello", "traps", "pv-hello", "pv-hostile", assembled("pv/peek.asm")], icount=True)
    ok("hello: ended: exit code 0" in text and "traps: ended: exit code 0" in text, "guests of te run beside it", text=text)
    ok(text.count("caught 1; the end") == 2, "and PV guests beside them", text=text)
    ok(text.count("stopped: by the monitor's stop command") == len(ENDLESS), "those that never end are stopped", text=text)
    ok("a PV kernel, by its notes: engine=pv" in text, "te takes no PV kernel", text=text)
    ok("| gdt 0\n" in text and "peek: stopped: " in text, "nor does a guest of te find a PV guest's descriptors beyond its own", text=text[-1500:])



def main():
    for where in ("qemu", "bochs"):
        works(where)
        ends(where)
        events(where)
        cpus(where)
    frames()
    costs()
    slowly()
    struck()
    refused()
    together()
    finish()


main()
