#!/usr/bin/env python3
"""The control shell: a person's session with guests, and programs that are taken for it and mean their host no good."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import BUILD, LIMIT, Engine, assembled, folder, guest  # noqa: E402
from harness import ROOT, finish, ok, run  # noqa: E402
from zeno.machines import machine  # noqa: E402

FLAGS = ("-std=gnu11 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -ffreestanding -fno-stack-protector -fno-pic -mgeneral-regs-only "
         "-nostdlib -static -fcf-protection=none -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096").split()
SHELL = BUILD / "user/shell.elf"
LEAVE = b"\x1d"  # Ctrl-]
SESSION = [  # what is waited for, what is typed then
    (b"K> shell\n", b""),
    (b"shell> ", b"hepl\b\b\belp\x1b[A\x1b[3~\r"),
    (b"shell> ", b"start os engine=svm -- shell=1\r"),
    (b"$ ", b"echo 1 > /tmp/1\r"),
    (b"echo 1 > /tmp/1\n$ ", LEAVE),
    (b"shell> ", b"pause d1\r"),
    (b"pause d1\nshell> ", b"console d1\r"),
    (b"goes there\n", b"primes 100\r" + LEAVE),  # it has no turn to answer
    (b"shell> ", b"list\r"),
    (b"paused\nshell> ", b"start hello &\r"),
    (b"hello: ended: exit code 0", b"pause 2\r"),
    (b"pause: it has ended\nshell> ", b"console 3\r"),
    (b"console: there is no such guest\nshell> ", b"console\r"),
    (b"usage: console ID\nshell> ", b"stop d1x\r"),
    (b"usage: stop ID\nshell> ", b"start nobody\r"),
    (b"start: there is no such guest\nshell> ", b"resume 1\r"),
    (b"25 primes below 100", b"console 1\r"),
    (b"goes there\n", b"wc /tmp/1\r"),
    (b"1      1      2", LEAVE),
    (b"shell> ", b"exit\r"),
    (b"status 0\nK> ", b"shell\r"),  # a guest outlives the shell, and the next one finds it
    (b"shell> ", b"console 1\r"),
    (b"", b"\r"),
    (b"$ ", b"exit 5\r"),
    (b"exit code 5", b""),
    (b"shell> ", b"\x03"),
    (b"^C\ne1 shell: ended by Ctrl-C\nK> ", b"threads\r"),
    (b"no threads", b"off\r"),
]


def typed(kernel, session, modules, cpu="svm"):
    """What a machine says to a person; and what that person has not seen, None: nothing."""
    with machine.start(kernel=kernel, modules=[(str(elf), "") for elf in modules], limits=LIMIT, cpu=cpu, mem=128, interactive=True,
                       cmdline="panic=off -- shell") as live:
        missing = None
        for wanted, keys in session:
            if not live.wait_for(wanted):
                missing = wanted
                break
            if keys:
                live.send(keys)
        done = live.wait()
        text = done.text().replace("\r", "")
        done.cleanup()
    return text, missing


def session(svm):
    text, missing = typed(svm.kernel, SESSION, [guest("os"), guest("hello"), SHELL])
    ok(missing is None, "a person starts guests, types to one, pauses it, and finds it again", missing=missing, text=text)
    listed = re.search(r"shell> list\nd1   os +svm  8 MiB +\d+ exits +paused\n", text)
    ok(listed, "the list shows a guest that is paused", text=text)
    part = text[listed.end():text.index("resume 1")] if listed else text
    ok("primes below" not in part and "d2| hello from a kernel" in part, "which says nothing, while another one runs", text=part)
    ok("  console ID " in text and "hepl" not in text.replace("hepl\b", ""), "and a line can be mended before it is entered", text=text[:1500])


def program():
    at = folder()
    made = run("sh", "-c", f"nasm -f elf64 -o {at}/start.o user/lib/start.asm && gcc {' '.join(FLAGS)} -I. -T user/lib/user.ld "
               f"-o {at}/shell tests/user/control.c user/lib/user.c {at}/start.o", cwd=ROOT)
    ok(made.status == 0, "programs that are taken for the shell are built", out=made.out)
    return at / "shell"


def hostile(svm, attacker):
    words = ("texts", "numbers", "looks", "states", "clocks", "crowd", "texts", "looks")
    spin = assembled("user/spin.asm")
    text = svm.host(["run shell outsider", *(f"shell {word}" for word in words), "shell attached-crash", svm.start("hello"), "threads"],
                    ["hello", spin, attacker])
    parts = [part for part in re.split(r"^K> ", text, flags=re.M) if re.match(r"(run )?shell ", part)]
    ok(len(parts) == len(words) + 2, "each of them ran", text=text[-3000:])
    for word, part in zip(("outsider", *words), parts):
        ok("\ne1 shell: ended, status 0\n" in part, f"its calls answer what they must: {word}", text=part)
    ok("?[2J??|\n" in parts[1] and "\033" not in text, "what it says, itself or through the monitor, can't move the cursor",
       text=parts[1])
    last = text[text.index("K> shell attached-crash"):]
    ok("e1 shell: killed by #PF" in last and re.search(r"^d\d+\| hello from a kernel", last, re.M) and last.count("exit code 0") == 2
       and "no threads" in last, "one that crashes loses the guest's console, and nothing else happens", text=last)


def interrupted(svm, attacker):
    """Ctrl-C ends a program that does not listen."""
    for word in ("deaf", "spins"):
        keys = [(b"shell\n", b""), (b"K> ", f"shell {word}\r".encode()), (f"{word}".encode(), b"abc\r" * 40 + b"\x03"),
                (b"^C\ne1 shell: ended by Ctrl-C\nK> ", b"off\r")]
        text, missing = typed(svm.kernel, keys, [attacker])
        ok(missing is None, f"Ctrl-C ends a shell that never asks for a key: {word}", missing=missing, text=text)


def main():
    made = run("make", "-s", "LAB=all", "SOLUTION=1", "REF=", "build", cwd=ROOT)
    ok(made.status == 0, "all labs' reference is built", out=made.out)
    svm = Engine("all", "svm", "engine=svm")
    session(svm)
    attacker = program()
    hostile(svm, attacker)
    interrupted(svm, attacker)
    finish()


if __name__ == "__main__":
    main()
