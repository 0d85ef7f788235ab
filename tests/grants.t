#!/usr/bin/env python3
"""Grant tables: frames that one domain lets another one use.

`pv-grants` shows each use between two domains, tries what must be refused, and as dom0 makes domains that come and go with
grants mapped either way: no frame is lost, none is another's while somebody has it mapped. ROUNDS=n makes more of them (500;
`make soak` has 10,000). All of it in one boot, in which no stretch with interrupts off is long.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import each  # noqa: E402
from harness import finish, ok  # noqa: E402
from pv_rounds import ROUNDS, host, nothing_lost  # noqa: E402

GRANTER, USER = "start pv-grants & -- me=1 peer=2 serve=1", "start pv-grants -- me=2 peer=1"
SAID = {1: ["it has written: hello from who maps", "revoked: not while it is in use", "revoked: yes", "it has written: copied",
            "0 wrong; the end"],
        2: ["map: hello from who grants", "unmap: nothing is there", "copy: hello from who grants", "copy of eight: bcdefghi, 0 of them refused",
            "who granted has ended: bBc", "0 wrong; the end"]}

OWN = ["before it is granted: -1", "to write what may be read: -1; to read: 0", "there: hello; the entry is read",
       "unmap: 0; once more: -4; the entry is free", "copy: 0: hello"]


def said(text, domain):
    return re.findall(rf"^d{domain}\| (.*)$", text, re.M)


def all_of_it():
    text, counts = host("pv-grants", [
        "start pv-hello", "frames", GRANTER, USER, "audit", GRANTER, f"{USER} hostile=1", "audit",
        f"start dom0 module=pv-grants -- rounds={ROUNDS}", "audit", "start pv-hello", "frames"])
    parts = each(text)
    if len(parts) != 7:
        ok(False, "each of them ran", text=text[-3000:])
        return
    shown, hostile, rounds = "".join(parts[1:3]), "".join(parts[3:5]), parts[5]
    for domain, lines in SAID.items():
        ok(said(shown, domain) == lines, f"what {'who grants' if domain == 1 else 'who uses it'} says", text=shown)
    ok(said(hostile, 2) == ["0 wrong; the end"], "what must be refused is", text=hostile)
    ok(hostile.count("a grant that is transitive, or of a part of a page: Zeno has tables of version 1 alone") == 1,
       "what no version 1 has is told, once", text=hostile)
    ok(f"{ROUNDS} rounds: 0 early, 0 wrong" in rounds, f"{ROUNDS} domains end with grants mapped either way: no frame is another's too early",
       text=rounds[-3000:])
    nothing_lost(text, counts)


def otherwise():
    """The auditors look all the time; and where no hypercall is answered on the spot."""
    for options in ("audit=17", "paranoid=1"):
        text, _ = host("pv-grants", ["start pv-grants -- me=1", GRANTER, f"{USER} hostile=1", "start dom0 module=pv-grants -- rounds=12", "audit"], options)
        ok("d2| 0 wrong; the end" in text and "12 rounds: 0 early, 0 wrong" in text and "audit: 0 differences" in text,
           f"{options}: the same", text=text[-3000:])
        ok(said(text, 1)[:5] == OWN, f"{options}: what one says that grants to itself", text=text)


all_of_it()
otherwise()
finish()
