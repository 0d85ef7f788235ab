#!/usr/bin/env python3
"""Cheating submissions, graded as grade/official does: none of them earns a point.

tests/cheats/NAME/cheat.toml says what a cheat changes (`edits` of the skeleton or of the solution,
`extra` files), which tests it is after (of the exercises that it edits: the others are decided among
the reference's files, and are earned honestly), and in which words it must fail (`said`). Those called
known-* do succeed: what they earn is stated, and handouts/TRUST.md must name them.
`tests/cheats.t NAME...` tries only these; without names, every third one of a lab's, the others after the next commits, and
those that a commit changes. `make check-all` tries all.
"""

import os
import re
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

import turn  # noqa: E402
from zeno.judging import attempt, build, course, grader, kept, official, sandbox, submission, tap  # noqa: E402

JOBS = os.cpu_count() or 2
PARTS = 3
KEPT = kept.Kept(ROOT)
COUNT = BAD = 0


def ok(holds, what, skip=None, cached=False, **details):
    """One test point."""
    global COUNT, BAD  # pylint: disable=global-statement
    COUNT += 1
    BAD += not holds and not skip
    print(f"{'ok' if holds or skip else 'not ok'} {COUNT} - {tap.clean(what)}" + " # cached" * cached
          + (f" # SKIP {tap.clean(skip)}" if skip else ""), flush=True)
    if not holds and not skip:
        print("  ---")
        for line in tap.yaml_lines({key: str(value) for key, value in details.items()}):
            print("  " + line)
        print("  ...", flush=True)


def write_submission(cheat, lab, folder):
    """The cheat as a folder that a student might hand in."""
    place = folder / "in" / "submission"
    place.mkdir(parents=True)
    kind = "solutions" if cheat["base"] == "solution" else "labs"
    files = build.take_folder(ROOT / kind / lab.dir, lab)
    for edit in cheat.get("edits", []):
        text = files[edit["file"]].decode()
        if text.count(edit["old"]) != 1:
            raise ValueError(f"{edit['file']} has its `old` {text.count(edit['old'])} times")
        new = edit["new"].replace("@ROOT@", str(ROOT))
        files[edit["file"]] = text.replace(edit["old"], new).encode()
    for name, data in files.items():
        (place / name).write_bytes(data)
    for extra in cheat.get("extra", []):
        path = place / extra["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(extra["text"])
    if cheat.get("extra"):
        (place / "link.c").symlink_to("/etc/passwd")
    return place


def words_of(image, verdicts, tests):
    """All that the grader says of the tests that the cheat is after."""
    parts = [image.log] if not image.ok else []
    for name in tests:
        if name in verdicts:
            parts += [verdicts[name].reason, *verdicts[name].notes, verdicts[name].explanation]
    return "\n".join(parts)


def try_cheat(name, cheat, lab, shop, folder):
    """Grade one cheat."""
    taken = submission.take(write_submission(cheat, lab, folder), lab)
    image = shop.image(taken, folder / "image")
    work = grader.Grader(lab, image, grader.OutFolder(folder / "out").path, JOBS,
                         only=cheat["tests"], kept=KEPT, alone=shop.alone(image, folder / "alone"))
    verdicts = work.run()
    earned = sum(verdicts[test].earned for test in cheat["tests"])
    words = words_of(image, verdicts, cheat["tests"])
    broken = [v for v in verdicts.values() if v.verdict == "error"]
    cached = image.ok and kept.all_cached(verdicts.values())
    if name.startswith("known-"):
        ok(earned == cheat["earns"], f"{name} {cheat['what']}: known to succeed, {earned} points",
           expected=cheat["earns"], said=words)
        trust = ROOT / "handouts" / "TRUST.md"
        ok(trust.is_file() and f"`{name}`" in trust.read_text(), f"{name} stands in TRUST.md")
        return
    ok(earned == 0 and not broken and re.search(cheat["said"], words),
       f"{name} {cheat['what']}: earns nothing", cached=cached, earned=earned, said=words,
       trouble=broken[0].reason if broken else "none")
    if cheat.get("extra"):
        ok(set(taken.files) <= set(lab.handed_in) and any("not taken" in note for note in taken.notes),
           f"{name}: only the manifest's files are taken", got=taken.notes)


def hidden(cheat):
    """Does it need the walls that only root can build?"""
    return any("@ROOT@" in edit["new"] for edit in cheat.get("edits", []))


def this_time(cheats):
    """The names of the cheats that are tried where nobody says which."""
    if kept.ALL:
        return set(cheats)
    changed, start = turn.changed(), turn.turn(PARTS)
    by_lab = sorted(cheats, key=lambda name: (str(cheats[name]["lab"]), name))
    return {name for at, name in enumerate(by_lab, start)
            if at % PARTS == 0 or f"tests/cheats/{name}/cheat.toml" in changed}


def main():
    """Every cheat, one lab after the other."""
    attempt.add_checks_to_path()
    wanted = sys.argv[1:]
    cheats = {path.parent.name: tomllib.loads(path.read_text())
              for path in sorted((ROOT / "tests" / "cheats").glob("*/cheat.toml"))}
    print("TAP version 14", flush=True)
    walls = sandbox.Sandbox(hide=[ROOT])
    for gap in walls.gaps:
        print(f"# NOT ISOLATED: {gap}", flush=True)
    if not wanted:
        count = sum(not name.startswith("known-") for name in cheats)
        ok(count >= 14, f"there are {count} cheats that must fail")
    tried = set(wanted) or this_time(cheats)
    with tempfile.TemporaryDirectory(prefix="zeno-cheats-") as scratch:
        os.chmod(scratch, 0o755)
        for number in sorted({cheat["lab"] for cheat in cheats.values()}, key=str):
            mine = {name: cheat for name, cheat in cheats.items()
                    if cheat["lab"] == number and name in tried}
            if not mine:
                continue
            lab = course.load(number)
            shop = official.Workshop(lab, Path(scratch) / f"common{number}", walls=walls)
            for name, cheat in mine.items():
                if hidden(cheat) and walls.gaps:
                    ok(True, name, skip="the tree can't be hidden from a build here: "
                       + walls.gaps[0])
                    continue
                try:
                    try_cheat(name, cheat, lab, shop, Path(scratch) / name)
                except (ValueError, build.BuildTrouble, submission.SubmissionError) as error:
                    ok(False, name, got=error)
            shop.close()
    print(f"# {len(set(cheats) - tried)} of {len(cheats)} cheats not tried this time")
    print(f"1..{COUNT}")
    return 1 if BAD else 0


sys.exit(main())
