"""What `grade/grade` and `grade/official` have in common, and the first of them."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from . import alone, attempt, build, course, explain, formats, grader, report, sandbox
from .tools import ROOT, tool
from .trial import Trouble

PASS, FAIL, USAGE, TROUBLE = 0, 1, 2, 3


def arguments(argv):
    """The options of `grade/grade`."""
    parser = argparse.ArgumentParser(prog="grade/grade", description="Grades one lab of this tree.")
    parser.add_argument("lab", help="the lab's number, or a half of it: 1A")
    parser.add_argument("--only", metavar="WHAT", action="append",
                        help="run these tests or exercises, and what they rest on: --only '1.3 ring1'")
    parser.add_argument("--explain", action="store_true",
                        help="match failures against known mistakes and print their hints")
    parser.add_argument("--gdb", metavar="TEST",
                        help="run this test, then boot its last machine under GDB")
    parser.add_argument("--repeat", type=int, default=1, metavar="N",
                        help="run every test N times; one failure is a failure")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 2, metavar="N",
                        help="tests that run at the same time")
    parser.add_argument("--seed", type=int, help="repeat a run with the seed that it printed")
    parser.add_argument("--json", action="store_true", help="print results as JSON, not TAP")
    parser.add_argument("--ref", action="store_true",
                        help="grade the reference solution instead of labs/")
    parser.add_argument("--take", metavar="WHAT", default=None,
                        help="labs or exercises to take from the reference, as in make REF=...")
    parser.add_argument("--from", metavar="DIR", dest="source",
                        help="take the lab's files from this folder instead of labs/")
    parser.add_argument("--out", metavar="DIR", help="where results and logs go "
                        "(build/grade/labN)")
    formats.add_options(parser)
    parser.add_argument("--list", action="store_true", help="list the lab's tests and stop")
    return parser.parse_args(argv)


def list_tests(lab):
    """The lab's tests, one line each."""
    for test in (*lab.tests, *lab.rewards):
        print(f"{test.exercise or '-':5} {test.name:20} {test.points:3}  {test.evidence:10} "
              f"{'/'.join(test.machines):12} {test.title}")


def source_of(lab, args):
    """The folder whose files are graded."""
    if args.source:
        return Path(args.source)
    if args.ref:
        folder = ROOT / "solutions" / lab.dir
        if not folder.is_dir():
            raise course.CourseError("the reference solutions are not in this tree")
        return folder
    return ROOT / "labs" / lab.dir


class Bench:
    """What is to be graded, built without walls: this is the student's own machine."""

    def __init__(self, lab, source, out, ref=None):
        self.tree = build.Tree(lab, ref=ref)
        self.alone = None
        try:
            self._build(lab, source, out)
        except BaseException:
            self.tree.remove()
            raise

    def _build(self, lab, source, out):
        reference = alone.Reference(lab, ROOT)
        try:
            files = alone.whole(reference, build.take_folder(source, lab))
        except ValueError as error:
            self.image = build.Image(False, f"{error}\n")
            return
        self.image = self.tree.build(files, out / "image")
        self.image.guests = self.tree.build_guests(out / "image")
        self.alone = alone.Alone(reference, files, self.tree, out / "image", self.image.guests)


def quietly(text):
    """A line for a person who waits; never in the way of TAP or JSON."""
    print(f"# {text}", file=sys.stderr, flush=True)


def again(args, lab):
    """The command that runs the same grading again; a test's name and a seed come behind it."""
    words = ["grade/grade", lab.name]
    if args.ref:
        words.append("--ref")
    if args.take:
        words += ["--take", args.take]
    if args.source:
        words += ["--from", args.source]
    return shlex.join(words)


def grade(lab, args, also):
    """Build, run, report. The status: 0 only if every point there was to earn was earned."""
    out = grader.OutFolder(args.out or ROOT / "build" / "grade" / f"lab{lab.name}")
    quietly(f"building lab {lab.name} in a tree of its own")
    bench = Bench(lab, source_of(lab, args), out.path, args.take)
    try:
        return judge(lab, args, also, out, bench)
    finally:
        bench.tree.remove()


def judge(lab, args, also, out, bench):
    """Run the tests on what was built, and report. The status."""
    image = bench.image
    only = [args.gdb] if args.gdb else args.only
    work = grader.Grader(lab, image, out.path, args.jobs, args.seed, args.repeat, only,
                         again(args, lab), keep=bool(args.gdb), alone=None if args.gdb else bench.alone)
    also.attach(work)
    hints = explain.explainer(lab) if args.explain else None
    sink = open(out.path / "results.tap", "w", encoding="utf-8")
    shown = report.TapReport(work, sink if args.json else Both(sys.stdout, sink), hints)
    status = finish(work, shown)
    if image.ok and not (args.ref or args.take or args.source):
        remember_runs(work, image)
    if args.json:
        print(json.dumps(work.results(), indent=1))
    if args.gdb:
        under_gdb(work.verdicts.get(args.gdb))
    quietly(f"results and logs: {os.path.relpath(out.path)}")
    return status


def remember_runs(work, image):
    """Tell `make hint` which exercises' tests have run, and on which code."""
    ran = {v.exercise for v in work.verdicts.values() if v.exercise and v.verdict in ("pass", "fail")}
    tool("hint").note_runs(ROOT, work.lab.number, sorted(ran),
                                   lambda name: image.files[name].decode("utf-8", "replace"))


class Both:
    """Writes to a person and to a file."""

    def __init__(self, *files):
        self.files = files

    def write(self, text):
        """To each of them."""
        for file in self.files:
            file.write(text)

    def flush(self):
        """Each of them."""
        for file in self.files:
            file.flush()


def finish(work, shown):
    """Run a Grader to its end under a report. The status for the shell."""
    try:
        work.run(shown.add)
    except KeyboardInterrupt:
        shown.close()
        return 130
    shown.close()
    if work.trouble():
        return TROUBLE
    worth = sum(test.points for test in work.tests if not test.reward)
    plain = all(v.verdict == "pass" or v.todo or v.verdict == "skip" and (v.reward or not v.points) for v in work.verdicts.values())
    return PASS if plain and work.earned == worth else FAIL


def under_gdb(verdict):
    """Boot the machine of a test once more, under GDB."""
    command = verdict.emulator_gdb if verdict else ""
    if " start " in command and "--disk" not in command:
        command += " --stub zeno --first-exit"  # it runs a guest: on to that one's first exit
    if not command:
        print("# that test booted nothing that could be repeated: no GDB session")
    elif sys.stdin.isatty():
        subprocess.run(["sh", "-c", command], check=False)
    else:
        print(f"# to debug it, type:\n#   {command}")


def main(argv=None):
    """`grade/grade`."""
    args = arguments(argv)
    attempt.add_checks_to_path()
    try:
        lab = course.load(args.lab)
        args.only = lab.chosen(args.only)
        if args.gdb:
            lab.test(args.gdb)
        if args.list:
            list_tests(lab)
            return PASS
        with formats.Files(lab, args).guard() as also:
            return grade(lab, args, also)
    except (course.CourseError, LookupError, formats.FormatError) as error:
        print(f"grade: {error.args[0]}", file=sys.stderr)
        return USAGE
    except (build.BuildTrouble, sandbox.SandboxTrouble, Trouble) as error:
        print(f"Bail out! {error}")
        return TROUBLE
    except OSError as error:
        print(f"Bail out! {tool('trouble').words(error)}")
        return TROUBLE
    except KeyboardInterrupt:
        print("Bail out! interrupted")
        return 130
