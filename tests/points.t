#!/usr/bin/env python3
"""What a mistake costs: its own exercise's points, and of all others at most the 15 % for the student's own whole.

`tests/points.t NAME...` tries these mutants; without words one that stops most tests of Lab 0A, and in `make check-all` one of
each half-lab, others after each commit.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tools"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

import harness  # noqa: E402
import merge  # noqa: E402
import mutants  # noqa: E402
import turn  # noqa: E402
from zeno.judging import alone, attempt, build, course, grader, report  # noqa: E402

SAMPLE = ["0.4-not-taken"]
ALL = bool(os.environ.get("ZENO_ALL"))
SEED = int(os.environ.get("SEED", "0")) or None


def one_of_each_half(number):
    """A mutant of each half-lab: each number's are others."""
    found = []
    for lab in map(course.load, course.graded_labs()):
        halves = {}
        for one in mutants.load_all(ROOT, lab.number):
            halves.setdefault(lab.half_of.get(one.exercise, ""), []).append(one.name)
        found += [names[number % len(names)] for _, names in sorted(halves.items())]
    return found


def mistaken(lab, mutant):
    """The reference's files with the mistake in."""
    files = build.take_folder(ROOT / "solutions" / lab.dir, lab)
    for name, hunks in mutant.files.items():
        name = Path(name).name
        files[name] = mutants.patched(files[name].decode(), hunks, mutant.name)[0].encode()
    return files


def graded(lab, files, out, only=None):
    """The Grader after it has graded these files as `make grade` does."""
    tree = build.Tree(lab, ref=" ".join(map(str, lab.needed_labs())) or None)
    try:
        reference = alone.Reference(lab, ROOT)
        image = tree.build(files, out / "image")
        image.guests = tree.build_guests(out / "common")
        work = grader.Grader(lab, image, grader.OutFolder(out / "results").path, os.cpu_count() or 2, SEED, only=only,
                             alone=alone.Alone(reference, files, tree, out / "image", image.guests))
        work.run()
        return work
    finally:
        tree.remove()


def try_mutant(mutant, out):
    """One mutant: where its points go."""
    number = mutant.exercise.split(".")[0]
    half = course.load(number).half_of.get(mutant.exercise, "")
    lab = course.load(f"{number}{half}")
    work = graded(lab, mistaken(lab, mutant), out)
    own = [v for v in work.of(mutant.exercise) if v.points and not v.no_machine]
    others = {v.test: f"{v.verdict} {v.reason}" for v in work.verdicts.values()
              if v.exercise not in (mutant.exercise, course.WHOLE) and v.points and not v.earned and not v.no_machine
              and not v.reward}
    whole = work.verdicts[course.WHOLE]
    failed = [name for name, v in work.whole.items() if v.points and not v.holds and not v.no_machine]
    harness.ok(any(not v.earned for v in own), f"{mutant.name}: it loses points of its own exercise",
               own=[v.verdict for v in own])
    harness.ok(not others, f"{mutant.name}: no other exercise loses a point, though {len(failed)} tests fail in the whole",
               lost=others, seed=work.seed)
    harness.ok(0 <= whole.earned < whole.points and whole.points <= 0.16 * lab.points,
               f"{mutant.name}: the own whole loses {whole.points - whole.earned} of {whole.points} points",
               whole=whole)
    lost = lab.points - work.earned - sum(v.points for v in work.verdicts.values() if v.no_machine)
    print(f"# {mutant.name}: {work.earned} of {lab.points} points, {lost} lost", flush=True)


def broken_file(out):
    """An exercise that does not compile: the others keep their points."""
    lab = course.load("0A")
    files = build.take_folder(ROOT / "solutions" / lab.dir, lab)
    files["commands.c"] = files["commands.c"].replace(b"const volatile uint32_t *words;", b"oops")
    work = graded(lab, files, out, only=["xp-words", "bt-walk"])
    found = {name: v.verdict for name, v in work.verdicts.items()}
    harness.ok(not work.image.ok and found["bt-walk"] == "pass" and found["xp-words"] != "pass"
               and work.verdicts["bt-walk"].alone, "a file that does not compile costs its own exercise", got=found)


def untouched(out):
    """What was not begun is not built again."""
    lab = course.load("0A")
    files = build.take_folder(ROOT / "labs" / lab.dir, lab)
    work = graded(lab, files, out, only=["bt-walk"])
    v = work.verdicts["bt-walk"]
    harness.ok(v.verdict == "fail" and not v.alone and "0.3 is not done yet" in v.reason
               and not (out / "image" / "0.3").exists(), "an exercise that was not begun is decided at once", got=v)

    said = io.StringIO()
    work.asked = False
    report.TapReport(work, said).add(v)
    lines = said.getvalue().splitlines()
    harness.ok('      why: "exercise 0.3 is not done yet"' in lines and len(lines) < 20,
               "and one line says so; all that is known comes when its test is asked for", got=lines)


HELPED = """\
/* EXERCISE 5.0: room. */
{helpers}
/* END EXERCISE 5.0 */
int
f(void)
{{
	/* EXERCISE 5.1: a
	 * until then: return 0;
	 */
	{first}
	/* END EXERCISE 5.1 */
}}
int
g(void)
{{
	/* EXERCISE 5.2: b
	 * until then: return 0;
	 */
	{second}
	/* END EXERCISE 5.2 */
}}
"""


def merging():
    """Two helpers of one name: each exercise keeps its own."""
    mine = HELPED.format(helpers="#define SIZE 1\nstatic int\nhelp(void)\n{\n\treturn SIZE;\n}",
                         first="return help();", second="return 0;")
    theirs = HELPED.format(helpers="#define SIZE 2\nstatic int table[SIZE];\nstatic int\nhelp(void)\n{\n\treturn SIZE;\n}",
                           first="return 5;", second="return help() + table[0];")
    got = merge.merged(mine, theirs, "a.c", {"5.2"})
    harness.ok("return help();" in got and "return reference_help() + reference_table[0];" in got
               and "#define SIZE 1" in got and "#define reference_SIZE 2" in got
               and "\nreference_help(void)\n{\n\treturn reference_SIZE;" in got,
               "helpers of the same name on both sides do no harm", got=got)
    blank = mine.replace(mine[mine.index("#define"):mine.index("/* END EXERCISE 5.0")], "")
    got = merge.merged(blank, theirs, "a.c", {"5.2"})
    harness.ok("#define SIZE 2" in got and "reference_" not in got, "an empty N.0 takes the reference's", got=got)


def main():
    if not (ROOT / "solutions").is_dir():
        print("1..0 # SKIP no solutions in this tree")
        return
    attempt.add_checks_to_path()
    with tempfile.TemporaryDirectory(prefix="zeno-points-") as scratch:
        tempfile.tempdir = scratch
        if not sys.argv[1:]:
            merging()
            broken_file(Path(scratch) / "broken")
            untouched(Path(scratch) / "untouched")
        for name in sys.argv[1:] or SAMPLE + (one_of_each_half(turn.turn(997)) if ALL else []):
            try_mutant(mutants.find(name), Path(scratch) / name)
    harness.finish()


main()
