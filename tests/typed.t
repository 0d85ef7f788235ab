#!/usr/bin/env python3
"""A person at a guest's COM1: what she types on the host's serial line reaches the guest, and one key brings her back.

The guest is guest/os with its shell, which echoes, and takes a word back at the delete key; on Bochs the line is a
terminal, as `make bochs` makes it. A guest that does not listen, or one that holds the CPU, leaves the keys to the monitor.
"""

import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import assembled  # noqa: E402
from harness import ROOT, TOOLS, finish, ok, run, skip  # noqa: E402
from terminal_line import Terminal  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
KERNEL = BUILD / "lab3-solution/zeno.mb"
LIMIT = machine.Limits(instructions=None, cpu_seconds=120, wall_seconds=600)
HAS = "d{0}: its COM1 has what you type; Ctrl-] comes back here, `console d{0}` goes there\n"
BACK = b"\x1d"
END = b"\x04"


def guest(name):
    return BUILD / "guest" / f"{name}.elf"


class Qemu:
    """The machine that grades."""

    def __init__(self, modules):
        self.live = machine.start(kernel=str(KERNEL), cpu="te", mem=128, interactive=True, idle=False, limits=LIMIT, cmdline="panic=off",
                                  modules=[(str(path), "") for path in modules])
        self.wait_for, self.send = self.live.wait_for, self.live.send

    def end(self):
        result = self.live.wait()
        result.cleanup()
        return result.console.decode("ascii", "replace").replace("\r", "")


def on_bochs(modules):
    words = [word for path in modules for word in ("--module", str(path))]
    return Terminal([sys.executable, TOOLS / "run.py", "--machine", "bochs", "--kernel", KERNEL, *words], LIMIT.wall_seconds)


def session(line, steps):
    """Each text is waited for, and behind it something is typed; the console, when the machine is off."""
    for text, typed in steps:
        if not line.wait_for(text.encode()):
            break
        line.send(typed)
    return line.end()


def shell(name, line, engine):
    """There and back, and there again: a word is on the guest's line when she leaves it."""
    text = session(line, [
        ("K> ", f"start os engine={engine} -- shell=1\r".encode()), (HAS.format(1), b"echo twx\x7fo three\r"),
        ("two three\n$ ", b"echo fi" + BACK), ("^C\nK> ", b"list\r"), ("running\nK> ", b"console\r"), (HAS.format(1), b"ve\r"),
        ("five\n$ ", END), ("ended: exit code 0", b"echo is-here\r"), ("\nis-here\nK> ", b"off\r")])
    ok(re.search(  # the prompt stands on a line of its own where the guest was slow to listen
        re.escape(HAS.format(1)) + r"(\$ )?echo twx\x08 \x08o three\ntwo three\n\$ .*\n\^C\nK> list\n(.*\n)+K> console\n.*goes there\n.*ve\nfive\n\$ \n"
        r"d1 os: ended: exit code 0 after \d+ exits\nK> echo is-here\nis-here\nK> ", text),
       f"{name}: a shell that a person can use, and leave", text=text)


def behind_words():
    """What input= types comes first, and is no person's: its output is by lines until somebody takes over."""
    text = session(Qemu([guest("os")]), [
        ("K> ", b"start os -- shell=1 input=$~|echo~one_\r"), ("| one\n", b"echo two\r"), ("\ntwo\n$ ", b"\x03" + BACK),
        ("K> ", b"stop\r"), ("K> ", b"off\r")])
    ok(re.search(r"^d1\| \$ echo one\nd1\| one\n", text, re.M) and re.search(rf"{HAS.format(1)}(\$ )?echo two\ntwo\n\$ ", text)
       and "os: stopped: by the monitor's stop" in text, "a person goes on behind the words, when she types", text=text)


def at_once():
    """A prompt that is said is heard: also twice before the guest looks for a key, with more behind it."""
    text = session(Qemu([assembled("typed/burst.asm")]), [("K> ", b"start burst -- input=p>~||p>~|x\r"), ("burst: ended", b"off\r")])
    ok("d1| p> p> and more\nd1| x\nd1 burst: ended: exit code 5" in text, "two prompts at once are two", text=text)


def not_heard():
    """Keys that no guest asks for are the monitor's; of too many some are lost, and never the one that leads back."""
    text = session(Qemu([assembled("typed/deaf.asm"), assembled("typed/wild.asm"), guest("hello")]), [
        ("K> ", b"start deaf\r"), ("started on", b"echo ahead\r\x03"), ("^C\nK> ", b"console\r"),
        (HAS.format(1), 3000 * b"x" + BACK), ("K> ", b"console d1\r"), (HAS.format(1), b"\x03y" + BACK),
        ("K> ", b"stop\r"), ("K> ", b"console\rconsole 9\rstart hello\r"),
        ("hello: ended: exit code 0", b"start wild\r"), ("wild: ended", b"off\r")])
    ok("\aK> " not in text and text.count("\a") >= 1900 and "deaf: stopped: by the monitor's stop" in text
       and "console\nd1 has ended\n" in text and "there is no guest 9" in text and "hello: ended: exit code 0" in text,
       "a guest that does not listen holds nobody", text=text.replace("\a", ""))
    ok("\x1b[8m\x1b]0;K> \x18\x0f\x1b(B\x1b[m\n" in text, "what a guest has told the terminal ends with its turn at it", text=text[-800:])


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of Lab 3 builds", out=built.out)
    shell("te", Qemu([guest("os")]), "te")
    shell("bt", Qemu([guest("os")]), "bt")
    behind_words()
    at_once()
    not_heard()
    if shutil.which("bochs"):
        shell("te on Bochs", on_bochs([guest("os")]), "te")
    else:
        skip("te on Bochs", "Bochs is not installed: make demo installs it")
    finish()


if __name__ == "__main__":
    main()
