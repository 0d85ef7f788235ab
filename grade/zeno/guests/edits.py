"""Fresh guest programs that edit their page tables while they use them (paging.py has their rules).

SDM = Intel SDM order no. 325462-080, June 2023.
"""

from .paging import ADDRESS, P, PS, Paged, W
from .walks import offset


class Play:
    """Linear pages, page tables and frames that the steps of edits() play with."""

    def __init__(self, k, space):
        rng = k.rng
        self.k, self.space = k, space
        self.slots = k.shared = k.slots(3)
        self.frames = [k.frame() for _ in range(6)]
        self.pages = []
        for slot in self.slots:
            table = k.table(space, slot)
            half = k.per_table // 2
            for index in (*rng.sample(range(half), 2), *rng.sample(range(half, 2 * half), 2)):
                va = slot << k.shift | index << 12
                self.pages.append(va)
                if rng.random() < 0.6:
                    k.put(table + k.size * index, rng.choice(self.frames) | W | P)

    def page(self, present=None):
        """A page under a table, mapped or not."""
        k = self.k
        found = [va for va in self.pages if k.entry_of(self.space, va) and present in
                 (None, bool(k.memory.get(k.entry_of(self.space, va), 0) & P))]
        return k.rng.choice(found) if found else None


def flip(play):
    """A page comes or goes, and is touched behind that (and now and then before it)."""
    k, rng = play.k, play.k.rng
    va = play.page()
    if rng.random() < 0.5:
        k.touch(va + offset(rng))
    old = k.memory.get(k.entry_of(play.space, va), 0)
    k.change(play.space, va, 0 if old & P else rng.choice(play.frames) | W | P)
    k.touch(va + offset(rng))


def move(play):
    """A mapped page gets another frame."""
    k, rng = play.k, play.k.rng
    va = play.page(True)
    if va is None:
        return
    at, pa = offset(rng), rng.choice(play.frames)
    k.touch(va + at, "write")
    k.touch(pa + at, "write")
    k.change(play.space, va, pa | W | P)
    k.touch(va + at, "read")


def demand(play):
    """The handler maps the page and goes back to the instruction that faulted."""
    k, rng = play.k, play.k.rng
    va = play.page(False)
    if va is None:
        return
    name, kept, k.lines = k.fresh(), k.lines, []
    k.label(name)
    k.change(play.space, va, rng.choice(play.frames) | W | P)
    k.places.pop()  # the handler comes here only if the page was absent
    k.op("ret")
    k.routines += k.lines
    k.lines = kept
    k.op(f"mov dword [hook], {name}", f"mov eax, {k.word():#x}",
         f"mov [{va + offset(rng):#x}], eax" if rng.random() < 0.5 else
         f"mov eax, [{va + offset(rng):#x}]")
    k.say("eax", "demanded")


def slot_off_on(play):
    """The entry above a table goes and comes back; or another table takes its place."""
    k, rng = play.k, play.k.rng
    slot = play.page() >> k.shift
    pages = [va for va in play.pages if va >> k.shift == slot]
    at = k.upper(play.space, slot)
    old = k.memory[at]
    for va in pages:
        k.touch(va + offset(rng))
    k.put(at, 0)
    k.load(play.space)
    for va in pages:
        k.touch(va + offset(rng))
    other = k.memory.get(k.upper(play.space, rng.choice(play.slots)), 0)
    k.put(at, other if other & P and rng.random() < 0.5 else old)
    k.touch(rng.choice(pages) + offset(rng))


def large(play):
    """A slot becomes a large page and a table again."""
    k, rng = play.k, play.k.rng
    if k.form == "plain":
        return
    va = play.page()
    at = k.upper(play.space, va >> k.shift)
    old = k.memory[at]
    pa = rng.choice(play.frames)
    where = va >> k.shift << k.shift | pa & (1 << k.shift) - 1
    k.put(at, pa >> k.shift << k.shift | PS | W | P)
    k.load(play.space)
    k.touch(where + offset(rng))
    k.touch(pa + offset(rng))
    k.put(at, old)
    k.load(play.space)
    k.touch(va + offset(rng))


def by_alias(play):
    """A table is mapped as a page, and its entries are written there."""
    k, rng = play.k, play.k.rng
    target, alias = play.page(), play.page()
    entry = k.entry_of(play.space, target)
    if target == alias or k.entry_of(play.space, alias) == entry:
        return
    k.change(play.space, alias, entry & ADDRESS | W | P)
    old = k.memory.get(entry, 0)
    k.touch(target + offset(rng))
    k.put(entry, 0 if old & P else rng.choice(play.frames) | W | P,
          alias | entry & 0xFFF)
    if old & P:
        k.flush(play.space, target, entry)
    k.touch(target + offset(rng))
    # The table is a page no more, or data would be written into it.
    k.change(play.space, alias, rng.choice(play.frames) | W | P)


def copied(play):
    """A whole table by REP MOVSD: onto a frame that becomes a table, or onto a table in use."""
    k, rng = play.k, play.k.rng
    source = k.entry_of(play.space, play.page()) & ADDRESS
    slot = rng.choice(play.slots)
    target = k.memory[k.upper(play.space, slot)] & ADDRESS
    if source == target:
        return
    k.op(f"mov esi, {source:#x}", f"mov edi, {target:#x}", "mov ecx, 1024", "cld", "rep movsd")
    for i in range(k.per_table):
        value = k.memory.get(source + k.size * i, 0)
        if value or k.memory.get(target + k.size * i, 0):
            k.memory[target + k.size * i] = value
    k.load(play.space)
    for va in rng.sample(play.pages, 3):
        if k.entry_of(play.space, va):
            k.touch(va + offset(rng))


def split_write(play):
    """One write that reaches into two entries."""
    k, rng = play.k, play.k.rng
    va = play.page()
    first = k.entry_of(play.space, va) & ~(k.size * 2 - 1)
    second = first + k.size
    pa = rng.choice(play.frames) | W | P
    base = va >> k.shift << k.shift
    pages = [base | ((entry & 0xFFF) // k.size) << 12 for entry in (first, second)]
    for page, entry in zip(pages, (first, second)):
        k.change(play.space, page, 0, entry)
    # Two bytes of the first entry's upper half, two of the second's lower half: P of one, not of the other.
    if k.pae:
        k.op(f"mov edx, {pa << 16 & 0xFFFFFFFF:#x}", f"mov [{second - 2:#x}], edx",
             f"mov word [{second + 2:#x}], {pa >> 16:#x}")
    else:
        k.op(f"mov edx, {pa << 16 & 0xFFFFFFFF:#x}", f"mov [{first + 2:#x}], edx",
             f"mov word [{second + 2:#x}], {pa >> 16:#x}")
    k.memory[second] = pa
    for page in pages:
        k.touch(page + offset(rng))
    # The same with a second entry that is present, and goes.
    k.op("xor edx, edx", f"mov [{second - 2:#x}], edx")
    k.memory[second] = pa & ~0xFFFF
    k.flush(play.space, pages[1], second)
    k.touch(pages[1] + offset(rng))


def edits(rng, form, count=16, polled=False):
    """2.4: tables that change while they are in use."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    play = Play(k, space)
    if rng.random() < 0.7:
        k.make_recursive(space)
    k.turn_on(space)
    steps = [flip, move, demand, slot_off_on, large, by_alias, copied, split_write]
    more = [rng.choice((flip, flip, move, demand, by_alias)) for _ in range(count - len(steps))]
    steps += more
    rng.shuffle(steps)
    for step in steps:
        step(play)
    k.finish()
    return k
