#!/usr/bin/env python3
"""The engine bt: Lab 1's guests, the audit of the 18, hostile guests, and random programs, as on the bare machine.

What a hostile guest ends in stands in tests/te/attacks.toml; `bt` there is for where translated code
ends otherwise than code in ring 1.
"""

import importlib.machinery
import importlib.util
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
import weave  # noqa: E402
from zeno import machine  # noqa: E402

SEEDS = range(1, 21)
RUNAWAY = "idt-task-gate"  # ends in whatever memory holds, or does not end
GUESTS = ("hello", "sieve", "tables", "crowded", "traps", "paging")
TALE = re.compile(r"^(\w+)\.kernel: (.*)$", re.M)
USER = re.compile(r"^(\w+)\.user: (.*)$", re.M)


def te_tests():
    """tests/te.t as a module: the attacks, their expectations, and what boots them."""
    loader = importlib.machinery.SourceFileLoader("te_tests", str(ROOT / "tests/te.t"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("te_tests", loader))
    loader.exec_module(module)
    return module


te = te_tests()
te.HOST = te.BUILD / "lab3-solution"
boot_host = te.host


def on_bt(commands, guests, where="qemu", options="panic=off", limits=te.LIMIT):
    """Like te.host(), with each guest on bt."""
    commands = [re.sub(r"^start (\S+)", r"start \1 engine=bt", c) for c in commands]
    text, end = boot_host(commands, guests, where, options, limits)
    return text.replace(" engine=bt", ""), end


def lines_of(text):
    """What the first guest printed."""
    return [line[4:] for line in text.splitlines() if line.startswith("d1| ")]


def bare(where, elf):
    """A guest's console on the bare machine."""
    if where == "qemu":
        result = machine.boot(machine="qemu", kernel=str(elf), cpu="te", limits=te.LIMIT)
    else:
        disk = folder() / "bare.img"
        done = run(sys.executable, ROOT / "tools/mkimage.py", "-o", disk, "--cmdline", "", "--mbr",
                   te.BUILD / "boot/mbr.bin", "--loader", te.BUILD / "boot/loader.bin", "--kernel", elf)
        if done.status:
            raise RuntimeError(done.out)
        result = machine.boot(machine="bochs", disk=str(disk), cpu="te", limits=te.LIMIT)
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text


def same(where, expected, got):
    """Bochs loses what is in the UART when a bare guest switches the machine off: the last byte or two."""
    if where == "bochs":
        return len(expected) > 10 and got.startswith(expected) and len(got) - len(expected) < 3
    return expected and got == expected


def equivalence(where):
    """Lab 1's guests and one with paging."""
    for name in GUESTS:
        expected = bare(where, te.guest(name))
        for options in ("panic=off", "panic=off paranoid=1"):
            got = "\n".join(lines_of(on_bt([f"start {name}"], [name], where, options)[0])) + "\n"
            ok(same(where, expected, got), f"{name} on {where} ({options}): as on the bare machine",
               expected=expected, got=got)


def audit(where):
    """The table of the 18: at kernel privilege nothing is left; in ring 3 what handouts/lab3b.md explains."""
    native = bare(where, te.guest("audit"))
    shown = "\n".join(lines_of(on_bt(["start audit"], ["audit"], where)[0]))
    expected, got = dict(TALE.findall(native)), dict(TALE.findall(shown))
    for name, line in expected.items():
        ok(got.get(name) == line, f"{name} in ring 0 on {where} shows the guest's machine", expected=line,
           got=got.get(name))
    ok(len(expected) >= 18, f"all eighteen were tried on {where}", names=sorted(expected))
    if where == "qemu":
        expected, got = dict(USER.findall(native)), dict(USER.findall(shown))
        differ = {name for name, line in expected.items() if got.get(name) != line}
        page = (ROOT / "handouts/lab3b.md").read_text().split("{#user}")[1].split("\n### ")[0]
        named = set(re.findall(r"`(\w+)`", page)) & set(expected)
        ok(differ and differ == named, "in ring 3 the rows that differ are those that lab3b.md explains",
           differ=sorted(differ), named=sorted(named))


def woven(where="qemu"):
    """Random programs: registers, flags and memory."""
    place = folder()
    for seed in SEEDS:
        elf = weave.program(random.Random(seed)).assemble(place, f"weave{seed}")
        expected = bare(where, elf).splitlines()
        guest, te.guest = te.guest, lambda name: str(place / f"{name}.elf")
        try:
            got = lines_of(on_bt([f"start weave{seed}"], [f"weave{seed}"], where)[0])
        finally:
            te.guest = guest
        wrong = [f"{a} became {b}" for a, b in zip(expected, got) if a != b]
        ok(len(expected) > 100 and len(got) == len(expected) and not wrong,
           f"random program {seed} on {where}: registers, flags and memory", wrong="\n".join(wrong[:5]),
           lines=(len(expected), len(got)))


def expectations():
    """The table as bt has it."""
    for want in te.EXPECTED.values():
        if "bt" in want:
            want.pop("qemu", None)
            want.pop("qemu_gap", None)
            want["stopped"] = want["bt"]


def cache_shown():
    """tc: totals and a block beside its translation."""
    text, _ = on_bt(["start sieve", "tc", "tc 0x100010"], ["sieve"])
    ok(re.search(r"^\d+ blocks, \d+ of \d+ bytes of code", text, re.M), "tc shows totals", text=text[-800:])
    start = re.search(r"Entry point address: +(0x[0-9a-f]+)", run("readelf", "-h", te.guest("sieve")).out)[1]
    text, _ = on_bt(["start sieve", f"tc {start}"], ["sieve"])
    ok(re.search(rf"^{int(start, 16):08x}: \d+ bytes, \d+ of translation at ffd", text, re.M)
       and re.search(r"^  [0-9a-f]{8} push +53 ", text, re.M) and "chained" in text,
       "and a block beside its translation", text=text[-1500:])


def runaway():
    """A guest that runs away for ever holds up nobody, and can be stopped."""
    text, end = boot_host([f"start hostile engine=bt & -- attack={RUNAWAY}", "start sieve engine=bt", "stop 1",
                           "start hello engine=te"], ["hostile", "sieve", "hello"])
    ok(end is machine.End.SHUTDOWN and "sieve: ended: exit code 0" in text and "hello: ended: exit code 0" in text
       and re.search(r"d1 hostile: (stopped|ended)", text), f"qemu: {RUNAWAY} holds up no neighbour", text=text)


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
        finish()
    expectations()
    for where in te.MACHINES:
        equivalence(where)
        audit(where)
    woven()
    cache_shown()
    runaway()
    te.host = on_bt
    te.ATTACKS.remove(RUNAWAY)
    te.attacks("qemu")
    if "bochs" in te.MACHINES:
        te.attacks("bochs")
    else:
        skip("bt on Bochs", "Bochs is not installed: make demo installs it")
    te.neighbours()
    te.chaos(range(40))
    te.frames_come_back()
    finish()


if __name__ == "__main__":
    main()
