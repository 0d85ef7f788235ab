"""Page tables made for one run, and what a walk or a shadow of them must be.

SDM = Intel SDM order no. 325462-080, June 2023.
"""

from dataclasses import dataclass

from .pagewalk import (A, Case, D, FORMS, ACCESS_FETCH, ACCESS_WRITE, LEVELS, NX, P, PAGE, PS, RSVD, SHADOW_DIRECT, U, W,
                       entry_size, index, maps, reserved, span, target, walk)


class Tables:
    """Page tables in guest RAM, in frames of the guest's that it does not use."""

    def __init__(self, rng, host, form, frames):
        self.rng, self.host, self.form = rng, host, form
        self.free, self.used = list(frames[:40]), []
        self.memory = {}
        self.nx = form in ("PAE", "4-level") and rng.random() < 0.5
        self.width = rng.choice((36, 40, 40)) if form != "32-bit with 4 MiB pages" else \
            rng.choice((32, 36, 40))
        self.pdpte = [0] * 4
        self.root = self.frame()

    def frame(self):
        """A frame for a table."""
        self.used.append(self.free.pop())
        return self.used[-1]

    def gone(self):
        """The frames are zero again."""
        for one in self.used:
            self.host.write(one, bytes(PAGE))

    def read(self, at, size):
        """As the guest's hardware: ones where there is no memory."""
        if at + size > self.host.ram or 0xA0000 <= at < 0xB8000 or 0xC0000 <= at < 0x100000:
            return (1 << 8 * size) - 1
        return self.memory.get(at, 0)

    def walk(self, case):
        """The right answer."""
        return walk(case, self.read)

    def put(self, level, table, va, value):
        """An entry."""
        number = index(self.form, level, va)
        if self.form == "PAE" and level == 3:
            self.pdpte[number] = value
            return
        size = entry_size(self.form)
        self.memory[table + number * size] = value
        self.host.write(table + number * size, value.to_bytes(size, "little"))

    def flags(self, level, full):
        """Random rights and marks of an entry; `full` has all rights."""
        if self.form == "PAE" and level == 3:
            return P
        rng = self.rng
        bits = P | rng.choice((0, A, A | D))
        bits |= U | W if full else rng.choice((0, U, W, U | W))
        if self.nx and not full and rng.random() < 0.3:
            bits |= NX
        return bits

    def page(self, level):
        """A random page address that fits an entry at this level."""
        bits = self.rng.getrandbits(self.width) >> span(self.form, level) << span(self.form, level)
        if entry_size(self.form) == 4:
            return bits & 0xFFFFFFFF | (bits >> 32 << 13 if level == 2 else 0)
        return bits

    def address(self):
        """A linear address; in 4-level paging from either half."""
        if self.form != "4-level":
            return self.rng.getrandbits(32)
        low = self.rng.getrandbits(47)
        return low if self.rng.random() < 0.5 else low | 0xFFFF800000000000

    def chain(self, spoil=None):
        """A path from the top to a page, spoilt at a level by `spoil`, (level, how). Its address or None."""
        form, rng = self.form, self.rng
        leaf = rng.choice([level for level in range(1, 4) if maps(form, level, PS)
                           and level <= LEVELS[form]])
        for _ in range(200):
            va, table, full = self.address(), self.root, rng.random() < 0.4
            for level in range(LEVELS[form], 0, -1):
                entry = self.pdpte[index(form, level, va)] if form == "PAE" and level == 3 else \
                    self.memory.get(table + index(form, level, va) * entry_size(form), 0)
                if spoil and level == max(spoil[0], leaf):
                    if entry:
                        break
                    self.put(level, table, va, self.spoilt(spoil[1], level, level == leaf))
                    return va
                if level == leaf:
                    if entry:
                        break
                    large = PS if level > 1 else rng.choice((0, PS if level == 1 else 0))
                    self.put(level, table, va, self.page(level) | large | self.flags(level, full))
                    return va
                if entry and (not entry & P or maps(form, level, entry)
                              or self.odd(level, entry)):
                    break
                if not entry:
                    entry = self.frame() | self.flags(level, full)
                    self.put(level, table, va, entry)
                table = target(form, level, entry)
        return None  # all entries of that level are taken

    def odd(self, level, entry):
        """True for an entry that a walk does not get past, or that leads out of RAM."""
        return entry & reserved(self.form, level, entry, self.width, self.nx) or \
            target(self.form, level, entry) not in self.used

    def spoilt(self, how, level, leaf):
        """An entry at which a walk ends, or behind which there are only ones."""
        form, rng = self.form, self.rng
        page = PS if leaf and level > 1 else 0
        if how == "nowhere" and not leaf and not (form == "PAE" and level == 3):
            return rng.randrange(0x40000, 0xC0000) << 12 | P | W | U
        if how == "reserved" and not (form == "PAE" and level == 3):
            bits = reserved(form, level, page, self.width, self.nx)
            choices = [bit for bit in range(64) if bits >> bit & 1 and 1 << bit != PS]
            if level == 4:
                choices.append(7)
            if choices:
                base = self.page(level) if leaf else self.frame()
                return base | page | P | W | U | 1 << rng.choice(choices)
        junk = rng.getrandbits(32 if entry_size(form) == 4 else 64)
        return junk & ~P or 2

    def case(self, va, how, wp):
        """A walk of these tables."""
        return Case(self.form, va, how, wp, self.nx, self.width, self.root, list(self.pdpte))

    def good(self, count):
        """Walks that lead somewhere, with accesses that every rule allows."""
        spots = [self.chain() for _ in range(count)]
        for va in [va for va in spots if va is not None]:
            while True:
                case = self.case(va, self.rng.randrange(8), self.rng.random() < 0.5)
                if not (case.how & ACCESS_WRITE and case.how & ACCESS_FETCH) \
                        and self.walk(case).error is None:
                    break
            yield case

    def bad(self, count):
        """Walks that end in a fault of the tables', not of the rights'."""
        spots = []
        for _ in range(count):
            kind = self.rng.choice(("absent", "reserved", "reserved", "nowhere"))
            spots.append(self.chain((self.rng.randrange(1, LEVELS[self.form] + 1), kind)))
        for va in spots:
            if va is None:
                continue
            case = self.case(va, self.rng.choice((0, 1, 2, 3, 4, 6)), self.rng.random() < 0.5)
            right = self.walk(case)
            if right.error is None or right.error & P and not right.error & RSVD:
                continue
            yield case


# -- fills -----------------------------------------------------------------------------------------


@dataclass
class Fill:
    """A walk that is made up: the guest's entries by level, where they lead, and the root."""

    form: str
    va: int
    root: int
    entries: dict
    last: int
    gpa: int
    places: dict = None

    def told(self):
        """In words."""
        entries = ", ".join(f"level {level}: {entry:#x}" for level, entry in
                            sorted(self.entries.items(), reverse=True))
        return f"{self.va:#x} in {self.form} paging ({entries}; it leads to {self.gpa:#x})"

    def marked(self, level, how):
        """The entry at a level after an access that went well (SDM 3A 4.8)."""
        if self.form == "PAE" and level == 3:
            return self.entries[level]
        return self.entries[level] | A | (D if level == self.last and how & ACCESS_WRITE else 0)

    def writable(self):
        """True if every entry grants W."""
        return all(entry & W for level, entry in self.entries.items()
                   if not (self.form == "PAE" and level == 3))

    def rights(self, level, dirty):
        """What the shadow's entry at this level must allow, trace aside; `dirty`: walk_dirty() says so."""
        if level == self.last and not dirty:
            return self.entries[level] & U
        if level > LEVELS[self.form] or (self.form == "PAE" and level == 3) or level < self.last:
            return U | W
        return self.entries[level] & (U | W)


def fills(rng, form, frames, count):
    """Walks over few tables, so that they are shared; the first page is the table that maps it."""
    tables, pages, root = frames[:3], frames[8:20], frames[30]
    for number in range(count):
        va = rng.randrange(0x400000, 0xFF000000)
        large = maps(form, 2, PS) and rng.random() < 0.4
        flags = [P | A | rng.choice((0, U, W, U | W)) for _ in range(2)]
        flags = [one | D if one & W and rng.random() < 0.7 else one for one in flags]
        entries = {3: frames[31] | P} if form == "PAE" else {}
        gpa = rng.choice(tables if number % 3 == 2 else pages) | va & 0xFFF
        if not number:
            # No shadow of the table is there yet: that its frame is tracked comes of this very fill.
            table = rng.choice(tables)
            entries |= {2: table | P | A | W | U, 1: table | P | A | D | W | U}
            yield Fill(form, va, root, entries, 1, table | va & 0xFFF)
            continue
        if large:
            base = gpa >> span(form, 2) << span(form, 2)
            va = va >> span(form, 2) << span(form, 2) | gpa - base
            entries[2] = base | PS | flags[0]
            yield Fill(form, va, root, entries, 2, gpa)
        else:
            entries |= {2: rng.choice(tables) | flags[0], 1: gpa & ~0xFFF | flags[1]}
            yield Fill(form, va, root, entries, 1, gpa)


def marks(rng, form, frames):
    """[(walk, the access)]: entries of which all are marked, or none, or some, and where they lie."""
    for chance in (1, 1, 0, rng.random(), rng.random()):
        last = rng.choice([level for level in range(1, 3) if maps(form, level, PS)])
        entries, places = {}, {}
        for level in range(LEVELS[form], last - 1, -1):
            bits = (A if rng.random() < chance else 0) | (D if level == last and rng.random() < chance else 0)
            large = PS if level == last > 1 else 0
            registers = form == "PAE" and level == 3
            entries[level] = P if registers else P | W | U | bits | large
            places[level] = frames[level] + entry_size(form) * rng.randrange(PAGE // entry_size(form))
        va = rng.randrange(1 << 31)
        yield Fill(form, va, frames[LEVELS[form]], entries, last, va & 0xFFF, places), rng.choice((0, ACCESS_WRITE))


def flooded(rng, form, frames):
    """A walk through a table; and one through a large page that begins with that table, or None."""
    table, root, page = (0x400000, *frames[:2])
    upper = {3: frames[2] | P} if form == "PAE" else {}
    va = rng.randrange(0x4000, 0xB000) << 16 | rng.randrange(1, 15) << 12
    flags = P | A | D | W
    other = None
    if maps(form, 2, PS):
        where = (va ^ 0x10000000) >> 22 << 22 | 0x3000
        other = Fill(form, where, root, upper | {2: table | PS | flags}, 2, table | 0x3000)
    return Fill(form, va, root, upper | {2: table | flags, 1: page | flags}, 1, page), other


def kinds(rng, form):
    """[(linear address, level of our entry, level at which the guest's walk ends)]."""
    found = [(rng.getrandbits(32), level, last) for level in (3, 2) for last in (1, 2)
             for _ in range(4) if last == 1 or maps(form, 2, PS)]
    rng.shuffle(found)
    return found


def kind(form, va, level, last):
    """(paging format, level, quadrant) of the shadow that our entry leads to."""
    if level <= last:
        return SHADOW_DIRECT, level - 1, 0
    quadrant = 0
    if level == 3:
        quadrant = va >> 30
    elif entry_size(form) == 4:
        quadrant = va >> 21 & 1
    return FORMS.index(form), level - 1, quadrant


def kind_told(one):
    """In words."""
    name = (*FORMS, "direct")[one[0]] if one[0] <= SHADOW_DIRECT else f"paging format {one[0]}"
    return f"{name}, level {one[1]}, quadrant {one[2]}"
