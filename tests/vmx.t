#!/usr/bin/env python3
"""The engine vmx: guests of Labs 1 to 3, unmodified, and one in long mode, on VT-x as on the bare machine.

On Bochs, whose Haswell has VT-x, with flat EPT tables. The hostile guests must be contained, and those that never end must
leave the others their turns. `poison=1` finds a handler that uses a part of the state that it did not ask for.
`tests/vmx.t all` runs every attack and every guest.
"""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab4-solution/zeno.mb"
LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=120)
GUESTS = ("hello", "tables", "audit", "paging", "os", "long")
MORE_GUESTS = ("sieve", "traps", "pager", "crowded")
SOURCE = "".join(p.read_text() for p in sorted((ROOT / "guest/hostile").glob("*.asm")))
ATTACKS = re.findall(r'ATTACK\s+"([^"]+)"', SOURCE)
SPINS = ("spin", "v86-spin", "fault-forever", "irq-storm", "user-v86-spin")
RUNAWAY = ("idt-task-gate", "retf-ring3")  # go on in whatever memory holds
PER_BOOT = 16


def guest(name):
    return str(BUILD / "guest" / f"{name}.elf")


def boot(kernel, cmdline="", guests=(), cpu="vmx"):
    """A machine's console."""
    disk = folder() / "vmx.img"
    modules = [word for name in guests for word in ("--module", guest(name), name)]
    done = run(sys.executable, TOOLS / "mkimage.py", "-o", disk, "--cmdline", cmdline, "--mbr", BUILD / "boot/mbr.bin",
               "--loader", BUILD / "boot/loader.bin", "--kernel", kernel, *modules)
    if done.status:
        raise RuntimeError(done.out)
    result = machine.boot(machine="bochs", disk=str(disk), cpu=cpu, limits=LIMIT, mem=128)
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text


def host(commands, guests, options="", cpu="vmx", kernel=HOST):
    """What Zeno says to these commands."""
    return boot(kernel, f"panic=off {options} -- {'; '.join(commands)}; off", guests, cpu)


def each(text):
    """The console from each `start` to the next prompt, by what was typed."""
    return [part for part in re.split(r"^K> ", text, flags=re.M) if part.startswith("start ")]


def alike(lines):
    """Without what CPUID says: a vCPU has no local APIC, say."""
    return [line for line in lines if not line.startswith("cpuid.")]


def same(names, bare):
    """Each guest prints what it prints on the bare machine, and comes to its end; once more with poison=1."""
    for options in ("", "poison=1"):
        parts = each(host([f"start {name}" for name in names], names, options))
        ok(len(parts) == len(names), f"each of them ran {options}", text="".join(parts))
        for name, part in zip(names, parts):
            got = alike(re.findall(r"^d\d+\| (.*)$", part, re.M))
            ok(bare[name] and got == bare[name] and f"{name}: ended: exit code 0" in part,
               f"{name} is the bare machine's {options}", bare="\n".join(bare[name]), got=part)


def hostile(some):
    """Attacks end their guest, or nothing; never the host, nor the guest behind them."""
    for first in range(0, len(some), PER_BOOT):
        now = some[first:first + PER_BOOT]
        text = host([f"start hostile -- attack={name}" for name in now] + ["start hello"], ["hostile", "hello"])
        parts = each(text)
        for name, part in zip(now, parts):
            ok(re.search(r"^d\d+ hostile: (ended|stopped): ", part, re.M) and "refuses" not in part,
               f"{name} is contained", text=part)
        ok(len(parts) == len(now) + 1 and "hello: ended: exit code 0" in parts[-1], "and a guest behind them runs",
           text=text[-3000:])


def spins(names):
    for name in names:
        text = host([f"start hostile & -- attack={name}", "start hello", "stop d1", "list"], ["hostile", "hello"])
        ok("hello: ended: exit code 0" in text and "by the monitor's stop command" in text,
           f"{name} leaves others their turn, and is stopped", text=text)


def taking_turns():
    """Two guests at once: each has its VMCS, of which the CPU has one at a time."""
    text = host(["start os & -- lines=1", "start tables", "start long", "stop d1"], ["os", "tables", "long"])
    ok(all(f"{name}: ended: exit code 0" in text for name in ("tables", "long")) and "refuses" not in text,
       "two guests take turns", text=text)


def absent():
    """A CPU without VT-x: said in a line."""
    text = host(["engines", "start hello"], ["hello"], cpu="te")
    ok(re.search(r"vmx +VT-x.*; not here: this CPU ", text) and "engine vmx: this CPU has no VT-x" in text,
       "a CPU without VT-x is told in words", text=text)


def main():
    if not HOST.is_file():
        print("1..0 # SKIP Lab 4 has no reference here")
        return
    if not shutil.which("bochs"):
        print("1..0 # SKIP Bochs is not installed: make demo installs it")
        return
    everything = "all" in sys.argv[1:]
    names = GUESTS + (MORE_GUESTS if everything else ())
    same(names, {name: alike(boot(guest(name)).splitlines()) for name in names})
    ends = [name for name in ATTACKS if name not in SPINS + RUNAWAY]
    hostile(ends if everything else ends[:PER_BOOT])
    spins(SPINS if everything else SPINS[:2])
    taking_turns()
    absent()
    finish()


main()
