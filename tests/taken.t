#!/usr/bin/env python3
"""Submissions that want to be somebody else's files, or the grader's end: folders behind links, archives that are made by hand.

What is taken lies in the submission itself; whatever else is there, the answer is a Submission or one line, and soon.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from checks import lab0, lab1b, lab6iret  # noqa: E402
from zeno.judging import attempt, course, evidence, explain, sandbox, submission  # noqa: E402
from zeno.machines import gdbremote, machine  # noqa: E402

LAB = course.load("0B")
NAME = next(name for name in LAB.handed_in if name.endswith(".c"))
CALLS = 1000, 100  # of functions, for an archive, and for each 512 bytes of it; the dearest here makes 90


class Endless(BaseException):
    """More calls than there may be."""


class Calls:
    """Functions called in a `with`, Python's and C's, up to a number."""

    def __init__(self, most):
        self.count, self.most = 0, most

    def _called(self, _frame, event, _what):
        self.count += event in ("call", "c_call")
        if self.count > self.most:
            raise Endless

    def __enter__(self):
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)


def taken(path):
    """What was taken, or the words with which it was refused."""
    try:
        return submission.take(path, LAB)
    except submission.SubmissionError as error:
        return str(error)


def links():
    """A repository that is cloned has its links."""
    elsewhere = folder() / "elsewhere"
    for place in (elsewhere / LAB.dir, elsewhere / "labs" / LAB.dir, elsewhere / f"zeno-lab{LAB.name}"):
        place.mkdir(parents=True)
        (place / NAME).write_text("somebody else's\n")
    for what, link, to in (("labs", "labs", elsewhere), ("the lab's folder", f"labs/{LAB.dir}", elsewhere / LAB.dir),
                           ("the archive's folder", f"zeno-lab{LAB.name}", elsewhere / f"zeno-lab{LAB.name}")):
        for own in (True, False):
            place = folder() / "submission"
            (place / link).parent.mkdir(parents=True)
            os.symlink(to, place / link)
            if own:
                (place / NAME).write_text("own\n")
            found = taken(place)
            ok(found.files == {NAME: b"own\n"} if own else isinstance(found, str) and "none of the files" in found,
               f"{what} is a link: {'the files beside it are' if own else 'nothing is'} taken", got=found)


def head(name, size, kind=b"0"):
    """A member's, of GNU tar; `size` as it stands there."""
    raw = bytearray(512)
    raw[:len(name)] = name
    raw[100:108], raw[124:136], raw[136:148], raw[156:157], raw[257:265] = b"0000644\0", size, b"0" * 11 + b"\0", kind, b"ustar  \0"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def octal(size):
    return b"%011o\0" % size


def padded(data):
    return data + bytes(-len(data) % 512)


def archives():
    """Each has a file that may be taken at its end, which it may or may not come to."""
    whole = head(NAME.encode(), octal(4)) + padded(b"own\n") + bytes(1024)
    long = head(b"x", octal(600), b"L") + padded(b"n" * 600)
    record = b"29 comment=%018d\n"
    records = b"".join(record % n for n in range(20000))
    cases = {f"a size of {number:#x}, kind {kind}": head(b"x", number.to_bytes(12, "big"), kind) + bytes(512)
             for number in (1 << 95 | 1 << 70, 1 << 95 | 1 << 40, (1 << 96) - 1, (1 << 96) - 512, (1 << 96) - 1024) for kind in (b"0", b"x", b"L", b"g", b"S", b"5")}
    cases |= {"names for names without end": long * 4000, "many names": b"".join(head(b"%d" % n, octal(0)) for n in range(2500)),
              "records without end": head(b"x", octal(len(records)), b"x") + padded(records),
              "a record of no length": head(b"x", octal(512), b"x") + padded(b"0 size=1\n"),
              "a record that says a size": head(b"x", octal(512), b"x") + padded(b"22 size=-99999999999\n"),
              "a sparse map": head(b"x", octal(512), b"x") + padded(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n23 GNU.sparse.name=x.c\n"
                                                                     b"32 GNU.sparse.realsize=999999999\n") + head(b"x.c", octal(512)) + padded(b"99999999\n" * 50)}
    path = folder() / "in.tar"
    for what, first in cases.items():
        path.write_bytes(first + whole)
        try:
            with Calls(CALLS[0] + len(first + whole) // 512 * CALLS[1]):
                found = taken(path)
        except Endless:
            found = None
        ok(isinstance(found, str) or found and found.files == {NAME: b"own\n"}, f"an archive with {what} is done with soon", got=str(found)[:300])


def led_on():
    """A kernel's memory is what a submission has made of it: of a machine that stands still somebody follows what lies there."""
    client = gdbremote.Client.__new__(gdbremote.Client)
    client._ask, client._commands, client._since = lambda text: "00" * 1024, 0, time.thread_time()  # pylint: disable=protected-access
    gdbremote.PATIENCE = .2
    try:
        with Calls(1 << 24):
            client.read(0, 1 << 40)
        said = "nothing"
    except gdbremote.Nowhere as error:
        said = str(error)
    except Endless:
        said = "it goes on"
    ok("is still asked: 'm" in said, "a grader that is led on without end stops", got=said)


def words():
    """Regular expressions meet what a submission says, in files and on the console, of which there are 8 MiB: these take an hour, or a second."""
    place = folder() / "submission"
    place.mkdir()
    (place / NAME).write_bytes(b"int a;\n" + b"/* EXERCISE" + b" " * 4090 + b"x */\n")
    (place / "walk.c").write_bytes(b"int a;\n" * 60000)
    found = taken(place)
    ok(list(found.files) == ["walk.c"] and "a line has more than" in found.notes[0], "a file with a line that nobody reads is not taken", got=found.notes)
    for what, call, wanted in (
            ("a line of answers", lambda: lab0.ANSWER.match("name:y" + " " * submission.LINE_CAP + "z")[1], "name"),
            ("... of another lab", lambda: lab1b.ANSWER.match("ltr.kernel = y" + " " * submission.LINE_CAP + "z")[1], "ltr.kernel"),
            ("rows that are none", lambda: lab1b.ROW.findall(b"a" * (8 << 20)), []),
            ("ends that are none", lambda: explain.undone_other(["stopped: " * (1 << 20)], "6.1"), ""),
            ("... and that is one", lambda: explain.undone_other(["d1 x: stopped: exercise 6.2 is not done ["], "6.1"), "6.2"),
            ("ends of a guest without a root", lambda: lab6iret.ROOTLESS.search("rootless: stopped: " * (1 << 17)), None),
            ("... and one with", lambda: bool(lab6iret.ROOTLESS.search("rootless: stopped: its page table")), True)):
        got = call()
        ok(got == wanted, f"{what} come to an end", got=got)
    side = b"@Z out d1 41\n" * (1 << 19) + "@Z out d\u00b2 41\n@Z start d".encode() + b"9" * 5000 + b" x\n@Z start d2 x\n@Z out d2 zz\n@Z out d1 42\n"
    lives = evidence.lives(machine.Run("qemu", machine.End.SHUTDOWN, "", b"", side))
    ok([one.output[-9:] for one in lives] == [b"A" * 8 + b"B", b"<bytes that are no hex>"[-9:]], "records that say a byte each, or nothing that there is",
       got=[one.output[-9:] for one in lives])


def waits():
    """A compiler may be made to read a device that never answers."""
    place = folder()
    place.chmod(0o755)
    (place / "a.c").write_text('#include "/dev/ptmx"\n')
    sandbox.WALL_SECONDS = 20
    walls = sandbox.Sandbox(hide=[ROOT])
    if walls.gaps:
        skip("a device that never answers", "not all walls stand here: " + walls.gaps[0])
    else:
        done = walls.run(["gcc", "-E", "a.c"], place)
        ok(not done.late and not done.trouble, "behind the walls it is /dev/null", got=done)
    sandbox.WALL_SECONDS = .2
    done = sandbox.run(["sleep", "9"], place, sandbox.Sandbox.environment(place))
    ok(done.late and done.status and not done.trouble and "did not end within" in done.output,
       "a build that does not end is the submission's failure, and no trouble of the harness", got=done)


def reasons():
    """What a kernel says is in what a report says, and no report is as long as a console."""
    def check(t):
        t.runs.append(machine.Run("qemu", machine.End.SHUTDOWN, "", b"panic: " + b"x" * (4 << 20) + b"".join(
            b"\nexercise 0.%d is not done yet: see %d" % (n % 9 + 1, n) for n in range(9999)), b""))
        t.fail("it is not what it should be")

    lab0.endless = check
    test = course.Test("endless", "0.5", "", 1, "witnessed", ("qemu",), (), "lab0.endless", "", False)
    found = attempt.run_check(LAB, test, None, 1, folder() / "endless")
    ok("panicked: xxx" in found.reason and len(found.reason) < 5000 and len(found.notes) < 20, "a panic of 4 MiB, and 9,999 gaps", got=str(found)[:2000])


links()
archives()
words()
reasons()
waits()
led_on()
finish()
