#!/usr/bin/env python3
"""Right code that is not the reference's earns its points.

tests/right/NAME.toml says what such code changes in the solution (`edits`) and which tests it must pass: each of them once
asked for one right way out of several, or might. `tests/right.t NAME...` tries only these.
"""

import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

from harness import finish, ok, skip  # noqa: E402
from zeno.judging import attempt, build, course  # noqa: E402
from zeno.machines import machine  # noqa: E402

SEEDS = (1, 2)


def files_of(lab, right):
    """The solution's files in another way that is right."""
    files = build.take_folder(ROOT / "solutions" / lab.dir, lab)
    for edit in right["edits"]:
        text = files[edit["file"]].decode()
        if text.count(edit["old"].lstrip("\n")) != 1:
            raise ValueError(f"{edit['file']} has its `old` {text.count(edit['old'].lstrip(chr(10)))} times")
        files[edit["file"]] = text.replace(edit["old"].lstrip("\n"), edit["new"].lstrip("\n")).encode()
    return files


def try_one(name, right, lab, tree, out):
    """Each of its tests, with each seed."""
    image = tree.build(files_of(lab, right), out)
    if not ok(image.ok, f"{name} builds: {right['what']}", log=image.log):
        return
    image.guests = tree.build_guests(out)
    for test in map(lab.test, right["tests"]):
        if all(machine.missing(one) for one in test.machines):
            skip(f"{name}, {test.name}", "no machine for it")
            continue
        found = [attempt.run_check(lab, test, image, seed, out / f"{test.name}-{seed}") for seed in SEEDS]
        bad = [verdict for verdict in found if verdict.verdict != "pass"]
        ok(not bad, f"{name} earns {test.name}", why=bad and f"{bad[0].verdict}: {bad[0].reason}",
           expected=bad and bad[0].expected, got=bad and bad[0].got)


def main():
    """All of them."""
    if not (ROOT / "solutions").is_dir():
        print("1..0 # SKIP no solutions in this tree")
        return
    attempt.add_checks_to_path()
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="zeno-right-") as scratch:
        tempfile.tempdir = scratch
        for path in sorted((ROOT / "tests" / "right").glob("*.toml")):
            if wanted and path.stem not in wanted:
                continue
            right = tomllib.loads(path.read_text())
            lab = course.load(right["lab"])
            tree = build.Tree(lab, ref=" ".join(map(str, lab.needed_labs())) or None)
            try:
                try_one(path.stem, right, lab, tree, Path(scratch) / path.stem)
            finally:
                tree.remove()
    finish()


main()
