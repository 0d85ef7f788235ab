#!/usr/bin/env python3
"""What ends the host, and what ends a guest: TRICKS.md's list has each such place of the sources, headers and kern/ too.

A function stands there with the number of its places (`die` (3); one place needs no number), so that a new one has to be
thought of in a function that is listed already. `tests/safety.t --write` puts the numbers right; the reasons are written by hand.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok  # noqa: E402

WORDS = ("panic", "panic_at", "ASSERT", "VMX_CHECK", "exit_stop", "exit_limit", "domain_stop")
CALL = re.compile(r"\b(?:" + "|".join(WORDS) + r")\(|\bcall\s+(?:panic|trap_nobody)\b")
FUNCTION = re.compile(r"(?:#define )?([A-Za-z_]\w*)\(|([a-z_]\w*):")
ROOMS, KINDS = ("kern", "inc", "vmm", "solutions", "trials"), (".c", ".h", ".asm")
LISTED = re.compile(r"`(\w+)`(?: \((\d+)\))?")
BEGIN, END = "<!-- sites -->", "<!-- end of sites -->"


def without_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)


def sites():
    """{function, macro or label: its places}."""
    found = defaultdict(list)
    for path in sorted(p for room in ROOMS for p in (ROOT / room).rglob("*") if p.suffix in KINDS):
        function = None
        for number, line in enumerate(without_comments(path.read_text()).split("\n"), 1):
            if begins := FUNCTION.match(line):
                function = begins[1] or begins[2]
            elif line[:1].isspace():  # else it is a declaration
                found[function] += [f"{path.relative_to(ROOT)}:{number}"] * len(CALL.findall(line))
    return {function: where for function, where in found.items() if where}


def listed(text):
    """[(name, number)] of TRICKS.md's rows."""
    part = text.split(BEGIN)[1].split(END)[0]
    return [(name, int(n or 1)) for row in part.split("\n") if row.startswith("| `") for name, n in LISTED.findall(row.split("|")[1])]


def renewed(text, there):
    """TRICKS.md with today's numbers; a function that is new or gone is left to who knows why."""
    before, part, after = re.split(f"({BEGIN}.*?{END})", text, flags=re.S)

    def row(line):
        head, first, rest = line.partition("|")[0], *line[1:].split("|", 1)
        first = LISTED.sub(lambda m: f"`{m[1]}`" + (f" ({len(there[m[1]])})" if len(there.get(m[1], "1")) > 1 else ""), first)
        return f"{head}|{first}|{rest}"
    return before + "\n".join(row(line) if line.startswith("| `") else line for line in part.split("\n")) + after


def main():
    there, page = sites(), ROOT / "TRICKS.md"
    if sys.argv[1:] == ["--write"]:
        page.write_text(renewed(page.read_text(), there))
    rows = listed(page.read_text())
    said = dict(rows)
    ok(len(rows) == len(said), "TRICKS.md names each function once", names=rows)
    ok(sum(map(len, there.values())) > 140 and {"vcpu_advance", "die", "vmcs_read", "nobody_exits"} & set(there),
       "places that end the host or a guest are found, in headers and in kern/ too", found=there)
    ok(not set(there) - set(said), "each function is in TRICKS.md's list, with why, or who is blamed",
       missing={name: there[name] for name in set(there) - set(said)})
    ok(not set(said) - set(there), "and the list names none that is gone", gone=set(said) - set(there))
    other = {name: f"listed {said[name]}, there {there[name]}" for name in set(there) & set(said) if said[name] != len(there[name])}
    ok(not other, "and each has as many places as it says (when you have thought of the new ones: tests/safety.t --write)", other=other)
    finish()


main()
