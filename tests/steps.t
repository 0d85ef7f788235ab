#!/usr/bin/env python3
"""The guest `steps` on te and bt against the bare machine, on QEMU and on Bochs: traps behind each instruction, breakpoints,
faults on the way of a trap, and what the CPU model's features promise."""

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402
from stopped import Stopped  # noqa: E402


def module(name):
    """Another test as a module."""
    loader = importlib.machinery.SourceFileLoader(f"{name}_tests", str(ROOT / f"tests/{name}.t"))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader(f"{name}_tests", loader))
    loader.exec_module(made)
    return made


bt = module("bt")
te = bt.te
MACHINES = ("qemu", "bochs")
GUEST = te.guest("steps")
# handouts/emulators.md says why.
ONLY_BOCHS = ("held: mov ss, pop ss", "lss holds nothing", "cli, sti, pushf, popf",
              "ring 3 with IOPL 3: in, out, cli, sti", "held: mov ss of what is watched", "a breakpoint under TF", "16-bit code beyond its limit",
              "held: AC in ring 3")


def sequences(text):
    """{sequence: what it printed}."""
    return dict(line.rsplit(" = ", 1) for line in text.splitlines() if " = " in line)


def compare(where):
    """Every sequence on both engines; those that QEMU itself gets wrong are Bochs'."""
    expected = sequences(bt.bare(where, GUEST))
    ok(len(expected) > 15, f"the bare machine, {where}, ran them", expected=expected)
    for engine, boot in (("te", te.host), ("bt", bt.on_bt)):
        text, _ = boot(["start steps"], ["steps"], where)
        got = sequences("\n".join(bt.lines_of(text)))
        for name, line in expected.items():
            if where == "bochs" or name not in ONLY_BOCHS:
                ok(got.get(name) == line, f"{engine} on {where}: {name}", expected=line, got=got.get(name))
        if set(got) != set(expected):
            ok(False, f"{engine} on {where} ran to its end", console=text[-2000:])


def last_words():
    """A dead guest's last line, and the ports that nobody had."""
    for engine, boot in (("te", te.host), ("bt", bt.on_bt)):
        text, _ = boot(["start steps -- die=1"], ["steps"])
        ok(re.search(r"stopped: triple fault: #PF.* mov of 4 bytes at beef0000, cr2 beef0000; see", text),
           f"{engine}: the line has the memory operand and CR2", console=text[-1500:])
        ok("  ports that no device has: 1234 (3 times), 99 (1 times)" in text,
           f"{engine}: the ports are named", console=text[-1500:])
        for die, words in (("detect", "general detect: "), ("port", "breakpoints on ports")):
            text, _ = boot([f"start steps -- die={die}"], ["steps"])
            ok(re.search(rf"stopped: {engine} has no {words}.*limits\.md#refused", text),
               f"{engine}: what has no effect is refused in words: {die}", console=text[-1500:])


def around_the_frame():
    """A guest's breakpoint hits, with #DB on no stack of its own: nothing is written in front of the frame of its exit."""
    host = Stopped("te_arm_breakpoints", variant="lab3-solution", lab=3, cpu="te", cmdline="panic=off -- start steps; off",
                   modules=[(GUEST, "")])
    frame, = host.words(host.at("tss_rsp0"))
    page = frame - 1 & ~0xfff  # struct te has a machine frame of its own
    before = host.words(page - 64, 8)
    host.run_to(host.at("te_take_dr6"))
    guest = host.words(page, (frame - page) // 8)
    ok(host.words(page - 64, 8) == before and any(guest), "a breakpoint of the guest writes into the frame of its exit, and nowhere in front of it",
       before=[hex(w) for w in before], after=[hex(w) for w in host.words(page - 64, 8)])
    vector = None
    while vector != 1:  # the timer's interrupts come there, too
        host.run_to(host.at("trap_host"))
        late = host.gdb.regs()["rdi"]
        vector = host.words(late + 15 * 8, 1)[0]  # struct trap_frame's, behind 15 registers
    ok(page + 128 <= late < frame, "one that comes late, in a stub, has its own frame on that page, with room for its handler",
       late=hex(late), page=hex(page), rsp0=hex(frame))
    host.end()


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
        finish()
    for where in MACHINES:
        if where in te.MACHINES:
            compare(where)
            for engine in ("te", "bt"):
                Engine(3, "te", f"engine={engine}").bits(where)
        else:
            skip(f"all sequences on {where}", "it is not installed")
    last_words()
    around_the_frame()
    finish()


if __name__ == "__main__":
    main()
