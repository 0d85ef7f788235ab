"""Runs a lab's tests, each of which gets one of four verdicts (attempt.py).

Results are written after every single test (`results.json`), so whatever comes next, what is done
stays done. Tests run in parallel threads; each has a folder of its own.
"""

import fcntl
import json
import os
import queue
import random
import shutil
import tempfile
import threading
from pathlib import Path

from .attempt import VERDICTS, Verdict, run_check
from .build import Image
from .course import WHOLE
from .trial import Trouble


class OutFolder:
    """A folder for results and logs that no other grader works in at the same time."""

    def __init__(self, path):
        path = Path(path)
        self.path, self.lock = self._claim(path)
        for entry in self.path.iterdir():
            if entry.name != ".lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    @staticmethod
    def _claim(path):
        for attempt in range(100):
            place = path if attempt == 0 else path.with_name(f"{path.name}.{attempt}")
            place.mkdir(parents=True, exist_ok=True)
            lock = open(place / ".lock", "w", encoding="ascii")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return place, lock
            except BlockingIOError:
                lock.close()
        raise Trouble(f"{path}: a hundred graders work there already")


class Grader:
    """One lab, one image, all its tests."""

    def __init__(self, lab, image, out, jobs=2, seed=None, repeat=1, only=None, again=None,
                 keep=False, alone=None, kept=None):
        self.lab = lab
        self.image = image
        self.out = Path(out)
        self.jobs = max(1, jobs)
        self.kept = kept if image.ok else None
        if seed is None:
            seed = kept.seed(kept.image(image)) if self.kept else random.SystemRandom().randrange(1 << 32)
        self.seed = seed
        self.repeat = max(1, repeat)
        self.again = again or f"grade/grade {lab.name}"
        self.asked = bool(only)
        self.tests = self._selected(only)
        self.whole = {}
        """{test: Verdict} on the student's own whole."""
        self.verdicts = {}
        """{test: Verdict} that count: of the whole, or of the exercise alone."""
        self.alone = alone
        self.lock = threading.Condition()
        self.stopped = None
        self.finished = None
        self.extra = {}
        self.also = None
        self.keep = keep

    def _selected(self, only):
        """The tests to run: those asked for and all that they rest on."""
        there = [*self.lab.tests, *self.lab.rewards]
        if not only:
            return there
        wanted = {self.lab.tests[0].name}
        todo = list(only)
        while todo:
            test = self.lab.test(todo.pop())
            if test.name not in wanted:
                wanted.add(test.name)
                todo += test.base
        return [test for test in there if test.name in wanted]

    def untouched(self, exercise):
        """True if an exercise is known to be as it was handed out."""
        return bool(exercise and self.alone and self.alone.untouched(exercise))

    # -- running ------------------------------------------------------------------------------

    def run(self, tell=None):
        """Run everything; `tell(verdict)` hears of each verdict as it falls. {name: Verdict}"""
        with tempfile.TemporaryDirectory(prefix="zeno-grade-") as scratch:
            old, tempfile.tempdir = tempfile.tempdir, scratch
            try:
                self._run_all(tell)
            except KeyboardInterrupt:
                self.stopped = "interrupted"
                raise
            finally:
                tempfile.tempdir = old
                self.finished = self.stopped is None
                self.write()
        return self.verdicts

    def _run_all(self, tell):
        ready = queue.Queue()
        own = [test for test in self.tests if test.name != WHOLE and not test.reward]
        threads = [threading.Thread(target=self._worker, args=(ready,), daemon=True)
                   for _ in range(min(self.jobs, len(own)))]
        for thread in threads:
            thread.start()
        waiting, told = list(own), set()
        with self.lock:
            while len(self.whole) < len(own):
                waiting = [test for test in waiting if not self._place(test, ready)]
                self._tell(tell, told) or self.lock.wait(timeout=1.0)
            for exercise in dict.fromkeys(test.exercise for test in own if test.name not in self.verdicts):
                tests = [test for test in own if test.exercise == exercise]
                ready.put(lambda exercise=exercise, tests=tests: self._decide(exercise, tests))
            while len(self.verdicts) < len(own):
                self._tell(tell, told) or self.lock.wait(timeout=1.0)
            if any(test.name == WHOLE for test in self.tests):
                self.verdicts[WHOLE] = self._own_whole(self.lab.test(WHOLE))
            self._tell(tell, told)
        for test in self.tests:
            if test.reward:
                self.verdicts[test.name] = self._reward(test)
                self._tell(tell, told)
        for _ in threads:
            ready.put(None)

    def _tell(self, tell, told):
        """Write down and tell what is new; True if there was anything."""
        fresh = [name for name in self.verdicts if name not in told]
        for name in fresh:
            told.add(name)
            self.write()
            if tell:
                tell(self.verdicts[name])
        return bool(fresh)

    def _place(self, test, ready):
        """Queue the test if all that it rests on has passed, skip it if something did not."""
        first = self.tests[0]
        for base in dict.fromkeys((*test.base, first.name)):
            if base == test.name:
                continue
            found = self.whole.get(base)
            if found is None:
                return False
            if not found.holds:
                self._seen(test, self._skipped(test, found))
                return True
        ready.put(lambda: self._seen(test, self._repeated(test, self.image)))
        return True

    def _seen(self, test, verdict):
        """A verdict on the own whole has fallen: it counts, unless the exercise alone may do better."""
        with self.lock:
            self.whole[test.name] = verdict
            settled = verdict.holds or verdict.verdict == "error" or verdict.no_machine or not test.points
            if settled or not (self.alone and self.alone.possible(test.exercise)):
                self.verdicts[test.name] = verdict
            self.lock.notify_all()

    # -- an exercise alone --------------------------------------------------------------------

    def _decide(self, exercise, tests):
        """Run what failed of an exercise once more, with the reference's other exercises."""
        try:
            image = self.alone(exercise)
        except Exception as error:  # pylint: disable=broad-except
            image = Image(False, f"{type(error).__name__}: {error}")
        passed = {name for name, verdict in self.whole.items() if verdict.holds}
        if image is not None and image.ok:
            boots = self._repeated(self.tests[0], image, f"{exercise}/")
            image.ok = boots.holds
        for test in tests:
            if test.name in self.verdicts:
                continue
            own = self.whole[test.name]
            bases = {base for base in test.base if self.lab.test(base).exercise == exercise}
            verdict = own
            if image is not None and image.ok and bases <= passed:
                verdict = self._better(own, self._repeated(test, image, f"{exercise}/"))
            if verdict.holds:
                passed.add(test.name)
            with self.lock:
                self.verdicts[test.name] = verdict
                self.lock.notify_all()

    def _better(self, own, alone):
        """What counts and is shown: the own whole's failure says more than the same one elsewhere, unless it is that another exercise
        is not done: then nothing there speaks of this one."""
        alone.alone, others = True, self.alone.others(own.exercise)
        if alone.holds:
            alone.notes.append(f"it passes with {others}; in your own whole: {own.verdict}: {own.reason}")
            return alone
        if own.verdict == "fail" and alone.verdict == "fail" and not own.undone:
            return own
        # The kernel behind this one is in part the reference: nothing of what it printed is shown.
        alone.console = alone.got = alone.explanation = alone.emulator = alone.emulator_gdb = ""
        alone.exits, alone.logs = [], ""
        alone.notes = [f"seen with {others} in the place of yours"
                       + (f": your own whole comes to exercise {own.undone}, which is not done, and no further" if own.undone else ""),
                       f"make qemu LAB={self.lab.name} ALONE={alone.exercise} boots such a kernel, where the reference or catchup/ is"]
        return alone

    def _own_whole(self, test):
        """The last 15 %: as large a part of them as of all points passed in the own whole."""
        ran = [v for v in self.whole.values() if v.points and not v.no_machine]
        passed, worth = sum(v.earned for v in ran), sum(v.points for v in ran)
        verdict = Verdict(test.name, test.exercise, test.title, test.points, test.evidence, "pass", seed=self.seed)
        order = [one.name for one in self.lab.tests]
        lost = sorted((v.test for v in ran if not v.holds), key=order.index)
        if lost:
            verdict.verdict = "fail"
            verdict.part = test.points * passed // worth
            verdict.reason = (f"tests worth {passed} of {worth} points pass in your own whole, with no help from the "
                              f"reference; these do not: {', '.join(lost)}")
        elif not ran:
            verdict.verdict, verdict.reason = "skip", "no test ran"
        return verdict

    def _reward(self, test):
        """It needs all exercises, and takes none from the reference: so it is tried where all else passes; or for whom asks, where it
        earns nothing, since nobody has seen that they are done."""
        first, whole = self.whole[self.tests[0].name], self.verdicts.get(WHOLE)
        if first.holds and whole and whole.verdict == "pass":
            return self._repeated(test, self.image)
        if first.holds and self.asked:
            found = self._repeated(test, self.image)
            found.points = 0
            found.notes.append(f"its {test.points} points come where all tests pass")
            return found
        if not first.holds:
            return self._skipped(test, first)
        return Verdict(test.name, test.exercise, test.title, test.points, test.evidence, "skip",
                       f"a reward, which is tried where all tests pass, and by ONLY={test.name}", seed=self.seed, reward=True)

    def _skipped(self, test, base):
        said = {"fail": "did not pass", "skip": "was skipped", "error": "had harness trouble"}
        return Verdict(test.name, test.exercise, test.title, test.points, test.evidence, "skip",
                       f"it rests on `{base.test}`, which {said[base.verdict]}", seed=self.seed,
                       handout=f"{self.lab.page(test.exercise)}#{test.handout}", reward=test.reward)

    @staticmethod
    def _worker(ready):
        while (job := ready.get()) is not None:
            job()

    def _judged(self, test, image, seed, place):
        """The test's verdict: the kept one, if `make check` keeps them and there is one."""
        name = self.kept.image(image) if self.kept else None
        found = self.kept.find(name, test, seed) if self.kept else None
        if found is None:
            found = run_check(self.lab, test, image, seed, place, self.keep)
            if self.kept:
                self.kept.keep(name, test, seed, found)
        return found

    def _repeated(self, test, image, folder=""):
        """Run a test as often as was asked for; the worst verdict is the one that counts."""
        worst, bad = None, 0
        for turn in range(self.repeat):
            seed = (self.seed + turn) & 0xffffffff
            place = self.out / f"{folder}{test.name}{f'.{turn}' if turn else ''}"
            verdict = self._judged(test, image, seed, place)
            verdict.reproduce = f"{self.again} --only {test.name} --seed {seed}"
            bad += verdict.verdict != "pass"
            if worst is None or VERDICTS.index(verdict.verdict) > VERDICTS.index(worst.verdict):
                worst = verdict
        worst.runs, worst.bad = self.repeat, bad
        if self.repeat > 1 and bad:
            worst.reason += f" (in {bad} of {self.repeat} runs)"
        return worst

    # -- results ------------------------------------------------------------------------------

    def of(self, exercise):
        """The verdicts of an exercise's tests that have fallen, in the order of the data file."""
        return [self.verdicts[test.name] for test in self.tests
                if test.exercise == exercise and test.name in self.verdicts]

    @property
    def earned(self):
        """The points of the lab."""
        return sum(verdict.earned for verdict in self.verdicts.values() if not verdict.reward)

    @property
    def bonus(self):
        """The points of rewards, which come on top."""
        return sum(verdict.earned for verdict in self.verdicts.values() if verdict.reward)

    def trouble(self):
        """The first test in harness trouble, or None."""
        return next((v for v in self.verdicts.values() if v.verdict == "error"), None)

    def results(self):
        """Everything as plain data."""
        return {
            "lab": self.lab.name, "title": self.lab.title, "seed": self.seed,
            "finished": bool(self.finished), "stopped": self.stopped,
            "earned": self.earned, "points": self.lab.points, "bonus": self.bonus,
            "build": {"ok": self.image.ok, "log": self.image.log, "notes": self.image.notes},
            "exercises": [{"id": one.id, "title": one.title, "points": one.points,
                           "property": one.property,
                           "earned": sum(v.earned for v in self.of(one.id))}
                          for one in self.lab.exercises],
            "tests": [vars(found) | {"earned": found.earned} for test in self.tests
                      if (found := self.verdicts.get(test.name) or self.whole.get(test.name))],
            "own_whole": {name: verdict.verdict for name, verdict in self.whole.items()},
        } | self.extra

    def write(self):
        """results.json, replaced in one step so that a reader never sees half of it."""
        path = self.out / "results.json"
        fresh = self.out / f".results.{os.getpid()}"
        results = self.results()
        fresh.write_text(json.dumps(results, indent=1) + "\n")
        fresh.replace(path)
        if self.also:
            self.also.write(results)
