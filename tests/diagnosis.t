#!/usr/bin/env python3
"""The patients of exercises 4.8 and 4s.8: each fault is taken by the CPU, shows, and is cured by its right value alone.

All faults are tried, with two seeds (SEED=n: with this one): so whatever the name, a student's five can be diagnosed. Then
the grader's verdict on the answers of two names, and what it says of files that are wrong in other ways than in their
answers.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine  # noqa: E402
from harness import ROOT, finish, folder, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import build, course, trial  # noqa: E402
from checks import lab4diagnosis as diagnosis  # noqa: E402

SEEDS = [os.environ["SEED"]] if "SEED" in os.environ else ["1", "4711"]
SVM, VMX = Engine("4s", "svm"), Engine("4", "vmx")
RUN = re.compile(r"^(ill|well): (.*)\n((?:(?!ill: |well: |K> ).*\n)*)", re.M)
NAMES = ("hopper", "kathleen")
FAULTS = 40
"""There are that many at least."""


def all_faults(engine, command, where, seed):
    """Every fault, and every cure."""
    text = engine.host([f"{command} {seed}"], [], where=where)
    runs = RUN.findall(text)
    ill = [(what, lines) for kind, what, lines in runs if kind == "ill"]
    well = [(what, lines) for kind, what, lines in runs if kind == "well"]
    ok(len(ill) == len(well) >= FAULTS, f"{command} {seed}: {FAULTS} faults and more, each with its cure", got=len(ill), text=text)
    wrong = [what for what, lines in ill if not lines.endswith("here its plan ends\n")]
    ok(not wrong, f"{command} {seed}: each is taken by the CPU, and the patient does not come to its end", wrong=wrong, text=text)
    wrong = [what for what, lines in well if not lines.endswith("its work is done\n")]
    ok(not wrong, f"{command} {seed}: with the right value each is well", wrong=wrong, text=text)


def file_of(engine, flavour, where, name):
    """diagnosis.txt for a name: the kernel's own key, and the first line of each that is on no plan."""
    text = engine.host([f"{flavour.command}-key {name}", *(f"{flavour.command} {name} {n}" for n in range(1, 6))], [], where=where)
    lines = [f"name: {name}", *re.findall(r"^[1-5]\.(?:field|value): .*$", text, re.M)]
    for number, part in re.findall(rf"^K> {flavour.command} {name} (\d)\n((?:(?!K> ).*\n)*)", text, re.M):
        exits = re.findall(r"^exit \d+: .*$", part, re.M)
        # Without a mark 1 it is the first of them: marks make no exits.
        lines.append(f"{number}.exit: {exits[-1] if len(exits) == 1 or ': mark 1' in part else exits[0]}")
    return "\n".join(lines) + "\n"


def any_name(engine, lab, where, flavour, name):
    """The grader takes the answers of any name, and of another name's none."""
    text = file_of(engine, flavour, where, name)
    said = {}
    for what, data in (("right", text), ("another's", text.replace(f"name: {name}", "name: somebody"))):
        data_of = course.load(lab)
        image = build.Image(True, "", engine.kernel.with_suffix(".elf"), engine.kernel, ROOT / "build/guest",
                            files={"diagnosis.txt": data.encode()})
        test = next(one for one in data_of.tests if one.name == "ill-five")
        said[what] = diagnosis.right_ones(trial.Trial(data_of, test, image, 1, where, folder() / f"trial-{name}"), flavour)
    ok(said["right"] == (5, []), f"{flavour.command}: the grader finds all five of {name} right", got=said, text=text)
    ok(said["another's"][0] == 0 and not said["another's"][1], f"... and none for another name, since none is {name}'s",
       got=said, text=text)


def refused(text):
    """What the grader says to this file before it runs anything; None: nothing."""
    files = {} if text is None else {"diagnosis.txt": text.encode()}

    def check(holds, why, _expected=None, _got=None):
        if not holds:
            raise trial.Failed(why)

    try:
        _, said = diagnosis.answers(SimpleNamespace(image=SimpleNamespace(files=files), check=check), diagnosis.Svm())
    except trial.Failed as failed:
        return failed.why
    return next((one.wrong for one in said if one.wrong), None)


def files():
    """A line for each way to write the file wrong."""
    right = (ROOT / "solutions/4s-svm/diagnosis.txt").read_text()
    ok(refused(right) is None, "the reference's file can be read", got=refused(right))
    for what, text, words in (
            ("no file", None, "is not there"), ("an empty file", "", "no name behind"),
            ("a skeleton", (ROOT / "labs/4s-svm/diagnosis.txt").read_text(), "no name behind"),
            ("a file of a megabyte", right + "#" * (1 << 20), "too long"),
            ("a name of the student's own making", right.replace("name: zeno", "name: a; b"), "is none"),
            ("a key twice", right + "1.field: rip\n", "two lines for `1.field:`"),
            ("no value", re.sub(r"^3\.value:.*$", "3.value:", right, flags=re.M), "nothing stands behind `3.value:`"),
            ("a value with words", re.sub(r"^3\.value:.*$", "3.value: f0h", right, flags=re.M), "`3.value:` is no number"),
            ("a value of 65 bits", re.sub(r"^3\.value:.*$", "3.value: 0x1" + 16 * "0", right, flags=re.M), "is no number"),
            ("a command in a field's place", re.sub(r"^3\.field:.*$", "3.field: cr0; off", right, flags=re.M), "no field's name"),
            ("no line of an exit", re.sub(r"^3\.exit:.*$", "3.exit: a page fault", right, flags=re.M), "no line of an exit")):
        got = refused(text)
        ok(got is not None and words in got and "\n" not in got, f"{what}: {words}", got=got)


def fields():
    """Fields by their names in C, and only fields."""
    svm = diagnosis.Svm()
    ok(svm.has("cr0") and svm.has("cs.base") and svm.has("intercepts[0]") and not svm.has("cs") and not svm.has("cr9")
       and not svm.has("pad9"), "a field's name is that of one number in the VMCB")
    vmx, before = diagnosis.Vmx(), bytes(diagnosis.VMCS)
    one, two = (before[:at] + b"\1" * 8 + before[at + 8:] for at in (0x210, 0x218))
    both = bytes(map(max, one, two))
    ok(vmx.same_but(before, one, "es_base") and not vmx.same_but(before, both, "es_base")
       and not vmx.same_but(before, before, "es_base"), "a patient of VT-x that is cured in two fields, or in none, is not taken")


for one in SEEDS:
    all_faults(SVM, "ill-all", "qemu", one)
    if shutil.which("bochs"):
        all_faults(VMX, "sick-all", "bochs", one)
    else:
        skip("sick-all", "no Bochs")
for one in NAMES:
    any_name(SVM, "4sB", "qemu", diagnosis.Svm(), one)
    if shutil.which("bochs"):
        any_name(VMX, "4B", "bochs", diagnosis.Vmx(), one)
files()
fields()
finish()
