"""Lab 1A's checks of descriptors: 1.3, truncated segments, and 1.5, tables and control registers."""

import struct

from zeno.guests import programs, segments
from zeno.guests.programs import Program
from zeno.judging import evidence
from zeno.machines import machine

from .guests import (GDT_GUEST_PAGES, GDT_WINDOW, LIMITS, PAGE, State, WINDOW, called, cli_guest, commands,
                     compare, contained, hostile_modules, labels, life, module, never_there, same_as_bare, witness)

FEW = machine.Limits(instructions=150_000_000, console_bytes=1 << 20, side_bytes=16 << 20)

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
    if not guest & DESC_P or not guest & DESC_S:
        return None
    if desc_dpl(guest) in (1, 2) or (desc_dpl(guest) == 3 and guest & DESC_CODE):
        return None
    base, end = desc_base(guest), desc_base(guest) + desc_limit(guest)
    if guest & DESC_EC and not guest & DESC_CODE:
        kept = DESC_P | DESC_RW | DESC_EC | DESC_CODE | DESC_DB
        if guest & DESC_DB or base + 0x10000 > window:
            return None
        if (guest ^ shadow) & kept or desc_base(shadow) != base or desc_limit(shadow) != desc_limit(guest):
            return "an expand-down segment that can't reach the window is not kept as it is"
        return None
    if base >= window:
        return None
    if not shadow & DESC_P:
        if end >= window and window - base < PAGE:
            return None
        if end >= window:
            return "the shadow of a segment that begins below the window is not present: it is cut, not lost"
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
    # Expand-down data with D/B=0 ends 64 KiB above its base.
    for base, limit, flags in ((WINDOW - 0x10000, 0xFFF, 0), (WINDOW - 0xFFFF, 0xFFF, 0), (WINDOW - 0x10000, 0xFFF, 4),
                               (0x100000, rng.getrandbits(16), 0), (0x100000, 3, 8)):
        found.append((d(base, limit, 0x96, flags), WINDOW))
    for _ in range(40):
        window = rng.randrange(0x40000000, 0x100000000, 4 << 20)
        base = rng.choice((0, rng.getrandbits(32), window - rng.randrange(1, 1 << 21)))
        found.append((d(base & 0xFFFFFFFF, rng.getrandbits(20), rng.choice((0x92, 0x9A)),
                        rng.choice((4, 0xC))), window))
    rng.shuffle(found)
    return found


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
    no_shadow(t)
    effects_of_tables(t)


def effects_of_tables(t):
    """What lgdt, lidt and reads of control registers did is in their exit records."""
    p, wanted = Program(t.rng), []
    for at, kind in enumerate(("gdt", "idt")):
        where, base, limit = p.base + 0x30000 + 16 * at, p.base + 0x20000 + t.rng.randrange(0x1000), t.rng.randrange(16, 256)
        p.op(f"mov word [{where:#x}], {limit:#x}", f"mov dword [{where + 2:#x}], {base:#x}", f"l{kind} [{where:#x}]")
        wanted.append(f": table at {base:08x}, limit {limit:04x}")
    value = p.word()
    p.op(f"mov eax, {value:#x}", "mov cr2, eax", "mov ebx, cr2", "cli", "hlt")
    wanted.append(f": cr2 -> {value:08x}")
    guest = p.assemble(t.directory, "effects")
    run = t.boot("trace=1 -- start effects; last; off", modules=[module(guest)], elf=[guest], limits=LIMITS)
    t.orderly(run)
    said = "\n".join(evidence.exits_in_words(run))
    for one in wanted:
        t.check(one in said, "an exit's record does not tell what was done: exit_effect() was not called with it", one, said)


def no_shadow(t):
    """te_gdt_changed() is made to fail, once: the guest ends there, and the next one runs."""
    p = Program(t.rng)
    where = p.base + 0x30000
    p.op(f"mov word [{where:#x}], 0x1f", f"mov dword [{where + 2:#x}], {p.base + 0x20000:#x}", f"lgdt [{where:#x}]")
    p.label("behind")
    p.op("nop")
    p.end()
    guest = p.assemble(t.directory, "wants")
    behind, = labels(guest, "behind")
    failed, ran = [], []

    def fail(client, regs):
        if not failed:
            failed.append(True)
            back, = struct.unpack("<Q", client.read(regs["rsp"], 8))
            for name, value in (("rax", -12 & (1 << 64) - 1), ("rsp", regs["rsp"] + 8), ("rip", back)):
                client.set_reg(name, value)
        return False

    def look(_client, _regs):
        ran.append(True)
        return True

    run, _ = witness(t, commands("wants", "wants"), {t.symbol("te_gdt_changed"): fail, behind: look},
                     modules=[module(guest)], elf=[guest])
    t.orderly(run)
    t.check(failed, "lgdt does not come to te_gdt_changed(): the new GDT has no shadow", "a call", "none")
    count = len(evidence.lives(run))
    t.check(count == 2, "the next guest could not be started", "two guests", count)
    ended = life(run).end
    t.check(ended and ended[0] != "ended", "te_gdt_changed() failed for want of memory, and the guest "
            "goes on with a GDT that has no shadow", "it is stopped at the lgdt", life(run).said())


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
    """A control register value that te refuses ends the guest there and then, whichever it is."""
    kinds = range(len(segments.FORBIDDEN))
    order = t.rng.sample(kinds, len(kinds))
    guests = [segments.forbidden_cr(t.rng, kind).assemble(t.directory, f"forbidden{kind}") for kind in kinds]
    behind = [labels(guest, "after")[0] for guest in guests]
    honest = programs.outs(t.rng, 6).assemble(t.directory, "after")
    bare = t.bare(honest)
    run = t.boot(commands(*(f"forbidden{kind}" for kind in order), "after"), modules=[module(one) for one in (*guests, honest)],
                 elf=[*guests, honest], watch=tuple(behind), limits=FEW, icount=True)
    for at, kind in enumerate(order):
        times = run.counts.watches.get(behind[kind], 0) if run.counts else 0
        t.check(not times, f"the guest ran on although {segments.FORBIDDEN[kind][0]}, which te refuses: what te_write_cr() "
                "says decides", "nothing runs behind that instruction", f"{times} times behind it")
        t.orderly(run)
        t.equal(b"before\n", life(run, at).output, "what the guest prints before it")
    count = len(evidence.lives(run))
    t.check(count == len(order) + 1, "the next guest could not be started", f"{len(order) + 1} guests", count)
    compare(t, bare, run, len(order))
    refused_in_place(t)


def refused_in_place(t):
    """A write that is the guest's own #GP leaves rip at the instruction, as every fault does."""
    p = Program(t.rng)
    p.op(f"mov ecx, {1 << t.rng.randrange(22, 32):#x}")
    place = p.label("wrong")
    p.op("mov cr4, ecx")
    p.end()
    guest = p.assemble(t.directory, "faults")
    at, = labels(guest, place)
    seen = []

    def look(client, regs):
        seen.append(State(client, regs["rdi"]).rip)
        return True

    run, _ = witness(t, commands("faults"), {t.symbol("te_inject"): look}, modules=[module(guest)], elf=[guest])
    t.orderly(run)
    t.check(seen, "the guest wrote a reserved bit of CR4, and no #GP is on its way to it", "a #GP", life(run).said())
    t.check(seen[0] == at, "te_write_cr() did not say RESUME, and rip was moved: the #GP's rip is not the instruction's",
            f"{at:#x}", f"{seen[0]:#x}")


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
