"""A lab's verdicts as TAP 14: one subtest per exercise, in order, as soon as each is complete."""

import dataclasses

from . import tap
from .course import REWARD, WHOLE
from .explain import undone_words

BOOT_TITLE = "It builds and boots"


class TapReport:
    """Give it verdicts as they fall (`add`); it prints what can be printed in order."""

    def __init__(self, grader, file, explain=None):
        self.grader = grader
        self.explain = explain
        self.out = tap.Writer(file)
        tests = grader.tests
        self.groups = [(ident, [t for t in tests if t.exercise == ident])
                       for ident in dict.fromkeys(t.exercise for t in tests)]
        self.next = 0
        self.out.comment(f"Lab {grader.lab.name}, {grader.lab.title}; seed {grader.seed}")
        for note in grader.image.notes:
            self.out.comment(f"NOT ISOLATED: {note}")
        self.out.plan(len(self.groups))

    def add(self, _verdict):
        """A verdict has fallen: print every exercise that is complete now, in order."""
        while self.next < len(self.groups):
            ident, tests = self.groups[self.next]
            if any(test.name not in self.grader.verdicts for test in tests):
                return
            self._exercise(ident, [self.grader.verdicts[test.name] for test in tests])
            self.next += 1

    def _title(self, ident):
        one = self.grader.lab.exercise(ident)
        if ident == WHOLE:
            return "Your own whole"
        if ident == REWARD:
            return "Reward"
        if ident and not one:
            return f"What they rest on, {ident}"
        return f"{ident} {one.title}" if one else BOOT_TITLE

    def _exercise(self, ident, verdicts):
        title = self._title(ident)
        sub = self.out.subtest(title)
        sub.plan(len(verdicts))
        for verdict in verdicts:
            self._test(sub, verdict)
        earned, worth = sum(v.earned for v in verdicts), sum(v.points for v in verdicts)
        more = " more" if ident == REWARD else ""
        line = f"{title} ({earned} of {worth} points{more})" if worth else title
        if all(v.verdict == "skip" for v in verdicts):
            self.out.result(False, line, skip=verdicts[0].reason)
        else:
            self.out.result(sub.passed, line)

    def _test(self, sub, verdict):
        more = " more" if verdict.reward else ""
        line = (f"{verdict.test}: {verdict.title} ({verdict.earned} of {verdict.points} points{more}, "
                f"{verdict.evidence})")
        if verdict.verdict == "pass":
            sub.result(True, line)
        elif verdict.verdict == "skip":
            sub.result(False, line, skip=verdict.reason)
        else:
            sub.result(False, line, todo=verdict.todo or None, diagnosis=self._diagnosis(verdict))

    def _diagnosis(self, verdict):
        """What is known of a failure. Of an exercise that nobody began that is one line, unless the test was asked for."""
        begun = self.grader.asked or not self.grader.untouched(verdict.exercise)
        if verdict.todo:
            found = {"why": verdict.reason}
        elif verdict.verdict == "fail" and not begun:
            verdict = dataclasses.replace(verdict, reason=undone_words(verdict.exercise))
            found = {"why": verdict.reason, "read": verdict.handout}
        else:
            found = verdict.diagnosis()
        return found | (self.explain(verdict) if verdict.verdict == "fail" and self.explain else {})

    def close(self):
        """The end: a bail-out if the harness had trouble, and the sum in words."""
        trouble = self.grader.trouble()
        if self.grader.stopped:
            self.out.bail_out(f"{self.grader.stopped}: finished results are kept")
        elif trouble:
            self.out.bail_out(f"harness trouble in {trouble.test}, not your failure: "
                              f"{trouble.reason}")
        tests = [test for test in self.grader.tests if not test.reward]
        skipped = [v for v in self.grader.verdicts.values() if v.verdict == "skip" and not v.reward]
        if skipped:
            self.out.comment(f"{len(skipped)} of {len(tests)} tests were skipped and "
                             f"earn nothing ({sum(v.points for v in skipped)} points).")
        self.out.comment(f"Lab {self.grader.lab.name}: {self.grader.earned} of "
                         f"{sum(t.points for t in tests)} points"
                         + (f", and {self.grader.bonus} more by a reward." if self.grader.bonus else "."))
