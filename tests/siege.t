#!/usr/bin/env python3
"""PV guests that lay siege to the host, to dom0 and to whoever is beside them (guest/pv/siege).

Calls of all kinds with words of all kinds, by numbers that are drawn here; descriptors and selectors of all kinds, and
frames of an iret that lead anywhere with them; frames that are given back, got and changed for others while they are
tables, grants, or descriptors; types that are walked without end, while events come whose handler asks for more, or
other vCPUs ask, start and stop each other, and an end in the middle of it, by itself or by dom0; pages that others look
at, scribbled over; a storm of events to dom0. The auditor counts meanwhile; behind all of it no frame is lost, and a
guest beside them has had its part of the CPU. `make check-all` has more lives.
"""

import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, each, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok  # noqa: E402

sys.path.insert(0, str(TOOLS))
import mkfiles  # noqa: E402

PV = Engine("8", "pv")
BOOTS, WALKS = (8, 12) if os.environ.get("ZENO_ALL") else (1, 2)
LIVES = {"any calls=6000": 8, "frames calls=3000": 4, "reserve me=1 calls=1500": 4}
"""In each boot, whose command line has 2047 characters."""
PLAIN = re.escape("\x18\x0f\x1b(B\x1b[m")  # the monitor's, where a terminal has been told what is no text (vmm/dev/typed.c)
ENDED = re.compile(rf"^(?:{PLAIN})?d\d pv-siege: (?:ended|stopped): ", re.M)


def frames(text):
    """What is free, at each `frames`."""
    return re.findall(r"^ +free +(\d+) frames", text, re.M)


def whole(text, audits, what):
    """Nothing differs, and nothing is lost."""
    free = frames(text)
    ok(text.count("audit: 0 differences") == audits and "differs" not in text, f"{what}: the auditor counts what there is", text=text[-4000:])
    ok(len(free) == 2 and free[0] == free[1], f"{what}: no frame is lost", free=free, text=text[-3000:])
    ok("d1| caught 1; the end" in "".join(each(text)[-1:]), f"{what}: the next guest is well", text=text[-3000:])


def anything(seed):
    """Each life is short: most of what can be asked for at random is one's own end."""
    lives = [f"{words} seed={seed + n}" for words, count in LIVES.items() for n in range(count)] + [f"scribble seed={seed}", "ports stay"]
    text = PV.host(["start pv-hello", "frames", *[word for life in lives for word in (f"start pv-siege -- {life}", "audit")],
                    "start pv-hello", "frames"], ["pv-siege", "pv-hello"], options="audit=100", icount=True)
    parts = each(text)
    ok(len(parts) == len(lives) + 2 and all(ENDED.search(part) for part in parts[1:-1]), "any calls: each comes to an end, in a line", text=text[-4000:])
    ok("all is scribbled over" in text and "ports: 0 wrong; the end" in text, "pages scribbled over; all ports", text=text[-4000:])
    done = [re.search(r"frames: (\d+) gone, (\d+) come, (\d+) others", part) for part in parts if " reserve " in part]
    ok(all(one and all(int(count) for count in one.groups()) for one in done), "frames come and go while they are anything else", text=text[-4000:])
    whole(text, len(lives), "any calls")


def walks(seed):
    """One is stopped in the middle, and one ends itself there; another guest has its turns meanwhile."""
    commands = []
    for n in range(WALKS):
        commands += [f"start pv-siege & -- walk seed={seed + n}", "start pv-hello", f"sleep {1 + n % 3}", "stop d1",
                     f"start pv-siege vcpus=4 -- walk several die={40 + 20 * n} seed={seed + n}" if n % 2 else
                     f"start pv-siege -- walk die={8 + 5 * n} seed={seed + n}", "audit"]
    text = PV.host(["start pv-hello", "frames", *commands, "start pv-hello", "frames"], ["pv-siege", "pv-hello"], options="audit=50", icount=True)
    ok(text.count("pv-siege: stopped: by the monitor's stop command") == WALKS and text.count("pv-siege: ended: guest powered off") == WALKS
       and text.count("caught 1; the end") == WALKS + 2, "walks: each comes to its end, and leaves others their turns", text=text[-4000:])
    turns = [int(n) for n in re.findall(r"^d\d\| (\d+) turns of others beside it$", text, re.M)]
    ok(len(turns) == WALKS // 2 and all(turns), "other vCPUs change it meanwhile, and start and stop each other", turns=turns)
    whole(text, WALKS, "walks")


def archive(words):
    """dom0's files."""
    files = {"pv-siege": guest("pv-siege").read_bytes()}
    files |= {f"{name}.cfg": f"name = '{name}'\nkernel = 'pv-siege'\nmemory = 8\nextra = '{extra}'\n".encode() for name, extra in words.items()}
    to = folder() / "files.cpio"
    to.write_bytes(mkfiles.archive(files))
    return to


def typed(lines):
    """dom0's shell has these, each at its prompt, and behind an end once more."""
    return "-- input=" + "|".join(f"dom0# |{line}" for line in lines).replace(" ", "~").replace("\n", "_")


def under_dom0(seed):
    """dom0 makes them, hears their storms, and ends them in the middle. A guest of the monitor's beside two that ring has its third."""
    files = archive({"walk": f"walk seed={seed}", "scribble": f"scribble seed={seed}", "ring": "ring", "bell": "ring"})
    session = typed(["create walk.cfg\n", "destroy walk\n", "", "create scribble.cfg\n", "", "create walk.cfg\n", "destroy walk\n", "", "halt\n"])
    storm = typed(["create ring.cfg\n", "create bell.cfg\n"])
    text = PV.host(["start pv-hello", "frames", f"start dom0 mem=24 module=files {session}", "audit", f"start dom0 mem=24 module=files & {storm}",
                    "sleep 100", "start pv-turns & -- spin 1", "sleep 1000", "sched", "audit", "stop d1", "stop d2", "stop d3", "stop d4",
                    "start pv-hello", "frames"], [guest("dom0"), files, "pv-turns", "pv-hello"], options="audit=50", icount=True)
    ok(text.count("walk has ended: by dom0") == 2 and "scribble has ended: guest powered off" in text and "dom0: ended: guest powered off" in text,
       "dom0 ends them in the middle of a walk, and serves rings that are scribbled over", text=text[-5000:])
    had = {name: int(part) for name, part in re.findall(r"^  d\d (\S+) +\d+ +\d+ % +(\d+) %", text, re.M)}
    ok({"ring", "bell", "pv-turns"} <= set(had) and had["pv-turns"] >= 30 and had.get("dom0", 99) < 10,
       "two that ring dom0 without end pay for it, and who is beside them has its third", had=had, text=text[-3000:])
    free = frames(text)
    ok(text.count("audit: 0 differences") == 2 and len(free) == 2 and free[0] == free[1], "under dom0: nothing differs, and no frame is lost",
       free=free, text=text[-4000:])


def main():
    seed = random.randrange(1, 1 << 20)
    print(f"# the seed is {seed}")
    for n in range(BOOTS):
        anything(seed + 16 * n)
    walks(seed)
    under_dom0(seed)
    finish()


main()
