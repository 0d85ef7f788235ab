"""Exercise 5.2: devices' registers in memory, by violation.

Equivalent: programs made for this run print the same under svm as on the bare machine. Witnessed: what comes to the bus,
seen by the debugger.
"""

import random
import re

from zeno.guests import mmio
from zeno.guests.bus import Bus

from .guests import compare, life, module
from .lab4sb import FEW

PLATFORM = "platform=pc-apic"
SHOWN = 200
"""So much of the output of a guest that may go round in a loop is shown."""
MODES = ("mmu=flat", "mmu=nested")


def commands(names, mmu):
    """The kernel's command line: start these guests one after the other, then turn off."""
    return "trace=0 -- " + "; ".join(f"start {name} {PLATFORM} {mmu}" for name in names) + "; off"


def bare_run(t, guest):
    """The guest on QEMU's bare machine, whichever the engine's is: Bochs' own APICs give up on odd widths and places."""
    return t.bare(guest, limits=FEW, machine="qemu", cpu="svm")


def run_both(t, program, **also):
    """A program bare and under the engine: same output, same exit code, the host alive. Other guests run behind it."""
    mmu = t.rng.choice(MODES)
    guest = program.assemble(t.directory, "guest")
    others = [one.assemble(t.directory, name) for name, one in also.items()]
    bare = bare_run(t, guest)
    run = t.boot(commands(["guest", *also], mmu), modules=[module(one) for one in (guest, *others)], elf=[guest], limits=FEW)
    compare(t, bare, run, 0)
    t.orderly(run)
    return run


def registers(t):
    """Registers of both APICs, as operands of all kinds of instructions."""
    run = run_both(t, mmio.registers(t.rng), string=mmio.long_string(t.rng))
    one = life(run, 1)
    exits = re.match(r"exit code \d+ after (\d+) exits", one.end[1] if one.end else "")
    t.check(exits and int(exits[1]) >= mmio.STRING // 32,
            "a guest held the CPU with one long string of a register's: between its parts others have their turn",
            f"{mmio.STRING // 16} exits and a few for its {mmio.STRING} elements", one.said())


def pages(t):
    """Across the ends of pages, in both rings."""
    run_both(t, mmio.pages(t.rng))


# -- what the bus sees -----------------------------------------------------------------------------


def in_words(access):
    """An access for a person."""
    kind, where, size, value = access
    return f"{kind} of {size} byte{'s' if size > 1 else ''} at {where:x}" + (f": {value:x}" if kind == "write" else "")


def bus(t):
    """Each access that comes to the bus: address, width, value, order."""
    made, seen = Bus(t.rng), []
    guest = made.program.assemble(t.directory, "bus")

    def look(kind):
        def note(client, regs):
            size = regs["rdx"] & 0xFFFFFFFF
            seen.append((kind, regs["rsi"], size, regs["rcx"] if kind == "write" else 0))
        return note

    points = {t.symbol(f"mmio_{kind}"): look(kind) for kind in ("read", "write")}
    run, _ = t.witness(commands(["bus"], t.rng.choice(MODES)), points, modules=[module(guest)], elf=[guest], limits=FEW)
    for wanted, got in zip(made.wanted, seen):
        t.check(wanted == got, "another access came to the bus than the guest made", in_words(wanted), in_words(got))
    more, fewer = seen[len(made.wanted):], made.wanted[len(seen):]
    t.check(not more, "an access came to the bus that the guest did not make", "none", more and in_words(more[0]))
    t.check(not fewer, "an access did not come to the bus", fewer and in_words(fewer[0]), f"none; {life(run).said()}")
    # From the console: Bochs' debugger has the side channel's port.
    said = dict(re.findall(r"^d1\| (eax \d+)=([0-9A-F]{8})\r?$", run.console.decode("ascii", "replace"), re.M))
    for name, value in made.values.items():
        t.equal(f"{value:08X}", said.get(name, "nothing"), f"what the guest has read in {name}")
    t.orderly(run)


# -- what can't be done ----------------------------------------------------------------------------


def refused(t):
    """What no device can do ends the guest in a line with the address; the next guest runs."""
    honest = mmio.registers(random.Random(t.rng.getrandbits(32)), 12).assemble(t.directory, "after")
    bare, modules, names = bare_run(t, honest), [module(honest)], []
    for number, name in enumerate(mmio.REFUSED):
        modules.append(module(mmio.refused(t.rng, name).assemble(t.directory, f"refused{number}")))
        names.append(f"refused{number}")
    modules.append(module(mmio.programs(t.rng).assemble(t.directory, "programs")))
    names += ["programs", "after"]
    run = t.boot(commands(names, t.rng.choice(MODES)), modules=modules, elf=[honest], limits=FEW)
    for number, (name, (_, address)) in enumerate(mmio.REFUSED.items()):
        one, what = life(run, number), f"a kernel with its {name} in a device's registers"
        if one.end is None:
            t.fail(f"{what} hangs: it neither goes on nor is stopped", "it is stopped", one.output[:SHOWN])
        t.equal(b"begins\n", one.output[:SHOWN], f"what it prints before: {what}")
        page = f"{address:08x}"[:5]
        t.check(one.end is not None and one.end[0] == "stopped" and page in one.end[1], f"{what}: {one.said()}",
                f"it is stopped, in a line that names {page}xxx", one.said())
    one = life(run, len(mmio.REFUSED))
    t.check(one.end is not None and one.end[0] == "ended" and b"goes on" in one.output,
            f"a program in ring 3 uses registers in a way that is not done for it, and its kernel: {one.said()}",
            "a fault for the kernel, which goes on", one.output[-SHOWN:])
    compare(t, bare, run, len(mmio.REFUSED) + 1)
    t.orderly(run)
