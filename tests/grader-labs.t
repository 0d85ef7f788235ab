#!/usr/bin/env python3
"""The grader on the real labs: solutions earn all, skeletons nothing, every mutant is killed.

A mutant must build and boot, pass a test, and fail one of its own exercise's, in words that its
symptom finds. One that is marked `caught-by: hostile` must fail a test that feeds in something
hostile. `tests/grader-labs.t NAME...` tries only these mutants; `sets 1.3` all tests of that exercise on each of its
mutants, which tells whether the tests differ; `which` tells this commit's part, and `which 0 3` those with these numbers.

Verdicts are kept (grade/zeno/judging/kept.py). Of the mutants on which none are, a twelfth of each lab's is tried: which,
the commit's number says, so that every fresh clone of one commit tries the same, and twelve commits one after the other
all; and those that the commit changes, a dozen of each lab at most. `make check-all` tries all, and keeps nothing. A mutant's
tests begin with the one that killed it last (grade/mutants/killers.txt; `python3 tools/mutants.py killers` brings that up to
date), then the others, in their order.
"""

import hashlib
import os
import queue
import random
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tools"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

import mutants  # noqa: E402
import turn  # noqa: E402
from zeno.judging import attempt, build, course, explain, grader, kept, tap  # noqa: E402
from zeno.machines import machine  # noqa: E402

ALSO = {0: ["bt-walk", "frames-order"], 1: ["ring1", "shadow-rules"], 2: ["rights-table", "fill-kinds"],
        3: ["translated", "straight", "callouts"], 4: ["turned-on", "rounds", "probe", "exit-native", "exit-ports", "event-frames"],
        5: ["protects", "way-down", "filled"], 6: ["rootless", "calls", "frames"], 7: ["unmask-path", "recounted", "ports", "due", "between", "prompt"],
        8: ["long-table", "entries", "claims"], 9: ["indices", "played", "answered"], 10: ["sent", "returned", "taken", "carried", "decided", "counted"],
        "4s": ["turned-on", "rounds", "probe", "exit-native", "exit-ports", "event-frames"]}
"""Tests of which a mutant that fails all of its own exercise's must pass one."""
SEED = int(os.environ.get("SEED", "0")) or None
KEPT = kept.Kept(ROOT)
CHANCE = SEED or (random.SystemRandom().randrange(1, 1 << 32) if kept.ALL else 1)
"""The seed of a mutant's tests. Kept verdicts are those of one; `make check-all` tries others: a test that misses its
mistake by chance is weak."""
PART = 12
"""One mutant of so many is tried where nothing is kept."""
MOST_NEW = 12
KILLERS = ROOT / "build" / "grade" / mutants.KILLERS
JOBS = os.cpu_count() or 2


class Results:
    """TAP lines from several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = self.bad = 0

    def ok(self, holds, what, skip=None, cached=False, **details):
        """One test point."""
        with self.lock:
            self.count += 1
            self.bad += not holds and not skip
            line = f"{'ok' if holds or skip else 'not ok'} {self.count} - {tap.clean(what)}" + " # cached" * cached
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
    work = grader.Grader(lab, image, grader.OutFolder(out / "results").path, JOBS, SEED, kept=KEPT)
    return work, work.run()


def test_solution(results, lab, tree, guests, out):
    """The reference earns every point that can be earned on this machine."""
    work, verdicts = whole(results, lab, tree, guests,
                           ROOT / "solutions" / lab.dir, out / "solution")
    for name, v in verdicts.items():
        no_machine = v.verdict == "skip" and ("no machine" in v.reason or v.reward)
        results.ok(v.verdict == "pass" or (v.todo and v.verdict == "fail"),
                   f"lab {lab.number}, solution: {name}", cached=v.cached,
                   skip=v.reason if no_machine else None,
                   **v.diagnosis())
    missing = sum(v.points for v in verdicts.values() if v.verdict == "skip" and not v.reward)
    results.ok(work.earned == lab.points - missing,
               f"lab {lab.number}: the solution earns all {lab.points - missing} points",
               got=work.earned)


def test_skeleton(results, lab, tree, guests, out):
    """The untouched skeleton builds, boots, and earns nothing."""
    work, verdicts = whole(results, lab, tree, guests,
                           ROOT / "labs" / lab.dir, out / "skeleton")
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
    files = build.take_folder(ROOT / "solutions" / lab.dir, lab)
    for name, hunks in mutant.files.items():
        path = Path(name)
        text, _ = mutants.patched(files[path.name].decode(), hunks, mutant.name)
        files[path.name] = text.encode()
    return files


class Missing(Exception):
    """There is no kept verdict, and nothing may be run."""


class Tried:
    """A mutant's image, and the verdicts on it: kept ones, and once it is built others, too."""

    def __init__(self, lab, mutant, name, image=None, out=None):
        self.lab, self.mutant, self.name, self.image, self.out = lab, mutant, name, image, out
        self.found = {}

    def run(self, test):
        """The verdict on a test; None if it can't be had on this machine."""
        if test.name not in self.found and all(machine.missing(name) is None for name in test.machines):
            verdict = KEPT.find(self.name, test, CHANCE)
            if verdict is None:
                if self.image is None:
                    raise Missing()
                verdict = attempt.run_check(self.lab, test, self.image, CHANCE, self.out / test.name)
                KEPT.keep(self.name, test, CHANCE, verdict)
            self.found[test.name] = verdict
        return self.found.get(test.name)

    @property
    def cached(self):
        """True if nothing had to be run."""
        return all(verdict.cached for verdict in self.found.values())


def in_order(lab, mutant, killers):
    """The tests of its own exercise, the last killer first, then as the lab has them.

    Never by what they cost: that differs from run to run, and the first that fails is the one whose words are compared
    with the mutant's symptom.
    """
    tests = [test for test in lab.exercise(mutant.exercise).tests if test.points or test.other]
    return sorted(tests, key=lambda test: test.name != killers.get(mutant.name))


def tries(tried, killers, everything):
    """Verdicts of the tests that decide on a mutant, as few as will do; or of all."""
    lab, mutant, found = tried.lab, tried.mutant, tried.found
    hostile = mutant.caught_by == "hostile"
    for test in in_order(lab, mutant, killers):
        tried.run(test)
        fails = [lab.test(name) for name, v in found.items() if v.verdict == "fail"]
        if not everything and any(test.hostile or not hostile for test in fails):
            break
    for name in [*ALSO.get(lab.number, []), lab.tests[0].name]:  # what passes another test has booted
        if any(v.verdict == "pass" for v in found.values()):
            break
        tried.run(lab.test(name))


def judge(results, tried):
    """One mutant's verdicts are in. The tests that killed it."""
    lab, mutant, found = tried.lab, tried.mutant, tried.found
    first, rest = found.get(lab.tests[0].name), [v for n, v in found.items() if n != lab.tests[0].name]
    own = [v for v in rest if v.exercise == mutant.exercise and v.verdict == "fail"]
    broken = [v for v in found.values() if v.verdict == "error"]
    words = "; ".join(v.reason for v in own)
    trouble = []
    if broken:
        trouble.append(f"harness trouble in {broken[0].test}: {broken[0].reason} {broken[0].got}")
    if first and first.verdict != "pass":
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
               + (", ".join(v.test for v in own) or "nothing"), cached=tried.cached,
               trouble="; ".join(trouble), said=words, seed=CHANCE)
    return [v.test for v in own]


class Mutants:
    """All mutants of a lab: one builds while others run."""

    def __init__(self, results, lab, sets=False):
        self.results, self.lab, self.sets = results, lab, sets
        self.passed = mutants.known_passed(ROOT)
        """{mutant: the tests of its exercise that let it pass}, where all were tried."""
        self.todo = queue.Queue(maxsize=JOBS)
        self.killers = mutants.known_killers(ROOT)
        self.threads = [threading.Thread(target=self.worker, daemon=True) for _ in range(JOBS)]
        for thread in self.threads:
            thread.start()

    def judged(self, tried):
        """Run what it takes, and judge."""
        tries(tried, self.killers, self.sets)
        killed_by = judge(self.results, tried)
        if killed_by:
            self.killers[tried.mutant.name] = killed_by[0 if self.sets else -1]
        if self.sets:
            self.passed[tried.mutant.name] = [name for name, v in tried.found.items()
                                              if v.verdict == "pass" and v.exercise == tried.mutant.exercise and v.points]

    def worker(self):
        """Mutants that are built."""
        while (tried := self.todo.get()) is not None:
            try:
                self.judged(tried)
            except Exception as error:  # pylint: disable=broad-except
                self.results.ok(False, f"mutant {tried.mutant.name}", got=f"{type(error).__name__}: {error}")

    def kept(self, mutant, sources):
        """Judge by kept verdicts alone; False if they do not suffice."""
        name = KEPT.built(sources)
        try:
            if name:
                self.judged(Tried(self.lab, mutant, name))
            return bool(name)
        except Missing:
            return False

    def build(self, tree, guests, mutant, sources, place):
        """Build it, and leave the rest to a worker."""
        image = tree.build(mutant_files(self.lab, mutant), place)
        image.guests = guests
        if not image.ok:
            self.results.ok(False, f"{mutant.name} builds", log=image.log)
            return
        name = KEPT.image(image)
        KEPT.note(sources, name)
        self.todo.put(Tried(self.lab, mutant, name, image, place))

    def close(self):
        """Wait for the workers, and write down who killed whom."""
        for _ in self.threads:
            self.todo.put(None)
        for thread in self.threads:
            thread.join()
        KILLERS.parent.mkdir(parents=True, exist_ok=True)
        KILLERS.write_text("".join(mutants.killers_row(name, test, self.passed.get(name, ()))
                                   for name, test in sorted(self.killers.items())))


def some(lab, known, number):
    """The names of a twelfth of a lab's mutants, some of each exercise's; each number's is another one."""
    ranked = sorted(known, key=lambda one: (one.exercise, hashlib.sha256(one.name.encode()).digest()))
    start = sum(str(lab.number).encode()) + number  # not the first of each lab at once
    return {one.name for at, one in enumerate(ranked, start) if at % PART == 0}


def touched(known, files):
    """The names of the mutants among these files of a commit's: new ones are tried at once, but not all of a lab."""
    return set(sorted(one.name for one in known if f"grade/mutants/{one.name}.patch" in files)[:MOST_NEW])


def test_mutants(results, lab, tree, guests, wanted, out, sets=False):
    """All mutants of a lab that are asked for, kept, or of this commit's part."""
    work, left = Mutants(results, lab, sets), 0
    known = [one for one in mutants.load_all(ROOT, lab.number)
             if not wanted or one.name in wanted]
    chosen = {one.name for one in known} if wanted or kept.ALL else \
        some(lab, known, turn.turn(PART)) | touched(known, turn.changed())
    for mutant in known:
        sources = tree.sources(mutant_files(lab, mutant))
        if not wanted and work.kept(mutant, sources):
            continue
        if mutant.name in chosen:
            work.build(tree, guests, mutant, sources, out / mutant.name)
        else:
            left += 1
    work.close()
    if left:
        print(f"# lab {lab.number}: {left} of {len(known)} mutants not tried this time; make check-all tries all",
              flush=True)
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
    if wanted[:1] == ["which"]:
        for lab in map(course.load, course.graded_labs()):
            for number in wanted[1:] or [turn.turn(PART)]:
                print(*sorted(some(lab, mutants.load_all(ROOT, lab.number), int(number))), sep="\n")
        return 0
    sets = wanted[:1] == ["sets"]
    if sets:
        wanted = [one.name for one in mutants.load_all(ROOT) if one.exercise in wanted[1:]]
    attempt.add_checks_to_path()
    print("TAP version 14", flush=True)
    print(f"# chance: SEED={CHANCE}", flush=True)
    with tempfile.TemporaryDirectory(prefix="zeno-labs-") as scratch:
        tempfile.tempdir = scratch
        for number in course.graded_labs():
            lab = course.load(number)
            if wanted and not any(name.startswith(f"{number}.") for name in wanted):
                continue
            if not lab.exercises or not (ROOT / "solutions" / lab.dir).is_dir():
                continue
            out = Path(scratch) / f"lab{number}"
            tree = build.Tree(lab, ref=" ".join(map(str, lab.needed_labs())) or None)
            guests = tree.build_guests(out / "common")
            if not wanted:
                test_solution(results, lab, tree, guests, out)
                test_skeleton(results, lab, tree, guests, out)
            test_mutants(results, lab, tree, guests, wanted, out, sets)
            tree.remove()
    print(f"1..{results.count}")
    return 1 if results.bad else 0


sys.exit(main())
