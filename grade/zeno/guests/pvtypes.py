"""Fresh PV guests that make page tables of their own, and what each of their calls must say (pvmodel).

A Tables has a pool of pages, which are tables of all levels or memory in turn; entries lead to these, and to what no entry may lead to.
"""

from .pv import SELF
from .pvmodel import A, ALLOWED, BUILT, D, EINVAL, FAR, G, HOLE, KERNEL, KINDS, NX, P, POOL, PS, SHARED, U, W, ZENO, Asking, Frame, Model

__all__ = ["ALLOWED", "FAR"]

INDICES = (0, 1, 2, 254, 255, 256, 263, 271, 272, 510, 511)


class Tables(Asking):
    """The program."""

    def __init__(self, rng):
        super().__init__(rng, Model([Frame() for _ in range(POOL)] + [Frame(1, 1), Frame(0, 1)]))
        self.data += ["align 4096", f"pool: times {POOL << 12} db 0"]
        for n in range(POOL):
            self.op(f"mov rax, pool + {n << 12}")
            self.own_frame(n)
        self.built_frames(BUILT, BUILT, BUILT, BUILT)
        self.not_its_own()

    def entry(self, to, bits):
        """Into rax."""
        self.op(f"mov rax, [mfns + {8 * to}]", "shl rax, 12", f"mov rcx, {bits:#x}", "or rax, rcx")

    def store(self, n, index, to, bits):
        """What the guest writes by itself, to memory."""
        assert self.model.frames[n].mapped
        self.model.frames[n].entries[index] = (to, bits)
        self.entry(to, bits)
        self.op(f"mov rdi, pool + {(n << 12) + 8 * index}", "mov [rdi], rax")

    def map(self, n, writes):
        """update_va_mapping of one of the pool."""
        self.entry(n, P | U | A | (W | D if writes else 0))
        self.op("mov rsi, rax", f"mov rdi, pool + {n << 12}", "mov edx, 2", "mov eax, 14", "syscall")
        self.answer(f"to map page {n} for {'writing' if writes else 'reading'}", self.model.map(n, writes))

    def update(self, n, index, to, bits, low=0):
        """mmu_update of an entry, wherever it lies. What stands below its address: 2 keeps A and D, 4 is within an entry."""
        self.entry(to, bits)
        self.op("mov [request + 8], rax", f"mov rax, [mfns + {8 * n}]", "shl rax, 12", f"or rax, {8 * index | low}", "mov [request], rax")
        self.call(1, "request", 1, "done", SELF)
        self.answer(f"entry {index} of page {n} leads to page {to}, {bits:x}; below its address is {low}",
                    EINVAL if low & 4 else self.model.write(n, index, to, bits, low == 2))

    def name(self, n, number):
        """mmu_update of the table that says which of the guest's frames it is; and what stands there then."""
        own = n < POOL
        self.op(f"mov rax, [mfns + {8 * n}]", "shl rax, 12", "or rax, 1", "mov [request], rax", f"mov rax, {number:#x}",
                "mov [request + 8], rax")
        self.call(1, "request", 1, "done", SELF)
        self.answer(f"page {n} has the number {number:x}", 0 if own else EINVAL)
        if own:
            self.op("mov rbx, 0xffff800000000000", f"mov rax, [mfns + {8 * n}]")
            self.say("[rbx + rax * 8]", number)
            self.calls.append(f"what the number of page {n} is")

    def nowhere(self, address):
        """update_va_mapping where no table is."""
        self.entry(POOL - 1, P | U)
        self.op("mov rsi, rax", f"mov rdi, {address:#x}", "mov edx, 2", "mov eax, 14", "syscall")
        self.answer(f"to map a page at {address:x}", EINVAL)

    def seen(self, n, to, flush):
        """Another page is mapped where one of the pool is, and read there."""
        self.op(f"mov rax, [pool + {(n << 12) + 0xff0}]")  # the CPU knows it now
        self.entry(to, P | U)
        self.op("mov rsi, rax", f"mov rdi, pool + {n << 12}", f"mov edx, {flush}", "mov eax, 14", "syscall")
        self.answer(f"to map page {to} where page {n} was", 0)
        self.say(f"[pool + {(n << 12) + 0xff0}]", to + 1)
        self.calls.append(f"what it reads there, behind a flush of {'one page' if flush & 2 else 'all'}")


def some_entry(rng, kind, sound=False):
    """For a table of this level: mostly what can be, with what can't."""
    below = [n for n in range(POOL) if KINDS[n] == kind - 1]
    to, bits = rng.choice(below), P | U | rng.choice((0, A, D, A | D)) | (W if kind > 1 or rng.random() < .5 else 0)
    if kind == 1 and rng.random() < .3:
        to, bits = rng.randrange(POOL), P | U
    dice = .1 if sound else rng.random()
    if dice < .05:
        to = rng.choice((BUILT, SHARED, ZENO, FAR, *range(POOL)))
    elif dice < .08:
        bits |= rng.choice((PS, G, PS, 8, 16))
    elif dice < .2:
        bits ^= rng.choice((U, P, NX, A, KERNEL, 1 << 9))
    return to, bits


def filled(rng, sound=False):
    """A Tables whose pool has entries."""
    g = Tables(rng)
    for n, kind in enumerate(KINDS):
        for index in rng.sample(INDICES, rng.randrange(1, 5)) if kind else ():
            g.store(n, index, *some_entry(rng, kind, sound))
    for n in rng.sample(range(POOL), POOL):
        if KINDS[n] and (sound or rng.random() < .9):
            g.map(n, False)
    return g


def one(g, rng):
    """A call at random."""
    n = rng.randrange(POOL)
    kind = KINDS[n] if KINDS[n] and rng.random() < .85 else rng.randrange(1, 5)
    pinned = [i for i in range(POOL) if g.model.frames[i].pinned]
    what = rng.choices(("pin", "unpin", "read", "write", "root", "store"), (9, 5, 4, 2, 2, 3))[0]
    if what == "pin":
        g.pin(rng.choice((n, n, n, n, rng.randrange(FAR + 1))), kind)
    elif what == "unpin":
        g.unpin(rng.choice(pinned) if pinned and rng.random() < .8 else n)
    elif what in ("read", "write"):
        g.map(n, what == "write")
    elif what == "root":
        g.root(rng.choice((0, 0, None, n)))
    elif g.model.frames[n].mapped and KINDS[n]:
        g.store(n, rng.choice(INDICES), *some_entry(rng, KINDS[n]))


def program(rng, count):
    """Pins, and what stands in their way, at random."""
    g = filled(rng)
    for i in range(count):
        one(g, rng)
        if i in (count // 3, count * 2 // 3):
            g.look()
    g.look()
    g.end()
    return g


def attacks(rng):
    """What no table may be, each by itself, in an order of chance; and behind each refusal the right way."""
    g = Tables(rng)
    l4, l3, l2, l1, page = 0, 1, 3, 6, 9

    def chain():
        g.store(l4, 5, l3, P | W | U)
        g.store(l3, 6, l2, P | W | U)
        g.store(l2, 7, l1, P | W | U)
        g.store(l1, 8, page, P | W | U)

    def refused(n, kind, at, to, bits):
        """A table with one bad entry behind good ones: nothing of it stays."""
        at = [i for i in INDICES if i > 8 and i not in HOLE][at % 5]
        g.store(n, at, to, bits)
        g.map(n, False)
        g.pin(n, kind)
        g.map(n, True)
        g.store(n, at, FAR, 0)

    def written():
        g.pin(l1, 1)
        g.map(l1, False)
        g.pin(l1, 1)
        g.map(l1, True)
        g.pin(l1, 1)
        g.unpin(l1)
        g.unpin(l1)
        g.map(l1, True)

    def two_levels():
        g.map(l1, False)
        g.pin(l1, 1)
        refused(l3, 3, 0, l1, P | W | U)
        g.pin(l1, 2)
        g.unpin(l1)
        g.map(l1, True)

    def itself():
        refused(l4, 4, 1, l4, P | U)
        refused(l2, 2, 2, l2, P | U)
        refused(l1, 1, 3, l1, P | W | U)
        refused(l1, 1, 3, BUILT, P | W | U)

    def kept():
        """A table in use by two, one of which goes."""
        for n in (l4, l3, l2, l1):
            g.map(n, False)
        g.root(l4)
        g.pin(l2, 2)
        g.look()
        g.root(None)
        g.map(l2, True)
        g.map(l1, True)
        g.map(l3, True)
        g.look()
        g.unpin(l2)
        for n in (l4, l2, l1):
            g.map(n, True)

    def foreign():
        for to in (ZENO, FAR):
            refused(l1, 1, rng.randrange(5), to, P | U)
            refused(l2, 2, rng.randrange(5), to, P | W | U)
        refused(l2, 2, rng.randrange(5), SHARED, P | W | U)
        g.pin(rng.choice((ZENO, FAR)), rng.randrange(1, 5))

    def bits():
        """Behind a table below that could be used."""
        for bit in (PS, G, 8, 16):
            refused(l1, 1, rng.randrange(5), page, P | U | bit)
        g.map(l1, False)
        refused(l2, 2, rng.randrange(5), l1, P | W | U | PS)
        g.map(l2, False)
        refused(l3, 3, rng.randrange(5), l2, P | W | U | PS)
        g.map(l2, True)
        g.map(l1, True)

    def shared():
        g.store(l1, 9, SHARED, P | W | U)
        g.store(l1, 10, SHARED, P)
        g.map(l1, False)
        g.pin(l1, 1)
        g.look()
        g.pin(l1, 1)
        g.unpin(l1)
        g.map(l1, True)

    def hole():
        g.store(l4, rng.choice((256, 263, 271)), ZENO, P | W | U | PS)
        for n in (l4, l3, l2, l1):
            g.map(n, False)
        g.pin(l4, 4)
        g.look()
        g.unpin(l4)
        for n in (l4, l3, l2, l1):
            g.map(n, True)

    def held_memory():
        """Memory that a table lets be written becomes none."""
        g.map(l1, False)
        g.pin(l1, 1)
        g.map(page, False)
        g.pin(page, 1)
        g.unpin(l1)
        g.pin(page, 1)
        g.look()
        g.unpin(page)
        g.map(page, True)
        g.map(l1, True)

    chain()
    todo = [written, two_levels, itself, kept, foreign, bits, shared, hole, held_memory]
    rng.shuffle(todo)
    for part in todo:
        part()
    g.look()
    g.end()
    return g


def updates(rng, count):
    """Tables in use are written, entry by entry, at random."""
    g = filled(rng, True)
    for n in rng.sample(range(POOL), POOL):
        if KINDS[n]:
            g.pin(n, KINDS[n])
    for i in range(count):
        n = rng.choice([n for n in range(POOL) if KINDS[n]])
        what = rng.choices(("update", "name", "nowhere", "map"), (12, 1, 1, 1))[0]
        if what == "update":
            index, kind = rng.choice(INDICES), g.model.frames[n].type or KINDS[n]
            old = g.model.frames[n].entries.get(index)
            to, bits = some_entry(rng, kind)
            if old and rng.random() < .3:  # nearly what it was
                to, bits = old[0], old[1] ^ rng.choice((A, D, A | D, NX, 1 << 9, W))
            g.update(rng.choice((n, n, n, n, n, n, ZENO, FAR)), index, to, bits, rng.choices((0, 2, 3, 4), (10, 8, 1, 1))[0])
        elif what == "name":
            g.name(rng.choice((n, n, FAR)), rng.getrandbits(64))
        elif what == "nowhere":
            g.nowhere(rng.choice((0x1000, 0xFFFF800000000000, 0xFFFF830000000000, 0x800000000000, 1 << 63, 0xFFFF880000000000)))
        else:
            g.map(n, rng.random() < .5)
        if i in (count // 3, count * 2 // 3):
            g.look()
    marked = [(n, index) for n, f in enumerate(g.model.frames[:POOL]) for index, (_, bits) in f.entries.items() if bits & (A | D)]
    for n, index in rng.sample(marked, min(8, len(marked))):
        to, bits = g.model.frames[n].entries[index]
        g.update(n, index, to, bits & ~(A | D), rng.choice((0, 2, 2)))
    g.look()
    g.end()
    return g


def forgotten(rng, count):
    """What the CPU knows of an address must go when the entry does."""
    g = Tables(rng)
    for n in range(POOL):
        g.op(f"mov qword [pool + {(n << 12) + 0xff0}], {n + 1}")
    for _ in range(count):
        g.seen(rng.randrange(POOL), rng.randrange(POOL), rng.choice((1, 2, 1 | 4, 2 | 4)))
    g.end()
    return g


def pins(rng, count):
    """Of the tables that it was built with alone, which need not be mapped anew for that; and of its memory, which all is mapped for
    writing."""
    chain, memory = range(4), (5, 6)
    frames = [None] * FAR
    for n in chain:
        frames[n] = Frame(4 - n, 1)
    frames[0].uses, frames[0].pinned = 2, True
    for n in (*memory, SHARED):
        frames[n] = Frame()
    g = Asking(rng, Model(frames, 0))
    g.data += ["align 4096", "pages: times 0x2000 db 0"]
    g.built_frames(*chain)
    for n in memory:
        g.op(f"mov rax, pages + {(n - memory[0]) << 12}")
        g.own_frame(n)
    g.not_its_own()
    for i in range(count):
        n = rng.choice(chain)
        kind = 4 - n
        what = rng.choices(("pin", "unpin", "root", "new_root"), (8, 5, 3, 2))[0]
        if what == "pin":
            n = rng.choice((n, n, n, *memory, SHARED, ZENO, FAR))
            g.pin(n, kind if rng.random() < .7 else rng.randrange(1, 5))
        elif what == "unpin":
            g.unpin(rng.choice([m for m in chain if frames[m].pinned] or [n]) if rng.random() < .7 else rng.choice((n, *memory, FAR)))
        else:
            getattr(g, what)(rng.choice((0, 0, 0, n, *memory, FAR)))
        if i in (count // 3, count * 2 // 3):
            g.look()
    g.look()
    g.end()
    return g


def guests(rng):
    """Pages of another domain, which somebody has let it map between its two looks: ZENO is one, and FAR a page table."""
    g, n = Tables(rng), rng.randrange(POOL)
    word = g.word()

    def maps(to, bits, wanted):
        g.entry(to, bits)
        g.op("mov rsi, rax", f"mov rdi, pool + {n << 12}", "mov edx, 2", "mov eax, 14", "syscall")
        g.answer(f"to map page {to} of another, {bits:x}", wanted)

    def reads(value):
        g.say(f"[pool + {n << 12}]", value)
        g.calls.append("what it reads there")

    g.look()
    maps(ZENO, P | U, 0)
    reads(lambda p: p.word_there)
    maps(FAR, P | W | U, EINVAL)
    maps(ZENO, P | W | U, 0)
    g.op(f"mov rax, {word:#x}", f"mov [pool + {n << 12}], rax")
    maps(FAR, P | U, 0)
    maps(ZENO, P | U, 0)
    reads(word)
    maps(n, P | W | U, 0)
    g.pin(ZENO, 1)
    g.look()
    maps(ZENO, P | U, EINVAL)
    g.end()
    return g
