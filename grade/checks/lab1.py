"""Lab 1A: a guest kernel in ring 1 by trap and emulate.

Two kinds of evidence. Equivalent: a program made for this run prints the same under te as on the
bare machine. Witnessed: QEMU's GDB stub shows CPL, flags and registers while the guest runs, the
virtual CPU's state in the host's memory, and the shadow GDT that the CPU really uses.
"""

import re
import shutil
import struct

from zeno.guests import programs, segments
from zeno.judging import evidence
from zeno.machines import gdbremote, machine
from zeno.guests.programs import Program
from zeno.judging.trial import Trouble

GDT_WINDOW = 0xFFFF820000000000
GDT_GUEST_PAGES = 14
WINDOW = 0xFFC00000
PAGE = 4096
FLAG_IF, IOPL = 1 << 9, 3 << 12
ARITHMETIC = 0x8D5 & ~0x10
"""CF PF ZF SF OF: the flags that a program's own arithmetic leaves; AF is left out."""

GPR_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
STATE_GPR, STATE_RIP, STATE_RFLAGS = 8, 136, 144
STATE_GDTR, STATE_IDTR, STATE_CR0 = 280, 296, 312
STATE_SIZE = 424
EXIT_CLI = 5
FLAG_NAMES = {"CF": 1, "bit 1": 2, "PF": 4, "AF": 16, "ZF": 64, "SF": 128, "TF": 256, "IF": FLAG_IF, "DF": 1 << 10,
              "OF": 1 << 11, "IOPL": IOPL, "NT": 1 << 14, "RF": 1 << 16, "AC": 1 << 18, "ID": 1 << 21}
REAL_FLAGS = sum(FLAG_NAMES.values())
"""What a CPU may have in EFLAGS while a guest runs; virtual-8086 mode's are left out."""
LIMITS = machine.Limits(instructions=1_000_000_000, console_bytes=1 << 20, side_bytes=16 << 20)


# -- what all of them share -------------------------------------------------------------------------


def module(path):
    """A boot module as machine.start() takes it; its name is the file's."""
    return (path, "")


def commands(*names, options=""):
    """The kernel's command line: start these guests one after the other, then turn off."""
    starts = "; ".join(f"start {name}" for name in names)
    return f"trace=1{options} -- {starts}; off"


def life(run, number=0):
    """The guest that was started as number `number`; an empty one if it never was."""
    found = evidence.lives(run)
    return found[number] if number < len(found) else evidence.Life(0, "?")


def said_of_end(run, number=0):
    """What the kernel says of a guest's end, or that it says nothing."""
    return life(run, number).said()


def same_as_bare(t, program, name, **more):
    """Run a program bare and under te: same output, same exit code, and the host is alive."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest],
                 limits=LIMITS, **more)
    compare(t, bare, run, 0)
    t.orderly(run)
    return run


def compare(t, bare, run, number):
    """The output and exit code of the guest that was started as `number` against the bare machine's."""
    one = life(run, number)
    who = f"the guest `{one.name}`"
    ended = one.end is not None and one.end[0] == "ended"
    if not ended and one.output != bare.console:
        t.orderly(run)
        t.fail(f"{who} did not come to its own end; {one.said()}", bare.console,
               one.output)
    t.equal(bare.console, one.output, f"what {who} prints")
    code = f"exit code {bare.code} "
    t.check(ended and (one.end[1] + " ").startswith(code), f"{who} ended otherwise than on the bare "
            "machine", code.strip(), one.said())


def witness(t, cmdline, points, **more):
    """Boot stopped, a callback at each address, then run to the end: (Run, {address: hits})."""
    return t.witness(cmdline, points, limits=LIMITS, **more)


def labels(guest, *names):
    """Addresses of labels of a generated guest."""
    symbols = evidence.Symbols(guest)
    return [symbols.address(name) for name in names]


def gprs(regs):
    """The general registers as the guest sees them."""
    return {name: regs[name] & 0xFFFFFFFF for name in GPR_ORDER}


class State:
    """The virtual CPU's state (vmm/x86/state.h), read from the host's memory."""

    def __init__(self, client, address):
        self.raw = client.read(address, STATE_SIZE)
        values = struct.unpack_from("<8Q", self.raw, STATE_GPR)
        self.gpr = dict(zip(GPR_ORDER, values))
        self.rip, self.rflags = struct.unpack_from("<QQ", self.raw, STATE_RIP)
        self.gdtr = struct.unpack_from("<QH", self.raw, STATE_GDTR)
        self.idtr = struct.unpack_from("<QH", self.raw, STATE_IDTR)


def never_there(t, run, what):
    """The guest did not come to a place that it must come to."""
    t.orderly(run)
    t.fail(f"the guest never came to {what}; {said_of_end(run)}",
           f"the guest at {what}", "it was never there")


# -- 1.1: enter ring 1 ------------------------------------------------------------------------------


def cli_guest(t, name="first", points=4):
    """Arithmetic, then one `cli`: (path, labels on the way, with `trap` as the last)."""
    p = Program(t.rng)
    names = ["_start"]
    for _ in range(points):
        p.churn(6)
        names.append(p.label())
    p.label("trap")
    p.op("cli")
    p.end()
    return p.assemble(t.directory, name), [*names, "trap"]


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
    poked, found = [], []

    def poke(client, regs):
        if not poked:
            poked.append(regs["rdi"])
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
    """A program of OUTs in all forms against the bare machine."""
    same_as_bare(t, programs.outs(t.rng), "outs")


def out_flags(t):
    """No flag and no register changes by an emulated OUT."""
    same_as_bare(t, programs.flags_survive(t.rng), "flags")


def out_foreign(t):
    """Ports that are not the guest's: no reset, no forged record, and the next guest is right."""
    contained(t, ["ports", "side-channel"])


# -- hostile guests ---------------------------------------------------------------------------------


def hostile_modules(t, attacks):
    """One module per attack, all of the same image."""
    image = t.image.guests / "hostile.elf"
    if not image.is_file():
        raise Trouble("guest/hostile was not built")
    found = []
    for i, attack in enumerate(attacks):
        path = t.path(f"attack{i}.elf")
        # A copy of its own: the kernel takes the guest's name from the file's.
        shutil.copyfile(image, path)
        found.append((path, f"attack={attack}"))
    return found


def contained(t, attacks, limits=LIMITS, **more):
    """Each attack must fail, and a fresh program after it must still come out right."""
    program = programs.outs(t.rng, 10)
    after = program.assemble(t.directory, "after")
    # On Bochs a bare program must poll COM1, which this one does not; its output is the same.
    bare = t.bare(after, machine="qemu")
    for at in range(0, len(attacks), 6):
        part = attacks[at:at + 6]
        modules = [*hostile_modules(t, part), module(after)]
        names = []
        for i in range(len(part)):
            names += [f"attack{i}", "after"]
        run = t.boot(commands(*names), modules=modules, elf=[t.image.guests / "hostile.elf"],
                     limits=limits, **more)
        judge_attacks(t, run, part, bare)


def judge_attacks(t, run, part, bare):
    """The verdict on one boot with several attacks, each followed by the honest guest."""
    found = evidence.lives(run)
    for i, attack in enumerate(part):
        one, honest = life(run, 2 * i), life(run, 2 * i + 1)
        t.check(b"went through" not in one.output, f"the attack `{attack}` went through",
                "it is stopped, or has no effect", one.output)
        if len(found) <= 2 * i + 1:
            t.notes.append(f"the last thing that ran was the attack `{attack}`")
            t.orderly(run)
            t.fail(f"after the attack `{attack}` no other guest could be started",
                   "the host goes on", one.said())
        t.check(attack.encode() + b": begins" in one.output, f"the attack `{attack}` never began; "
                + one.said(), f"{attack}: begins", one.output)
        t.equal(bare.console, honest.output,
                f"what an honest guest prints after the attack `{attack}`")
    t.orderly(run)
    t.check(len(found) == 2 * len(part), "guests were reported that nobody started",
            2 * len(part), len(found))
    forged = [args for _, args in run.tagged("end") if args.startswith("d9 ")]
    t.check(not forged, "a guest wrote a record of its own to the host's side channel",
            "port 0xE9 is not the guest's", forged)


# -- 1.3: truncated segments ------------------------------------------------------------------------

DESC_A, DESC_RW, DESC_EC, DESC_CODE, DESC_S = (1 << bit for bit in (40, 41, 42, 43, 44))
DESC_P, DESC_L, DESC_DB, DESC_G = (1 << bit for bit in (47, 53, 54, 55))


def desc_base(d):
    """A descriptor's base."""
    return d >> 16 & 0xFFFFFF | d >> 56 << 24


def desc_limit(d):
    """A descriptor's limit in bytes."""
    raw = d & 0xFFFF | d >> 32 & 0xF0000
    return raw << 12 | 0xFFF if d & DESC_G else raw


def desc_dpl(d):
    """A descriptor's DPL."""
    return d >> 45 & 3


def describe(d):
    """A descriptor in words."""
    if not d & DESC_P:
        return f"{d:016x} (not present)"
    if not d & DESC_S:
        return f"{d:016x} (system descriptor or gate, type {d >> 40 & 15:#x}, DPL {desc_dpl(d)})"
    kind = "code" if d & DESC_CODE else "data"
    kind += (", conforming" if d & DESC_CODE else ", expand-down") if d & DESC_EC else ""
    kind += ", L=1" if d & DESC_L else ""
    return (f"{d:016x} ({kind}, DPL {desc_dpl(d)}, base {desc_base(d):08x}, "
            f"limit {desc_limit(d):08x}, D/B={d >> 54 & 1})")


def shadow_trouble(shadow, window):
    """What is dangerous about a shadow descriptor, or None."""
    if not shadow & DESC_P:
        return None
    code, base = shadow & DESC_CODE, desc_base(shadow)
    if not shadow & DESC_S:
        return "a gate, TSS or LDT (S=0) is present in the shadow: the guest may use it to leave ring 1"
    if code and shadow & DESC_L:
        return "a shadow descriptor has L=1: ring 1 in 64-bit mode is a supervisor over the host"
    if desc_dpl(shadow) not in (1, 3):
        return f"a shadow descriptor has DPL {desc_dpl(shadow)}; ring 1 and 3 are the guest's"
    if code and desc_dpl(shadow) == 3:
        return "ring-3 code is present in the shadow: iret and retf to ring 3 would not trap"
    if code and shadow & DESC_EC:
        return "conforming code is present in the shadow: an iret to ring 3 would not trap"
    if not shadow & DESC_A:
        return "a shadow descriptor has A=0: the CPU would write into the shadow table"
    if not code and shadow & DESC_EC:
        if shadow & DESC_DB or base + 0x10000 > window:
            return "an expand-down segment reaches into the VMM window"
        return None
    if base + desc_limit(shadow) >= window:
        return f"a segment reaches into the VMM window at {window:#x}"
    return None


def shadow_lost(guest, shadow, window):
    """What a harmless descriptor has lost on the way into its shadow, or None."""
    if not guest & DESC_P or not guest & DESC_S or guest & DESC_EC and not guest & DESC_CODE:
        return None
    if desc_dpl(guest) in (1, 2) or (desc_dpl(guest) == 3 and guest & DESC_CODE):
        return None
    base, end = desc_base(guest), desc_base(guest) + desc_limit(guest)
    if base >= window:
        return None
    if not shadow & DESC_P:
        if end >= window and window - base < PAGE:
            return None
        return ("the shadow of conforming code is not present: C and L are cleared, and the rest is kept"
                if guest & DESC_EC else "the shadow of an ordinary segment is not present")
    if desc_base(shadow) != base:
        return "the shadow has another base"
    if (guest ^ shadow) & (DESC_RW | DESC_CODE | DESC_DB):
        return "the shadow is of another type"
    wanted = 1 if desc_dpl(guest) == 0 else 3
    if desc_dpl(shadow) != wanted:
        return f"the shadow has DPL {desc_dpl(shadow)} instead of {wanted}"
    most = min(desc_limit(guest), window - 1 - base)
    if end < window and desc_limit(shadow) != most:
        return "the shadow of a segment that ends below the window has another limit"
    if desc_limit(shadow) + PAGE <= most:
        return "the shadow was cut by a page or more too much"
    return None


def judge_shadow(t, guest, shadow, window):
    """One descriptor and its shadow."""
    trouble = shadow_trouble(shadow, window) or shadow_lost(guest, shadow, window)
    if trouble:
        t.notes.append(f"the guest's descriptor: {describe(guest)}")
        t.notes.append(f"its shadow: {describe(shadow)}")
        t.notes.append(f"the window begins at {window:#x}")
        t.fail(f"shadow_descriptor(): {trouble}", f"for {describe(guest)}: a shadow by the rules "
               "of exercise 1.3", describe(shadow))


def interesting(t):
    """[(descriptor, window)]: harmless ones, hostile ones, and those at the edges."""
    d, rng = segments.descriptor, t.rng
    found = [(one, WINDOW) for one in segments.evil_descriptors(rng, 90)]
    for access in (0x9A, 0x92, 0x9E, 0x96, 0xF2, 0xFA, 0xB2, 0xD2, 0x12, 0x89, 0x82, 0xEC, 0xE5):
        found.append((d(0, 0xFFFFF, access, 0xC), WINDOW))
    for base, limit, flags in ((0, WINDOW // PAGE - 1, 0xC), (0, WINDOW // PAGE, 0xC),
                               (WINDOW, 0, 4), (WINDOW - 1, 0, 4), (WINDOW - 1, 1, 4),
                               (WINDOW - PAGE, 0xFFF, 4), (WINDOW - PAGE, 0x1000, 4),
                               (1, 0xFFFFF, 0xC), (0xFFFFFFFF, 0xFFFFF, 0xC),
                               (WINDOW - 0x100000, 0xFFFFF, 4), (0x1000, 0xFFFFE, 0xC)):
        found.append((d(base, limit, 0x92, flags), WINDOW))
    for _ in range(40):
        window = rng.randrange(0x40000000, 0x100000000, 4 << 20)
        base = rng.choice((0, rng.getrandbits(32), window - rng.randrange(1, 1 << 21)))
        found.append((d(base & 0xFFFFFFFF, rng.getrandbits(20), rng.choice((0x92, 0x9A)),
                        rng.choice((4, 0xC))), window))
    rng.shuffle(found)
    return found


def called(t, function, cases):
    """Calls a function of the kernel with each pair of arguments: (Run, the results until it did not come back)."""
    entry, start, results = t.symbol(function), t.symbol("monitor_run"), []

    def call(client, regs):
        if regs["rip"] != start or results:
            return True
        stack = (regs["rsp"] - 0x800) & ~15
        client.write(stack - 8, struct.pack("<Q", start))
        for first, second in cases:
            client.set_reg("rdi", first)
            client.set_reg("rsi", second)
            client.set_reg("rsp", stack - 8)
            client.set_reg("rip", entry)
            client.cont()
            back = client.regs()
            if back["rip"] != start:
                return True
            results.append(back["rax"])
        for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10",
                     "r11", "r12", "r13", "r14", "r15", "rip", "eflags"):
            client.set_reg(name, regs[name])
        return True

    run, _ = witness(t, "-- off", {start: call})
    return run, results


def shadow_rules(t):
    """shadow_descriptor() is called from outside, on descriptors that nobody could foresee."""
    cases = interesting(t)
    run, results = called(t, "shadow_descriptor", cases)
    if len(results) < len(cases):
        t.orderly(run)
        t.fail(f"shadow_descriptor() did not come back for {describe(cases[len(results)][0])}")
    for (guest, window), shadow in zip(cases, results):
        judge_shadow(t, guest, shadow, window)
    t.orderly(run)


def read_shadow_gdt(client):
    """The guest's part of the GDT that the CPU uses, from the window in slot 260."""
    data = client.read(GDT_WINDOW, GDT_GUEST_PAGES * PAGE)
    return [(8 * i, word) for i, word in enumerate(struct.unpack(f"<{len(data) // 8}Q", data))
            if word & DESC_P]


def judge_gdt(t, entries, where):
    """Every present entry of the shadow GDT against the rules."""
    for selector, shadow in entries:
        trouble = shadow_trouble(shadow, WINDOW)
        t.check(not trouble, f"{where}: selector {selector:#06x} of the GDT that the CPU uses: "
                f"{trouble}", "shadow descriptors by the rules of exercise 1.3", describe(shadow))


def shadow_live(t):
    """The GDT that is in use while a guest runs, read from outside."""
    guest, _ = cli_guest(t)
    entry, = labels(guest, "_start")
    found = []

    def look(client, regs):
        found.append((regs["cs"], regs["ss"], read_shadow_gdt(client)))
        return True

    run, _ = witness(t, commands("first"), {entry: look}, modules=[module(guest)], elf=[guest])
    if not found:
        never_there(t, run, "its first instruction")
    code, stack, entries = found[0]
    judge_gdt(t, entries, "at the guest's first instruction")
    table = dict(entries)
    for name, selector in (("CS", code), ("SS", stack)):
        t.check(selector & ~7 in table, f"{name} does not come from the guest's part of the GDT",
                f"a present entry for {selector:#06x}", [hex(one) for one, _ in entries])
    t.orderly(run)


def window_safe(t):
    """Attacks on the VMM window that need no table of the guest's own."""
    contained(t, ["window-write", "window-execute", "stack-top"])


def limits_bochs(t):
    """What QEMU gets wrong, on a machine that gets it right: segment limits."""
    contained(t, ["window-read"])


def v86_bochs(t):
    """IRET to virtual-8086 mode on a machine that does not allow it to ring 1. The attack loads tables first."""
    contained(t, ["iret-v86"])


def limits_qemu(t):
    """QEMU does not check segment limits: the stated gap, kept true."""
    t.todo = "QEMU checks no segment limits, so a guest can read the window (Bochs shows it can't)"
    contained(t, ["window-read"])


def v86_qemu(t):
    """QEMU lets ring 1 enter virtual-8086 mode by IRET. The next trap from there ends the guest."""
    contained(t, ["v86-trap"])


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
    offset = evidence.offset_of(t.image.root, "vmm/vcpu.h", "struct vcpu", "state.sti_shadow")
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


# -- 1.5: GDT, IDT and CR state ---------------------------------------------------------------------


def control_state(t):
    """CR0, CR2, CR3, CR4, CLTS and LMSW in a random order against the bare machine."""
    same_as_bare(t, programs.control_registers(t.rng), "control")


def own_tables(t):
    """Random GDTs, far jumps, segment loads and edits in place against the bare machine."""
    same_as_bare(t, segments.own_tables(t.rng), "tables")


def table_registers(t):
    """What lgdt and lidt leave in the virtual CPU's state, and that the CPU's own stay the host's."""
    p, points = Program(t.rng), []
    for _ in range(6):
        kind = t.rng.choice(("gdt", "idt"))
        base, limit = p.base + 0x20000 + t.rng.randrange(0, 0x8000), t.rng.randrange(0x10, 0x400)
        if kind == "idt":
            base, limit = t.rng.getrandbits(32), t.rng.getrandbits(16)
        where = p.base + 0x30000 + t.rng.randrange(0, 0x100)
        p.op(f"mov word [{where:#x}], {limit:#x}", f"mov dword [{where + 2:#x}], {base:#x}",
             f"l{kind} [{where:#x}]")
        points.append((p.label(), kind, base, limit))
        p.op("nop")
    p.end()
    guest = p.assemble(t.directory, "registers")
    where = dict(zip(labels(guest, *(one[0] for one in points)), points))
    vcpu, seen, want = [], [], {}

    def dispatch(_client, regs):
        vcpu[:] = [regs["rdi"]]
        return False

    def look(client, regs):
        name, kind, base, limit = where[regs["rip"]]
        seen.append(name)
        want[kind] = (base, limit)
        state = State(client, vcpu[0])
        for one, value in want.items():
            got = state.gdtr if one == "gdt" else state.idtr
            t.check(got == value, f"after l{kind} the guest's {one.upper()}R, in v->state.{one}r, is "
                    "not what was loaded last", f"base {value[0]:#x}, limit {value[1]:#x}",
                    f"base {got[0]:#x}, limit {got[1]:#x}")
        return name == points[-1][0]

    watch = dict.fromkeys(where, look) | {t.symbol("exit_dispatch"): dispatch}
    run, _ = witness(t, commands("registers"), watch, modules=[module(guest)], elf=[guest])
    if len(seen) < len(points):
        never_there(t, run, "the end of its lgdt and lidt instructions")
    t.orderly(run)


def shadow_tables(t):
    """A GDT full of hostile descriptors: none of them comes into the GDT that the CPU uses."""
    program, points = segments.evil_tables(t.rng)
    guest = program.assemble(t.directory, "evil")
    where, found = labels(guest, *points), []

    def look(client, regs):
        found.append((regs["rip"], read_shadow_gdt(client)))
        return len(found) == len(where)

    run, _ = witness(t, commands("evil"), dict.fromkeys(where, look), modules=[module(guest)],
                     elf=[guest])
    if len(found) < len(where):
        never_there(t, run, "the instruction behind its lgdt" if not found else
                    "the place behind its far jump and its edits")
    for _, entries in found:
        judge_gdt(t, entries, "after lgdt")
        t.check(any(selector < 0xDFC0 for selector, _ in entries), "after lgdt no descriptor of the "
                "guest's has a shadow", "shadows of its code and data segments", "none")
    t.orderly(run)


def refused_cr(t):
    """A control register value that te refuses ends the guest there and then."""
    program, what = segments.forbidden_cr(t.rng)
    guest = program.assemble(t.directory, "forbidden")
    behind, = labels(guest, "after")
    honest = programs.outs(t.rng, 6).assemble(t.directory, "after")
    bare = t.bare(honest)
    run = t.boot(commands("forbidden", "after"), modules=[module(guest), module(honest)],
                 elf=[guest, honest], watch=(behind,), limits=LIMITS, icount=True)
    times = run.counts.watches.get(behind, 0) if run.counts else 0
    t.check(not times, f"the guest ran on although {what}, which te refuses: what te_write_cr() says "
            "decides", "nothing runs behind that instruction", f"{times} times behind it")
    t.orderly(run)
    t.equal(b"before\n", life(run).output, "what the guest prints before it")
    count = len(evidence.lives(run))
    t.check(count == 2, "the next guest could not be started", "two guests", count)
    compare(t, bare, run, 1)


TABLE_ATTACKS = ["wrap-segment", "window-segment", "expand-down", "long-gdt", "long-ldt", "call-gate",
                 "call-gate-ldt", "tss", "task-gate", "iret-host-user32", "iret-host-user64",
                 "iret-ring3", "iret-conforming", "iret-wild", "retf-ring3", "gdt-wild",
                 "gdt-large"]
OTHER_ATTACKS = ["jump-host-code", "jump-host-user32", "jump-host-user64", "jump-host-tss",
                 "load-host-data", "load-host-user-data", "iret-host-code", "syscall", "sysenter",
                 "flag-df", "flag-nt", "flag-ac", "flag-tf", "popf-iopl", "ud", "divide", "jump-nowhere", "faults",
                 "int-host", "spin"]


def attacks_tables(t):
    """Descriptor tables as weapons."""
    contained(t, TABLE_ATTACKS)


def attacks_others(t):
    """All the rest: host selectors, syscall, flags, endless faults."""
    contained(t, OTHER_ATTACKS)


def secrets(t):
    """What one guest leaves in XMM registers and DR0, its neighbour must not see."""
    modules = hostile_modules(t, ["secret-leave", "secret-look"])
    run = t.boot("trace=1 -- start attack0 &; start attack1; start attack1; off", modules=modules,
                 elf=[t.image.guests / "hostile.elf"], limits=LIMITS)
    t.orderly(run)
    lookers = [one for one in evidence.lives(run) if one.name == "attack1"]
    t.check(len(lookers) == 2, "the neighbour could not be started twice", 2, len(lookers))
    for one in lookers:
        t.equal(b"secret-look: begins\nsecret-look: no effect\n", one.output,
                "what a guest finds in XMM and DR0 that another one uses")
