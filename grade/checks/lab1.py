"""Lab 1A: a guest kernel in ring 1 by trap and emulate.

Two kinds of evidence. Equivalent: a program made for this run prints the same under te as on the
bare machine. Witnessed: QEMU's GDB stub shows CPL, flags and registers while the guest runs, the
virtual CPU's state in the host's memory, and the shadow GDT that the CPU really uses.
"""

import re
import struct

from zeno.guests import programs
from zeno.guests.programs import Program
from zeno.judging import evidence, headers
from zeno.judging.trial import Trouble
from zeno.machines import gdbremote, machine

from .guests import (ALL_FLAGS, ARITHMETIC, EXIT_CLI, FLAG_IF, FLAG_NAMES, GPR_ORDER, IOPL, LIMITS, REAL_FLAGS, STATE_GPR,
                     STATE_RFLAGS, STATE_SEG, State, called, cli_guest, commands, compare, contained, gprs, labels, life,
                     module, never_there, restore, said_of_end, same_as_bare, witness)

CS_AT = 16
"""In the segment registers of struct cpu_state."""
RING_CS, RING_SS = 32, 56
"""In struct ring_frame."""

# -- 1.1: enter ring 1 ------------------------------------------------------------------------------


def on_bare(t, guest, addresses):
    """Registers at each address, once, on the bare machine: the yardstick."""
    found = {}

    def note(_client, regs):
        found[regs["rip"]] = regs
        return regs["rip"] == addresses[-1]

    live = machine.start(machine=t.machine, kernel=guest, paused=True, limits=LIMITS)
    gdbremote.witness(live, {address: note for address in addresses})
    live.stop()
    run = live.wait()
    run.cleanup()
    if len(found) != len(set(addresses)):
        raise Trouble("the bare machine did not run through the generated guest")
    return found


def ring1(t):
    """CPL, flags and registers at random places of a fresh guest."""
    guest, names = cli_guest(t)
    addresses = labels(guest, *names)
    bare = on_bare(t, guest, addresses)
    visited = []

    def look(client, regs):
        address = regs["rip"]
        where = f"{address:#x}, {names[addresses.index(address)]}"
        visited.append(address)
        if address == addresses[0]:
            entry_state(t, client, regs)
        ring = regs["cs"] & 3
        t.check(ring == 1, f"the guest runs in ring {ring} at {where}"
                + (": it could do anything to the host" if ring == 0 else ""),
                "CPL 1 (CS.RPL)", f"CS {regs['cs']:#06x}, so CPL {ring}")
        t.check(regs["ss"] & 3 == 1, f"SS has RPL {regs['ss'] & 3} at {where}", "RPL 1",
                f"SS {regs['ss']:#06x}")
        t.check(regs["eflags"] & FLAG_IF, f"the CPU's own IF is 0 at {where}: the host would never "
                "get its timer back; the guest's IF is virtual", "EFLAGS.IF = 1",
                f"EFLAGS {regs['eflags']:#x}")
        t.check(not regs["eflags"] & IOPL, f"IOPL is {regs['eflags'] >> 12 & 3} at {where}: the guest "
                "could do I/O and switch interrupts off", "IOPL 0", f"EFLAGS {regs['eflags']:#x}")
        if address != addresses[0]:
            registers_equal(t, bare[address], regs, where)
        return address == addresses[-1]

    run, _ = witness(t, commands("first"), dict.fromkeys(addresses, look), modules=[module(guest)],
                     elf=[guest])
    if not visited:
        never_there(t, run, f"its first instruction ({addresses[0]:#x})")
    if addresses[-1] not in visited:
        never_there(t, run, f"its `cli` ({addresses[-1]:#x})")
    t.orderly(run)


def entry_state(t, client, regs):
    """What a multiboot kernel may rely on at its first instruction (specification 0.6.96, 3.2)."""
    got = gprs(regs)
    t.check(got["rax"] == 0x2BADB002, "EAX at the guest's first instruction is not the boot loader's "
            "magic number", "0x2badb002", f"{got['rax']:#x}")
    info = client.read(got["rbx"], 4)
    t.check(struct.unpack("<I", info)[0] & 1, "EBX at the guest's first instruction does not point "
            "to boot information", "an address of struct multiboot_info", f"{got['rbx']:#x}")


def registers_equal(t, bare, regs, where):
    """All general registers and the arithmetic flags as on the bare machine."""
    wanted, got = gprs(bare), gprs(regs)
    wrong = [name for name in GPR_ORDER if wanted[name] != got[name]]
    t.check(not wrong, f"registers differ from the bare machine's at {where}: "
            + ", ".join(f"e{name[1:]}" for name in wrong),
            ", ".join(f"e{name[1:]}={wanted[name]:08x}" for name in wrong),
            ", ".join(f"e{name[1:]}={got[name]:08x}" for name in wrong))
    t.check(not (bare["eflags"] ^ regs["eflags"]) & ARITHMETIC,
            f"arithmetic flags differ from the bare machine's at {where}",
            f"{bare['eflags'] & ARITHMETIC:#x}", f"{regs['eflags'] & ARITHMETIC:#x}")


def ring1_registers(t):
    """Random registers are put into the virtual CPU's state: the guest must begin with them."""
    guest, _ = cli_guest(t, points=1)
    entry, = labels(guest, "_start")
    wanted = {name: t.rng.getrandbits(32) for name in GPR_ORDER}
    flags = t.rng.getrandbits(12) & ARITHMETIC | 2
    poked, found, selectors = [], [], {}

    def poke(client, regs):
        if not poked:
            poked.append(regs["rdi"])
            selectors.update((cpl, selectors_at(client, regs, cpl)) for cpl in (0, 3))
            client.write(regs["rdi"] + STATE_GPR, struct.pack("<8Q", *wanted.values()))
            client.write(regs["rdi"] + STATE_RFLAGS, struct.pack("<Q", flags))
        return False

    def look(_client, regs):
        found.append(regs)
        return True

    run, _ = witness(t, commands("first"), {t.symbol("te_to_frame"): poke, entry: look},
                     modules=[module(guest)], elf=[guest])
    if not found:
        never_there(t, run, f"its first instruction ({entry:#x})")
    got = gprs(found[0])
    wrong = [name for name in GPR_ORDER if wanted[name] != got[name]]
    t.check(not wrong, "registers of the virtual CPU's state do not reach the guest: "
            + ", ".join(f"e{name[1:]}" for name in wrong),
            ", ".join(f"e{name[1:]}={wanted[name]:08x}" for name in wrong),
            ", ".join(f"e{name[1:]}={got[name]:08x}" for name in wrong))
    t.check(not (flags ^ found[0]["eflags"]) & ARITHMETIC, "the guest's arithmetic flags do not "
            "reach the CPU", f"{flags & ARITHMETIC:#x}", f"{found[0]['eflags'] & ARITHMETIC:#x}")
    for cpl, ring in ((0, 1), (3, 3)):
        t.check([one & 3 for one in selectors[cpl]] == [ring, ring], f"where the guest's CPL is {cpl}, te_to_frame() makes "
                f"selectors for another ring than {ring}", f"CS and SS with RPL {ring}",
                ", ".join(f"{one:#x}" for one in selectors[cpl]))
    real_flags(t)


def selectors_at(client, regs, cpl):
    """At te_to_frame(): CS and SS that it makes for a guest of this CPL. It is called once more by returning to itself."""
    place, back = regs["rdi"] + STATE_SEG + CS_AT, client.read(regs["rsp"], 8)
    kept = client.read(place, 2)
    client.write(place, struct.pack("<H", struct.unpack("<H", kept)[0] & ~3 | cpl))
    client.write(regs["rsp"], struct.pack("<Q", regs["rip"]))
    client.cont()
    found = [struct.unpack("<Q", client.read(regs["rsi"] + at, 8))[0] for at in (RING_CS, RING_SS)]
    client.write(place, kept)
    client.write(regs["rsp"], back)
    restore(client, regs)
    return found


def real_flags(t):
    """real_rflags() is called from outside: whatever the guest's flags are, IF and IOPL are the host's to choose."""
    guests = [*(t.rng.getrandbits(22) for _ in range(24)), 2, IOPL | 2, 1 << 12, FLAG_IF | 2, ALL_FLAGS]
    run, results = called(t, "real_rflags", [(one, 0) for one in guests])
    if len(results) < len(guests):
        t.orderly(run)
        t.fail("real_rflags() did not come back")
    for flags, got in zip(guests, results):
        wanted = flags & REAL_FLAGS & ~IOPL | FLAG_IF | 2
        wrong = [name for name, bit in FLAG_NAMES.items() if (got ^ wanted) & bit]
        t.check(got == wanted, f"real_rflags({flags:#x}) is wrong in " + (", ".join(wrong) or "flags that GUEST_OWNS has not"),
                f"{wanted:#x}", f"{got:#x}")
    t.orderly(run)


def ring1_exit(t):
    """The way out: what the guest had in its registers at its `cli` is in the virtual CPU's state."""
    guest, names = cli_guest(t)
    trap, = labels(guest, "trap")
    at_trap, states = [], []

    def look(_client, regs):
        at_trap.append(regs)
        return False

    def dispatch(client, regs):
        state = State(client, regs["rdi"])
        reason = struct.unpack("<H", client.read(regs["rsi"], 2))[0]
        if state.rip == trap and at_trap and reason != 1:
            states.append((state, reason))
            return True
        return False

    run, _ = witness(t, commands("first"), {trap: look, t.symbol("exit_dispatch"): dispatch},
                     modules=[module(guest)], elf=[guest])
    if not at_trap:
        never_there(t, run, f"its `cli` ({trap:#x})")
    if not states:
        t.orderly(run)
        t.fail("the guest's `cli` never came out of ring 1 as an exit", f"an exit at {trap:#x}",
               said_of_end(run))
    state, reason = states[0]
    wanted = gprs(at_trap[-1])
    wrong = [name for name in GPR_ORDER if wanted[name] != state.gpr[name]]
    t.check(not wrong, "after the exit the virtual CPU's state has other registers than the guest "
            "had: " + ", ".join(f"e{name[1:]}" for name in wrong),
            ", ".join(f"{name}={wanted[name]:08x}" for name in wrong),
            ", ".join(f"{name}={state.gpr[name]:08x}" for name in wrong))
    t.check(reason == EXIT_CLI, "the exit is not known as a cli", f"reason {EXIT_CLI} (cli)",
            f"reason {reason}")
    t.orderly(run)


def ring1_again(t):
    """Guest after guest: the world switch leaves nothing behind."""
    guests = [cli_guest(t, name, 1)[0] for name in ("first", "second", "third")]
    traps = [labels(guest, "trap")[0] for guest in guests]
    hits, stacks = [], []

    def look(_client, regs):
        hits.append(regs["rip"])
        return False

    def enter(_client, regs):
        stacks.append(regs["rsp"])
        return len(stacks) > 2000

    points = dict.fromkeys(traps, look)
    points[t.symbol("ring_enter")] = enter
    run, _ = witness(t, commands("first", "second", "third", "first"), points,
                     modules=[module(guest) for guest in guests], elf=guests)
    t.orderly(run)
    expected = [*traps, traps[0]]
    seen = [at for i, at in enumerate(hits) if i == 0 or hits[i - 1] != at]
    t.check(seen == expected, "four guests were started one after the other, but not all came to "
            "their `cli`", [hex(at) for at in expected], [hex(at) for at in seen])
    t.check(len(set(stacks)) == 1, "the host's stack is at another place at each entry: the way back "
            "does not undo what the way in did", "one address", [hex(at) for at in set(stacks)][:5])


def ring1_timer(t):
    """A guest that never traps: the host's timer takes the CPU back, and the guest goes on."""
    p = Program(t.rng)
    p.churn(6)
    p.op(f"mov ecx, {t.rng.randrange(12_000_000, 16_000_000)}")
    p.label("again")
    p.op("add eax, ecx", "rol eax, 3", "dec ecx", "jnz again")
    p.label("trap")
    p.op("cli")
    p.end()
    guest = p.assemble(t.directory, "busy")
    trap, = labels(guest, "trap")
    bare = on_bare(t, guest, [trap])
    found = []

    def look(_client, regs):
        found.append(regs)
        return True

    irq = t.symbol("exit_irq")
    run, _ = witness(t, commands("busy"), {trap: look}, modules=[module(guest)], elf=[guest],
                     icount=True, watch=(irq,))
    if not found:
        never_there(t, run, "the end of its loop")
    registers_equal(t, bare[trap], found[0], "the end of a loop with timer interrupts in it")
    t.orderly(run)
    times = run.counts.watches.get(irq, 0) if run.counts else 0
    t.check(times >= 2, "a guest ran for 50 million instructions, and the host's timer did not take "
            "the CPU back: is the CPU's IF 1 while ring 1 runs?", "two exits for the timer or more",
            f"{times} such exits")


def ring1_native(t):
    """Efficiency: the guest's instructions run on the CPU, not in an interpreter."""
    p = Program(t.rng)
    p.op(f"mov ecx, {t.rng.randrange(200_000, 400_000)}")
    p.label("again")
    p.churn(5, ("eax", "ebx", "edx", "esi", "edi"))
    p.op("dec ecx", "jnz again")
    p.op("cli")
    p.end()
    guest = p.assemble(t.directory, "work")
    bare = t.boot(kernel=guest, limits=LIMITS)
    t.runs.pop()
    run = t.boot(commands("work"), modules=[module(guest)], elf=[guest], exact=True, limits=LIMITS)
    t.orderly(run)
    if not (bare.counts and run.counts):
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    share = 100 * run.counts.low / bare.counts.total
    t.notes.append(f"{run.counts.low} instructions ran natively in the guest; the program has "
                   f"{bare.counts.total} ({share:.1f} %); {run.counts.high} ran in the host")
    t.check(95 <= share <= 110, "the guest's instructions did not run natively, once each",
            f"about {bare.counts.total} instructions below 4 GiB", run.counts.low)


# -- 1.2: out ---------------------------------------------------------------------------------------


def out_forms(t):
    """A program of OUTs in all forms against the bare machine; and their records, that tell what went out."""
    same_as_bare(t, programs.outs(t.rng), "outs")
    value, p = t.rng.getrandbits(32) | 0x81818181, Program(t.rng)
    p.op(f"mov eax, {value:#x}", "out 0x80, al", "out 0x80, ax", "out 0x80, eax", "mov dx, 0xf4", "out dx, al")
    guest = p.assemble(t.directory, "widths")
    run = t.boot("trace=1 -- start widths; off", modules=[module(guest)], elf=[guest], limits=LIMITS)
    t.orderly(run)
    said = "\n".join(evidence.exits_in_words(run))
    for size in (8, 16, 32):
        wanted = f": port 80 <- {value & (1 << size) - 1:x}"
        t.check(re.search(re.escape(wanted) + r"(?!\w)", said), f"an exit's record does not tell what {size} bits went out",
                wanted, said)


def out_flags(t):
    """No flag and no register changes by an emulated OUT."""
    same_as_bare(t, programs.flags_survive(t.rng), "flags")


def out_foreign(t):
    """Ports that are not the guest's: no reset, no forged record, and the next guest is right."""
    contained(t, ["ports", "side-channel"])


# -- 1.4: virtual IF --------------------------------------------------------------------------------


def if_virtual(t):
    """cli and sti in random order: the guest's IF in the virtual CPU's state, and the CPU's own."""
    program, points = programs.interrupt_flag(t.rng)
    guest = program.assemble(t.directory, "flags")
    where = dict(zip(labels(guest, *(name for name, _ in points)), points))
    vcpu, seen = [], []

    def dispatch(_client, regs):
        vcpu[:] = [regs["rdi"]]
        return False

    def look(client, regs):
        name, flag = where[regs["rip"]]
        seen.append(name)
        t.check(regs["eflags"] & FLAG_IF, f"the CPU's own IF is 0 at {name}: the host has lost its "
                "timer", "EFLAGS.IF = 1 in the CPU", f"EFLAGS {regs['eflags']:#x}")
        t.check(not regs["eflags"] & IOPL, f"the CPU's IOPL is not 0 at {name}", "IOPL 0",
                f"EFLAGS {regs['eflags']:#x}")
        state = State(client, vcpu[0])
        got = state.rflags >> 9 & 1
        last = "sti" if flag else "cli"
        t.check(got == flag, f"after `{last}` (number {len(seen)} of {len(points)} and perhaps other "
                f"exits) the guest's IF, in v->state.rflags, is {got}", f"IF={flag}",
                f"IF={got} (rflags {state.rflags:#x})")
        t.check(not state.rflags & IOPL, "the guest's IOPL became another", "0",
                f"rflags {state.rflags:#x}")
        return name == points[-1][0]

    watch = dict.fromkeys(where, look) | {t.symbol("exit_dispatch"): dispatch}
    run, _ = witness(t, commands("flags"), watch, modules=[module(guest)], elf=[guest])
    if not seen:
        never_there(t, run, "the instruction behind its first cli or sti")
    if len(seen) < len(points):
        never_there(t, run, f"the place behind cli or sti number {len(seen) + 1}")
    t.orderly(run)


def flag_rules(t):
    """guest_rflags() is called from outside: each flag is the CPU's or the guest's own, whatever the other says."""
    cases = [(t.rng.getrandbits(22) & REAL_FLAGS | 2 | FLAG_IF, t.rng.getrandbits(22) & REAL_FLAGS | 2)
             for _ in range(24)]
    cases += [(2 | FLAG_IF, 2), (2 | FLAG_IF, 2 | IOPL), (REAL_FLAGS | 2, 2), (2, REAL_FLAGS | 2)]
    run, results = called(t, "guest_rflags", cases)
    if len(results) < len(cases):
        t.orderly(run)
        t.fail("guest_rflags() did not come back")
    for (real, before), got in zip(cases, results):
        wanted = real & ~(FLAG_IF | IOPL) | before & (FLAG_IF | IOPL)
        wrong = [name for name, bit in FLAG_NAMES.items() if (got ^ wanted) & bit]
        t.check(got == wanted, f"guest_rflags(real {real:#x}, before {before:#x}) is wrong in "
                + (", ".join(wrong) or "bits that are no flags"), f"{wanted:#x}", f"{got:#x}")
    t.orderly(run)


def effects(t):
    """Each emulated instruction's effect is in its exit record, in words."""
    p, value = Program(t.rng), t.rng.randrange(1, 256)
    p.op(f"mov al, {value:#x}", "out 0x80, al", "sti", "cli")
    p.op(*["hlt"])
    guest = p.assemble(t.directory, "effects")
    run = t.boot("trace=1 -- start effects; last; off", modules=[module(guest)], elf=[guest], limits=LIMITS)
    t.orderly(run)
    said = "\n".join(evidence.exits_in_words(run))
    for wanted in (f": port 80 <- {value:x}", ": IF=1", ": IF=0", ": halts"):
        t.check(re.search(re.escape(wanted) + r"(?!\w)", said), "an exit's record does not tell what was done: "
                "exit_effect() was not called with it", wanted, said)


def if_flags(t):
    """cli and sti change IF and nothing else."""
    same_as_bare(t, programs.flags_survive(t.rng, emulated=("cli", "sti", "cli", "out 0x80, al")),
                 "flags")


def sti_shadow(t):
    """STI holds interrupts off for one instruction, if they were off before."""
    offset = headers.offset_of(t.image.root, "vmm/vcpu.h", "struct vcpu", "state.sti_shadow")
    p, points, flag = Program(t.rng), [], 0
    programs.mask_interrupts(p)
    for _ in range(8):
        kind = t.rng.choice(("sti", "sti", "cli", "out"))
        p.op({"sti": "sti", "cli": "cli", "out": "out 0x80, al"}[kind])
        points.append((p.label(), int(kind == "sti" and not flag), kind))
        p.op("nop")
        flag = {"sti": 1, "cli": 0}.get(kind, flag)
    p.end()
    guest = p.assemble(t.directory, "shadow")
    where = dict(zip(labels(guest, *(one[0] for one in points)), points))
    vcpu, seen = [], []

    # A machine that was stopped may find that a tick is due. Two ticks in a row at one place end a shadow, as they must for a
    # jump to itself (te_end_sti_shadow()): so instructions are the clock, and there is no stop but one at each place.
    def dispatch(client, regs):
        vcpu[:] = [regs["rdi"]]
        client.remove(regs["rip"])

    def look(client, regs):
        client.remove(regs["rip"])
        name, wanted, kind = where[regs["rip"]]
        seen.append(name)
        got = client.read(vcpu[0] + offset, 1)[0]
        t.check(got == wanted, f"behind `{kind}` v->state.sti_shadow is {got}: "
                + ("sti with IF=0 holds interrupts off until the end of the next instruction"
                   if wanted else "the shadow lasts for one instruction, and only an sti with IF=0 "
                   "begins one"), wanted, got)
        return name == points[-1][0]

    watch = dict.fromkeys(where, look) | {t.symbol("exit_dispatch"): dispatch}
    run, _ = witness(t, commands("shadow"), watch, modules=[module(guest)], elf=[guest], icount=True)
    if len(seen) < len(points):
        never_there(t, run, f"the end of its {len(points)} instructions")
    t.orderly(run)


def halts(t):
    """HLT: dead with IF=0, waiting with IF=1; never a nop, and never the host's end."""
    for flag in t.rng.sample((0, 1), 2):
        program, label = programs.halt(t.rng, flag)
        guest = program.assemble(t.directory, f"halt{flag}")
        behind, = labels(guest, label)
        honest = programs.outs(t.rng, 6).assemble(t.directory, "after")
        bare = t.bare(honest)
        # With IF=1 it may sleep for ever (after Lab 1B), so nobody waits for its end, and it gets its turns from the
        # monitor's `sleep`: instructions are the clock, so that means as many of them on a busy computer.
        begin = f"start {guest.stem} &; sleep 100" if flag else f"start {guest.stem}"
        run = t.boot(f"trace=1 -- {begin}; start after; off",
                     modules=[module(guest), module(honest)], elf=[guest, honest], watch=(behind,),
                     icount=True, limits=LIMITS)
        times = run.counts.watches.get(behind, 0) if run.counts else 0
        t.check(not times, f"the guest ran on behind its `hlt` with IF={flag}, though no interrupt "
                "came", "it stays halted", f"{times} times behind the hlt")
        t.orderly(run)
        said = said_of_end(run)
        dead = "dead halt" in said
        t.check(dead == (not flag), f"a `hlt` with IF={flag} " + ("can be woken: it is no dead halt"
                if flag else "is a dead halt, and the report must say so"),
                "waits for an interrupt" if flag else "dead halt", said)
        t.equal(b"to sleep\n", life(run).output, "what the guest prints before its hlt")
        count = len(evidence.lives(run))
        t.check(count == 2, "after a guest's hlt the next guest could not be started",
                "two guests started", count)
        compare(t, bare, run, 1)
    not_past_it(t)


def not_past_it(t):
    """te_wait() is handed the hlt itself: whoever moves rip before it moves it twice."""
    p = Program(t.rng)
    p.churn(t.rng.randrange(1, 6))
    p.op("sti")
    place = p.label("sleeps")
    p.op("hlt")
    p.end()
    guest = p.assemble(t.directory, "sleeper")
    at, = labels(guest, place)
    seen = []

    def look(client, regs):
        seen.append(State(client, regs["rdi"]).rip)
        return True

    run, _ = witness(t, "trace=1 -- start sleeper &; sleep 100; off", {t.symbol("te_wait"): look},
                     modules=[module(guest)], elf=[guest], icount=True)
    t.orderly(run)
    t.check(seen, "a `hlt` with IF=1 did not come to te_wait()", "a call", said_of_end(run))
    t.check(seen[0] == at, "rip is not that of the `hlt` when te_wait() is called, which moves it past the instruction",
            f"{at:#x}", f"{seen[0]:#x}")
