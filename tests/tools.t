#!/usr/bin/env python3
"""What a person meets at the command line: input that ends, a host that stops, odd environments, full and read-only disks."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tools")]
from run_gdb import sits_at_prompt  # noqa: E402

LAB = ["LAB=1", "SOLUTION=1"]
PATIENCE = 300
"""Seconds after which a program that should have ended is taken for one that never does."""


def make(*words, typed="", **env):
    """Run make with this input: (status or None where it never ends, all that it printed)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS")) and k != "LAB"}
    try:
        done = subprocess.run(["make", "-s", *words], cwd=ROOT, env=clean | env, input=typed, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as late:
        return None, str(late.output)
    return done.returncode, done.stdout


def wait_for(holds):
    """Until it does, or never would."""
    for _ in range(PATIENCE * 100):
        if holds():
            return
        time.sleep(0.01)


def console():
    """The console without a terminal."""
    status, text = make(*LAB, "qemu")
    ok(status == 0 and "the input has ended" in text, "make qemu < /dev/null ends", status=status, text=text)
    status, text = make(*LAB, "qemu", typed="list\nexits 2\nlast d7\nexits\nhelp nothing\n")
    ok(status == 0 and re.search(r"(\n|K> )list\r?\n", text) and "unknown" not in text, "what is piped in is typed, from its first letter", text=text)
    ok("there is no guest 2; `list` shows" in text and "there is no guest d7" in text and "no such thing" not in text,
       "a guest that is not there is named", text=text)
    ok("no guest has been started yet" in text, "so it is said where there is none at all", text=text)
    ok("there is no command nothing" in text, "and a command that is not there", text=text)
    status, text = make(*LAB, "qemu", typed="crash panic\n")
    ok(status and "stands still for good" in text and "panic.c" in text, "behind a host's panic make qemu says so, and ends",
       status=status, text=text)
    if shutil.which("bochs"):
        status, text = make(*LAB, "bochs", typed="list\n")
        ok(status == 0 and "the input has ended" in text, "make bochs ends with its input, too", status=status, text=text)
        drive = folder() / "a drive"
        drive.write_bytes(bytes(1009 * 512))  # a prime: one head, and tracks of one sector
        status, text = make("LAB=8", "SOLUTION=1", "bochs", f"DRIVE={drive}", "NET=1",
                            "APPEND=-- start dom0 -- input=0#~|disks_|0#~|nic_|0#~|halt_; off")
        ok(status == 0 and re.search(r"\bhdb +0 +1009\b", text) and re.search(r"52:54:00:12:34:56 +\d+ up\b", text),
           "make bochs DRIVE=FILE NET=1: dom0 has a drive and a card there", status=status, text=text)
        drive.write_bytes(bytes(1000))
        status, text = make("LAB=8", "SOLUTION=1", "bochs", f"DRIVE={drive}")
        ok(status and "whole sectors" in text, "... of whole sectors", status=status, text=text)


def last_words():
    """How the machine ended stands behind all that it printed, however late that is read."""
    ours, theirs = os.pipe()
    full = os.write(theirs, bytes(fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)))
    kernel = f"build/lab1{'-solution' if 'SOLUTION=1' in LAB else ''}/zeno.mb"
    with subprocess.Popen([sys.executable, "tools/run.py", "--kernel", kernel, "--append", "-- off"], cwd=ROOT,
                          stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as tool:
        os.close(theirs)
        children = Path(f"/proc/{tool.pid}/task/{tool.pid}/children")
        wait_for(lambda: children.read_text().strip())
        wait_for(lambda: not children.read_text().strip())  # the machine is gone, and nothing of it was read
        text = b"".join(iter(lambda: os.read(ours, 4096), b""))[full:].decode("ascii", "replace")
    os.close(ours)
    ok(re.search(r"\AZeno, .*\nK> off\r?\n\[zeno\] shutdown: [^\n]*\n\Z", text, re.S),
       "how the machine ended is said behind its last words", text=text)


def environment():
    """Only the command line steers make."""
    status, text = make("-n", "LAB=0", "bochs", DEBUG="1", MACHINE="bochs", TEST="it's")
    ok(status == 0 and "--debugger" not in text and text.count("the environment says DEBUG=1 MACHINE=bochs TEST=it's;") == 1,
       "exported words are named in one line, and not obeyed", text=text[-1500:])
    status, text = make("help", LAB="1")
    ok(status == 0 and "the environment says LAB=1; make takes" in text, "an exported LAB is no lab that was named", text=text)
    status, text = make("-n", "LAB=4", "qemu", "MACHINE=kvm")
    ok(status == 0 and re.search("run.py .*--cpu 'vmx' +--machine 'kvm'$", text, re.M), "MACHINE=kvm is QEMU with the machine's own VT-x",
       text=text[-600:])
    begins = {words: re.search("--append '(.*?)'", make("-n", *words.split(), "qemu")[1]) for words in (
        "LAB=7 SOLUTION=1", "LAB=8 SOLUTION=1 LINUX=1", "LAB=7 SOLUTION=1 APPEND=", "LAB=7", "LAB=6 SOLUTION=1", "LAB=all SOLUTION=1")}
    ok([found and found[1] for found in begins.values()] == ["-- start dom0"] * 2 + [""] * 4,
       "a reference that has dom0 begins with it, where APPEND says nothing else", begins=begins)
    linux = {words: "--module build/linux64/linux-pv --mem 512" in make("-n", f"LAB={words}", "SOLUTION=1", "LINUX=1", "qemu")[1]
             for words in ("all", "8", "6", "5")}
    ok([*linux.values()] == [True] * 3 + [False], "where there is PV, Linux is there as a PV kernel, too", linux=linux)
    status, text = make("-n", "-e", "LAB=0", "gdb", TEST="boots")
    ok(status == 0 and "grade/grade" not in text and "run.py" in text, "nor with make -e", text=text[-600:])
    status, text = make("-n", "LAB=0", "gdb", "TEST=boots", TEST="other")
    ok(status == 0 and "--gdb 'boots'" in text and "environment" not in text, "the command line's word counts", text=text[-600:])
    for words in (["grade"], ["gdb", "TEST=boots"], ["trace", "TEST=boots"], ["tracediff", "TEST=boots"]):
        status, text = make("-n", "LAB=0", *words, "SEED=77")
        ok(status == 0 and "--seed '77'" in text, f"a seed is not forgotten: make {' '.join(words)}", text=text[-600:])


def long_tmpdir():
    """A socket's path takes 107 bytes."""
    if not shutil.which("gdb"):
        skip("GDB with a long TMPDIR", "gdb is not here")
        return
    place = folder() / ("long" * 24)
    place.mkdir()
    script = folder() / "script"
    script.write_text("printf \"connected to %d\\n\", $_inferior\n")
    for words in ([], ["STUB=zeno"]):
        status, text = make(*LAB, "gdb", *words, f"BATCH={script}", TMPDIR=str(place))
        ok(status == 0 and "connected to 1" in text, f"make gdb {' '.join(words)} with a long TMPDIR", status=status,
           text=text[-1500:])


def walled(script):
    """Run a shell script as root with mounts of its own; None where that can't be."""
    prefix = ["unshare", "-m", "sh", "-c"]
    if os.geteuid() or run(*prefix, "mount -t tmpfs none /mnt").status:
        return None
    return run(*prefix, script, cwd=ROOT)


def disks():
    """A full TMPDIR and a read-only tree are trouble, in words."""
    place = folder()
    for size in ("300k", "2m"):
        done = walled(f"mount -t tmpfs -o size={size} none {place} && TMPDIR={place} make -s LAB=0 ONLY=boots grade; "
                      f"echo status $?; ls {place}")
        if done is None:
            skip("full and read-only disks", "mounting takes root")
            return
        ok("Bail out! " in done.out and "Traceback" not in done.out and "does not build" not in done.out
           and ("No space left" in done.out or "no space left" in done.out or "is full" in done.out)
           and done.out.endswith("status 2\n"), f"make grade with a TMPDIR of {size}: trouble, and nothing is left there",
           out=done.out[-1500:])
    here = f"mount --bind {ROOT} {ROOT} && mount -o remount,ro,bind {ROOT} && cd {ROOT} && "
    for words in ("LAB=0 grade", "LAB=0 submit", "lab LAB=1", "handouts", "LAB=2A build", "compile_commands.json LAB=0"):
        done = walled(f"{here} make -s {words} </dev/null")
        ok(done.status and "ead-only file system" in done.out and "Traceback" not in done.out,
           f"make {words} in a read-only tree", out=done.out[-1500:])


def unbuilt():
    """A test whose kernel or guest is not built says so in a line, and how to build it."""
    for code, says in (
            ("machine.boot(kernel=str(ROOT / 'build/lab98-solution/zeno.mb'), cpu='te', limits=machine.Limits()); print([][0])",
             "build/lab98-solution/zeno.mb is not built: make LAB=98 SOLUTION=1"),
            ("(ROOT / 'build/guest/nobody.elf').read_bytes()", "build/guest/nobody.elf is not built: make guests boot")):
        done = run(sys.executable, "-c", "import sys; sys.path[:0] = ['tests/lib', 'grade']; from harness import ROOT\n"
                   f"from zeno.machines import machine\n{code}", cwd=ROOT)
        ok(done.status == 1 and done.out == f"not ok 1 - what it needs is built\n# {says}\n1..1\n", says, out=done.out)
    done = run(sys.executable, "-c", "import sys; sys.path[:0] = ['tests/lib']; import harness; print([][0])", cwd=ROOT)
    ok("IndexError" in done.out, "and another error is shown as ever", out=done.out)


def prompts():
    """A prompt whose command is yet to come is not one at which the host sits: Bochs writes its console in pieces."""
    words, told = "gdb=wait -- frames; start hello", b"Zeno\r\nK> frames\r\n9 free\r\nK> "
    ok(not sits_at_prompt(b"Zeno\r\nK> ", words) and not sits_at_prompt(told, words), "two commands are still to come, and one")
    ok(sits_at_prompt(told + b"start hello\r\nno module hello\r\nK> ", words) and sits_at_prompt(b"Zeno\r\nK> ", "gdb=wait"),
       "the host sits at the prompt behind its last command")


def main():
    """All of it."""
    prompts()
    unbuilt()
    if not (ROOT / "solutions").is_dir():
        LAB[1] = "SOLUTION="
    status, text = make(*LAB, "build")
    if ok(status == 0, "the lab builds", text=text[-2000:]):
        console()
        last_words()
        environment()
        long_tmpdir()
        disks()
    finish()


main()
