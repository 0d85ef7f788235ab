#!/usr/bin/env python3
"""A lab that needs "4 or 4s" is built, run and graded with the one that its student has done, for the same points.

Student trees are made up of the reference's files and untouched ones, without solutions/. On the reference's own kernel each
test of Lab 5 runs as for a student of Lab 4 alone, on VT-x in Bochs; tests/grader-labs.t has run them on AMD-V.
"""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
sys.dont_write_bytecode = True
from zeno.judging import attempt, build, course  # noqa: E402
from zeno.machines import machine  # noqa: E402

SEED = 1
HERE = ("tools", "grade", "labs", "kern", "vmm", "trials")


def student(*done):
    """The tree of a student who has done these labs, and no others."""
    tree = folder() / "-".join(done or ["none"])
    for name in HERE:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in done:
        lab = course.load(name)
        shutil.copytree(lab.solutions, tree / "labs" / lab.dir, dirs_exist_ok=True)
    return tree


def built(tree):
    """What a build of Lab 5 in this tree takes: {variable: value}."""
    made = run(sys.executable, tree / "tools" / "labinfo.py", "make", "--lab", "5", cwd=tree)
    lines = (tree / "build" / "lab5" / "lab.mk").read_text().splitlines() if not made.status else []
    return dict(line.split(" := ", 1) for line in lines), made.out


def test_trees():
    """What each student builds, and on what his tests run."""
    for done, other, cpu, place in (("4s", "vmx", "svm", "qemu"), ("4", "svm", "vmx", "bochs")):
        tree = student("0", "1", done)
        lab, whole = course.load("5", root=tree), course.load("5")
        ok({tuple(test.machines) for test in lab.tests if test.points and test.exercise != "own-whole"} == {(place,)},
           f"who has done Lab {done} is graded on {place}", got=[(test.name, test.machines) for test in lab.tests])
        ok(lab.points == whole.points and [lab.cpu_on(one) for one in ("qemu", "bochs")] == [cpu, cpu],
           "... for the same points, on a CPU with that engine wherever it runs", got=(lab.points, lab.cpu_on("bochs")))
        ok(lab.rewards and {one.machines for one in lab.rewards} == {("qemu",)}, "... and rewards are QEMU's, whatever the lab runs on", got=lab.rewards)
        variables, said = built(tree)
        sources = variables.get("SOURCES", "").split()
        ok(any(f"/{cpu}/" in one for one in sources) and not any(f"/{other}/" in one or f"-{other}/" in one for one in sources),
           f"... his kernel has no {other}, which would say at each start that it is not done", got=sources, said=said)
        ok([variables.get(name) for name in ("LAB_CPU", "LAB_CPU_BOCHS")] == [cpu, cpu], "... and boots on that CPU", got=variables)
    lab = course.load("5", root=student())
    ok([one.lab for one in lab.flavours] == ["4s", 4], "who has done neither has both", got=lab.flavours)


def test_one_handed_out():
    """A course whose course.toml leaves out the data file of one has the other alone."""
    for left, other, cpu, place in (("4s", "4", "svm", "qemu"), ("4", "4s", "vmx", "bochs")):
        tree = student("0", "1")
        (tree / "grade" / "labs" / f"{other}.toml").unlink()
        lab = course.load("5", root=tree)
        ok([str(one.lab) for one in lab.flavours] == [left] and lab.tests[0].machines == [place], f"Lab {left} alone: on {place}",
           got=lab.flavours)
        variables, said = built(tree)
        theirs, others = (f"labs/{course.load(name).dir}/" in variables.get("SOURCES", "") for name in (left, other))
        ok(variables.get("LAB_CPU_BOCHS") == cpu and theirs and not others, "... and Lab 5 rests on it", got=variables, said=said)


def test_vmx(out):
    """All tests on VT-x."""
    lab, mine = course.load("5"), course.load("5", root=student("4"))
    tree = build.Tree(lab, ref=" ".join(map(str, lab.needed_labs())))
    try:
        image = tree.build(build.take_folder(lab.solutions, lab), out)
        if not ok(image.ok, "Lab 5 builds", log=image.log):
            return
        image.guests = tree.build_guests(out)
    finally:
        tree.remove()
    spent = 0.0
    for test in mine.tests:
        if not test.points or test.exercise == "own-whole":
            continue
        verdict = attempt.run_check(mine, test, image, SEED, out / test.name)
        spent += verdict.cpu_seconds
        ok(verdict.verdict == "pass", f"{test.name} passes on VT-x", why=verdict.reason, expected=verdict.expected, got=verdict.got)
    for reward in mine.rewards:
        verdict = attempt.run_check(mine, reward, image, SEED, out / reward.name)
        ok(verdict.verdict == "skip", f"{reward.name}: no reward without AMD-V, and no failure", got=f"{verdict.verdict}: {verdict.reason}")
    print(f"# {spent:.1f} CPU seconds of Bochs")


def main():
    """All of it."""
    if not (ROOT / "solutions").is_dir():
        print("1..0 # SKIP no solutions in this tree")
        return
    attempt.add_checks_to_path()
    test_trees()
    test_one_handed_out()
    if machine.missing("bochs"):
        skip("Lab 5 on VT-x", machine.missing("bochs"))
    else:
        with tempfile.TemporaryDirectory(prefix="zeno-flavours-") as scratch:
            test_vmx(Path(scratch))
    finish()


main()
