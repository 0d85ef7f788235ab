#!/usr/bin/env python3
"""The grader on the real labs: solutions earn all, skeletons nothing, every mutant is killed.

A mutant must build and boot, pass a test, and fail one of its own exercise's, in words that its
symptom finds. One that is marked `caught-by: hostile` must fail a test that feeds in something
hostile. `tests/grader-labs.t NAME...` tries only these mutants.
"""

import os
import queue
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tools")]
sys.dont_write_bytecode = True

import mutants  # noqa: E402
from zeno.judging import build, course, explain, grader, tap  # noqa: E402
from zeno.machines import machine  # noqa: E402

ALSO = {0: ["bt-walk", "frames-order"], 1: ["ring1", "shadow-rules"], 2: ["rights-table", "fill-kinds"],
        3: ["translated", "straight", "callouts"]}
"""Tests of which a mutant that fails all of its own exercise's must pass one."""
SEED = int(os.environ.get("SEED", "0")) or None
JOBS = os.cpu_count() or 2


class Results:
    """TAP lines from several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = self.bad = 0

    def ok(self, holds, what, skip=None, **details):
        """One test point."""
        with self.lock:
            self.count += 1
            self.bad += not holds and not skip
            line = f"{'ok' if holds or skip else 'not ok'} {self.count} - {tap.clean(what)}"
            print(line + (f" # SKIP {tap.clean(skip)}" if skip else ""), flush=True)
            if not holds and not skip:
                print("  ---")
                for text in tap.yaml_lines({key: str(value) for key, value in details.items()}):
                    print("  " + text)
                print("  ...", flush=True)


def whole(results, lab, tree, guests, source, out):
    """All tests of a lab on the files of a folder."""
    image = tree.build(build.take_folder(source, lab), out)
    image.guests = guests
    work = grader.Grader(lab, image, grader.OutFolder(out / "results").path, JOBS, SEED)
    return work, work.run()


def test_solution(results, lab, tree, guests, out):
    """The reference earns every point that can be earned on this machine."""
    work, verdicts = whole(results, lab, tree, guests,
                           ROOT / "solutions" / lab.directory, out / "solution")
    for name, v in verdicts.items():
        no_machine = v.verdict == "skip" and "no machine" in v.reason
        results.ok(v.verdict == "pass" or (v.todo and v.verdict == "fail"),
                   f"lab {lab.number}, solution: {name}", skip=v.reason if no_machine else None,
                   **v.diagnosis())
    missing = sum(v.points for v in verdicts.values() if v.verdict == "skip")
    results.ok(work.earned == lab.points - missing,
               f"lab {lab.number}: the solution earns all {lab.points - missing} points",
               got=work.earned)


def test_skeleton(results, lab, tree, guests, out):
    """The untouched skeleton builds, boots, and earns nothing."""
    work, verdicts = whole(results, lab, tree, guests,
                           ROOT / "labs" / lab.directory, out / "skeleton")
    first = verdicts[lab.tests[0].name]
    results.ok(first.verdict == "pass", f"lab {lab.number}: the skeleton builds and boots",
               **first.diagnosis())
    results.ok(any(v.reason.startswith(explain.undone_words(v.exercise)) for v in verdicts.values()),
               f"lab {lab.number}: a test that fails there begins with what is not done",
               got=[v.reason for v in verdicts.values()])
    wrong = [v.test for v in verdicts.values()
             if v.points and v.verdict not in ("fail", "skip")]
    results.ok(not wrong and work.earned == 0, f"lab {lab.number}: the skeleton earns nothing",
               got=wrong)


def mutant_files(lab, mutant):
    """The solution's files with the mistake in."""
    files = build.take_folder(ROOT / "solutions" / lab.directory, lab)
    for name, hunks in mutant.files.items():
        path = Path(name)
        text, _ = mutants.patched(files[path.name].decode(), hunks, mutant.name)
        files[path.name] = text.encode()
    return files


def tries(lab, mutant, image, out):
    """Verdicts of the tests that decide on a mutant, as few as will do."""
    found = {}

    def run(test):
        if test.name not in found and all(machine.missing(name) is None for name in test.machines):
            found[test.name] = grader.run_check(lab, test, image, SEED or 1, out / test.name)
        return found.get(test.name)

    run(lab.tests[0])
    hostile = mutant.caught_by == "hostile"
    for test in lab.exercise(mutant.exercise).tests:
        if not test.points:
            continue
        run(test)
        fails = [lab.test(name) for name, v in found.items() if v.verdict == "fail"]
        if any(test.hostile or not hostile for test in fails):
            break
    for name in ALSO.get(lab.number, []):
        if any(v.verdict == "pass" for n, v in found.items() if n != lab.tests[0].name):
            break
        run(lab.test(name))
    return found


def test_mutant(results, lab, mutant, image, out):
    """One mutant."""
    if not image.ok:
        results.ok(False, f"{mutant.name} builds", log=image.log)
        return
    found = tries(lab, mutant, image, out)
    first, rest = found[lab.tests[0].name], [v for n, v in found.items() if n != lab.tests[0].name]
    own = [v for v in rest if v.exercise == mutant.exercise and v.verdict == "fail"]
    broken = [v for v in found.values() if v.verdict == "error"]
    words = "; ".join(v.reason for v in own)
    trouble = []
    if broken:
        trouble.append(f"harness trouble in {broken[0].test}: {broken[0].reason} {broken[0].got}")
    if first.verdict != "pass":
        trouble.append(f"it does not boot: {first.reason}")
    if not own:
        trouble.append("no test of its own exercise notices it")
    if not any(v.verdict == "pass" for v in rest):
        trouble.append("it passes no test at all")
    if mutant.caught_by == "hostile" and not any(lab.test(v.test).hostile for v in own):
        trouble.append("no test with something hostile in it notices it")
    if own and not any(explain.matches(mutant.symptom, explain.text_of(v)) for v in own):
        trouble.append(f"its symptom is not in what the grader says: {mutant.symptom}")
    results.ok(not trouble, f"mutant {mutant.name}: killed by "
               + (", ".join(v.test for v in own) or "nothing"), trouble="; ".join(trouble),
               said=words)


def test_mutants(results, lab, tree, guests, wanted, out):
    """All mutants of a lab: one builds while others run."""
    todo = queue.Queue(maxsize=JOBS)

    def worker():
        while (item := todo.get()) is not None:
            try:
                test_mutant(results, lab, *item)
            except Exception as error:  # pylint: disable=broad-except
                results.ok(False, f"mutant {item[0].name}", got=f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(JOBS)]
    for thread in threads:
        thread.start()
    known = [one for one in mutants.load_all(ROOT, lab.number)
             if not wanted or one.name in wanted]
    for mutant in known:
        place = out / mutant.name
        image = tree.build(mutant_files(lab, mutant), place)
        image.guests = guests
        todo.put((mutant, image, place))
    for _ in threads:
        todo.put(None)
    for thread in threads:
        thread.join()
    if wanted:
        return
    for one in lab.exercises:
        count = sum(mutant.exercise == one.id for mutant in known)
        results.ok(count >= 2, f"exercise {one.id} has two mutants or more", got=count)
    if any(test.hostile for test in lab.tests):
        count = sum(mutant.caught_by == "hostile" for mutant in known)
        results.ok(count >= 3, f"lab {lab.number}: three mutants need a hostile guest", got=count)


def main():
    """Every lab that has a solution here."""
    results, wanted = Results(), sys.argv[1:]
    grader.add_checks_to_path()
    print("TAP version 14", flush=True)
    with tempfile.TemporaryDirectory(prefix="zeno-labs-") as scratch:
        tempfile.tempdir = scratch
        for number in course.labs_present():
            lab = course.load(number)
            if wanted and not any(name.startswith(f"{number}.") for name in wanted):
                continue
            if not lab.exercises or not (ROOT / "solutions" / lab.directory).is_dir():
                continue
            out = Path(scratch) / f"lab{number}"
            tree = build.Tree(lab, ref=" ".join(map(str, course.needed_labs(lab))) or None)
            guests = tree.build_guests(out / "common")
            if not wanted:
                test_solution(results, lab, tree, guests, out)
                test_skeleton(results, lab, tree, guests, out)
            test_mutants(results, lab, tree, guests, wanted, out)
            tree.remove()
    print(f"1..{results.count}")
    return 1 if results.bad else 0


sys.exit(main())
