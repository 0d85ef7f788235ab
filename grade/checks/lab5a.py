"""Lab 5A, exercise 5.1: nested tables that are filled by violation.

Witnessed: a fresh guest touches pages at random, and the tables that are left are read from the machine's memory.
"""

import struct

from zeno.guests.programs import Program
from zeno.judging import headers
from zeno.judging.trial import Skipped

from .guests import module
from .lab4 import GPRS, said
from .lab5 import (ACCESS_WRITE, E_ACCESS, E_GPA, FRAME_HOST, HEADERS, HOLE, LIMITS, MARKS, RIGHTS, TABLES, TRACK_LOG, Calls, Domain, W,
                   agree, kind_of, place, words)

DIRECT, = headers.numbers(("kern/map.h",), ("DIRECT_MAP",))
E_BAD, SIZE_EXIT, P2M_MMIO, TRACK_OTHER, *ANSWERS = headers.numbers(HEADERS, (
    "offsetof(struct exit, nested.is_bad)", "sizeof(struct exit)", "P2M_MMIO", "TRACK_PAGE_TABLE", "MMU_FILLED", "MMU_EMULATE",
    "MMU_NO_FRAME", "MMU_BAD_TABLES", "MMU_TODO_NESTED"))
OUTCOMES = dict(zip(ANSWERS, ("filled", "emulate", "no frame", "bad tables", "not done")))

MIB = 32
PAGES, FREE = MIB << 8, 0x800
"""Guest frames; from FREE on nothing is loaded, so only what a program touches is touched at all."""
NOWHERE = (0x2000, 0x7FFF0, 0x70000, 0xE0000, 0xFEDC0)
"""Frames beyond its RAM that a guest may try, without any device's."""


class Touching(Program):
    """Touches pages of its own, and some that nobody has."""

    def __init__(self, rng, count, nowhere=(), ones=()):
        super().__init__(rng)
        self.pages = rng.sample(range(FREE, PAGES), count)
        """Guest frames that it reads or writes."""
        self.written = set(rng.sample(self.pages, count // 2))
        self.nowhere = list(nowhere)
        tries = [(page, page in self.written) for page in self.pages] + [(page, rng.random() < .5) for page in self.nowhere]
        tries += [(page, False) for page in ones]
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
            try:
                self.judge(Domain(self.t, client, self.vcpu), self, regs)
            finally:  # what was called there is over, whatever it has left
                for name in (*GPRS, "rip"):
                    client.set_reg(name, regs[name])
        self.looked = True
        return True


def touched(t, pages, nowhere):
    """All that a guest touched is mapped, what it did not touch is not."""
    guest = Touching(t.rng, pages, nowhere, t.rng.sample(HOLE[0x20:], 1))
    options = f"mem={MIB}"
    elf = guest.assemble(t.directory, "touches")

    def judge(domain, run, regs):
        p2m, tables = agree(t, domain, kind_of(t))
        mapped = tables.mapped()
        missing = [page for page in guest.pages if page not in mapped]
        t.check(not missing, "the guest has touched a page, went on, and no entry maps it: how did it reach its memory?",
                "an entry", ", ".join(f"{page:x}" for page in missing[:4]))
        met = {page for page, _ in run.violations} - (set(range(FREE, PAGES)) - set(guest.pages))  # demand_fault() may call itself
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
    """On the engine that the student has."""
    fewer = t.machine == "bochs"
    touched(t, 12 if fewer else 37, [t.rng.choice(HOLE[:0x18]), *t.rng.sample(NOWHERE, 1 if fewer else 3)])


def filled_other(t):
    """On the other one."""
    if len(t.lab.flavours) < 2:
        raise Skipped("one engine is enough: this tree has done one of Labs 4 and 4s. Nothing is lost by it")
    filled(t)


# -- by itself ---------------------------------------------------------------------------------------


def at_end(t, pages, options, judge):
    """Run a guest that touches so many pages to its end, and judge there."""
    guest = Touching(t.rng, pages)
    elf = guest.assemble(t.directory, "touches")
    life = said(Ends(t, elf, options, judge).run, f"start {elf.stem} {options}")
    t.check("exit code 0" in life, "the guest that only touches memory does not come to its end", "exit code 0", life)


class Asks:
    """Asks demand_fault() of violations that nobody had."""

    def __init__(self, t, domain, run, regs):
        self.t, self.domain, self.run, self.kind = t, domain, run, kind_of(t)
        self.call = Calls(t, domain.client, regs)
        self.exit_at = self.call.stack - 0x400

    def now(self):
        """What the guest reaches, and what it has."""
        return self.domain.tables().rights(self.kind), self.domain.p2m()

    def ask(self, gfn, write=False, bad=False, starve=False):
        """What comes of it, in words."""
        record = bytearray(SIZE_EXIT)
        struct.pack_into("<Q", record, E_GPA, (gfn << 12) + self.t.rng.randrange(0x1000))
        record[E_ACCESS], record[E_BAD] = ACCESS_WRITE * write, bad
        self.domain.client.write(self.exit_at, bytes(record))
        answer = self.call("demand_fault", self.run.vcpu, self.exit_at, self.exit_at + SIZE_EXIT, starve=starve) & 0xFFFFFFFF
        return OUTCOMES.get(answer, f"an answer that is none: {answer}")

    def same(self, what, wanted, *question, **more):
        """One that changes nothing."""
        tables, books = self.now()
        answer = self.ask(*question, **more)
        after, books_after = self.now()
        self.t.check(answer == wanted, f"{what}: what comes of it is another thing", wanted, answer)
        self.t.check(tables == after and books == books_after, f"{what}: it has changed what the guest reaches, or taken memory",
                     "all as before", f"{len(after)} frames mapped")

    def filled(self, what, gfn, writable, **more):
        """One behind which the guest reaches the frame, as it may."""
        answer = self.ask(gfn, **more)
        after, books = self.now()
        self.t.check(answer == "filled", f"{what}: what comes of it is another thing", "filled", answer)
        mfn = books[gfn][0] if gfn in books else self.domain.ones[gfn]
        wanted = mfn, RIGHTS[self.kind] & (-1 if writable else ~W)
        found = after.get(gfn)
        why = "does not reach it"
        if found and found[0] == mfn:
            why = "may write to it" if found[1] & ~wanted[1] & W else "may not do there what it should"
        self.t.check(found == wanted, f"{what}: the guest {why} now", in_words(wanted), in_words(found))
        return books


def in_words(found):
    """What a guest frame leads to."""
    return f"machine frame {found[0]:x}, {'W' if found[1] & W else 'no W'}, bits {found[1]:x}" if found else "no entry"


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
            links = {flags & ~MARKS[kind_of(t)] for flags in after.links}
            t.check(links <= {TABLES[kind_of(t)]}, f"{what}: an entry on the way is none that leads to a table and takes no right away",
                    f"{TABLES[kind_of(t)]:x}", ", ".join(f"{flags:x}" for flags in sorted(links)))
            domain.forget()
            for mfn in after.tables:
                t.check(domain.frame(mfn)[0] == FRAME_HOST, f"{what}: a table is in a frame that is not the host's",
                        f"a frame of type {FRAME_HOST}", f"frame {mfn:x}, of type {domain.frame(mfn)[0]}")
        protected_whole(domain, run, regs)

    def protected_whole(domain, run, regs):
        client, asks = domain.client, Asks(t, domain, run, regs)
        block = t.rng.choice([leaf for leaf in domain.tables().leaves if leaf.size > 1])
        tracked, other = (block.gfn + i for i in t.rng.sample(range(block.size), 2))
        client.write(block.at, struct.pack("<Q", words(client, block.at, physical=True)[0] & ~W), physical=True)
        domain.put(tracked, 1 << TRACK_OTHER)
        asks.same("a write to a frame that nobody tracks, in a page of 2 MiB that was protected whole, and no memory for a table: "
                  "the guest reads the frame already, and need not die of the lack", "emulate", other, write=True, starve=True)
        asks.filled("the same, and there is memory", other, True, write=True)
        t.check(not domain.tables().mapped()[tracked][1], "behind a write to one frame of a page that was protected whole the guest "
                "may write to another, which somebody tracks", "no W", "W")

    at_end(t, 6, f"mem={MIB} page=2m", judge)


def sorts(t):
    """demand_fault() by itself: made-up violations, and what comes of each."""

    def judge(domain, run, regs):
        client, rng, asks = domain.client, t.rng, Asks(t, domain, run, regs)
        same, filled_now = asks.same, asks.filled
        met = {page for page, _ in run.violations}
        have = met & set(domain.p2m())
        t.check(len(have) >= 8, "the guest touches 12 pages, and has got memory for fewer", "12 frames", len(have))
        mine = rng.sample(sorted(have), 8)
        new = rng.sample(sorted(set(range(0x800, PAGES)) - met), 3)
        tracked, logged, read, foreign, tableless = mine[:5]

        same("a violation where the guest has no RAM", "emulate", rng.choice(NOWHERE), write=rng.random() < .5)
        same("a violation in the hole of a PC", "emulate", rng.choice(HOLE[:0x18]), write=True)
        ones = rng.choice(sorted(domain.ones))
        same("a write to what reads as ones", "emulate", ones, write=True)
        filled_now("a read of what reads as ones", ones, False)
        same("an entry that the CPU does not take", "bad tables", rng.choice((*mine, *new)), bad=True, write=rng.random() < .5)
        domain.put(foreign, 0, P2M_MMIO)
        same("a frame that is there, and is a device's", "emulate", foreign, write=rng.random() < .5)
        domain.put(foreign, 0)
        same("RAM that nobody has touched, and the machine has no memory", "no frame", new[0], write=rng.random() < .5, starve=True)
        for gfn in new:
            filled_now("RAM that nobody has touched", gfn, True, write=rng.random() < .5)
        client.write(place(client, domain.root(), tableless, 2), bytes(8), physical=True)
        same("RAM that is there, and the machine has no memory for its table", "no frame", tableless, starve=True)
        filled_now("RAM that is there, and its table is not", tableless, True, write=rng.random() < .5)
        domain.put(tracked, 1 << TRACK_OTHER)
        filled_now("RAM that is there, a read", read, True)
        filled_now("a read of a frame whose writes somebody wants to hear of", tracked, False)
        same("a write to a frame whose writes somebody wants to hear of", "emulate", tracked, write=True)
        domain.put(tracked, 1 << TRACK_OTHER | 1 << TRACK_LOG)
        same("a write to a frame that the log waits for, and somebody else", "emulate", tracked, write=True)
        domain.put(logged, 1 << TRACK_LOG)
        books = filled_now("a write to a frame that the dirty log alone waits for", logged, True, write=True)
        t.check(not books[logged][1], "a write to a frame that the dirty log alone waits for: the guest does it, and nobody has noted it",
                "no track", f"track {books[logged][1]:x}")

    at_end(t, 12, f"mem={MIB}", judge)
