"""Lab 8: its functions by themselves, called where the machine stands, with entries and books that are made up.

Two domains are there, the first one grants and the second one uses: what is whose can't be mixed up unnoticed. All that a function can
change is read before and behind it.
"""

import struct

from zeno.guests import pvgranted, pvgrantpairs
from zeno.guests.pvgrantpairs import FIRST
from zeno.guests.pvgrants import PAGES, PER_FRAME, PERMIT, READING, READONLY, ROOT, SUB_PAGE, WRITING
from zeno.judging import headers

from .guests import module
from .lab4 import word
from .lab5 import LIMITS
from .lab6a import Enough, invoke
from .lab6b import ADDRESS, F_SIZE, Record, table
from .lab8books import A_SIZE, G_ACTIVE, G_TABLE, Grants, mfns

(G_ODD, T_FRAMES, DIRECT, FRAME_HOST, MOST_FRAMES) = headers.numbers(("vmm/pv/grant/grant.h",), (
    "offsetof(struct pv_grants, odd)", "offsetof(struct pv_grant_table, frames)", "DIRECT_MAP", "FRAME_HOST", "PV_GRANT_FRAMES"))
REF = 100
NOBODY = (1 << 64) - 1
TRANSITIVE = 3


def signed(value, bits=32):
    """A number that may be below zero."""
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def entry(flags, dom, mfn):
    """Of a table."""
    return struct.pack("<HHI", flags, dom, mfn & 0xFFFFFFFF)


def page(t, client, stack):
    """One more of Zeno's, by its address."""
    mfn = invoke(t, client, stack, "frame_alloc", FRAME_HOST, 0)["rax"]
    return DIRECT + (mfn << 12)


def give_back(t, client, stack, at):
    """Such a page."""
    invoke(t, client, stack, "frame_put", (at - DIRECT) >> 12)


# -- 8.1: one domain, whose table has three frames -----------------------------------------------------


def alone(t, program, look):
    """Somebody looks when this guest ends."""
    elf, seen = program.assemble(t.directory, "alone"), []

    def see(client, regs):
        client.monitor("o /b 0x21 0xff")
        look(client, (regs["rsp"] - 0x1000) & ~15)
        seen.append(True)
        raise Enough

    try:
        run, _ = t.witness("panic=off -- start alone; off", {t.symbol("domain_off"): see}, modules=[module(elf)], limits=LIMITS)
        t.orderly(run)
    except Enough:
        pass
    t.check(seen, "the guest does not come to its end", "it powers off", "it does not")


def grants_what(rng):
    """(an entry's flags, its domain, who asks, whether to write; whether it is allowed, and what `odd` is behind it, or None)"""
    cases = []
    for low in range(8):
        for more in (0, READING, WRITING | READING, 0x20, 0x8000, SUB_PAGE, SUB_PAGE | 0xFE00):
            for writes in (False, True):
                cases.append((low | more, 7, 7, writes))
    for dom, user in ((0, 0), (1, 0), (0, 1), (7, 0x107), (0x8007, 7), (0xFFFF, 0xFFFF), (0x7FF0, 7)):
        cases.append((PERMIT, dom, user, rng.random() < .5))
    rng.shuffle(cases)
    for flags, dom, user, writes in cases:
        allowed = flags & (3 | SUB_PAGE) == PERMIT and dom == user and not (writes and flags & READONLY)
        version2 = flags & (3 | SUB_PAGE) == PERMIT | SUB_PAGE or flags & 3 == TRANSITIVE
        odd = True if version2 else False if not flags & SUB_PAGE else None
        yield flags, dom, user, writes, allowed, odd if dom == user and not (writes and flags & READONLY and version2) else None if odd else odd


def entries(t):
    """What each entry allows."""
    def look(client, stack):
        at = Grants(t, client, 1).at
        for flags, dom, user, writes, allowed, odd in grants_what(t.rng):
            was = odd is False and t.rng.random() < .1
            client.write(at + G_ODD, bytes([was]))
            raw, = struct.unpack("<Q", entry(flags, dom, t.rng.getrandbits(32)))
            got = invoke(t, client, stack, "pv_grant_allows", at, raw, user, writes)["rax"] & 0xFF
            words = f"pv_grant_allows() of an entry with flags {flags:x}, to d{dom}, when d{user} asks to {'write' if writes else 'read'}"
            t.check(bool(got) == allowed, f"{words}: it says something else", str(allowed).lower(), str(bool(got)).lower())
            now = bool(client.read(at + G_ODD, 1)[0])
            t.check(odd is None or now == (odd or was), f"{words}, of->odd is {str(was).lower()} before: it is something else behind", str(odd or was).lower(),
                    str(now).lower())
        client.write(at + G_ODD, bytes(1))

    alone(t, pvgranted.waiting(t.rng), look)


def long_table(t):
    """Which entries there are, and where what Zeno keeps of each lies."""
    def look(client, stack):
        grants = Grants(t, client, 1)
        frames, refs = word(client, grants.at + G_TABLE) + T_FRAMES, [0, 7, PER_FRAME - 1, PER_FRAME, PER_FRAME + 7, 2 * PER_FRAME + 7, 3 * PER_FRAME - 1]
        refs += [3 * PER_FRAME, 3 * PER_FRAME + 7, MOST_FRAMES * PER_FRAME - 1, MOST_FRAMES * PER_FRAME, 1 << 16 | 7, 1 << 31 | 7, 0xFFFFFFFF]
        refs += t.rng.sample(range(3 * PER_FRAME), 6)
        was, made = client.read(frames, 4), {}
        for length in (3, 0, 1, 2, MOST_FRAMES):
            client.write(frames, struct.pack("<I", length))
            for ref in t.rng.sample(refs, len(refs)):
                n, words = ref // PER_FRAME, f"pv_grant_find() of entry {ref} of a table of {length} frames"
                got, there = invoke(t, client, stack, "pv_grant_find", grants.at, ref)["rax"], Grants(t, client, 1).pages
                wanted = there[n] + A_SIZE * (ref % PER_FRAME) if ref < length * PER_FRAME else 0
                t.check(not wanted or there[n], f"{words}: there is no page for what Zeno keeps of it: it keeps something else", "a page", got and f"{got:x}")
                t.check(got == wanted, f"{words}: it gives something else", f"{wanted:x}" if wanted else "NULL", f"{got:x}")
                if wanted:
                    made.setdefault(n, there[n])
                for i, at in enumerate(there):
                    t.check(at == made.get(i, 0), f"{words}: the page for the entries from {i * PER_FRAME} on is something else behind it",
                            f"{made[i]:x}" if i in made else "none", f"{at:x}")
        client.write(frames, struct.pack("<I", length))
        client.write(grants.at + G_ACTIVE + 8 * 9, bytes(8))
        got = invoke(t, client, stack, "pv_grant_find", grants.at, 9 * PER_FRAME + 1, instead=[("frame_alloc", lambda regs: NOBODY)])["rax"]
        t.check(not got, "pv_grant_find() when there is no memory: it gives something else", "NULL", f"{got:x}")
        for i, at in made.items():
            client.write(grants.at + G_ACTIVE + 8 * i, bytes(8))
            give_back(t, client, stack, at)
        client.write(frames, was)

    alone(t, pvgranted.waiting(t.rng, 3), look)


# -- two domains, of which the second one ends -----------------------------------------------------------


class Two:
    """d1 grants, d2 uses: what lies where, and what there was before."""

    def __init__(self, t, client, stack):
        self.t, self.client, self.stack = t, client, stack
        for number in (1, 2):  # the books' pages, whatever there has been
            at = Grants(t, client, number).at
            if not word(client, at + G_ACTIVE):
                client.write(at + G_ACTIVE, struct.pack("<Q", page(t, client, stack)))
        self.of, self.by = Grants(t, client, 1), Grants(t, client, 2)
        if not self.by.count:
            invoke(t, client, stack, "pv_handles_more", self.by.at)
            self.by = Grants(t, client, 2)
        self.entry, self.active = self.of.entry_at(REF), self.of.pages[0] + A_SIZE * REF
        self.mfn = [struct.unpack("<I", client.read(self.of.entry_at(FIRST + n) + 4, 4))[0] for n in range(PAGES + 2)]
        self.frames = word(client, t.symbol("frames"))

    def own(self, program):
        """The user's pages, and the entry by which its first window is mapped."""
        found, at = mfns(self.client, program), program.at("windows")
        self.theirs, mfn = found[:PAGES], found[ROOT]
        for level in (4, 3, 2):
            mfn = (table(self.client, mfn)[at >> 12 + 9 * (level - 1) & 511] & ADDRESS) >> 12
        self.at = DIRECT + (mfn << 12) + 8 * (at >> 12 & 511)
        return self

    def fits(self, mfn, writes):
        """Whether it is memory of the granter's that may be used so."""
        return mfn in self.mfn[:PAGES] or mfn == self.mfn[ROOT] and not writes

    def state(self):
        """All that can change."""
        by, frames = Grants(self.t, self.client, 2), sorted({*self.mfn, *self.theirs})
        found = {"the entry": self.client.read(self.entry, 8).hex(), "what Zeno keeps of it (frame, user, readers, writers)": self.of.active(REF),
                 "the user's handles (flags, entry, frame, granter)": by.handles(), "the user's free handles": by.free(),
                 "the user's entry of level 1": f"{word(self.client, self.at):x}"}
        for mfn in frames:
            one = Record(self.client.read(self.frames + F_SIZE * mfn, F_SIZE), 0)
            found[f"the counts of frame {mfn:x} (to read, to write)"] = one.refs, one.type_refs
        return found

    def put(self, first, active=(0, 0, 0, 0)):
        """The entry, and who uses it."""
        self.client.write(self.entry, first)
        self.client.write(self.active, struct.pack("<IHBB", *active))

    def snapshot(self):
        """{address: bytes} of all that can change."""
        places = [(self.by.at, G_ACTIVE), (self.by.handle_at(0), 4096), (self.active, A_SIZE), (self.entry, 8), (self.at, 8)]
        places += [(self.frames + F_SIZE * mfn, F_SIZE) for mfn in {*self.mfn, *self.theirs}]
        return {at: self.client.read(at, length) for at, length in places}

    def restore(self, was):
        """As it was then."""
        for at, data in was.items():
            if self.client.read(at, len(data)) != data:
                self.client.write(at, data)

    def same(self, words, before, wanted=()):
        """Nothing has changed but this."""
        after, before = self.state(), before | dict(wanted)
        for what, value in before.items():
            self.t.check(after[what] == value, f"{words}: {what}: something else behind it", value, after[what])


ENTRY, ACTIVE, LEVEL1 = "the entry", "what Zeno keeps of it (frame, user, readers, writers)", "the user's entry of level 1"
HANDLES, FREE = "the user's handles (flags, entry, frame, granter)", "the user's free handles"


def counts(mfn):
    """By its name in such a state."""
    return f"the counts of frame {mfn:x} (to read, to write)"


def two(t, look):
    """Somebody looks when the second one ends."""
    programs, seen = pvgrantpairs.still(t.rng), []
    elves = [one.assemble(t.directory, name) for one, name in zip(programs, ("granter", "user"))]

    def see(client, regs):
        client.monitor("o /b 0x21 0xff")
        look(Two(t, client, (regs["rsp"] - 0x1000) & ~15).own(programs[1]))
        seen.append(True)
        raise Enough

    try:
        t.witness("panic=off -- start granter &; sleep 20; start user; off", {t.symbol("domain_off"): see}, modules=[module(elf) for elf in elves],
                  limits=LIMITS, icount=True)
    except Enough:
        pass
    t.check(seen, "the guest does not come to its end", "it powers off", "it does not")
