#!/usr/bin/env python3
"""What VMRUN refuses, in words: Zeno's rules, the CPU's verdict, and on Bochs its log, which names the check.

Copies of a guest's VMCB are spoiled, each rule once and then bits by chance, and entered. The verdicts must agree, but
for what an emulator is known to do otherwise; that must show. SEED=n draws other values.
"""

import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, TOOLS, finish, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
from course import load_lab  # noqa: E402
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab4s-solution/zeno.mb"
LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=120)
BUT_RULES = " ".join(one for one in load_lab("4s").half_of if one < "4s.7")
CASES = 1500
SEED = int(os.environ.get("SEED", "1"))
CASE = re.compile(r"^case (\d+): (.+?) = ([0-9a-f]+): Zeno: (takes it|(.+?): (.+)); CPU: (takes it|refuses it|not asked)$", re.M)
RULE = re.compile(r"^rule (\d+): (.+?): (.+)$", re.M)

# What an emulator does otherwise (handouts/emulators.md#small): its name there, and which cases are of that kind.
QEMU_TAKES = {
    "N_CR3": lambda case: case.field == "N_CR3",
    "G_PAT": lambda case: case.field == "G_PAT",
    "CR4.PCIDE": lambda case: case.field == "CR4" and case.value & 1 << 17,
    "EFER.FFXSR": lambda case: case.field == "EFER" and case.value & 1 << 14,
}
QEMU_REFUSES = {
    "vector 31": lambda case: case.field == "EVENTINJ" and case.value & 0x800007ff == 0x8000031f,
    "the map's last place": lambda case: case.field == "MSRPM_BASE_PA" and case.value >> 12 == 0xffffffe,
}
BOCHS_TAKES = {
    "CR3": lambda case: case.field == "CR3",
    "the map's end": lambda case: case.field == "MSRPM_BASE_PA" and case.value & ~0xfff == 0xfffffff000,
}
BOCHS_REFUSES = {
    "L and D outside of long mode": lambda case: case.field == "CS.attrib" and case.value & 0x600 == 0x600,
    "EFER.TCE": lambda case: case.field == "EFER" and case.value & 1 << 15,
}
KNOWN = {"qemu": (QEMU_TAKES, QEMU_REFUSES), "bochs": (BOCHS_TAKES, BOCHS_REFUSES)}
OFTEN = {"N_CR3", "G_PAT", "CR4.PCIDE", "CR3", "L and D outside of long mode"}
"""Shows with any seed; the others are rare bits."""
UNASKED = {"qemu": {"no long mode"}, "bochs": {"no long mode", "need PE=1"}}
"""Rules that no case breaks there: Zeno needs long mode itself, and Bochs dies of PE=0."""

BOCHS_SAYS = {
    "VMRUN: Guest EFER": "EFER", "SVM: VMRUN CR0 is broken": "CR0", "VMRUN: Guest CR0": "CR0",
    "VMRUN: Guest CR4": "CR4", "SVM: VMRUN CR4 is broken": "CR4", "VMRUN: Guest DR6": "DR6", "VMRUN: Guest DR7": "DR7",
    "VMRUN: VMCB CS.D_B/L mismatch": "CS.attrib", "VMRUN: VMRUN intercept": "intercept vector 4",
    "VMRUN: invalid IOPM": "IOPM_BASE_PA", "VMRUN: invalid MSRPM": "MSRPM_BASE_PA",
    "VMRUN: attempt to run guest with host ASID": "Guest ASID", "SvmInjectEvents: invalid vector": "EVENTINJ",
    "SvmInjectEvents: unsupported event": "EVENTINJ", "VMRUN(): NCR3": "N_CR3", "VMRUN: invalid memory type": "G_PAT",
}


class Case:
    """One VMCB, and what was said of it."""

    def __init__(self, words):
        self.number, self.field, value, self.zeno, self.named, self.rule, self.cpu = words
        self.value = int(value, 16)

    def __repr__(self):
        return f"case {self.number}: {self.field} = {self.value:x}: Zeno: {self.zeno}; CPU: {self.cpu}"


def boot(where, commands, guests, host=HOST):
    """(the console, Bochs' log or nothing)"""
    cmdline = f"panic=off -- {'; '.join(commands)}; off"
    got = ran(where, host, cmdline, [BUILD / "guest" / f"{name}.elf" for name in guests], cpu="svm", limits=LIMIT, mem=128)
    return got.text, got.log


def known(where, case):
    """The name of what this emulator is known to do otherwise; None."""
    takes, refuses = KNOWN[where]
    table = takes if case.cpu == "takes it" else refuses
    return next((name for name, holds in table.items() if holds(case)), None)


def logged(case_list, log):
    """Bochs' log names for each VMCB that it refuses the field that Zeno's rule names."""
    said = [next((field for start, field in BOCHS_SAYS.items() if start in line), None) for line in log.splitlines()]
    said = [field for field in said if field]
    refused = [case for case in case_list if case.cpu == "refuses it"]
    ok(len(said) == len(refused), "bochs: its log names a check for each VMCB that it refuses", said=len(said),
       refused=len(refused))
    other = [f"{case}; its log: {field}" for case, field in zip(refused, said) if case.named and case.named != field and not known("bochs", case)]
    ok(not other, "bochs: the field in its log is the one that Zeno names", other="\n".join(other[:10]))
    return {field for case, field in zip(refused, said) if case.named}


def verdicts(where, guest, seed):
    """Both verdicts on many VMCBs: what was seen of the emulator's own ways, and the fields in Bochs' log."""
    text, log = boot(where, [f"start {guest}", f"vmrun-trial {seed} {CASES} {where}"], [guest])
    case_list = [Case(words) for words in CASE.findall(text)]
    rules = RULE.findall(text)
    what = f"{where}: {guest}'s VMCB, seed {seed}"
    if not ok(len(rules) >= 20 and len(case_list) == CASES, f"{what}: {CASES} of them", text=text[-2000:]):
        return set(), set()
    disagree = [case for case in case_list if (case.zeno == "takes it") != (case.cpu == "takes it")
                and case.cpu != "not asked"]
    odd = [case for case in disagree if not known(where, case)]
    ok(not odd, f"{what}: Zeno's rules and the CPU agree, but for what is known", odd="\n".join(map(repr, odd[:10])))
    both = [sum(case.cpu == verdict and case not in disagree for case in case_list)
            for verdict in ("takes it", "refuses it")]
    ok(min(both) > CASES // 5, f"{what}: both verdicts are frequent", both=both)
    for number, field, words in rules:
        case = case_list[int(number)]
        if not any(part in words for part in UNASKED[where]):
            ok((case.named, case.rule) == (field, words) and (case.cpu == "refuses it" or known(where, case)),
               f"{what}: {field}: {words}", case=repr(case))
    return {known(where, case) for case in disagree}, logged(case_list, log) if where == "bochs" else set()


def ends():
    """A guest whose VMCB is refused ends in those words: before its first entry, where it has no ASID yet, and in its midst."""
    for rule, field in ((1, "CR0"), (4, "CR4"), (11, "CS.attrib"), (12, "intercept vector 4"), (16, "EVENTINJ"), (19, "G_PAT")):
        first, _ = boot("qemu", ["start hello &", f"vmrun-break d1 {rule} {SEED}", "start hello"], ["hello"])
        last = re.search(r"^d1 hello: stopped: the CPU refuses the VMCB: (.+?) = [0-9a-f]+: ", first, re.M)
        listed = re.search(rf"^d1 hello: VMRUN: {re.escape(field)} = [0-9a-f]+: .+ \(APM 2 15\.\d", first, re.M)
        ok(last and last[1] == field and listed and "d1| " not in first and "d2 hello: ended: exit code 0" in first,
           f"{field}, before the first VMRUN: in words, and nothing of the guest ran", text=first)
    for rule, field in ((1, "CR0"), (4, "CR4"), (13, "IOPM_BASE_PA"), (15, "Guest ASID")):
        text, _ = boot("qemu", ["start hostile & -- attack=spin", "start hello", f"vmrun-break d1 {rule} {SEED}",
                                "start hello"], ["hostile", "hello"])
        ok(re.search(rf"^d1 hostile: stopped: the CPU refuses the VMCB: {re.escape(field)} = [0-9a-f]+: ", text, re.M)
           and text.count("hello: ended: exit code 0") == 2, f"{field}, of a guest that ran: VMEXIT_INVALID in words", text=text)


def many():
    """Of many broken rules three are told, and how many more there are."""
    breaks = [f"vmrun-break d1 {rule} {SEED}" for rule in (1, 4, 11, 12, 13, 19)]
    text, _ = boot("qemu", ["start hello &", *breaks, "start hello"], ["hello"])
    listed = re.findall(r"^d1 hello: VMRUN: .*", text, re.M)
    ok(len(listed) == 4 and re.fullmatch("d1 hello: VMRUN: and [3-9] more", listed[3]) and "d2 hello: ended: exit code 0" in text,
       "six rules broken at once: three in words, and how many more there are", text=text)


def unwritten():
    """Without 4s.7 nobody is blamed for what only its rules know."""
    built = run("make", "-s", "-C", ROOT, "LAB=4s", f"REF={BUT_RULES}", "build")
    if not ok(built.status == 0, "with 4s.7 as handed out it builds", out=built.out):
        return
    host = BUILD / f"lab4s-ref-{BUT_RULES}".replace(" ", "-") / "zeno.mb"
    text, _ = boot("qemu", ["start hostile & -- attack=spin", "start hello", f"vmrun-break d1 1 {SEED}", "start hello"],
                   ["hostile", "hello"], host)
    ok("d1 hostile: stopped: the CPU refuses the VMCB (VMEXIT_INVALID), for no rule that Zeno knows, and yours are not written "
       "(exercise 4s.7) " in text and text.count("hello: ended: exit code 0") == 2, "and says that its rules are missing", text=text)


def main():
    if not HOST.is_file():
        print("1..0 # SKIP Lab 4s has no reference here")
        return
    for where in ("qemu", "bochs"):
        if where == "bochs" and not shutil.which("bochs"):
            skip("the rules on Bochs", "Bochs is not installed: make demo installs it")
            continue
        found = [verdicts(where, guest, SEED + n) for n, guest in enumerate(("os", "long"))]
        seen = set().union(*(names for names, _ in found))
        ok(OFTEN & {*KNOWN[where][0], *KNOWN[where][1]} <= seen, f"{where}: what it does otherwise still shows", seen=seen)
        if where == "bochs":
            fields = set().union(*(fields for _, fields in found))
            ok(len(fields) >= 12, "bochs: its log names the fields of at least 12 kinds of checks", fields=fields)
    ends()
    many()
    unwritten()
    finish()


main()
