#!/usr/bin/env python3
"""The grader's core on made-up labs: every kind of verdict, and what must never be a pass."""

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))
sys.dont_write_bytecode = True

from zeno.guests import programs  # noqa: E402
from zeno.judging import attempt, build, cli, course, evidence, explain, grader, report  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.judging import sandbox, submission, tap, trial  # noqa: E402

COUNT = 0
BAD = 0


def ok(holds, what, **details):
    """One TAP line of this test."""
    global COUNT, BAD
    COUNT += 1
    BAD += not holds
    print(f"{'ok' if holds else 'not ok'} {COUNT} - {tap.clean(what)}", flush=True)
    if not holds:
        print("  ---")
        for line in tap.yaml_lines({key: str(value) for key, value in details.items()}):
            print("  " + line)
        print("  ...", flush=True)


LAB = """
lab = 7
title = "Made up"
version = 1
dir = "7-made-up"
needs = []
sources = []
handout = "handouts/lab7.md"
files = ["a.c"]

[[exercises]]
id = "7.1"
title = "First"
hours = 1
difficulty = "easy"
property = "equivalence"

[[exercises]]
id = "7.2"
title = "Second"
hours = 2.5
difficulty = "hard"
property = "resource control"

[[tests]]
name = "boots"
exercise = ""
title = "it builds and boots"
points = 0
evidence = "witnessed"
check = "madeup.passes"
"""

TEST = """
[[tests]]
name = "{name}"
exercise = "{exercise}"
title = "made up"
points = {points}
evidence = "{evidence}"
base = {base}
check = "madeup.{check}"
machines = {machines}
"""


def a_test(name, check="passes", exercise="7.1", points=5, evidence_="witnessed", base=(),
           machines=("qemu",)):
    """One [[tests]] table."""
    return TEST.format(name=name, check=check, exercise=exercise, points=points, base=list(base),
                       evidence=evidence_, machines=json.dumps(list(machines)))


def a_lab(*tests):
    """A made-up lab; 7.2 always has a test that passes."""
    return course.parse(LAB + "".join(tests) + a_test("second", exercise="7.2", points=40))


CHECKS = types.ModuleType("checks.madeup")


def check(function):
    """Registers a made-up check."""
    setattr(CHECKS, function.__name__, function)
    return function


@check
def passes(t):
    """Passes."""


@check
def in_others(t):
    """Passes where the other exercises are the reference's."""
    t.check(t.image.log == "others", "something of another exercise is wrong")


@check
def fails(t):
    """Fails with words that would break a careless TAP writer."""
    t.fail("no good", "ok 1 - all well\n1..0", "\x1b[31m\nnot ok # TODO\nBail out! ha")


@check
def nothing_expected(t):
    """An empty expectation is trouble, never a pass."""
    t.equal(b"", b"", "nothing")


@check
def breaks(t):
    """A bug of the harness."""
    raise RuntimeError("a bug of the harness")


@check
def known_gap(t):
    """An expected failure."""
    t.todo = "a gap that is stated"
    t.fail("as expected")


@check
def by_chance(t):
    """Fails for some seeds."""
    t.check(t.seed % 3, "the seed is a multiple of 3")


def assembled(rng, end):
    """A made-up kernel that prints something and ends in some way."""
    p = programs.Program(rng)
    p.op("mov ebx, 0x1234", "imul ebx, ebx, 77")
    p.say("ebx")
    end(p)
    return p


ENDS = {
    "exits": lambda p: p.end(),
    "exits_code": lambda p: p.end(3),
    "reboots": lambda p: p.op("mov al, 6", "mov dx, 0xcf9", "out dx, al", "cli", "hlt"),
    "triple": lambda p: p.op("lidt [zero]", "ud2", "zero: dq 0"),
    "dead": lambda p: p.op("cli", "hlt"),
    "loops": lambda p: p.op("mov eax, 1", "l: add eax, 3", "jmp l"),
    "floods": lambda p: p.op("mov dx, 0x3f8", "l: mov al, 65", "out dx, al", "jmp l"),
}


def kernel_check(name):
    """A check that boots one of the made-up kernels and expects it to end in order."""
    def run(t):
        path = assembled(random.Random(1), ENDS[name]).assemble(t.directory, name)
        limits = machine.Limits(instructions=3_000_000, console_bytes=20_000)
        done = t.boot(kernel=path, limits=limits)
        t.orderly(done)
    run.__name__ = "boot_" + name
    return check(run)


for _name in ENDS:
    kernel_check(_name)


def run_lab(lab, **options):
    """(grader, TAP text) of a made-up lab."""
    image = build.Image(True, "", elf=None, mb=None)
    text = io.StringIO()
    with tempfile.TemporaryDirectory() as out:
        work = grader.Grader(lab, image, out, **{"jobs": 2, "seed": 5, **options})
        shown = report.TapReport(work, text)
        work.status = cli.finish(work, shown)
        work.saved = json.loads(Path(out, "results.json").read_text())
    return work, text.getvalue()


def verdict_of(name, **options):
    """The verdict of a single made-up check."""
    work, text = run_lab(a_lab(a_test("one", name, **options)))
    return work.verdicts["one"], text, work


HALVES = LAB.replace("files =", "files_ =").replace('files_ = ["a.c"]', """
[halves.A]
title = "First half"
handout = "handouts/lab7a.md"
files = ["a.c"]
[halves.B]
title = "Second half"
handout = "handouts/lab7b.md"
needs = ["7A"]
files = ["b.c"]
""").replace('id = "7.1"', 'id = "7.1"\nhalf = "A"').replace('id = "7.2"', 'id = "7.2"\nhalf = "B"')


def halves():
    """A half is an assignment of its own: its exercises' points, and what they rest on for none."""
    text = HALVES + a_test("one", points=10) + a_test("two", exercise="7.2", points=20, base=["one"]) \
        + a_test("three", exercise="7.2", points=4)
    lab = course.parse(text, half="B")
    worth = {test.name: test.points for test in lab.tests}
    ok((lab.name, lab.points, worth) == ("7B", 24, {"boots": 0, "one": 0, "two": 20, "three": 4}),
       "a half has its own points, and bases of the other half for none", got=worth)
    ok(lab.handed_in == ("b.c",) and lab.files == ("a.c", "b.c") and lab.needed_here() == {"7.1"}
       and lab.page("7.2") == "handouts/lab7b.md" and lab.page("7.1") == "handouts/lab7a.md", "its files and pages")
    ok(course.parse(text).points == 34 and course.parse(text, half="A").points == 10, "both halves have all points")
    ok(lab.chosen(["7.2 one"]) == ["two", "three", "one"] and lab.chosen(["three,two"]) == ["three", "two"],
       "--only takes exercises and tests, several to a word", got=lab.chosen(["7.2 one"]))
    for word, said in (("7.1", "lab 7B has no exercise 7.1; it has: 7.2"), ("nil", "has no test 'nil'")):
        try:
            lab.chosen([word])
            ok(False, f"--only {word} was taken")
        except LookupError as error:
            ok(said in error.args[0], f"--only {word} is refused", got=error)
    work, shown = run_lab(lab)
    ok("# What they rest on, 7.1" not in shown or work.earned == 24, "it is graded", got=shown)
    ok(work.earned == 24 and "Lab 7B: 24 of 24 points" in shown, "and earns its points", got=shown)
    refused("an exercise of no half", text.replace('half = "B"', 'half = "C"'), "`half` is one of A B")


class Others:
    """What a Grader is given where there is a reference: an image for an exercise alone."""

    def __init__(self, image=build.Image(True, "")):
        self.image, self.asked = image, []

    def possible(self, _exercise):
        """There is always one."""
        return True

    def untouched(self, _exercise):
        """Something was written everywhere."""
        return False

    def others(self, _exercise):
        """In words."""
        return "the reference's other exercises"

    def __call__(self, exercise):
        self.asked.append(exercise)
        return self.image


def alone():
    """What fails in the whole is decided alone; what fails in both is shown as it was in the whole."""
    lab = course.parse(LAB + a_test("first", "in_others") + a_test("follows", base=["first"])
                       + a_test("second", "fails", exercise="7.2", points=40))
    lab = course._with_whole(lab)  # pylint: disable=protected-access
    others = Others(build.Image(True, "others"))
    work, shown = run_lab(lab, alone=others)
    found = {name: (v.verdict, v.alone) for name, v in work.verdicts.items()}
    ok(found == {"boots": ("pass", False), "first": ("pass", True), "follows": ("pass", True),
                 "second": ("fail", False), "own-whole": ("fail", False)}, "verdicts alone and in the whole", got=found)
    ok(sorted(others.asked) == ["7.1", "7.2"] and work.earned == 10 and lab.points == 50 + 9,
       "an exercise alone is built once", got=(others.asked, work.earned, lab.points))
    ok("do not: first, follows, second" in work.verdicts["own-whole"].reason and "Your own whole (0 of 9" in shown,
       "the whole's own points tell what does not pass there", got=shown)
    work, _ = run_lab(lab, alone=Others(None))
    ok(work.earned == 0 and work.verdicts["follows"].verdict == "skip", "without others the whole decides")
    work, _ = run_lab(lab, alone=Others(build.Image(False, "no")))
    ok(work.earned == 0, "nor where they can't be built")
    lab = course._with_whole(a_lab(a_test("first")))  # pylint: disable=protected-access
    work, shown = run_lab(lab)
    ok(work.earned == lab.points == 45 + 8, "a whole that passes has all points", got=(work.earned, lab.points))


def beside_undone():
    """Where the own whole comes to another exercise that is not done, the failure alone is the one that says something."""
    work, _ = run_lab(a_lab(a_test("first")))
    said = "exercise 7.1 is not done yet: see x", "d1: stopped: exercise 7.1 is not done [exit 1]"
    found = [explain.undone_other(texts, exercise) for texts, exercise in (
        (["K>", said[0]], "7.2"), ([said[1] + "\n" * 9], "7.2"), (["all is well"], "7.2"), ([said[0]], "7.1"),
        ([said[0] + "\nd1| a line" * 9], "7.2"), ([said[0]], "8.2"))]
    ok(found == ["7.1", "7.1", "", "", "", ""], "another exercise that a kernel came to, and that is not done", got=found)
    found = explain.gaps([said[0] + "\nd1| a line" * 9 + "\nexercise 7.3 is not done yet: see y\nexercise 8.1 is not done yet: see z"], "7.3")
    ok(found == ["on the way it came to exercise 7.1, which is not done: what fails may be that (see x)"],
       "one that it went on behind is told, too", got=found)
    found = explain.gaps(["d2| exercise 9.1 is not done yet: see x\nd1| pv-disk| exercise 9.2 is not done yet: see y\nit says exercise 9.4 is not done yet: see z"], "9.3")
    ok([one.partition("exercise ")[2][:3] for one in found] == ["9.1", "9.2"], "and one that a guest came to", got=found)

    work.alone = Others()

    def shown(undone):
        own, other = (attempt.Verdict("second", "7.2", "", 5, "witnessed", "fail", reason, undone=undone)
                      for reason in ("nothing came", "the register is another one"))
        return work._better(own, other)  # pylint: disable=protected-access

    ok(shown("").reason == "nothing came", "what fails in both is shown as it was in the whole")
    found = shown("7.1")
    ok((found.reason, found.alone) == ("the register is another one", True), "but not if another exercise is not done", got=found)
    ok("7.1, which is not done" in found.notes[0] and "ALONE=7.2" in found.notes[1], "which says so, and how to see it", got=found.notes)


def refused(what, text, words):
    """The data file `text` must be refused with these words."""
    try:
        course.parse(text)
        ok(False, what, got="it was taken")
    except course.CourseError as error:
        ok(words in str(error), what, got=error)


def test_course():
    """The loader refuses what would give points away."""
    lab = a_lab(a_test("one"), a_test("said", exercise="7.2", points=5, evidence_="reported"))
    ok(lab.points == 50 and lab.exercise("7.1").points == 5, "a lab's points add up")
    refused("reported tests carry a tenth at most",
            LAB + a_test("a") + a_test("b", exercise="7.2", points=10)
            + a_test("c", points=2, evidence_="reported"), "a tenth")
    refused("an exercise needs a witnessed or equivalent test",
            LAB + a_test("a", points=90)
            + a_test("b", exercise="7.2", points=5, evidence_="reported"), "7.2 has no witnessed")
    refused("a test's base must stand above it", LAB + a_test("a", base=["later"]), "later")
    refused("unknown keys are refused", LAB + a_test("a") + "colour = 1\n", "colour")
    refused("a test without an exercise carries no points",
            LAB + a_test("a", exercise="", points=1), "carries points")
    refused("the first test must be the ungated one",
            LAB.rsplit("[[tests]]", 1)[0] + a_test("a") + a_test("b", exercise="7.2"), "first test")


def test_verdicts():
    """Four verdicts, and nothing else ends a check."""
    v, text, work = verdict_of("passes")
    ok(v.verdict == "pass" and work.earned == 45, "a check that returns passes", got=text)
    v, text, work = verdict_of("fails")
    ok(v.verdict == "fail" and work.earned == 40, "a failed check earns nothing", got=text)
    inside = [line.strip() for line in text.splitlines() if "Bail out" in line or "all well" in line]
    ok(not any(line.startswith(("ok", "not ok", "Bail", "1..")) for line in inside) or
       all(line.startswith("  ") for line in text.splitlines() if "all well" in line),
       "a guest's text can't pose as TAP", got=text)
    ok("\x1b" not in text, "control bytes are shown, not sent", got=repr(text))
    v, text, work = verdict_of("nothing_expected")
    ok(v.verdict == "error" and "Bail out!" in text, "an empty expectation is trouble", got=text)
    v, text, work = verdict_of("breaks")
    ok(v.verdict == "error" and "not your failure" in text and work.saved["tests"],
       "a bug of the harness bails out and is no failure", got=text)
    v, text, _ = verdict_of("is_not_there")
    ok(v.verdict == "error", "a check that is missing is trouble", got=text)
    lab = a_lab(a_test("one"), a_test("gap", "known_gap", points=0))
    work, text = run_lab(lab)
    ok("# TODO a gap" in text and "not ok 2 - gap" in text and work.earned == 45,
       "an expected failure is a TODO", got=text)


def test_bases():
    """What rests on something that did not pass is skipped and earns nothing."""
    lab = a_lab(a_test("a", "fails"), a_test("b", base=["a"]), a_test("c", base=["b"]),
                a_test("d"))
    work, text = run_lab(lab)
    got = {name: v.verdict for name, v in work.verdicts.items()}
    ok(got == {"boots": "pass", "a": "fail", "b": "skip", "c": "skip", "d": "pass",
               "second": "pass"} and work.earned == 45, "a base that fails skips what is above", got=got)
    ok("# SKIP it rests on `a`, which did not pass" in text, "the skip says why", got=text)
    lab = course.parse(LAB.replace("madeup.passes", "madeup.fails") + a_test("a")
                       + a_test("b", exercise="7.2"))
    work, text = run_lab(lab)
    ok(work.earned == 0, "a kernel that does not boot earns nothing", got=text)
    work, _ = run_lab(a_lab(a_test("a", "fails"), a_test("b", base=["a"]), a_test("c")),
                      only=["b"])
    ok(set(work.verdicts) == {"boots", "a", "b"}, "--only takes the bases along",
       got=set(work.verdicts))


def test_repeat():
    """One bad run of many is a failure that says how often."""
    work, _ = run_lab(a_lab(a_test("a", "by_chance")), repeat=3)
    v = work.verdicts["a"]
    ok(v.verdict == "fail" and v.bad == 1 and "in 1 of 3 runs" in v.reason,
       "--repeat: the worst run counts", got=v)


def test_machines():
    """How a machine ends decides; what it printed does not."""
    reason = machine.missing("qemu")
    if reason:
        print(f"# SKIP the made-up kernels: {reason}")
        return
    expected = {"exits": None, "exits_code": "code 3", "reboots": "reset", "triple": "triple",
                "dead": "interrupts off", "loops": "instructions", "floods": "printed far more"}
    tests = [a_test(name, "boot_" + name, points=1) for name in ENDS]
    work, text = run_lab(a_lab(*tests))
    for name, words in expected.items():
        v = work.verdicts[name]
        if words is None:
            ok(v.verdict == "pass", f"a kernel that {name} passes", got=v)
        else:
            ok(v.verdict == "fail" and words in v.reason, f"a kernel that {name} fails", got=v)
    v = work.verdicts["triple"]
    ok("#UD" in v.explanation, "a triple fault is told in words", got=v.explanation)
    ok(v.emulator and "qemu" in v.emulator and "--gdb" in v.emulator_gdb,
       "a failure says how to boot it by hand", got=v.emulator)
    ok("boot it under GDB" in text and "read: " in text, "the report has the commands", got=text)
    work, text = run_lab(a_lab(a_test("nowhere", machines=["qemu"])))
    keep, machine.missing = machine.missing, lambda name: "it is not here; install it"
    try:
        work, text = run_lab(a_lab(a_test("nowhere")))
    finally:
        machine.missing = keep
    ok(work.verdicts["boots"].verdict == "skip" and work.earned == 0 and "install it" in text,
       "a machine that is missing is a skip with its reason, and earns nothing", got=text)


def test_interrupt():
    """Results that are there stay there when somebody loses patience."""
    code = f"""
import sys, time, types
sys.path.insert(0, {str(ROOT / 'grade')!r}); sys.path.insert(0, {str(ROOT / 'tests')!r})
sys.dont_write_bytecode = True
from zeno.judging import attempt, build, course, grader
m = types.ModuleType("checks.madeup"); sys.modules["checks.madeup"] = m
m.passes = lambda t: None
def slow(t):
    print("slow", flush=True); time.sleep(600)
m.slow = slow
lab = course.parse(sys.argv[1])
try:
    grader.Grader(lab, build.Image(True, ""), sys.argv[2], 1, 1).run()
except KeyboardInterrupt:
    sys.exit(130)
"""
    with tempfile.TemporaryDirectory() as out:
        text = LAB + a_test("one") + a_test("second", "slow", exercise="7.2")
        child = subprocess.Popen([sys.executable, "-c", code, text, out], stdout=subprocess.PIPE)
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        status = child.wait(timeout=60)
        child.stdout.close()
        saved = json.loads(Path(out, "results.json").read_text())
        names = [one["test"] for one in saved["tests"]]
        ok(status == 130 and names == ["boots", "one"] and not saved["finished"],
           "Ctrl-C keeps what is finished", got=(status, saved))


def test_words():
    """Sentences for a person."""
    run = types.SimpleNamespace(tagged=lambda kind=None: [
        ("exit", "d1 1 cli 00100010 1 exit 1: #GP at 00100010, cli: IF=0"),
        ("exit", "d1 2 port I/O 00100011 2 exit 2: #GP at 00100011, out: port 3f8 <- 41"),
        ("exit", "garbage")] if kind == "exit" else [
            ("start", "d1 first"), ("out", "d1 48 69"), ("start", "d2 other"), ("out", "d2 58"),
            ("end", "d1 ended exit code 3"), ("start", "d1 second"), ("out", "d1 zz")])
    ok(evidence.exits_in_words(run)[1] == "guest 1, exit 2: #GP at 00100011, out: port 3f8 <- 41",
       "exits in words", got=evidence.exits_in_words(run))
    first, other, second = evidence.lives(run)
    ok(first.output == b"Hi" and other.output == b"X" and second.name == "second",
       "a guest's output is its own, though numbers are used again", got=evidence.lives(run))
    ok(first.end == ("ended", "exit code 3") and second.end is None, "so is its end", got=first)
    ok("stops after 2 bytes" in evidence.around_difference(b"abc", b"ab"), "output that stops")
    ok("line 2" in evidence.around_difference(b"a\nbc\n", b"a\nbd\n"), "the line that differs")
    v = attempt.Verdict("one", "7.1", "t", 1, "witnessed", "fail", "EDX is read whole: port 0xab03f8")
    ok(explain.matches("read whole.*port", explain.text_of(v)), "a symptom is found")
    ok(not explain.matches("IF=1", explain.text_of(v)), "another symptom is not")


ODD = {"why": "it is", "last exits (as they say)": ["d1: exit 1: #PF", "- a", "", "a:", 'b": "c', "{}"], "chain of faults": "a: b",
       "got": "one\n  two\n\n three: 3\n...\n---\n", "console": "  begins with spaces\nthen not", "empty": "\n\nlate", "nothing": "",
       "none": None, "list": [], "tuple": ("x", 3), "bytes": "\x00\x1b[1m\u2028\t|", "quote\"": "'q' \"", "'": "~", "one": "1..4\nok 1"}
PERL = """
use TAP::Parser;
my $p = TAP::Parser->new({tap => do { local $/; <STDIN> }});
while (my $r = $p->next) { print join("|", sort keys %{$r->data}), "\\n" if $r->is_yaml }
print "errors: ", join("; ", $p->parse_errors), "; plan ", $p->plan, ", run ", $p->tests_run, "\\n";
"""


def test_yaml():
    """Whatever a diagnosis holds, prove reads on behind it."""
    rng = random.Random(7)
    tables = [ODD, *({key: value} for key, value in ODD.items())]
    tables += [{f"key {i}": "".join(rng.choice("ab:-|#~'\"\\\n \t{[.>") for _ in range(rng.randrange(40)))
                for i in range(6)} | {"items": ["".join(rng.choice("ab:- '\"\\\n|") for _ in range(9)) for _ in range(4)]}
               for _ in range(200)]
    out = io.StringIO()
    writer = tap.Writer(out)
    for table in tables:
        writer.result(False, "made up", diagnosis=table)
    writer.plan(len(tables))
    done = subprocess.run(["perl", "-e", PERL], input=out.getvalue().replace("version 14", "version 13"), text=True,
                          capture_output=True, check=False)
    said = done.stdout.splitlines()
    ok(said and said[-1] == f"errors: ; plan 1..{len(tables)}, run {len(tables)}" and len(said) == len(tables) + 1,
       "prove's parser reads every diagnosis", got=said[-2:], err=done.stderr[:300], blocks=len(said))
    ok(said and said[0] == "|".join(sorted(ODD)), "and finds its keys", got=said[:1])


def archive(path, members):
    """A tar from pairs: a name, and bytes or a tuple with a member's type."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = data[0], "/etc/passwd"
                tar.addfile(info)


def refusal(path, lab):
    """The words with which a submission is refused, or None."""
    try:
        submission.take(path, lab)
        return None
    except submission.SubmissionError as error:
        return str(error)


def test_submission():
    """Only the manifest's files come out of an archive, and only as regular files."""
    lab = a_lab(a_test("one"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.tar")
        archive(path, [("zeno-lab7/a.c", b"int a;\n"), ("zeno-lab7/Makefile", b"x"),
                       ("zeno-lab7/../a.c", b"evil"), ("/a.c", b"evil"), ("x/y/a.c", b"evil"),
                       ("grade/checks/lab0.py", b"evil")])
        taken = submission.take(path, lab)
        ok(taken.files == {"a.c": b"int a;\n"}, "names with .., absolute and deep ones stay out",
           got=taken)
        ok(sum("not taken" in note for note in taken.notes) == 5, "the rest is named", got=taken.notes)
        for kind, words in ((tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a hard link"),
                            (tarfile.FIFOTYPE, "a pipe"), (tarfile.CHRTYPE, "a device")):
            archive(path, [("zeno-lab7/a.c", (kind,))])
            ok("none of the files" in (refusal(path, lab) or ""), f"{words} is not taken",
               got=refusal(path, lab))
        archive(path, [("zeno-lab7/a.c", b"1"), ("a.c", b"2")])
        ok("twice" in (refusal(path, lab) or ""), "a file that is there twice is refused")
        archive(path, [("a.c", b"x" * (build.SOURCE_CAP + 1))])
        ok(refusal(path, lab) is not None, "a file that is too long is not taken")
        archive(path, [("a.c", b"x"), ("MANIFEST", b"zeno-submission 1\nlab 3 3-other\n")])
        ok("for lab '3" in (refusal(path, lab) or ""), "another lab's archive is refused",
           got=refusal(path, lab))
        path.write_bytes(random.Random(1).randbytes(5000))
        ok("no tar archive" in (refusal(path, lab) or ""), "garbage is no archive")
        place = Path(folder, "tree")
        place.mkdir()
        os.symlink("/etc/passwd", place / "a.c")
        ok("none of the files" in (refusal(place, lab) or ""), "a folder's link is not followed")


def test_sandbox():
    """What the walls promise, tried from inside."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "tree")
        place.mkdir()
        walls = sandbox.Sandbox(hide=[ROOT])
        os.chmod(folder, 0o755)
        walls.own(place)
        done = walls.run(["sh", "-c", f"ls {ROOT}/grade; echo uid $(id -u); "
                          "cut -d: -f1 /proc/self/net/dev | tr '\\n' ' '; ulimit -t"], place)
        said = walls.run(["sh", "-c", "(yes | head -c 100000000; touch done) & yes; wait"], place)
        ok(said.status and not said.trouble and len(said.output) < 20 << 20 and "says more than" in said.output[-100:]
           and not (place / "done").exists(), "a build that says more than anybody reads is ended", got=said.output[-200:])
        if walls.gaps:
            ok(os.geteuid() != 0 or done.output, "gaps are named: " + "; ".join(walls.gaps))
            return
        ok("checks" not in done.output, "the tree is hidden from a build", got=done.output)
        ok(f"uid {walls.uid}" in done.output and walls.uid, "a build has a user of its own",
           got=done.output)
        ok("eth" not in done.output, "a build has no network", got=done.output)
        ok(str(sandbox.CPU_SECONDS) in done.output, "a build has limits", got=done.output)


class Spread:
    """A machine's memory that is full of an entry, or of entries for one frame behind the other."""

    def __init__(self, entry, step=0):
        self.entry, self.step, self.reads = entry, step, 0

    def read(self, address, size, physical=False):
        """Numbers of eight bytes, each an entry."""
        self.reads += 1
        return struct.pack(f"<{size // 8}Q", *(self.entry + self.step * (self.reads * 512 + i) for i in range(size // 8)))


def test_spread():
    """Tables that a submission has filled with more than the grader can take: a failure of the submission's, and soon."""
    from checks import lab5
    for what, client in (("pages of 1 GiB", Spread(0x83)), ("tables", Spread(0x1003, 0x1000))):
        why = "nothing"
        try:
            lab5.Tables(client, 0x1000).mapped()
        except trial.Failed as error:
            why = str(error)
        ok("more frames than there are" in why and client.reads < 5000, f"nested tables full of {what} are a failure, and soon", got=why)
    domain = lab5.Domain.__new__(lab5.Domain)
    domain.client, domain.at, domain.ones = Spread(0x1000), 0, {}
    try:
        domain.p2m()
        ok(False, "a p2m whose tables are everywhere is a failure")
    except trial.Failed:
        ok(domain.client.reads < 5000, "a p2m whose tables are everywhere is a failure, and soon")


class Console:
    """A run, of which only the console matters."""

    def __init__(self, text):
        self.text = lambda: text


def test_panicked():
    """A check that met what a dead kernel left behind says first that it died, whatever it made of it."""
    died = "K> launch\r\n\r\npanic: trap 8, #DF: error 0 at e008:ffff828000129100\r\nat ffff828000129100 vmx_enter+0x40\r\n"
    fails = attempt.Verdict("spin", "4.4", "", 1, "witnessed", "fail", "it was not brought back")
    ok(attempt.panicked(fails, Console(died)) == "trap 8, #DF: error 0 at e008:ffff828000129100", "a host's panic is said first")
    ok(not attempt.panicked(fails, Console("K> start hello -- panic: not one\n")), "... and a guest's word for it is none")
    fails.reason = "the kernel panicked: trap 8"
    ok(not attempt.panicked(fails, Console(died)), "... and it is said once")


def main():
    """Everything, with a plan at the end."""
    import checks
    sys.modules["checks.madeup"] = CHECKS
    checks.madeup = CHECKS
    print("TAP version 14")
    for function in (test_course, halves, alone, beside_undone, test_verdicts, test_bases, test_repeat, test_machines,
                     test_interrupt, test_words, test_yaml, test_submission, test_sandbox, test_spread, test_panicked):
        function()
    print(f"1..{COUNT}")
    return 1 if BAD else 0


if __name__ == "__main__":
    sys.exit(main())
