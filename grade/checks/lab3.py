"""Lab 3: binary translation.

Equivalent: programs made for this run print the same under bt as on the bare machine, whatever ring 1 would have shown
them. Witnessed: the CPU's ring, the page tables that it really uses, and how often the world switch, the translator
and the guest's own code really ran, counted from outside.
"""

import random
import re
import struct

from zeno.guests import irqs, loops, mixtures, programs
from zeno.machines import machine
from zeno.guests.programs import Program
from zeno.judging import headers
from zeno.judging.trial import Trouble

from .guests import (FLAG_IF, IOPL, LIMITS, State, WINDOW, compare, hostile_modules, judge_attacks, labels, life,
                     module, never_there, said_of_end, witness)
from .lab1 import on_bare, registers_equal
from .lab1b import audited, real_ring

FEW = machine.Limits(instructions=600_000_000, console_bytes=1 << 20, side_bytes=64 << 20)
"""For programs that are short: what comes for ever is seen soon."""
MANY = machine.Limits(instructions=4_000_000_000, console_bytes=1 << 20, side_bytes=64 << 20)
"""For one that is not, as long as the exercises that make it short are not done."""
ADDRESS = 0x000FFFFFFFFFF000
PTE_P, PTE_W, PTE_U, PTE_PS, PTE_NX = 1, 2, 4, 0x80, 1 << 63
PAGE, WINDOW_SIZE = 4096, 4 << 20


# -- what all of them share -------------------------------------------------------------------------


def commands(*names, options=""):
    """The kernel's command line: start these guests on bt one after the other, then turn off."""
    starts = "; ".join(f"start {name} engine=bt" for name in names)
    return f"trace=1{options} -- {starts}; off"


def layout(t, name):
    """A constant of vmm/bt/bt.h."""
    for file in ("vmm/bt/bt.h", "vmm/bt/translate.h"):
        found = re.search(rf"#define\s+{name}\s+(0x[0-9a-f]+|\d+)u?\b", (t.image.root / file).read_text())
        if found:
            return int(found[1], 0)
    raise Trouble(f"vmm/bt does not define {name}")


def run_both(t, program, name="guest", watch=(), icount=False, limits=FEW):
    """A program bare and under bt: same output, same exit code, the host alive. Gives (Run, bare, path)."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest, icount=icount, limits=FEW)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest], watch=tuple(watch), icount=icount, limits=limits)
    compare(t, bare, run, 0)
    t.orderly(run)
    return run, bare, guest


def counted(t, program, *functions, **more):
    """run_both(), and how often functions of the host ran."""
    points = [t.symbol(name) for name in functions]
    run, _, _ = run_both(t, program, watch=points, **more)
    if not run.counts:
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    return [run.counts.watches.get(point, 0) for point in points]


def at_most(t, got, most, what):
    """Fail if a count is above its bound."""
    t.notes.append(f"{what}: {got}")
    t.check(got <= most, f"{what}: {got}", f"{most} at the most", got)


def facts(t, program, name):
    """A program that prints `yes:` and `no:` with a timer that counts instructions."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest, icount=True)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest], icount=True, limits=FEW)
    if b"no: " in bare.console:
        raise Trouble(f"the bare machine says no: {bare.text()}")
    wrong = re.findall(rb"no: ([^\n]*)", life(run).output)
    t.check(not wrong, "this does not hold under bt, and does on the bare machine: "
            + "; ".join(one.decode("latin-1") for one in wrong), bare.console, life(run).output)
    compare(t, bare, run, 0)
    t.orderly(run)


# -- 3.1: the block translator ----------------------------------------------------------------------


class Pages:
    """The page tables that the CPU uses, read from physical memory."""

    def __init__(self, client, cr3):
        self.client, self.root, self.tables = client, cr3 & ADDRESS, {}

    def table(self, at):
        """One table's 512 entries."""
        if at not in self.tables:
            self.tables[at] = struct.unpack("<512Q", self.client.read(at, PAGE, physical=True))
        return self.tables[at]

    def entry(self, address):
        """(the last entry for a linear address or 0, may the user, may anybody write)."""
        at, user, write = self.root, True, True
        for shift in (39, 30, 21, 12):
            one = self.table(at)[address >> shift & 511]
            if not one & PTE_P:
                return 0, False, False
            user, write, at = user and bool(one & PTE_U), write and bool(one & PTE_W), one & ADDRESS
            if one & PTE_PS and shift != 12:
                break
        return one, user, write


def first_block(t, guest, look, **more):
    """Stop at the first translated instruction of a guest."""
    at = WINDOW + layout(t, "BT_CODE_AT")
    return witness(t, commands(guest.stem), {at: look}, modules=[module(guest)], elf=[guest], **more)


def short_guest(t, name, count=4):
    """One block of arithmetic, then an `out`: (path, label of the `out`)."""
    p = Program(t.rng)
    p.op(f"mov edi, {p.word():#x}")
    p.churn(count)
    p.label("trap")
    p.op("out 0x80, al")
    p.end()
    return p.assemble(t.directory, name), "trap"


def translated(t):
    """Where the guest's kernel runs, with which rights, and what the pages of the window allow."""
    guest, _ = short_guest(t, "first")
    start, = labels(guest, "_start")
    found = []

    def look(client, regs):
        found.append(regs)
        mine, copy = (client.read(at, 5) for at in (start, regs["rip"]))
        t.check(mine == copy, "the guest's first instruction is the same in ring 1 (mov to a register), and its "
                "translation is not a copy", mine.hex(" "), copy.hex(" "))
        real_ring(t, regs, 1, "at the first translated instruction")
        judge_window(t, client, regs)
        return True

    run, _ = first_block(t, guest, look)
    if not found:
        never_there(t, run, f"the beginning of the cache ({WINDOW + layout(t, 'BT_CODE_AT'):#x})")
    t.check(found[0]["rax"] & 0xFFFFFFFF == 0x2BADB002, "EAX at the first translated instruction is not the boot "
            "loader's", "0x2badb002", f"{found[0]['rax'] & 0xFFFFFFFF:#x}")


def judge_window(t, client, regs):
    """No page of the window is the user's; one is writable, and no code is on it."""
    code, shared = layout(t, "BT_CODE_AT"), layout(t, "BT_SHARED_AT")
    writable, pages = [], Pages(client, regs["cr3"])
    for at in range(0, WINDOW_SIZE, PAGE):
        one, user, write = pages.entry(WINDOW + at)
        t.check(not user, f"the page at {WINDOW + at:#x} of the window is the user's", "U=0", f"{one:#x}")
        if one and write:
            writable.append(at)
            t.check(one & PTE_NX, f"the page at {WINDOW + at:#x} can be written and executed", "NX", f"{one:#x}")
        if at == code:
            t.check(one and not write and not one & PTE_NX, "the cache's code is not read-only and executable",
                    "W=0, NX=0", f"{one:#x}")
    t.check(writable in ([], [shared]), "pages of the window that the guest can write", f"at most {shared:#x}",
            [hex(one) for one in writable])


def straight(t):
    """The registers at the first call-out, after a block without a branch."""
    for number in range(2):
        guest, label = short_guest(t, f"block{number}", t.rng.randrange(3, 9))
        trap, start = labels(guest, label, "_start")
        bare = on_bare(t, guest, [start, trap])[trap]
        states = []

        def dispatch(client, regs, states=states):
            if struct.unpack("<H", client.read(regs["rsi"], 2))[0] != 1:
                states.append(State(client, regs["rdi"]))
            return bool(states)

        run, _ = witness(t, commands(guest.stem), {t.symbol("exit_dispatch"): dispatch}, modules=[module(guest)],
                         elf=[guest], watch=(start, trap))
        if not states:
            never_there(t, run, "its first call-out")
        got = dict(states[0].gpr) | {"eflags": states[0].rflags}
        registers_equal(t, bare, got, "the first call-out")
        times = [run.counts.watches.get(at, 0) for at in (start, trap)] if run.counts else []
        t.check(not any(times), "the guest's own code ran in its kernel: only its translation may", "0 times", times)


def blocks(t):
    """Long blocks: equal, and with few ways out of the cache."""
    program, insns = loops.long_blocks(t.rng)
    entries, = counted(t, program, "ring_enter")
    at_most(t, entries, insns // 6, f"entries into the cache for {insns} instructions without a branch")
    program, stores = mixtures.refused(t.rng)
    faults, = counted(t, program, "bt_count_fault", name="refused")
    at_most(t, faults, stores // 6, f"faults of two stores that the host has to do, {stores} times, and that are known to be hot")


def segments(t):
    """Nothing that the translator puts between shows: straight code with all kinds of memory operands."""
    run_both(t, mixtures.straight(t.rng))
    run_both(t, mixtures.narrow_stack(t.rng), "narrow")


def page_ends(t):
    """Code across the ends of pages."""
    run_both(t, loops.page_ends(t.rng))


# -- 3.2: call-outs ---------------------------------------------------------------------------------


def callouts(t):
    """Privileged and sensitive instructions between others, and the registers behind each."""
    run_both(t, mixtures.eighteen(t.rng))


def eighteen(t):
    """The audit of Lab 1B: every row of the kernel is the bare machine's."""
    run, rows, wanted, got = audited(t, commands("audit"), ("kernel",))
    differ = [row for row in rows if got.get(row) != wanted[row]]
    t.check(not differ, "rows that bt has not emptied: " + ", ".join(differ),
            {row: wanted[row].decode() for row in differ},
            {row: got.get(row, b"nothing; " + said_of_end(run).encode()).decode() for row in differ})


def precise(t):
    """Faults in the middle of blocks: every frame, and every register behind it."""
    run_both(t, loops.precise(t.rng))


def own_gate(t):
    """The call-out's vector is the guest's own, too."""
    run_both(t, loops.own_gate(t.rng, layout(t, "BT_VECTOR")))


# -- 3.3: the translation cache ---------------------------------------------------------------------


def cache_again(t):
    """What is translated once is found again."""
    program, most = loops.again(t.rng)
    times, = counted(t, program, "bt_translate")
    at_most(t, times, most, "translations of a program with a few hundred blocks")


def cache_full(t):
    """More blocks than there is room for, twice."""
    # Before 3.5 each of its jumps is an exit, and they are traced: that is much, and not wrong.
    times, = counted(t, loops.many_blocks(t.rng, t.rng.randrange(33_000, 34_000)), "bt_translate", limits=MANY)
    at_most(t, times, 150_000, "translations of 34,000 blocks that ran twice")
    run_both(t, loops.long_code(t.rng), "long", limits=MANY)


def cache_attacks(t):
    """The cache as a target: written, jumped into, and the one page that the guest can write full of rubbish."""
    rng = t.rng
    code, shared = layout(t, "BT_CODE_AT"), layout(t, "BT_SHARED_AT")
    target = WINDOW + code + rng.randrange(0, 0x400)
    bad = {"write": [f"mov dword [{target & ~3:#x}], {rng.getrandbits(32):#x}"],
           "jump": [f"mov eax, {target:#x}", "jmp eax"],
           "call": [f"call {target:#x}"],
           "stack": [f"mov esp, {target + 64 & ~3:#x}", "push eax", "pushfd"],
           "table": [f"mov dword [{WINDOW + shared + PAGE + 8 * rng.randrange(512):#x}], {rng.getrandbits(32):#x}"]}
    honest = mixtures.flag_play(random.Random(rng.getrandbits(32))).assemble(t.directory, "after")
    bare = t.bare(honest)
    modules, names = [module(honest)], []
    for name, lines in bad.items():
        p = Program(rng)
        p.print("begins\n")
        p.op(*lines)
        p.print("went through\n")
        p.end(1)
        modules.append(module(p.assemble(t.directory, name)))
        names += [name, "after"]
    run = t.boot(commands(*names), modules=modules, elf=[honest], limits=LIMITS)
    for i, name in enumerate(bad):
        one = life(run, 2 * i)
        t.equal(b"begins\n", one.output, f"what the guest `{name}` prints, which reaches for the cache")
        t.check(one.end is not None and one.end[0] == "stopped", f"the guest `{name}`, which reaches for the cache, is not "
                "stopped", "stopped", one.said())
        compare(t, bare, run, 2 * i + 1)
    t.orderly(run)


def cache_rubbish(t):
    """A guest that can write the shared page (no limits on QEMU) harms nobody but itself."""
    rng, shared = t.rng, layout(t, "BT_SHARED_AT")
    honest = mixtures.flag_play(random.Random(rng.getrandbits(32))).assemble(t.directory, "after")
    bare = t.bare(honest)
    p = Program(rng)
    p.print("begins\n")
    for _ in range(30):
        p.op(f"mov dword [{WINDOW + shared + 4 * rng.randrange(12):#x}], {rng.choice((p.word(), 0xffffffff)):#x}",
             rng.choice(("pushfd", "cli", "sti", "out 0x80, al", "nop", "push dword 0x3202\n        popfd")),
             f"call {p.label()}_f")
        p.label(f"at{p.count}_f")
    p.end(1)
    rubbish = p.assemble(t.directory, "rubbish")
    run = t.boot(commands("rubbish", "after"), modules=[module(rubbish), module(honest)], elf=[honest], limits=LIMITS)
    t.equal(b"begins\n", life(run).output[:7], "what the guest prints before it writes to the window")
    t.check(life(run).end is not None, "the guest with rubbish in its flags never ended", "an end", said_of_end(run))
    compare(t, bare, run, 1)
    t.orderly(run)


# -- 3.4: virtual flags -----------------------------------------------------------------------------


def flags_all(t):
    """cli, sti, pushf, popf in a random order, all flags and registers behind each."""
    run_both(t, mixtures.flag_play(t.rng))


def flags_inline(t):
    """The four in a loop: the same, and the host hears nothing of it."""
    program, count = loops.flag_loop(t.rng)
    entries, = counted(t, program, "ring_enter")
    at_most(t, entries, count // 3 + 2500, f"entries into the cache for {count} times cli, sti, pushf or popf")


def flags_pending(t):
    """An interrupt that waits comes when the guest lets it in."""
    facts(t, loops.pending(t.rng), "pending")


def flags_real(t):
    """While the guest's kernel has IF=0 and IOPL=3, the CPU has IF=1 and IOPL=0."""
    p, points = Program(t.rng), 0
    programs.mask_interrupts(p)
    for _ in range(6):
        flags = t.rng.choice((0, FLAG_IF)) | t.rng.choice((0, IOPL)) | 2
        p.op(f"push dword {flags:#x}", "popfd", t.rng.choice(("nop", "cli", "sti", "nop")), "nop", "out 0xed, al")
        points += 1
    p.end()
    guest = p.assemble(t.directory, "real")
    rip_at, flags_at = (headers.offset_of(t.image.root, "kern/trap.h", "struct ring_frame", field) for field in ("rip", "rflags"))
    seen = []

    def enter(client, regs):
        rip, flags = (int.from_bytes(client.read(regs["rdi"] + at, 8), "little") for at in (rip_at, flags_at))
        if WINDOW <= rip < WINDOW + WINDOW_SIZE:
            seen.append(flags)
            t.check(flags & FLAG_IF and not flags & IOPL, "the CPU enters the cache without IF, or with an IOPL",
                    "IF=1, IOPL=0", f"EFLAGS {flags:#x}")
        return False

    run, _ = witness(t, commands("real"), {t.symbol("ring_enter"): enter}, modules=[module(guest)], elf=[guest])
    if len(seen) < points:
        never_there(t, run, "its end")
    t.orderly(run)
    t.check(life(run).end and life(run).end[0] == "ended", "the guest did not come to its end", "exit code 0",
            said_of_end(run))


# -- 3.5 and 3.6: branches --------------------------------------------------------------------------


def jumps(t):
    """Branches of all kinds between all kinds of code."""
    run_both(t, mixtures.jumps(t.rng))


def chained(t):
    """Direct branches in a loop: once they are chained, the host hears nothing of them."""
    program, rounds = loops.direct_loop(t.rng)
    entries, = counted(t, program, "ring_enter")
    at_most(t, entries, rounds // 2 + 1500, f"entries into the cache for {rounds} rounds of direct branches")


def linked(t):
    """A new translation's jumps to blocks that are there are jumps from the beginning."""
    program, blocks = loops.steps_back(t.rng)
    entries, = counted(t, program, "ring_enter")
    # To each block its first two times, since a chain is made when its stub is met again; back from it never.
    at_most(t, entries, 2 * blocks + blocks // 2 + 500, f"entries into the cache for {blocks} new blocks, each with a branch "
            "to one that is translated")
    run_both(t, loops.late_calls(t.rng), "late")


def indirect(t):
    """Indirect branches in a loop, looked up in the cache."""
    program, rounds = loops.indirect_loop(t.rng)
    entries, = counted(t, program, "ring_enter")
    at_most(t, entries, rounds // 2, f"entries into the cache for {rounds} rounds of indirect branches")


def colliding(t):
    """Targets whose addresses have the same low half."""
    run_both(t, loops.colliding(t.rng))


# -- 3.7: code that changes -------------------------------------------------------------------------


def changing(t):
    """Self-modifying code of all kinds."""
    run_both(t, mixtures.changing(t.rng))


def beside(t):
    """One function is changed many times; the others stay translated."""
    program, functions, rounds = loops.beside(t.rng)
    times, = counted(t, program, "bt_translate")
    at_most(t, times, functions * 3 + rounds * 12 + 300, f"translations, when one of {functions} functions is changed "
            f"{rounds} times")


def mixed(t):
    """Code and data on one page: no trap for each write, no translation for each entry."""
    program, rounds = loops.mixed_loop(t.rng)
    writes, translations = counted(t, program, "bt_invalidate_range", "bt_translate")
    at_most(t, writes, rounds // 4, f"writes that were trapped, of {rounds} beside code")
    at_most(t, translations, rounds, f"translations for {rounds} rounds beside data that changes")


# -- 3.8: interrupts and ring 3 ---------------------------------------------------------------------


def interrupted(t):
    """Interrupts come between two instructions of the guest's, whatever stands for them."""
    facts(t, mixtures.interrupted(t.rng), "interrupted")


def timers(t):
    """Lab 1B's timers: asleep, behind sti, in ring 3, nested."""
    facts(t, irqs.timers(t.rng), "timers")


def trips(t):
    """Into ring 3 and back; what the user's code sees of its selectors and flags."""
    run_both(t, mixtures.trips(t.rng))


def user_direct(t):
    """Ring-3 code runs itself, not a translation, with its own GS."""
    program, label, rounds = loops.user_loop(t.rng)
    guest = program.assemble(t.directory, "user")
    bare = t.bare(guest)
    inside, start, enter = *labels(guest, label, "_start"), t.symbol("ring_enter")
    run = t.boot(commands("user"), modules=[module(guest)], elf=[guest], watch=(inside, start, enter), limits=FEW)
    compare(t, bare, run, 0)
    t.orderly(run)
    if not run.counts:
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    times = [run.counts.watches.get(at, 0) for at in (inside, start, enter)]
    t.check(times[0] == rounds, "the loop in ring 3 did not run itself, once each round", rounds, times[0])
    t.check(times[1] == 0, "the guest's own code ran in its kernel", "0 times", times[1])
    at_most(t, times[2], rounds // 2, f"entries into the guest for {rounds} rounds in ring 3")


ATTACKS = ["window-write", "window-execute", "wrap-segment", "window-segment", "call-gate", "task-gate", "iret-host-code",
           "iret-ring3", "jump-host-code", "load-host-data", "gdt-wild", "syscall", "sysenter", "flag-tf", "popf-iopl",
           "jump-nowhere", "faults", "int-host"]


def attacks(t):
    """Lab 1's hostile guests, on bt."""
    after = programs.outs(t.rng, 10).assemble(t.directory, "after")
    bare = t.bare(after, machine="qemu")
    for at in range(0, len(ATTACKS), 6):
        part = ATTACKS[at:at + 6]
        names = [name for i in range(len(part)) for name in (f"attack{i}", "after")]
        run = t.boot(commands(*names), modules=[*hostile_modules(t, part), module(after)],
                     elf=[t.image.guests / "hostile.elf"], limits=LIMITS)
        judge_attacks(t, run, part, bare)


def everything(t):
    """All of it, mixed."""
    run_both(t, mixtures.mix(t.rng, 44))
