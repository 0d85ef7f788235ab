"""Lab 5A, exercise 5.1: nested tables that are filled by violation.

Witnessed: a fresh guest touches pages at random, and the tables that are left are read from the machine's memory.
"""

import struct

from zeno.guests.programs import Program
from zeno.judging import headers

from .guests import module
from .lab4 import said
from .lab5 import (ACCESS_WRITE, ADDRESS, E_ACCESS, E_GPA, FRAME_HOST, HEADERS, HOLE, LIMITS, MARKS, P2M_RAM, PS, TABLES, TRACK_LOG,
                   Calls, Domain, P, agree, words)

DIRECT, = headers.numbers(("kern/map.h",), ("DIRECT_MAP",))
E_BAD, SIZE_EXIT, P2M_MMIO, TRACK_OTHER, *ANSWERS = headers.numbers(HEADERS, (
    "offsetof(struct exit, nested.is_bad)", "sizeof(struct exit)", "P2M_MMIO", "TRACK_PAGE_TABLE", "MMU_FILLED", "MMU_EMULATE",
    "MMU_NO_FRAME", "MMU_BAD_TABLES", "MMU_TODO_NESTED"))
OUTCOMES = dict(zip(ANSWERS, ("filled", "emulate", "no frame", "bad tables", "not done")))

MIB = 32
PAGES = MIB << 8
NOWHERE = (0x2000, 0x7FFF0, 0x70000, 0xE0000, 0xFEDC0)
"""Frames beyond its RAM that a guest may try, without any device's."""


class Touching(Program):
    """Touches pages of its own, and some that nobody has."""

    def __init__(self, rng, count, nowhere=()):
        super().__init__(rng)
        self.pages = rng.sample(range(0x800, PAGES), count)
        """Guest frames that it reads or writes."""
        self.written = set(rng.sample(self.pages, count // 2))
        self.nowhere = list(nowhere)
        tries = [(page, page in self.written) for page in self.pages] + [(page, rng.random() < .5) for page in self.nowhere]
        rng.shuffle(tries)
        for page, write in tries:
            at = (page << 12) + rng.randrange(0, 0xFF8)
            self.op(f"mov [{at:#x}], ebx" if write else f"mov eax, [{at:#x}]")
        self.end(code=0)


class Ends:
    """A boot of one guest: its violations, and what there is when it has ended."""

    def __init__(self, t, elf, options, judge, **more):
        self.t, self.judge = t, judge
        self.violations, self.vcpu, self.looked = [], 0, False
        name = elf.stem
        cmdline = f"panic=off -- start {name} {options}; off"
        self.run, _ = t.witness(cmdline, {t.symbol("demand_fault"): self.violation, t.symbol("machine_off"): self.end},
                                modules=[module(elf)], limits=LIMITS, **more)
        if not self.looked:  # or it went down while it was looked at
            t.orderly(self.run)
            t.fail("the machine ended in the middle", "its end by `off`", self.run.detail)
        t.check(self.vcpu, "the guest ran without one violation, or never", "a violation", said(self.run, f"start {name} {options}"))

    def violation(self, client, regs):
        """At demand_fault()."""
        self.vcpu = regs["rdi"]
        gpa, = words(client, regs["rsi"] + E_GPA)
        self.violations.append((gpa >> 12, bool(client.read(regs["rsi"] + E_ACCESS, 1)[0] & ACCESS_WRITE)))
        self.t.check(len(self.violations) < 500, "the guest comes back from the same page for ever, and never gets on: its entry is not "
                     "where the CPU looks, or does not allow the access", "one violation a page", f"{gpa:x} and so on")
        return False

    def end(self, client, regs):
        """At the end of the machine: the guest that ended last is still there."""
        if self.vcpu:
            self.t.check(len(self.violations) > 2, "the guest stops at its first violations: it never comes to the pages that it is "
                         "to touch", "a violation for each", f"{len(self.violations)} in all")
            self.judge(Domain(self.t, client, self.vcpu), self, regs)
        self.looked = True
        return True


def touched(t, kind, options, pages, nowhere):
    """A guest of this kind of tables: all that it touched is mapped, what it did not touch is not."""
    guest = Touching(t.rng, pages, nowhere)
    elf = guest.assemble(t.directory, "touches")
    seen = {}

    def judge(domain, run, regs):
        p2m, tables = agree(t, domain, kind)
        mapped = tables.mapped()
        missing = [page for page in guest.pages if page not in mapped]
        t.check(not missing, "the guest has touched a page, went on, and no entry maps it: how did it reach its memory?",
                "an entry", ", ".join(f"{page:x}" for page in missing[:4]))
        met = {page for page, _ in run.violations}
        t.check(set(mapped) <= met, "pages are mapped that the guest has not touched", "as many as violations",
                ", ".join(f"{page:x}" for page in sorted(set(mapped) - met)[:4]))
        wild = [page for page in p2m if page >= domain.ram or page in HOLE and page in guest.nowhere]
        t.check(not wild, "memory was given where the guest has none", "no frame", ", ".join(f"{page:x}" for page in wild[:4]))
        filled = [page for page, _ in run.violations if page in mapped]
        twice = {page for page in filled if filled.count(page) > 1}
        t.check(not twice, "the same page is missed twice: its entry did not allow the first access", "one violation a page",
                ", ".join(f"{page:x}" for page in sorted(twice)[:4]))
        t.notes.append(f"{len(mapped)} frames mapped, {len(run.violations)} violations")

    ends = Ends(t, elf, options, judge)
    life = said(ends.run, f"start {elf.stem} {options}")
    t.check("exit code 0" in life, "the guest that only touches memory does not come to its end", "exit code 0", life)


def filled(t):
    """On AMD-V."""
    touched(t, "npt", f"mem={MIB}", 37, [t.rng.choice(HOLE[:0x18]), *t.rng.sample(NOWHERE, 3)])


def filled_vmx(t):
    """On VT-x."""
    touched(t, "ept", f"mem={MIB}", 12, t.rng.sample(NOWHERE, 1))


# -- by itself ---------------------------------------------------------------------------------------


def at_end(t, pages, options, judge):
    """Run a guest that touches so many pages to its end, and judge there."""
    guest = Touching(t.rng, pages)
    elf = guest.assemble(t.directory, "touches")
    life = said(Ends(t, elf, options, judge).run, f"start {elf.stem} {options}")
    t.check("exit code 0" in life, "the guest that only touches memory does not come to its end", "exit code 0", life)


def place(client, root, gfn, level):
    """Where the entry of a guest frame at a level is, by a walk of our own; None: something above it is no table."""
    at = root + 8 * (gfn >> 27 & 511)
    for below in range(3, level - 1, -1):
        entry, = words(client, at, physical=True)
        if not entry & P or below < 3 and entry & PS:
            return None
        at = (entry & ADDRESS) + 8 * (gfn >> 9 * (below - 1) & 511)
    return at


def way_down(t):
    """demand_entry() by itself: the place, the tables above it, larger pages in the way, no memory."""

    def one(domain, call, gfn, level, starve=False):
        before = domain.tables()
        got = call("demand_entry", domain.at, gfn, level, starve=starve)
        after = domain.tables()
        t.check(before.mapped() == after.mapped(), "demand_entry() has changed what the guest reaches", "all as before",
                f"{len(set(before.mapped().items()) ^ set(after.mapped().items()))} frames are not")
        return got, after

    def judge(domain, run, regs):
        client, call, rng = domain.client, Calls(t, domain.client, regs), t.rng
        blocks = [leaf.gfn for leaf in domain.tables().leaves if leaf.size > 1]
        t.check(blocks, "a guest that takes 2 MiB at a first touch has no page of 2 MiB", "one or more", "none")
        tries = [(rng.choice(blocks) + rng.randrange(512), 1), (rng.randrange(1 << 27, 1 << 35), rng.choice((1, 2, 3)))]
        tries += [(rng.randrange(PAGES, 1 << 27), level) for level in (1, 2, 3)] + [(rng.choice(run.violations)[0], 1)]
        starved = [(rng.randrange(1 << 28, 1 << 35), 1), (rng.choice(blocks) + rng.randrange(512), 1)]
        for gfn, level in rng.sample(starved, 2):
            got, _ = one(domain, call, gfn, level, starve=True)
            t.check(got == 0 or place(client, domain.root(), gfn, level) == got - DIRECT, "demand_entry() has no memory for a table, "
                    "and gives a place all the same", "NULL", f"{got:x}")
        for gfn, level in tries:
            got, after = one(domain, call, gfn, level)
            where = place(client, domain.root(), gfn, level)
            what = f"demand_entry() of frame {gfn:x} at level {level}"
            t.check(got, f"{what} gives no place, and there is memory", "a place", "NULL")
            t.check(where is not None and got - DIRECT == where, f"{what} gives a place that the CPU does not come to",
                    "none" if where is None else f"{where + DIRECT:x}", f"{got:x}")
            links = {flags & ~MARKS["npt"] for flags in after.links}
            t.check(links <= {TABLES["npt"]}, f"{what}: an entry on the way is none that leads to a table and takes no right away",
                    f"{TABLES['npt']:x}", ", ".join(f"{flags:x}" for flags in sorted(links)))
            for mfn in after.tables:
                domain.forget()
                t.check(domain.frame(mfn)[0] == FRAME_HOST, f"{what}: a table is in a frame that is not the host's", "the host's", mfn)

    at_end(t, 6, f"mem={MIB} page=2m", judge)


def sorts(t):
    """demand_fault() by itself: made-up violations, and what comes of each."""

    def judge(domain, run, regs):
        client, call, rng = domain.client, Calls(t, domain.client, regs), t.rng
        exit_at = call.stack - 0x400
        met = {page for page, _ in run.violations}
        t.check(len(met & set(domain.p2m())) >= 8, "the guest touches 12 pages, and has got memory for fewer", "12 frames",
                len(met & set(domain.p2m())))
        mine = rng.sample(sorted(met & set(domain.p2m())), 8)
        new = rng.sample(sorted(set(range(0x800, PAGES)) - met), 2)
        tracked, logged, read, foreign = mine[:4]

        def ask(gfn, write=False, bad=False):
            record = bytearray(SIZE_EXIT)
            struct.pack_into("<Q", record, E_GPA, (gfn << 12) + rng.randrange(0x1000))
            record[E_ACCESS], record[E_BAD] = ACCESS_WRITE * write, bad
            client.write(exit_at, bytes(record))
            before = domain.tables().mapped(), domain.p2m()
            answer = call("demand_fault", run.vcpu, exit_at, exit_at + SIZE_EXIT) & 0xFFFFFFFF
            return OUTCOMES.get(answer, str(answer)), *before, domain.tables().mapped(), domain.p2m()

        def same(what, wanted, *question, **more):
            answer, tables, books, after, books_after = ask(*question, **more)
            t.check(answer == wanted, f"{what}: what comes of it is another thing", wanted, answer)
            t.check(tables == after and books == books_after, f"{what}: it has changed what the guest reaches, or taken memory",
                    "all as before", f"{len(after)} frames mapped")

        def put(gfn, kind, track):
            at = domain.entry_at(gfn)
            entry, = words(client, at)
            client.write(at, struct.pack("<Q", entry & 0xFFFFFFFF | kind << 32 | track << 40))

        same("a violation where the guest has no RAM", "emulate", rng.choice(NOWHERE), write=rng.random() < .5)
        same("a violation in the hole of a PC", "emulate", rng.choice(HOLE[:0x18]), write=True)
        ones = rng.choice(sorted(domain.ones))
        same("a write to what reads as ones", "emulate", ones, write=True)
        answer, _, _, after, _ = ask(ones)
        t.check(answer == "filled" and after.get(ones) == (domain.ones[ones], False), "a read of what reads as ones: the guest does not "
                "reach the frame of ones now, or may write to it", "filled, no W", f"{answer}, {after.get(ones)}")
        same("an entry that the CPU does not take", "bad tables", rng.choice((*mine, *new)), bad=True, write=rng.random() < .5)
        put(foreign, P2M_MMIO, 0)
        same("a frame that is there, and is a device's", "emulate", foreign, write=rng.random() < .5)
        put(foreign, P2M_RAM, 0)
        for gfn in new:
            answer, _, _, after, books = ask(gfn, write=rng.random() < .5)
            t.check(answer == "filled" and gfn in after and after[gfn] == (books[gfn][0], True), "RAM that nobody has touched: the guest "
                    "does not have it now", "filled", answer)
        put(tracked, P2M_RAM, 1 << TRACK_OTHER)
        answer, _, _, after, _ = ask(read)
        t.check(answer == "filled" and after.get(read, (0, False))[1], "RAM that is there, a read: the guest may not write to it now",
                "filled", answer)
        answer, _, _, after, _ = ask(tracked)
        t.check(answer == "filled", "a read of a frame whose writes somebody wants to hear of is no write", "filled", answer)
        t.check(not after[tracked][1], "behind a read the guest may write to a frame whose writes somebody wants to hear of", "no W", "W")
        same("a write to a frame whose writes somebody wants to hear of", "emulate", tracked, write=True)
        put(tracked, P2M_RAM, 1 << TRACK_OTHER | 1 << TRACK_LOG)
        same("a write to a frame that the log waits for, and somebody else", "emulate", tracked, write=True)
        put(logged, P2M_RAM, 1 << TRACK_LOG)
        answer, _, _, after, books = ask(logged, write=True)
        t.check(answer == "filled" and after[logged][1] and not books[logged][1], "a write to a frame that the dirty log alone waits "
                "for: it is noted, and the guest does it", "filled, with W, and no track", f"{answer}, track {books[logged][1]:x}")

    at_end(t, 12, f"mem={MIB}", judge)
