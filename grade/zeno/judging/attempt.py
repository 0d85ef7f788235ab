"""One test, run once: its verdict, and what a person needs to understand it.

    pass    what had to hold was seen
    fail    it was not, and `why` says what is wrong
    skip    it could not be tried here, or a test that it rests on did not pass: earns nothing
    error   the harness has trouble: never the student's failure, and the whole report bails out
"""

import importlib
import re
import shutil
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from ..machines import machine
from . import evidence, explain
from .tools import GRADE, tool
from .trial import Failed, Skipped, Trial, Trouble

VERDICTS = ("pass", "skip", "fail", "error")
"""From best to worst."""


REASON_CAP = 3000
"""Characters of why a test fails."""
PANIC = re.compile(r"^panic: (.*?)\r?$", re.M)
"""What kern/words/panic.c prints, at a line's begin."""


@dataclass
class Verdict:
    """What became of one test. Everything in it is plain data for JSON."""

    test: str
    exercise: str
    title: str
    points: int
    evidence: str
    verdict: str
    reason: str = ""
    machine: str = ""
    seed: int = 0
    expected: str = ""
    got: str = ""
    exits: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    todo: str = ""
    undone: str = ""
    """Another exercise that was not done yet, which a kernel of this test's came to."""
    console: str = ""
    explanation: str = ""
    logs: str = ""
    handout: str = ""
    reproduce: str = ""
    emulator: str = ""
    emulator_gdb: str = ""
    runs: int = 1
    bad: int = 0
    alone: bool = False
    """Decided on a build whose other exercises were the reference's."""
    part: int = 0
    """Points earned without a pass: of the own whole alone."""
    reward: bool = False
    """Its points are none of the score."""
    cached: bool = False
    cpu_seconds: float = 0.0
    """Of the emulators, as far as the trial kept their runs."""

    @property
    def earned(self):
        """Points are earned by a pass, and in part by an own whole that passes in part."""
        return self.points if self.verdict == "pass" else self.part

    @property
    def holds(self):
        """True if what rests on it can be tried: a pass, or a gap that is known."""
        return self.verdict == "pass" or bool(self.todo and self.verdict == "fail")

    @property
    def no_machine(self):
        """True where nothing could be tried for want of a machine."""
        return self.verdict == "skip" and self.reason.startswith("no machine for it")

    def diagnosis(self):
        """The YAML block of a test that did not pass."""
        keys = {"verdict": self.verdict, "why": self.reason, "expected": self.expected,
                "got": self.got, "chain of faults": self.explanation, "notes": self.notes,
                "last exits (as the kernel reports them)": self.exits, "console": self.console,
                "evidence": EVIDENCE_IN_WORDS.get(self.evidence, self.evidence),
                "machine": self.machine, "read": self.handout, "logs": self.logs,
                "run it again": self.reproduce, "boot it by hand": self.emulator,
                "boot it in the debugger of Bochs" if "--debugger" in self.emulator_gdb else "boot it under GDB": self.emulator_gdb}
        return {key: value for key, value in keys.items() if value not in ("", [], None)}


EVIDENCE_IN_WORDS = {
    "witnessed": "witnessed (seen from outside your code: breakpoints, memory, counts)",
    "equivalent": "equivalent (compared with the same program on the bare machine, or with a model of what the manual says)",
    "reported": "reported (what your kernel says of itself)",
}


def find_check(name):
    """The function that "lab1.ring1" names: grade/checks/lab1.py, ring1."""
    module, _, function = name.partition(".")
    try:
        found = getattr(importlib.import_module(f"checks.{module}"), function)
    except (ImportError, AttributeError) as error:
        raise Trouble(f"the check {name} is not there: {error}") from None
    return found


def pick_machine(names):
    """The first of these machines that is here: (name, None), or (None, what is missing)."""
    reasons = []
    for name in names:
        reason = machine.missing(name)
        if reason is None:
            return name, None
        reasons.append(reason)
    return None, "; ".join(reasons)


def run_check(lab, test, image, seed, directory, keep=False):
    """Run one test once. A Verdict; whatever happens in it, no exception gets out.

    `keep` keeps guests, logs and commands of a test that passes, too: for --gdb.
    """
    page = lab.page(test.exercise)
    handout = f"{page}#{test.handout}" if test.handout else page
    verdict = Verdict(test.name, test.exercise, test.title, test.points, test.evidence, "error",
                      seed=seed, handout=handout, reward=test.reward)
    trial = None
    try:
        name, missing = pick_machine(test.machines)
        if name is None:
            raise Skipped(f"no machine for it: {missing}")
        verdict.machine = f"{name} ({machine.version(name)})"
        check = find_check(test.check)
        trial = Trial(lab, test, image, seed, name, directory)
        check(trial)
        verdict.verdict = "pass"
    except Failed as failed:
        verdict.verdict, verdict.reason = "fail", failed.why
        verdict.expected = "" if failed.expected is None else evidence.show(failed.expected)
        verdict.got = "" if failed.got is None else evidence.show(failed.got)
    except Skipped as skipped:
        verdict.verdict, verdict.reason = "skip", str(skipped)
    except Trouble as trouble:
        verdict.verdict, verdict.reason = "error", str(trouble)
    except OSError as error:
        verdict.verdict, verdict.reason = "error", tool("trouble").words(error)
    except BaseException as error:  # pylint: disable=broad-except
        verdict.verdict = "error"
        verdict.reason = f"{type(error).__name__}: {error}"
        verdict.got = traceback.format_exc()
    if trial is not None:
        _tell(verdict, trial, keep)
    if len(verdict.reason) > REASON_CAP:  # a kernel's words are in it, of which there may be any
        verdict.reason = evidence.show(verdict.reason, REASON_CAP)
    return verdict


def _tell(verdict, trial, keep):
    """Copy from the trial what a person needs to understand the verdict."""
    verdict.notes = list(trial.notes)
    verdict.cpu_seconds = round(sum(run.cpu_seconds for run in trial.runs), 2)
    verdict.todo = trial.todo or ""
    last = trial.runs[-1] if trial.runs else None
    undone = explain.undone_words(trial.test.exercise)
    if verdict.verdict == "fail" and any(undone in run.text() for run in trial.runs):
        verdict.reason = f"{undone}: {verdict.reason}"
    panic = panicked(verdict, last) if verdict.verdict == "fail" else None
    if panic:
        verdict.reason = f"the kernel panicked: {panic}; {verdict.reason}"
    texts = [run.text() for run in trial.runs]
    verdict.undone = explain.undone_other(texts, trial.test.exercise)
    verdict.notes += explain.gaps(texts, trial.test.exercise) if verdict.verdict == "fail" else []
    if last is not None and (keep or verdict.verdict in ("fail", "error")):
        verdict.exits = evidence.exits_in_words(last)
        verdict.explanation = last.explanation or ""
        verdict.console = evidence.show("\n".join(last.text().splitlines()[-12:]), 1500)
        verdict.emulator, verdict.emulator_gdb = last.command, last.command_gdb
        verdict.logs = str(last.directory or "")
        _keep_logs(verdict, trial, last)
    for run in trial.runs:
        run.cleanup()
    if verdict.verdict == "pass" and not keep:
        shutil.rmtree(trial.directory, ignore_errors=True)


def panicked(verdict, run):
    """What the last run's kernel died of, where the verdict's words have nothing of it: all that a check met then follows from
    that."""
    if run is None or "panic" in verdict.reason:
        return None
    found = PANIC.search(run.text())
    return found and found[1]


def _keep_logs(verdict, trial, run):
    """The last run's folder moves to the test's own, where it stays; commands follow."""
    if not run.directory or not Path(run.directory).is_dir():
        return
    target = trial.path("run")
    shutil.copytree(run.directory, target, dirs_exist_ok=True,
                    ignore=lambda folder, names: [n for n in names if _is_special(folder, n)])
    for name in ("emulator", "emulator_gdb"):
        setattr(verdict, name, getattr(verdict, name).replace(str(run.directory), str(target)))
    verdict.logs = str(target)


def _is_special(folder, name):
    path = Path(folder, name)
    return not path.is_dir() and (path.is_symlink() or not path.is_file())


def add_checks_to_path():
    """Make `checks.labN` importable: the checks stand beside the package, not in it."""
    if str(GRADE) not in sys.path:
        sys.path.insert(0, str(GRADE))
