#!/usr/bin/env python3
"""JUnit XML and Gradescope's results.json: true to the verdicts, whole whenever the grader dies, and silent
about what students must not see."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
import types
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import build, course, formats, grader  # noqa: E402

SECRET = "5ec7e7"
SEED = 987654321

LAB = """
lab = 7
title = "Made up & <odd>"
version = 1
dir = "7-made-up"
needs = []
sources = []
files = ["a.c"]
handout = "handouts/lab7.md"
"""
EXERCISE = """
[[exercises]]
id = "{0}"
title = "Exercise {0}"
hours = 1
difficulty = "easy"
property = "equivalence"
"""
TEST = """
[[tests]]
name = "{0}"
exercise = "{1}"
title = "{0} & <so on>"
points = {2}
evidence = "witnessed"
machines = ["qemu"]
base = {3}
check = "madeup.{4}"
"""
TEXT = LAB + EXERCISE.format("7.1") + EXERCISE.format("7.2") + "".join(
    TEST.format(*words) for words in (
        ("boots", "", 0, [], "passes"), ("good", "7.1", 5, [], "passes"),
        ("bad", "7.1", 7, [], "fails"), ("above", "7.1", 3, ["bad"], "passes"),
        ("gap", "7.2", 0, [], "known_gap"), ("broken", "7.2", 2, [], "breaks"),
        ("last", "7.2", 11, [], "passes")))

CHECKS = types.ModuleType("checks.madeup")
sys.modules["checks.madeup"] = CHECKS
GARBAGE = bytes(range(256)) * 3


def fails(t):
    """All that students must not see, in every place where it could stand."""
    t.notes.append(f"note {SECRET}")
    t.fail(f"what the guest prints is not the same: {SECRET} \x1b\x00\udcff at 0x{SECRET}, `{SECRET}`",
           f"{SECRET}".encode() + GARBAGE, GARBAGE)


def known_gap(t):
    """An expected failure."""
    t.todo = "a gap that is stated"
    t.fail("as expected")


def breaks(t):
    """A bug of the harness."""
    raise RuntimeError(f"bug \x01 {SECRET}")


CHECKS.passes, CHECKS.fails, CHECKS.known_gap, CHECKS.breaks = (lambda t: None, fails, known_gap, breaks)


def options(place, **more):
    """What the command line would give."""
    return types.SimpleNamespace(junit=str(place / "j.xml"), gradescope=str(place / "g.json"),
                                 out=str(place), **more)


def read(place):
    """(root element, table) of the two files."""
    return (ET.fromstring((place / "j.xml").read_bytes()),
            json.loads((place / "g.json").read_text()))


SUITE = {"name", "timestamp", "hostname", "time", "tests", "failures", "errors", "skipped"}


def wrong_with(root):
    """None, or which rule of the common JUnit schema the document breaks."""
    if root.tag != "testsuites" or not {"name", "tests", "failures", "errors"} <= set(root.attrib):
        return "testsuites"
    sums = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root:
        order = [child.tag for child in suite]
        cases = suite.findall("testcase")
        if suite.tag != "testsuite" or set(suite.attrib) != SUITE:
            return f"testsuite: {suite.attrib}"
        if order != ["properties"] + ["testcase"] * len(cases) + ["system-out", "system-err"]:
            return f"order: {order}"
        count = {"tests": len(cases)}
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            count[kind] = sum(case.find(tag) is not None for case in cases)
        for kind, value in count.items():
            if suite.get(kind) != str(value):
                return f"{suite.get('name')}: {kind} {suite.get(kind)}, not {value}"
            sums[kind] += value
        for case in cases:
            if set(case.attrib) != {"name", "classname", "time"} or len(case) > 1:
                return f"testcase: {case.attrib}"
            for child in case:
                need = {"message"} if child.tag == "skipped" else {"message", "type"}
                if set(child.attrib) != need:
                    return f"{child.tag}: {child.attrib}"
    bad = [kind for kind, value in sums.items() if root.get(kind) != str(value)]
    return f"sums of {bad}" if bad else None


def kinds(root):
    """{test: what JUnit says of it}."""
    return {case.get("name").split(":")[0]: case[0].tag if len(case) else "passed"
            for case in root.iter("testcase")}


def states(table):
    """{test: what Gradescope says of it}."""
    return {test["name"].split(":")[0]: (test["status"], test["score"], test["max_score"])
            for test in table["tests"]}


def both_have(place, name):
    """True if both files tell that this test has passed."""
    root, table = read(place)
    return kinds(root)[name] == "passed" and states(table)[name][0] == "passed"


def all_verdicts():
    """Every verdict in both formats."""
    place, lab = folder(), course.parse(TEXT)
    files = formats.Files(lab, options(place))
    root, table = read(place)
    ok(wrong_with(root) is None and set(kinds(root).values()) == {"error"},
       "JUnit, before anything was run: every test is an error", got=(wrong_with(root), kinds(root)))
    ok({state[:2] for state in states(table).values()} == {("failed", 0)},
       "Gradescope, before anything was run: no test has passed", got=states(table))
    work = grader.Grader(lab, build.Image(True, ""), place / "out", 2, SEED)
    (place / "out").mkdir()
    with files.guard():
        files.attach(work)
        work.run()
    root, table = read(place)
    ok(wrong_with(root) is None, "JUnit: the rules of the schema, with garbage in the texts",
       got=wrong_with(root))
    ok(kinds(root) == {"boots": "passed", "good": "passed", "bad": "failure", "above": "skipped",
                       "gap": "skipped", "broken": "error", "last": "passed"},
       "JUnit: each verdict under its name", got=kinds(root))
    ok(SECRET in ET.tostring(root, encoding="unicode") and str(SEED) in
       ET.tostring(root, encoding="unicode"), "JUnit: staff see values and seed")
    ok(states(table) == {"boots": ("passed", 0, 0), "good": ("passed", 5, 5),
                         "bad": ("failed", 0, 7), "above": ("failed", 0, 3),
                         "gap": ("failed", 0, 0), "broken": ("failed", 0, 2),
                         "last": ("passed", 11, 11)}, "Gradescope: status and points of each",
       got=states(table))
    ok(sum(test["score"] for test in table["tests"]) == work.earned == 16, "the sum is the grader's")
    ok(all(test["visibility"] == "visible" for test in table["tests"])
       and table["stdout_visibility"] == "hidden", "Gradescope: who sees what", got=table)
    text = (place / "g.json").read_text()
    ok(SECRET not in text and str(SEED) not in text and "bug" not in text,
       "Gradescope: no expected output, no value, no console, no seed", got=text)
    bad = next(test for test in table["tests"] if test["name"].startswith("bad"))
    ok("what the guest prints is not the same" in bad["output"] and "#ex-7-1" in bad["output"]
       and "make grade LAB=7 ONLY=bad" in bad["output"], "but what failed, and where to read", got=bad)


def killed():
    """SIGKILL in the middle: what was done is kept, what was not is no pass."""
    code = f"""
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background begins without
from pathlib import Path
sys.path.insert(0, {str(ROOT / 'grade')!r})
sys.dont_write_bytecode = True
from zeno.judging import build, course, formats, grader
m = types.ModuleType("checks.madeup"); sys.modules["checks.madeup"] = m
m.passes = m.fails = m.known_gap = lambda t: None
def slow(t):
    print("slow", flush=True); time.sleep(600)
m.breaks = slow
place = Path(sys.argv[2])
lab = course.parse(sys.argv[1])
files = formats.Files(lab, types.SimpleNamespace(junit=place / "j.xml", gradescope=place / "g.json",
                                                 out=place))
with files.guard():
    work = grader.Grader(lab, build.Image(True, ""), place, 1, 1)
    files.attach(work)
    work.run()
"""
    for number, name in ((signal.SIGKILL, "killed"), (signal.SIGINT, "interrupted")):
        place = folder()
        with subprocess.Popen([sys.executable, "-c", code, TEXT, place], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as child:
            child.stdout.readline()
            # The grader's first thread writes the files, one behind the other, while another one has
            # begun what is slow: what the test reads below has to be in both.
            until = time.monotonic() + 60
            while not both_have(place, "bad") and time.monotonic() < until:
                time.sleep(0.05)
            child.send_signal(number)
            child.wait(timeout=60)
        root, table = read(place)
        found = kinds(root)
        ok(wrong_with(root) is None and found["good"] == found["bad"] == "passed"
           and found["broken"] == found["last"] == "error", f"JUnit of a grader that was {name}",
           got=found)
        got = states(table)
        ok(got["good"] == ("passed", 5, 5) and got["last"] == ("failed", 0, 11)
           and "did not finish" in table["output"], f"Gradescope's file of a grader that was {name}",
           got=table)


def fuzz():
    """Whatever bytes a console has, the XML is well-formed and holds them in a way that can be read."""
    rng, bad = random.Random(1), []
    points = [0, 8, 9, 10, 13, 31, 127, 128, 0x85, 0xd800, 0xdfff, 0xfffd, 0xfffe, 0xffff, 0x1fffe,
              0x10ffff, 65, 60, 38, 93]
    for _ in range(500):
        text = "".join(chr(rng.choice(points)) for _ in range(40)) + "]]>"
        element = ET.Element("a", b=formats.xml_text(text))
        element.text = formats.xml_text(text)
        try:
            back = ET.fromstring(ET.tostring(element, encoding="utf-8"))
            if back.text != formats.xml_text(text):
                bad.append(text)
        except (ET.ParseError, UnicodeError) as error:
            bad.append((text, error))
    ok(not bad, "500 texts of garbage are XML", got=bad[:3])
    ok(formats.xml_text("a\x00\x1b\ud800\uffffb") == "a\\x00\\x1b\\xd800\\xffffb",
       "what XML can't hold is shown")


def commands():
    """The real commands: a submission that does not build, and files that can't be written."""
    place = folder()
    lab = course.load(0)
    shutil.copytree(ROOT / "labs" / lab.dir, place / "sub")
    with open(place / "sub" / lab.handed_in[0], "a", encoding="ascii") as file:
        file.write('\nint broken(void) { return nothing_of_the_kind; }\n#include "../../kern/no.h"\n')
    done = run(ROOT / "grade/official", place / "sub", "--lab", "0", "--out", place / "out", "--junit",
               place / "j.xml", "--gradescope", place / "g.json", "--seed", SEED)
    root, table = read(place)
    boots = table["tests"][0]
    ok(done.status == 1 and wrong_with(root) is None and kinds(root)["boots"] == "failure"
       and "passed" not in kinds(root).values(), "official: what does not build fails",
       out=done.out[-1500:], got=kinds(root))
    ok(f"labs/{lab.dir}/{lab.handed_in[0]}:" in boots["output"] and "error: " in boots["output"]
       and str(SEED) not in (place / "g.json").read_text(),
       "Gradescope: the compiler's own words on the student's own file", got=boots)
    (place / "not.tar").write_bytes(b"no archive at all")
    done = run(ROOT / "grade/official", place / "not.tar", "--lab", "0", "--out", place / "out2",
               "--gradescope", place / "g.json", "--junit", place / "j.xml")
    root, table = read(place)
    ok(done.status == 2 and "no tar archive" in table["output"] and wrong_with(root) is None
       and set(kinds(root).values()) == {"error"} and sum(t["score"] for t in table["tests"]) == 0,
       "a submission that is none: old results are gone, and the reason is given", got=table["output"])
    for words, want in ((("--junit", place / "nowhere" / "j.xml"), "no such file"),
                        (("--junit", place / "x", "--gradescope", place / "x"), "different files"),
                        (("--gradescope", place / "o" / "results.json", "--out", place / "o"),
                         "different files")):
        done = run(ROOT / "grade/grade", "0", *words)
        ok(done.status == 2 and want in done.out and done.out.count("\n") == 1,
           f"one line: {want} ({words[0]})", out=done.out)


def main():
    all_verdicts()
    killed()
    fuzz()
    commands()
    finish()


if __name__ == "__main__":
    main()
