"""Lab 2A: shadow page tables: the guest's walk, the fill, true and hidden faults, tracked tables.

Witnessed: the student's functions are called from outside with tables that were made for this run, and their
answers are judged by a walker of our own; and the tables that the CPU really uses are read from the machine's memory
and compared, entry by entry, with the guest's (pagewalk.py). Equivalent: programs with page tables of their
own print the same under te as on the bare machine.
"""

from zeno.guests import edits, paging, spaces, walks
from zeno.judging import pagehost, pagetables, pagewalk
from zeno.judging.pagewalk import FORMS, NX, P, U, W

from .guests import commands, compare, labels, life, module, never_there, witness
from .lab1b import FEW


def trio(t, make, tag, forms=paging.FORMATS):
    """A program in each format: the same output as bare, one boot for all of them."""
    guests = [make(t.rng, form).assemble(t.directory, f"{tag}-{form}") for form in forms]
    bare = [t.bare(guest) for guest in guests]
    run = t.boot(commands(*(guest.stem for guest in guests)), modules=[module(g) for g in guests],
                 elf=guests, limits=FEW)
    for number, one in enumerate(bare):
        compare(t, one, run, number)
    t.orderly(run)
    return run


# -- functions called from outside ------------------------------------------------------------------


def starter(t, form="plain"):
    """A guest that turns paging on and goes no further, and labels of it."""
    k = paging.Paged(t.rng, form)
    k.begin()
    space = k.space()
    k.turn_on(space)
    k.finish()
    return k, k.assemble(t.directory, "starter")


def outside(t, ask):
    """Stop where the guest's paging has just been turned on, and let ask(Host) call functions there."""
    k, guest = starter(t)
    asked = []

    def look(client, regs):
        if asked:
            return True
        asked.append(True)
        host = pagehost.Host(t, client, regs)
        try:
            ask(host, k)
        finally:
            host.restore()
        return True

    run, _ = witness(t, commands("starter"), {t.symbol("shadow_load_root"): look},
                     modules=[module(guest)], elf=[guest])
    if not asked:
        t.orderly(run)
        t.fail("the guest's paging was never turned on; " + life(run).said(),
               "its load of CR0 comes to shadow_load_root()", "it never did")
    t.orderly(run)


def told(answer):
    """A walk's outcome in words."""
    if answer.error is None:
        rights = "".join(name for name, bit in (("U", U), ("W", W), ("NX", NX)) if answer.rights & bit)
        return f"to {answer.gpa:#x}, rights {rights or 'none'}, at level {answer.last}"
    return f"a #PF with error code {answer.error:#x}, at level {answer.last}"


def judge_walk(t, case, right, got):
    """One walk."""
    t.check(got.state in (0, -14), "guest_walk() is not done: it gives neither 0 nor -EFAULT",
            "0 or -14", got.state)
    where = f"guest_walk() of {case.va:#x} in {case.form} paging" + case.words()
    if right.error is None:
        t.check(got.state == 0, f"{where} fails", told(right), told(got))
        t.check(got.gpa == right.gpa, f"{where} leads to another place", told(right), told(got))
        t.check(got.rights == right.rights, f"{where}: w->rights is not what all of the entries grant "
                "together", told(right), told(got))
    else:
        t.check(got.state == -14, f"{where} should fail", told(right), told(got))
        t.check(got.error == right.error, f"{where}: the error code is another", told(right), told(got))
    t.check(got.last == right.last, f"{where}: w->last is not the level at which the walk ends",
            right.last, got.last)


def walk_paths(t):
    """Walks that lead somewhere, in four paging modes."""
    def ask(host, k):
        for form in t.rng.sample(FORMS, len(FORMS)):
            tables = pagetables.Tables(t.rng, host, form, k.pool)
            for case in tables.good(10):
                judge_walk(t, case, tables.walk(case), host.walk(case))
            tables.gone()

    outside(t, ask)


def walk_faults(t):
    """Walks that end early: entries that are not present, and reserved bits that are set."""
    def ask(host, k):
        for form in t.rng.sample(FORMS, len(FORMS)):
            tables = pagetables.Tables(t.rng, host, form, k.pool)
            for case in tables.bad(12):
                judge_walk(t, case, tables.walk(case), host.walk(case))
            tables.gone()

    outside(t, ask)


def walk_registers(t):
    """PAE's four registers: read together, checked, and looked at instead of memory ever after."""
    def ask(host, k):
        for bad in t.rng.sample((0, 1, 0, 2), 4):
            entries = [(t.rng.randrange(1, 1 << 20) << 12) | (P if t.rng.random() < 0.7 else 0)
                       for _ in range(4)]
            if bad:
                at = 3 if bad == 1 else t.rng.randrange(4)  # the last: the first ones are good, and must not be kept
                entries[at] |= P | 1 << t.rng.choice((1, 2, 5, 6, 7, 8, 40, 51, 63))
            else:
                at = t.rng.randrange(4)
                entries[at] &= ~P  # what is not present may say what it likes
                entries[at] |= 1 << t.rng.choice((1, 5, 50, 63))
            root = k.pool[0] + 32 * t.rng.randrange(128)
            before = [t.rng.getrandbits(40) for _ in range(4)]
            state, after = host.pdptes(root, entries, before)
            shown = [f"{one:016x}" for one in entries]
            if bad:
                t.check(state == -22, f"paging_load_pdptes() takes {shown}: a present one has a "
                        "reserved bit set", "-22 (-EINVAL)", state)
                t.check(after == before, "paging_load_pdptes() has refused, and changed pdpte[] all "
                        "the same", [hex(one) for one in before], [hex(one) for one in after])
            else:
                t.check(state == 0, f"paging_load_pdptes() refuses {shown}", 0, state)
                t.check(after == entries, "paging_load_pdptes() fills pdpte[] with other values",
                        shown, [f"{one:016x}" for one in after])

    outside(t, ask)


# -- 2.2: fill --------------------------------------------------------------------------------------


def fill_entries(t):
    """Entries that shadow_fill() makes from walks that were made up here: where they lead and what they allow."""
    def ask(host, k):
        frames = k.pool[:]
        for form in t.rng.sample(FORMS[:3], 3):
            for case in pagetables.fills(t.rng, form, frames, 9):
                state = host.fill(case)
                t.check(state == 0, f"shadow_fill() gives {state} for {case.told()}", 0, state)
                judge_fill(t, host, case)
            host.forget()

    outside(t, ask)


def judge_fill(t, host, case):
    """The hardware's tables from the root down to the filled page."""
    path = host.hardware(case.va)
    t.check(len(path) == 4 and path[-1] & P, f"shadow_fill() leaves no mapping for {case.told()}",
            "present entries from the root to the page", [f"{one:#x}" for one in path])
    want = host.mfn_of(case.gpa)
    got = path[-1] >> 12 & (1 << 40) - 1
    t.check(got == want, f"the shadow of {case.told()} maps another machine frame",
            f"{want:#x}, which is guest frame {case.gpa >> 12:#x}", f"{got:#x}")
    tracked, dirty = host.tracked(case.gpa), host.dirty(case)
    for entry, level in zip(path[1:], (3, 2, 1)):
        right = case.rights(level, dirty) & ~(W if tracked and level == 1 else 0)
        real = entry & (U | W)
        names = f"at level {level} (bits U=4, W=2) for {case.told()}"
        t.check(not real & ~right, f"the shadow allows more than the guest's tables {names}",
                f"{right:#x}", f"{real:#x}")
        if not (case.writable() and dirty):
            right, real = right & ~W, real & ~W  # another level forbids it
        t.check(real == right, f"the shadow allows less than the guest's tables {names}",
                f"{right:#x}", f"{real:#x}")
    if tracked:
        t.check(not path[-1] & W, f"a tracked guest frame is writable in the shadow of {case.told()}",
                "W=0", f"{path[-1]:#x}")


def fill_kinds(t):
    """Which shadow an entry leads to: one per frame, use and part; the same one when it is used again."""
    def ask(host, _k):
        for form in t.rng.sample(FORMS[:3], 3):
            for va, level, last in pagetables.kinds(t.rng, form):
                right = pagetables.kind(form, va, level, last)
                got = host.kind(form, va, level, last)
                t.check(got == right, f"shadow_child_kind() at level {level} for {va:#x} in {form} "
                        f"paging, whose walk ends at level {last}", pagetables.kind_told(right),
                        pagetables.kind_told(got))

    outside(t, ask)


# -- 2.3: whose fault is it -------------------------------------------------------------------------


def fault_hidden(t):
    """Programs without a fault of their own: not one of the hidden faults may show."""
    trio(t, walks.identity, "hidden")


def fault_true(t):
    """True faults among hidden ones: error code, CR2, frame."""
    trio(t, walks.faults, "true")


def audited(t, program, name, stops=8, after=None):
    """Compare the CPU's tables with the guest's at some places of a program; after(Host, leaves) may add."""
    guest = program.assemble(t.directory, name)
    names = t.rng.sample(program.places[:-1], min(stops, len(program.places)) - 1)
    names.append(program.places[-1])
    names.sort(key=program.places.index)
    where, seen, vcpu = labels(guest, *names), [], []

    def dispatch(client, regs):
        vcpu[:] = [regs["rdi"]]
        client.remove(regs["rip"])
        return False

    def look(client, regs):
        host = pagehost.Host(t, client, regs, vcpu=vcpu[0])
        seen.append(regs["rip"])
        t.check(regs["cs"] & 3 in (1, 3), "the guest with paging runs in the host's ring", "CPL 1 or 3",
                f"CS {regs['cs']:#x}")
        t.check(regs["cr3"] & ~0xFFF == host.root, "the CPU does not use the domain's root while the "
                "guest runs", f"CR3 {host.root:#x}", f"CR3 {regs['cr3']:#x}")
        leaves = host.leaves()
        pagehost.audit(t, host, leaves)
        if after:
            after(host, leaves)
        return len(set(seen)) == len(set(where))

    run, _ = witness(t, commands(name), dict.fromkeys(where, look)
                     | {t.symbol("exit_dispatch"): dispatch}, modules=[module(guest)], elf=[guest])
    if not seen:
        never_there(t, run, "the first of the places where its tables are to be compared")
    t.orderly(run)
    if len(set(seen)) < len(set(where)):
        never_there(t, run, f"place {len(set(seen)) + 1} of {len(set(where))}")
    return run


def fault_live(t):
    """The tables that the CPU uses: nothing but the guest's frames in them, where the guest's tables say."""
    form = t.rng.choice(paging.FORMATS)
    counts = {}

    def after(host, _leaves):
        counts.update((name, host.count(name)) for name in ("emulated", "faults"))

    audited(t, walks.faults(t.rng, form), "live", after=after)
    most = walks.STEADY
    t.check(counts["emulated"] < most, "accesses that the CPU could do alone are emulated: "
            f"{2 * most} pages of RAM are written or read once each, where the guest's entries allow it",
            f"fewer than {most} emulated (stats.emulated)", counts["emulated"])
    t.check(counts["faults"], "the guest had true faults, and stats.faults counts none", "1 or more", 0)
    audited(t, walks.nowhere(t.rng, form), "nowhere")


# -- 2.4: tables that change ------------------------------------------------------------------------


def tables_edited(t):
    """Tables that change while in use: by any instruction, through any mapping."""
    trio(t, edits.edits, "edits")


def tables_live(t):
    """After each change the CPU's tables say what the guest's say, and no table can be written behind our back."""
    for form in t.rng.sample(paging.FORMATS, 2):
        audited(t, edits.edits(t.rng, form), f"tracked-{form}", stops=10)


FLOOD = 16
"""tables.c's: so many writes, and it is a table no more."""


def tables_flooded(t):
    """A table that is written and not used in between is given up; one that is used is kept."""
    def ask(host, k):
        for form in t.rng.sample(FORMS[:3], 3):
            case, other = pagetables.flooded(t.rng, form, k.pool)
            for one in (other, case) if other else (case,):
                t.check(host.fill(one) == 0, f"shadow_fill() fails for {one.told()}", 0, "not 0")
            judge_flood(t, host, case, other)
            host.forget()

    outside(t, ask)


def judge_flood(t, host, case, other):
    """Fifteen writes, a use, fifteen writes, and one more."""
    size = pagewalk.entry_size(case.form)
    table = case.entries[2] & ~0xFFF
    here = table + (case.va >> 12 & 4096 // size - 1) * size
    away = here ^ size  # another entry, of the same shadow
    told, before = f"the table of {case.told()}", host.count("flooded")

    def writes(number, at):
        for _ in range(number):
            host.written(at, size)

    def kept(when):
        t.check(host.tracked_as_table(table) and host.count("flooded") == before,
                f"{told} is given up {when}", f"kept: {FLOOD} writes without a use are too many", "given up")

    writes(FLOOD - 1, away)
    kept(f"after {FLOOD - 1} writes")
    t.check(len(host.hardware(case.va)) == 4 and host.hardware(case.va)[-1] & P,
            f"a write to another entry of {told} drops the entry for {case.va:#x}", "it stays", "it is gone")
    host.fill(case)
    writes(FLOOD - 2, away)
    dropped = host.count("dropped")
    writes(1, here)
    kept(f"{FLOOD - 1} writes after it was used: shadow_fill() sets `writes` to 0")
    t.check(not host.hardware(case.va)[-1] & P and host.count("dropped") == dropped + 1,
            f"a write to the entry of {case.va:#x} does not drop what follows from it, and count it",
            "no entry, stats.dropped one more",
            f"entry {host.hardware(case.va)[-1]:#x}, stats.dropped {host.count('dropped') - dropped} more")
    writes(1, away)
    t.check(host.count("flooded") == before + 1 and not host.tracked_as_table(table), f"{told} was written {FLOOD} times "
            "and not used in between: its shadow should be given up",
            "stats.flooded one more, the frame tracked no more as a page table",
            f"{host.count('flooded') - before} more, tracked: {host.tracked_as_table(table)}")
    if other:
        path = host.hardware(other.va)
        t.check(len(path) == 4 and path[-1] & P, "a table lies where a large page begins: writes to it drop "
                f"the shadow of the large page, too, {other.told()}", "SHADOW_DIRECT shadows no table: it "
                "stays", [f"{one:#x}" for one in path])


def tables_hostile(t):
    """Tables as weapons: each attack fails, and an honest guest runs after it."""
    attacks(t, spaces.ATTACKS)


def attacks(t, kinds):
    """Hostile guests made for this run, each followed by an honest one."""
    honest = walks.identity(t.rng, t.rng.choice(paging.FORMATS)).assemble(t.directory, "after")
    bare = t.bare(honest)
    kinds = t.rng.sample(kinds, len(kinds))
    guests = [spaces.attack(t.rng, kind).assemble(t.directory, f"attack-{kind}") for kind in kinds]
    names = [name for guest in guests for name in (guest.stem, "after")]
    run = t.boot(commands(*names), modules=[module(g) for g in [*guests, honest]],
                 elf=[*guests, honest], limits=FEW)
    for i, kind in enumerate(kinds):
        one = life(run, 2 * i)
        t.check(b"went through" not in one.output, f"the attack `{kind}` went through",
                "it is stopped, or has no effect", one.output)
        if life(run, 2 * i + 1).name != "after":
            t.notes.append(f"the last thing that ran was the attack `{kind}`")
            t.orderly(run)
            t.fail(f"after the attack `{kind}` no other guest could be started", "the host goes on",
                   one.said())
        t.check(b"begins" in one.output, f"the attack `{kind}` never began; {one.said()}", "begins",
                one.output)
        t.equal(bare.console, life(run, 2 * i + 1).output,
                f"what an honest guest prints after the attack `{kind}`")
    t.orderly(run)
    return run
