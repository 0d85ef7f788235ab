#!/usr/bin/env python3
"""The engine svm: guests of Labs 1 to 3, unmodified, and one in long mode, on AMD-V as on the bare machine.

On QEMU and on Bochs' ryzen, with flat nested tables. A build of Lab 4s has no other engine. The hostile guests must be
contained, and those that never end must leave the others their turns. `poison=1` finds a handler that uses a part of the
state that it did not ask for.
"""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab4s-solution/zeno.mb"
LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=120)
GUESTS = ("hello", "sieve", "tables", "crowded", "traps", "audit", "paging", "pager", "os", "pc", "long")
ON_BOCHS = ("hello", "tables", "audit", "long")
SOURCE = "".join(p.read_text() for p in sorted((ROOT / "guest/hostile").glob("*.asm")))
ATTACKS = re.findall(r'ATTACK\s+"([^"]+)"', SOURCE)
SPINS = ("spin", "v86-spin", "user-v86-spin", "fault-forever", "irq-storm")
RUNAWAY = ("idt-task-gate", "retf-ring3")  # go on in whatever memory holds
PER_BOOT = 16


def guest(name):
    return str(BUILD / "guest" / f"{name}.elf")


def image(kernel, cmdline, guests):
    """A disk for Bochs."""
    disk = folder() / "svm.img"
    modules = [word for name in guests for word in ("--module", guest(name), name)]
    done = run(sys.executable, TOOLS / "mkimage.py", "-o", disk, "--cmdline", cmdline, "--mbr", BUILD / "boot/mbr.bin",
               "--loader", BUILD / "boot/loader.bin", "--kernel", kernel, *modules)
    if done.status:
        raise RuntimeError(done.out)
    return disk


def boot(kernel, cmdline, guests=(), where="qemu", cpu="svm"):
    """A machine's console."""
    if where == "qemu":
        result = machine.boot(machine="qemu", kernel=str(kernel), cmdline=cmdline, cpu=cpu, limits=LIMIT, mem=128,
                              modules=[(guest(name), "") for name in guests])
    else:
        result = machine.boot(machine="bochs", disk=str(image(kernel, cmdline, guests)), cpu=cpu, limits=LIMIT, mem=128)
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text


def host(commands, guests, where="qemu", options="", cpu="svm"):
    """What Zeno says to these commands."""
    return boot(HOST, f"panic=off {options} -- {'; '.join(commands)}; off", guests, where, cpu)


def each(text):
    """The console from each `start` to the next prompt, by what was typed."""
    parts = re.split(r"^K> ", text, flags=re.M)
    return [part for part in parts if part.startswith("start ")]


def alike(lines):
    """Without what CPUID says: a vCPU has no local APIC, say."""
    return [line for line in lines if not line.startswith("cpuid.")]


def same(where, names, options=""):
    """Each guest prints what it prints on the bare machine, and comes to its end."""
    parts = each(host([f"start {name}" for name in names], names, where, options))
    ok(len(parts) == len(names), f"{where}{options and ', ' + options}: each of them ran", text="".join(parts))
    for name, part in zip(names, parts):
        bare = alike(boot(guest(name), "", (), where).splitlines())
        got = alike(re.findall(r"^d\d+\| (.*)$", part, re.M))
        ok(bare and got == bare and f"{name}: ended: exit code 0" in part,
           f"{where}{options and ', ' + options}: {name} is the bare machine's", bare="\n".join(bare), got=part)


def hostile():
    """All attacks end their guest, or nothing; never the host, nor the guest behind them."""
    ends = [name for name in ATTACKS if name not in SPINS + RUNAWAY]
    for first in range(0, len(ends), PER_BOOT):
        some = ends[first:first + PER_BOOT]
        text = host([f"start hostile -- attack={name}" for name in some] + ["start hello"], ["hostile", "hello"])
        parts = each(text)
        for name, part in zip(some, parts):
            ok(re.search(r"^d\d+ hostile: (ended|stopped): ", part, re.M), f"{name} is contained", text=part)
        ok(len(parts) == len(some) + 1 and "hello: ended: exit code 0" in parts[-1], "and a guest behind them runs",
           text=text[-3000:])
    for name in SPINS:
        text = host([f"start hostile & -- attack={name}", "start hello", "stop d1", "list"], ["hostile", "hello"])
        ok("hello: ended: exit code 0" in text and "by the monitor's stop command" in text,
           f"{name} leaves others their turn, and is stopped", text=text)


def special(name, letter):
    """What Zeno says to a guest from tests/svm, and to one behind it."""
    elf = folder() / f"{name}.elf"
    made = run("sh", "-c", f"nasm -f elf32 -o {elf}.o {ROOT}/tests/svm/{name}.asm && "
               f"ld -m elf_i386 -T {ROOT}/guest/lib/guest.ld -o {elf} {elf}.o")
    if not ok(made.status == 0, f"the guest {name} builds", out=made.out):
        return ""
    result = machine.boot(machine="qemu", kernel=str(HOST), cpu="svm", limits=LIMIT, mem=128,
                          cmdline=f"panic=off -- start {name} -- {letter}; start hello; off",
                          modules=[(str(elf), ""), (guest("hello"), "")])
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text


def half_long():
    """LME=1 while PAE=0: each exit so is the end of a host on QEMU that lets the CPU have it."""
    text = special("lme", "c")
    ok("d1| L10" in text and "lme: ended: exit code 0" in text and "hello: ended: exit code 0" in text,
       "EFER.LME without CR4.PAE: the host goes on, and the guest sees its bit", text=text)
    text = special("lme", "p")
    ok("d1| L1" in text and "L10" not in text and re.search(r"lme: stopped: .*triple fault", text)
       and "hello: ended: exit code 0" in text, "... and paging can't be turned on", text=text)


def stale():
    """An instruction that exits and can't be read any more: its guest ends, in one line."""
    for letter, what in (("c", "cpuid"), ("m", "mov to cr4"), ("o", "outsb")):
        text = special("stale", letter)
        ok("stale: stopped: an instruction that must exit is no longer" in text and "hello: ended: exit code 0" in text,
           f"{what} from a page that only the TLB has", text=text)


def absent():
    """A CPU without AMD-V: said in a line."""
    text = host(["engines", "start hello"], ["hello"], cpu="te")
    ok(re.search(r"svm +AMD-V.*; not here: this CPU ", text) and "engine svm: this CPU " in text,
       "a CPU without AMD-V is told in words", text=text)


def main():
    if not HOST.is_file():
        print("1..0 # SKIP Lab 4s has no reference here")
        return
    same("qemu", GUESTS)
    same("qemu", ("hello", "traps", "os", "long"), "poison=1")
    if shutil.which("bochs"):
        same("bochs", ON_BOCHS)
    else:
        skip("the same on Bochs", "Bochs is not installed: make demo installs it")
    hostile()
    stale()
    half_long()
    absent()
    finish()


main()
