"""Lab 2B: accessed and dirty bits, rings and write protection, many address spaces.

Evidence as in Lab 2A (lab2.py). One test runs on Bochs, whose CPU is another implementation than QEMU's.
"""

from zeno.guests import paging, spaces
from zeno.judging import pagetables, pagewalk
from zeno.judging.pagewalk import A, D, ACCESS_FETCH, ACCESS_USER, ACCESS_WRITE, NX, U, W
from zeno.judging.trial import Trouble

from .guests import commands, compare, life, module
from .lab1b import FEW
from .lab2 import audited, outside, trio

# -- 2.5: accessed and dirty -----------------------------------------------------------------------


def marks_shown(t):
    """A and D of the guest's own entries, printed by the guest after accesses of all kinds."""
    trio(t, spaces.marks, "marks")


def marks_live(t):
    """No mapping of the CPU's without A in the guest's entries, none that is writable without D."""
    def after(host, leaves):
        for va, (_, rights) in leaves.items():
            answer, path = host.guest_path(host.guest_case(va))
            if answer.error is not None:
                continue
            entries = [f"{entry:#x}" for _, entry in path]
            t.check(all(entry & A for _, entry in path), f"the CPU has a mapping for {va:#x}, and not "
                    "all of the guest's entries are marked accessed: the next access would not mark "
                    "them", "A (bit 5) in all entries", entries)
            t.check(not rights & W or path[-1][1] & D, f"the CPU may write at {va:#x}, and the guest's "
                    "entry is not marked dirty: the write would not mark it",
                    "D (bit 6), or W=0 in the shadow", entries)

    program = spaces.marks(t.rng, t.rng.choice(paging.FORMATS))
    audited(t, program, "marks-live", after=after)
    outside(t, lambda host, k: marks_written(t, host, k))


def marks_written(t, host, k):
    """walk_mark() on walks that were made up here: what it writes, and that it writes nothing where nothing changes."""
    for form in t.rng.sample(pagewalk.FORMS, len(pagewalk.FORMS)):
        for case, how in pagetables.marks(t.rng, form, k.pool):
            for level, (before, after) in host.mark(case, how).items():
                right = case.marked(level, how)
                where = f"walk_mark() after a {'write' if how & ACCESS_WRITE else 'read'} of {case.told()}, at level {level}"
                if right == case.entries[level]:
                    t.check(after == before, f"{where}: there is nothing to mark, and the entry is written all the same",
                            "no write", f"{after:#x}")
                else:
                    t.check(after == right, f"{where}: the entry in memory is not what the CPU would make of it",
                            f"{right:#x}", "no write" if after == before else f"{after:#x}")


# -- 2.6: rights -----------------------------------------------------------------------------------


def rights_table(t):
    """rights_allow() for every combination of rights, access and CR0.WP."""
    def ask(host, _k):
        cases = [(rights, how, wp) for rights in (0, W, U, U | W, NX | U | W, NX)
                 for how in (0, ACCESS_WRITE, ACCESS_USER, ACCESS_USER | ACCESS_WRITE, ACCESS_FETCH,
                             ACCESS_USER | ACCESS_FETCH) for wp in (False, True)]
        for rights, how, wp in t.rng.sample(cases, len(cases)):
            room = host.room(0)
            case = pagewalk.Case("PAE", 0, how, wp, True)
            host.paging(room, case)
            got = bool(host.call("rights_allow", room, rights, how) & 0xFF)
            right = pagewalk.allowed(rights, how, wp)
            names = "".join(name for name, bit in (("U", U), ("W", W), ("NX", NX)) if rights & bit)
            t.check(got == right, f"rights_allow() {'allows' if got else 'refuses'} what it should not"
                    f"{' refuse' if right else ''}: entries with {names or 'neither U nor W'}"
                    + case.words(), right, got)

    outside(t, ask)


def rights_ring3(t):
    """U/S, R/W and WP at both levels, from ring 0 and from ring 3: which accesses fault, and how."""
    trio(t, spaces.rights, "rights")


def rights_live(t):
    """What the CPU's own tables allow the guest's ring 3, at places in both rings."""
    audited(t, spaces.rights(t.rng, t.rng.choice(paging.FORMATS)), "rights-live", stops=10)


def rights_bochs(t):
    """The same on Bochs, against the bare machine there."""
    form = t.rng.choice(paging.FORMATS)
    guest = spaces.rights(t.rng, form, rounds=2, polled=True).assemble(t.directory, "rights")
    bare = t.boot("", kernel=guest, elf=[guest], limits=FEW)
    t.runs.pop()
    if not bare.console:
        raise Trouble("the bare machine printed nothing: there is nothing to compare with")
    run = t.boot(commands("rights"), modules=[module(guest)], elf=[guest], limits=FEW)
    one = life(run)
    t.equal(bare.console, one.output, "what the guest `rights` prints on Bochs")
    t.orderly(run)


# -- 2.7: cached roots -----------------------------------------------------------------------------


def spaces_many(t):
    """Address spaces that share tables, change behind each other's back, end, and are used again."""
    trio(t, spaces.spaces, "spaces")


def spaces_cached(t):
    """Efficiency: back in an address space, what was mapped is mapped."""
    form = t.rng.choice(paging.FORMATS)
    rounds = t.rng.randrange(30, 60)
    k, pages = spaces.carousel(t.rng, form, 3, rounds)
    guest = k.assemble(t.directory, "carousel")
    bare = t.bare(guest)
    fault = t.symbol("shadow_fault")
    run = t.boot(commands("carousel"), modules=[module(guest)], elf=[guest], watch=(fault,),
                 limits=FEW)
    compare(t, bare, run, 0)
    t.orderly(run)
    if not run.counts:
        raise Trouble("nothing counts here: the TCG plugin is missing")
    times = run.counts.watches.get(fault, 0)
    most = 8 * pages + 60
    t.notes.append(f"{3 * rounds} loads of CR3, {pages} pages in three address spaces, {times} faults")
    t.check(times <= most, f"each load of CR3 makes the guest fault its pages in again: {times} page "
            f"faults came to the host for {pages} pages and {3 * rounds} loads of CR3",
            f"{most} or fewer", times)


def pool_hostile(t):
    """Page tables without end: the guest's own loss, and nobody else's."""
    form = t.rng.choice(paging.FORMATS)
    guest = spaces.flood(t.rng, form).assemble(t.directory, "flood")
    honest = spaces.spaces(t.rng, form, number=3, count=6).assemble(t.directory, "after")
    bare = [t.bare(guest), t.bare(honest)]
    run = t.boot(commands("flood", "after"), modules=[module(guest), module(honest)],
                 elf=[guest, honest], limits=FEW)
    compare(t, bare[0], run, 0)
    compare(t, bare[1], run, 1)
    t.orderly(run)


def pool_live(t):
    """While shadows are given up and made again, the CPU's tables still say what the guest's say."""
    audited(t, spaces.flood(t.rng, t.rng.choice(paging.FORMATS)), "flood-live",
            stops=5)
    outside(t, lambda host, _k: reclaimed(t, host))


def reclaimed(t, host):
    """shadow_reclaim() is asked for more than the pool may ever hold, and then for what it does."""
    for number, right in ((1 << t.rng.randrange(20, 30), False), (4, True)):
        got = bool(host.call("shadow_reclaim", host.m, number) & 0xFF)
        t.check(got == right, f"shadow_reclaim() says {'yes' if got else 'no'} to {number} shadows, and there "
                f"{'is' if right else 'is no'} room for so many: who asks makes them at once",
                "true" if right else "false", got)
