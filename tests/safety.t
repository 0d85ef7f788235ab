#!/usr/bin/env python3
"""What ends the host, and what ends a guest: TRICKS.md's list of such places is the sources', and no program reaches exit_stop()."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok  # noqa: E402

WORDS = ("panic", "panic_at", "ASSERT", "exit_stop", "exit_limit", "domain_stop")
CALL = re.compile(r"\b(" + "|".join(WORDS) + r")\(")
FUNCTION = re.compile(r"^([a-z_][a-z_0-9]*)\(", re.M)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)


def sites():
    """{function: where} of those that call one of WORDS."""
    found = {}
    for path in sorted([*ROOT.glob("vmm/**/*.c"), *ROOT.glob("solutions/**/*.c")]):
        function = None
        for number, line in enumerate(without_comments(path.read_text()).split("\n"), 1):
            if begins := FUNCTION.match(line):
                function = begins[1]
            elif CALL.search(line):
                found.setdefault(function, f"{path.relative_to(ROOT)}:{number}")
    return found


def listed():
    text = (ROOT / "TRICKS.md").read_text()
    part = text.split("<!-- sites -->")[1].split("<!-- end of sites -->")[0]
    names = [name for row in part.split("\n") if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    ok(len(names) == len(set(names)), "TRICKS.md names each function once", names=names)
    return set(names)


def main():
    there, said = sites(), listed()
    ok(len(there) > 30, "functions that end the host or a guest are found", found=there)
    ok(not set(there) - said, "each is in TRICKS.md's list, with why, or who is blamed",
       missing={name: there[name] for name in set(there) - said})
    ok(not said - set(there), "and the list names none that is gone", gone=said - set(there))
    finish()


main()
