#!/usr/bin/env python3
"""What `make check` keeps: a verdict is found again for the same content, and for nothing else."""

import json
import shutil
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

from harness import finish, folder, ok, run  # noqa: E402
from zeno.judging import build, course, grader, kept  # noqa: E402

CHECKS = types.ModuleType("checks.counted")
RUNS = []


def counted(t):
    """Passes with even seeds, and says that it ran."""
    RUNS.append(t.seed)
    t.check(t.seed % 2 == 0, "odd")


def broken(t):
    """The harness's own trouble."""
    RUNS.append(t.seed)
    raise RuntimeError("trouble")


CHECKS.counted, CHECKS.broken = counted, broken


def an_image(place):
    """The image of lab 0's skeleton, built."""
    lab = course.load("0")
    tree = build.Tree(lab)
    try:
        image = tree.build(build.take_folder(ROOT / "labs" / lab.dir, lab), place)
        image.guests = tree.build_guests(place)
    finally:
        tree.remove()
    return image


def a_lab():
    """Lab 0 with two tests of ours."""
    lab = course.load("0")
    test = lab.tests[0]
    made = {key: getattr(test, key) for key in test.__dataclass_fields__}
    tests = [type(test)(**made | {"name": name, "check": f"counted.{name}"}) for name in ("counted", "broken")]
    return types.SimpleNamespace(number=0, name="0", title="Made up", points=0, tests=tests, rewards=[], page=lab.page, exercises=[], exercise=lambda _: None)


def verdicts(lab, image, store, place, seed=4):
    """A Grader's verdicts, and how often checks ran."""
    RUNS.clear()
    found = {}
    for test in lab.tests:  # one by one, since one that is in trouble would have the other skipped
        one = types.SimpleNamespace(**vars(lab) | {"tests": [test]})
        found |= grader.Grader(one, image, place, 1, seed, kept=store).run()
    return found, len(RUNS)


def main():
    """One image, and what may change about it."""
    import checks  # pylint: disable=import-error
    sys.modules["checks.counted"], checks.counted = CHECKS, CHECKS
    image, lab, root, out = an_image(folder()), a_lab(), folder(), folder()
    store = kept.Kept(root, use=True)
    first, ran = verdicts(lab, image, store, out)
    ok(ran == 2 and first["counted"].verdict == "pass" and not first["counted"].cached, "the first time all is run")
    again, ran = verdicts(lab, image, store, out)
    ok(ran == 1 and again["counted"].cached and again["counted"].verdict == "pass", "the second time a pass is found")
    ok(again["broken"].verdict == "error" and not again["broken"].cached, "trouble is never kept")
    bad, ran = verdicts(lab, image, store, out, seed=5)
    ok(ran == 2 and bad["counted"].verdict == "fail", "another seed is another run")
    bad, ran = verdicts(lab, image, store, out, seed=5)
    ok(ran == 1 and bad["counted"].verdict == "fail" and bad["counted"].reason == "odd", "a failure is found as one")

    name = store.image(image)
    ok(store.seed(name) == store.seed(name) and kept.Kept(root, use=False).seed(name) != store.seed(name),
       "the seed is the image's own, and in check-all anybody's")
    _, ran = verdicts(lab, image, kept.Kept(root, use=False), out)
    ok(ran == 2, "check-all runs all")
    changed = folder()
    shutil.copytree(image.guests.parent, changed, dirs_exist_ok=True)
    other = build.Image(True, "", changed / "zeno.elf", changed / "zeno.mb", changed / "guest",
                        files=image.files)
    ok(kept.Kept(root, use=True).image(other) == name, "a copy of an image is the same image")
    data = bytearray(other.mb.read_bytes())
    data[-1] ^= 1
    other.mb.write_bytes(data)
    other.name = None
    ok(store.image(other) != name, "one bit of the kernel is another image")
    shutil.copy(image.mb, other.mb)
    other.name = None
    guest = sorted(other.guests.glob("*.elf"))[0]
    guest.write_bytes(guest.read_bytes() + b"x")
    ok(kept.Kept(root, use=True).image(other) != name, "and so is one byte of a guest")
    other = build.Image(True, "", image.elf, image.mb, image.guests, files={"answers.txt": b"one: 2\n"})
    ok(store.image(other) != name, "and so are other answers")
    tests = lab.tests[0]
    before = store._path(name, tests, 1)  # pylint: disable=protected-access
    store.versions = {**store.versions, "qemu": "QEMU 0.1"}
    ok(store._path(name, tests, 1) != before, "another emulator judges anew")  # pylint: disable=protected-access
    reward, store.linux = type(tests)(**{**vars(tests), "reward": True}), out / "version"
    paths = {store._path(name, reward, 1) for text in ("6.1", "6.2") if store.linux.write_text(text)}  # pylint: disable=protected-access
    ok(len(paths) == 2, "another Linux judges a reward anew")
    for path in (root / kept.PLACE).glob("*.json"):
        path.write_text(json.dumps({"test": "counted"}))
    _, ran = verdicts(lab, image, kept.Kept(root, use=True), out)
    ok(ran == 2, "what can't be read is run again")
    for path in (root / kept.PLACE).glob("*.json"):
        path.write_text("{")
    ok(kept.Kept(root, use=True).find(name, tests, 4) is None, "half a file is none")
    if (ROOT / "solutions").is_dir():
        which = [sys.executable, ROOT / "tests/grader-labs.t", "which"]
        part = [run(*which, *words).out.split() for words in ([], [], range(12))]
        ok(part[0] == part[1] and len(part[0]) > 20, "a fresh clone tries the same twelfth of the mutants each time",
           first=part[0], second=part[1])
        ok(sorted(part[2]) == sorted(path.stem for path in (ROOT / "grade/mutants").glob("*.patch")),
           "and twelve commits, one after the other, try all of them, each once", got=len(part[2]))
    done = run("make", "-n", "check-all", cwd=ROOT)
    ok(done.status == 0 and "ZENO_ALL=1" in done.out, "make check-all keeps nothing", out=done.out[-500:])
    finish()


main()
