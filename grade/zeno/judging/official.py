"""`grade/official`: grades a submission as a course does, trusting nothing in it.

The submission's files are laid into a pristine scratch tree that holds no solution of the lab, no
test and no mutant. It is built there by a user of its own, without network, with limits, and
with this tree hidden. Only images leave the build. The grader, which the submission never meets, runs
the machines and alone writes results: results.json and results.tap in the --out folder.
"""

import argparse
import os
import sys
from pathlib import Path

from . import alone, attempt, build, cli, course, formats, grader, report, sandbox, submission
from .tools import ROOT, tool
from .trial import Trouble


def arguments(argv):
    """The options of `grade/official`."""
    parser = argparse.ArgumentParser(prog="grade/official",
                                     description="Grades one submission that nobody trusts.")
    parser.add_argument("submission", help="an archive from `make submit`, or a folder")
    parser.add_argument("--lab", required=True, help="the lab's number, or a half of it: 1A")
    parser.add_argument("--out", required=True, metavar="DIR", help="where results go")
    parser.add_argument("--seed", type=int, help="repeat a run with the seed that it printed")
    parser.add_argument("--repeat", type=int, default=1, metavar="N",
                        help="run every test N times; one failure is a failure")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 2, metavar="N",
                        help="tests that run at the same time")
    parser.add_argument("--only", metavar="WHAT", action="append",
                        help="run these tests or exercises, and what they rest on: --only '1.3 ring1'")
    parser.add_argument("--require-walls", action="store_true",
                        help="refuse to grade where the build can't be isolated completely")
    formats.add_options(parser)
    return parser.parse_args(argv)


def reference(lab, root=ROOT):
    """Which needs of the lab the tree has a reference for, as REF= wants them."""
    found = [number for number in lab.needed_labs()
             if (root / "solutions" / course.load(number, root).dir).is_dir()]
    return " ".join(map(str, found)) or None


class Workshop:
    """Trees that several submissions of one lab are built in, one after the other."""

    def __init__(self, lab, out, root=ROOT, walls=None):
        self.lab = lab
        self.walls = walls or sandbox.Sandbox(hide=[root])
        self.tree = build.Tree(lab, self.walls, root, reference(lab, root))
        self.reference = alone.Reference(lab, root)
        own = build.Tree(lab, None, root, environment=self.tree.environment)
        try:
            own.build_shared()
            self.guests = own.build_guests(Path(out))
        finally:
            own.remove()

    def image(self, taken, out):
        """Build what was taken; an Image with the walls' gaps in its notes."""
        image = self.tree.build(alone.whole(self.reference, taken.files, handed_in=True), out)
        image.guests = self.guests
        return image

    def alone(self, image, out):
        """What decides on single exercises of what was taken."""
        return alone.Alone(self.reference, image.files, self.tree, out, self.guests)

    def close(self):
        """Take the tree away."""
        self.tree.remove()


def grade(lab, args, also):
    """Take, build, run, report."""
    taken = submission.take(args.submission, lab)
    out = grader.OutFolder(args.out)
    os.chmod(out.path, 0o700)
    walls = sandbox.Sandbox(hide=[ROOT])
    if walls.gaps and args.require_walls:
        raise sandbox.SandboxTrouble("; ".join(walls.gaps))
    for gap in walls.gaps:
        print(f"# NOT ISOLATED: {gap}", file=sys.stderr)
    shop = Workshop(lab, out.path / "image", walls=walls)
    try:
        image = shop.image(taken, out.path / "image")
        work = grader.Grader(lab, image, out.path, args.jobs, args.seed, args.repeat, args.only,
                             f"grade/official {args.submission} --lab {lab.name} --out {args.out}",
                             alone=shop.alone(image, out.path / "image"))
        also.attach(work)
        work.extra = {"official": {"taken": taken.sums(), "notes": taken.notes, "hints": taken.hints(),
                                   "isolation": walls.gaps or ["complete"]}}
        with open(out.path / "results.tap", "w", encoding="utf-8") as sink:
            shown = report.TapReport(work, cli.Both(sys.stdout, sink))
            for note in taken.notes:
                shown.out.comment(note)
            return cli.finish(work, shown)
    finally:
        shop.close()


def main(argv=None):
    """`grade/official`."""
    args = arguments(argv)
    attempt.add_checks_to_path()
    try:
        lab = course.load(args.lab)
        args.only = lab.chosen(args.only)
        with formats.Files(lab, args).guard(submission.SubmissionError) as also:
            return grade(lab, args, also)
    except (course.CourseError, LookupError, submission.SubmissionError,
            formats.FormatError) as error:
        print(f"official: {error.args[0]}", file=sys.stderr)
        return cli.USAGE
    except (build.BuildTrouble, sandbox.SandboxTrouble, Trouble) as error:
        print(f"Bail out! {error}")
        return cli.TROUBLE
    except OSError as error:
        print(f"Bail out! {tool('trouble').words(error)}")
        return cli.TROUBLE
    except KeyboardInterrupt:
        print("Bail out! interrupted")
        return 130
