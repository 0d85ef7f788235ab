"""The grader's results in other programs' formats: JUnit XML (--junit), Gradescope (--gradescope).

Both are made from what results.json is made from, and are replaced in one step at the start and after
every test. So a grading that is killed halfway leaves files that a program can read, in which a test
that has not run is marked as such and never as passed.

What students see on Gradescope is in the grader's own words only: no seed, no expected output, nothing
that the kernel printed (it could print a hidden guest's bytes). All of it is in JUnit's file and in the
TAP on standard output, which Gradescope shows to the staff alone.
"""

import contextlib
import json
import os
import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from .tools import ROOT

BOOT_SUITE = "It builds and boots"
TEXT_CAP = 8000
BUILD_LINES = 20
ENDED = "the grading ended before this test was run"
TROUBLE = ("The harness had trouble here. It is not your failure, and it earns nothing: the course's "
           "staff has to grade again.")


class FormatError(Exception):
    """A file that can't be written, in one line."""


# -- JUnit -----------------------------------------------------------------------------------------


def xml_text(text, cap=TEXT_CAP):
    """Text that XML 1.0 can hold (section 2.2, Char): anything else is shown as \\xNN."""
    text = str(text)
    if len(text) > cap:
        text = f"{text[:cap]}\n[... {len(text) - cap} characters left out ...]"
    return "".join(c if c in "\t\n" or " " <= c <= "\x7e" or
                   ("\xa0" <= c <= "\ufffd" and not "\ud800" <= c <= "\udfff") or
                   "\U00010000" <= c and ord(c) & 0xfffe != 0xfffe
                   else f"\\x{ord(c):02x}" for c in text)


def details(test):
    """Everything that helps staff to understand a verdict."""
    shown = {"expected": test["expected"], "got": test["got"], "faults": test["explanation"],
             "notes": "\n".join(test["notes"]), "last exits": "\n".join(test["exits"]),
             "console": test["console"], "evidence": test["evidence"], "machine": test["machine"],
             "seed": str(test["seed"]), "read": test["handout"], "logs": test["logs"],
             "run it again": test["reproduce"]}
    return "\n".join(f"{key}: {value}" for key, value in shown.items() if value)


def _case(suite, name, title):
    return ET.SubElement(suite, "testcase", name=xml_text(f"{name}: {title}", 300),
                         classname=xml_text(suite.get("name"), 300), time="0")


def _outcome(case, test):
    """Add failure, error or skipped to a test case; which one, or None for a pass."""
    kind = {"pass": None, "skip": "skipped", "fail": "failure"}.get(test["verdict"], "error")
    reason = test["reason"]
    if kind == "failure" and test["todo"]:
        kind, reason = "skipped", f"known gap: {test['todo']}"
    if kind:
        found = ET.SubElement(case, kind, message=xml_text(reason, 1000))
        if kind != "skipped":
            found.set("type", "harness trouble" if kind == "error" else test["evidence"])
            found.text = xml_text(details(test))
    return kind


def _pending(case, finished_without):
    """A test without a verdict: left out by --only, or never reached."""
    if finished_without:
        ET.SubElement(case, "skipped", message="not asked for (--only)")
        return "skipped"
    ET.SubElement(case, "error", message=ENDED, type="not run")
    return "error"


def junit(results):
    """The text of a JUnit file: one suite per exercise; counts add up."""
    root = ET.Element("testsuites", name=f"Zeno lab {results['lab']}: {results['title']}")
    titles = {"": BOOT_SUITE} | {one["id"]: f"{one['id']} {one['title']}"
                                 for one in results["exercises"]}
    done = {test["test"]: test for test in results["tests"]}
    sums = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    stamp = results.get("began", "1970-01-01T00:00:00")
    for ident in dict.fromkeys(test["exercise"] for test in results["all_tests"]):
        suite = ET.SubElement(root, "testsuite", name=xml_text(titles.get(ident, ident), 300),
                              timestamp=stamp, hostname="localhost", time="0")
        properties = ET.SubElement(suite, "properties")
        counts = dict.fromkeys(sums, 0)
        earned = 0
        mine = [test for test in results["all_tests"] if test["exercise"] == ident]
        for test in mine:
            case = _case(suite, test["test"], test["title"])
            found = done.get(test["test"])
            kind = _outcome(case, found) if found else _pending(case, not test["selected"])
            earned += found["earned"] if found else 0
            counts["tests"] += 1
            if kind:
                counts[{"failure": "failures", "error": "errors"}.get(kind, kind)] += 1
        for name, value in (("points", sum(test["points"] for test in mine)), ("earned", earned)):
            ET.SubElement(properties, "property", name=name, value=str(value))
        ET.SubElement(suite, "system-out").text = ""
        ET.SubElement(suite, "system-err").text = xml_text(
            "" if results["build"]["ok"] or ident else results["build"]["log"])
        for name, value in counts.items():
            suite.set(name, str(value))
            sums[name] += value
    for name, value in sums.items():
        root.set(name, str(value))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


# -- Gradescope ------------------------------------------------------------------------------------


def for_students(reason):
    """The part of a reason that gives nothing away: up to the first value, numbers left out."""
    text = re.split(r": | \(|; |\n", reason)[0]
    text = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", "...", text)
    text = re.sub(r"\b(0x[0-9a-fA-F]+|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{3,})\b", "...", text)
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def build_errors(log, lab_dir):
    """The lines of a build's log that name a place in the student's own files."""
    own = re.compile(rf"labs/{re.escape(lab_dir)}/[\w.-]+:\d+(:\d+)?: (fatal )?(error|warning): ")
    lines = [line for line in log.splitlines() if own.match(line)]
    return [line[:200] for line in lines[:BUILD_LINES]]


def _student_output(results, test):
    """What a student reads below a test's name."""
    verdict = test["verdict"]
    at_home = f"At home: make grade LAB={results['lab']} ONLY={test['test']} shows everything."
    if verdict == "pass":
        return "passed"
    if verdict == "error":
        return TROUBLE
    if verdict == "skip":
        return f"Not run, which earns nothing: {test['reason']}"
    if test["todo"]:
        return f"A known gap, worth no points: {test['todo']}"
    lines = [f"Failed: {for_students(test['reason'])}."]
    if test["test"] == results["all_tests"][0]["test"] and not results["build"]["ok"]:
        lines += build_errors(results["build"]["log"], results["directory"])
    return "\n".join([*lines, f"Read {test['handout']}.", at_home])


def _gradescope_test(results, test, found):
    words = {"pass": "passed"}
    if found is None:
        output = ("Not asked for in this grading." if not test["selected"] else
                  f"Not run: {ENDED}. It is not your failure; the course's staff has to grade again.")
    else:
        output = _student_output(results, found)
    return {"score": found["earned"] if found else 0, "max_score": test["points"],
            "status": words.get(found["verdict"], "failed") if found else "failed",
            "name": f"{test['test']}: {test['title']}", "name_format": "text",
            "number": test["exercise"], "output": output, "output_format": "text",
            "visibility": "visible"}


def _headline(results):
    """The text above all tests."""
    if results["stopped"]:
        return f"The grading did not finish: {results['stopped']}. Points may be missing."
    if not results["finished"]:
        return "The grading did not finish. Points may be missing; it is not your failure."
    if any(test["verdict"] == "error" for test in results["tests"]):
        return TROUBLE
    notes = results.get("official", {}).get("notes", [])
    return "\n".join([f"Lab {results['lab']}: {results['title']}", *notes])


def gradescope(results):
    """The text of Gradescope's results.json."""
    done = {test["test"]: test for test in results["tests"]}
    return json.dumps({
        "output": _headline(results), "output_format": "text", "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [_gradescope_test(results, test, done.get(test["test"]))
                  for test in results["all_tests"]]}, indent=1) + "\n"


# -- files -----------------------------------------------------------------------------------------


def replace(path, text):
    """Write a file in one step: a reader sees the old one or the new one."""
    path = Path(path)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise FormatError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def add_options(parser):
    """--junit and --gradescope, for both graders."""
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML, too")
    parser.add_argument("--gradescope", metavar="FILE",
                        help="write the results as Gradescope's results.json, too")


class Files:
    """The files that were asked for. `results` is what they say so far; files follow it."""

    def __init__(self, lab, args):
        self.wanted = [(Path(path), render) for path, render in
                       ((args.junit, junit), (args.gradescope, gradescope)) if path]
        paths = [path.resolve() for path, _ in self.wanted]
        out = Path(args.out or ROOT / "build" / "grade" / f"lab{lab.name}")
        own = {(out / name).resolve() for name in ("results.json", "results.tap")}
        if len(set(paths)) < len(paths) or own & set(paths):
            raise FormatError("--junit, --gradescope and the grader's own results.json need "
                              "different files")
        self.began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        self.results = {
            "lab": lab.name, "title": lab.title, "finished": False, "stopped": None,
            "directory": lab.dir, "build": {"ok": True, "log": ""}, "tests": [],
            "exercises": [{"id": one.id, "title": one.title} for one in lab.exercises],
            "all_tests": [{"test": test.name, "exercise": test.exercise, "title": test.title,
                           "points": 0 if test.reward else test.points, "selected": True} for test in (*lab.tests, *lab.rewards)]}
        self.failed = None
        self.write({})
        if self.failed:
            raise self.failed

    def write(self, results):
        """Take over what the grader knows by now, and write every file.

        A full disk must not end a grading whose own results can be written: guard() tells in the end.
        """
        self.results |= results
        self.failed = None
        for path, render in self.wanted:
            try:
                replace(path, render(self.results | {"began": self.began}))
            except FormatError as error:
                self.failed = error

    def attach(self, work):
        """From now on follow this Grader, which may have been asked for some tests only."""
        names = {test.name for test in work.tests}
        for test in self.results["all_tests"]:
            test["selected"] = test["test"] in names
        work.also = self
        self.write(work.results())

    @contextlib.contextmanager
    def guard(self, *for_students_too):
        """Whatever ends the grading early is said in the files. Exceptions of the kinds that are
        named may be read by students; others only say that there was trouble."""
        try:
            yield self
        except BaseException as error:
            kind = "harness trouble, which is not your failure"
            if isinstance(error, for_students_too):
                kind = str(error)
            elif isinstance(error, KeyboardInterrupt):
                kind = "interrupted"
            self.write({"stopped": kind})
            raise
        if self.failed:
            raise self.failed
