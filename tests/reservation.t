#!/usr/bin/env python3
"""What memory a domain has: frames that it gives back, gets, and changes for others.

`pv-memory` shows each call, tries what must be refused, and as dom0 makes domains that are ended while they change what they have: no
frame is lost, none is another's while somebody has it mapped. ROUNDS=n makes more of them (500; `make soak` has 10,000). All of it in one
boot, in which no stretch with interrupts off is long. And `pv-balloon`, a domain of dom0's that has as much as `mem-set` says.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import each, guest  # noqa: E402
from harness import TOOLS, finish, folder, ok  # noqa: E402
from pv_rounds import LIMIT, PV, ROUNDS, host, machine, nothing_lost  # noqa: E402

sys.path.insert(0, str(TOOLS))
import mkfiles  # noqa: E402

SHOWN = ["it has all that it may have; one more: 0", "one that it has mapped: 0; that it has not: 1, and once more: 0",
         "it has -1; the frame is nobody's", "populate: 1; it is that guest frame: yes; of zeros: yes; it has 0",
         "decrease: 1; increase: 1; it is no guest frame: yes", "exchange: 0, 1 of 1; another frame: yes, the same guest frame: yes",
         "0 wrong; the end"]
END = "0 wrong; the end"


def said(text):
    return re.findall(r"^d1\| (.*)$", text, re.M)


def all_of_it():
    text, counts = host("pv-memory", [
        "start pv-hello", "frames", "start pv-memory", "audit", "start pv-memory mem=24 -- hostile=1", "audit",
        f"start dom0 module=pv-memory -- rounds={ROUNDS}", "audit", "start pv-hello", "frames"])
    parts = each(text)
    if len(parts) != 5:
        ok(False, "each of them ran", text=text[-3000:])
        return
    ok(said(parts[1]) == SHOWN, "each call, one by one", text=parts[1])
    ok(said(parts[2]) == [END], "what must be refused is", text=parts[2])
    ok(f"{ROUNDS} rounds: 0 early, 0 wrong" in parts[3] and "WRONG" not in parts[3],
       f"{ROUNDS} domains end while they change what they have: no frame is another's too early", text=parts[3][-3000:])
    nothing_lost(text, counts)


def otherwise():
    """The auditors look all the time; and where no hypercall is answered on the spot."""
    for options in ("audit=37", "paranoid=1"):
        text, _ = host("pv-memory", ["start pv-memory", "start pv-memory mem=24 -- hostile=1", "start dom0 module=pv-memory -- rounds=5", "audit"], options)
        ok(said(text).count(END) == 2 and "5 rounds: 0 early, 0 wrong" in text and "audit: 0 differences" in text, f"{options}: the same",
           text=text[-3000:])


PROMPT, LEAVE = "# ", "\x14"
CONFIG = b"name='b'; kernel='pv-balloon'; memory=16\n"


def until(said):
    """It is looked at until it has said this."""
    return [(PROMPT, "console b\n"), (said, LEAVE)]


def balloon():
    files = folder() / "files.cpio"
    files.write_bytes(mkfiles.archive({"b": CONFIG, "pv-balloon": guest("pv-balloon").read_bytes()}))
    steps = [(PROMPT, "create b\n"), *until("384."), (PROMPT, "mem-set b 9\n"), *until("216."), (PROMPT, "mem-set b 17\n"),
             (PROMPT, "mem-set b 1\n"), *until("s 4096."), (PROMPT, "list\n"), (PROMPT, "mem-set b 16\n"), *until("384."),
             (PROMPT, "shutdown b\n"), (PROMPT, ""), (PROMPT, "halt\n")]
    words = "|".join(f"{prompt}|{text}" for prompt, text in steps).replace(" ", "~").replace("\n", "_")
    result = machine.boot(kernel=str(PV.kernel), cpu="pv", mem=128, limits=LIMIT, modules=[(str(guest("dom0")), ""), (str(files), "")],
                          cmdline=f"panic=off -- start dom0 module=files mem=24 -- input={words}; audit; off", idle=False)
    text = result.text()
    result.cleanup()
    ok(re.findall(r"to have (\d+) KiB, and has (\d+)", text) == [("16384",) * 2, ("9216",) * 2, ("1024", "4096"), ("16384",) * 2],
       "a balloon: less, as little as it can, and all again", text=text)
    ok("it says itself" not in text, "how much is dom0's to say: the store lets it read that alone", text=text)
    ok(re.search(r"^d1\| b +2 +4  (running|blocked)", text, re.M), "list shows what it has", text=text)
    ok("17: a number of MiB, up to the 16 that b was made with" in text, "more than it may have is no number", text=text)
    ok("b: ended: guest powered off" in text and "audit: 0 differences" in text, "and it ends", text=text)


all_of_it()
otherwise()
balloon()
finish()
