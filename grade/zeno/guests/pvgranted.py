"""Fresh PV guests of Lab 8, one for each exercise that a guest can see: pvgrants.py has what they are made of."""

from .pvgrants import (
    AVAIL, BAD_COPY, BAD_DOMAIN, BAD_PAGE, BY_ENTRY, DENIED, DEVICE, FROM_GRANT, GRANT_TABLE, HOST, MAP, NOWHERE, OKAY, PAGES, PERMIT, PER_FRAME, READ,
    READING, READONLY, ROOT, SELF, SHARED, SLOTS, SUB_PAGE, TO_GRANT, USERS, USES, WINDOWS, WRITING, Granting,
)


def some_flags(rng):
    """Of an entry: of each kind, some with bits that say nothing."""
    flags = rng.choice((PERMIT, PERMIT, PERMIT, PERMIT | READONLY, 0, 2, 3, PERMIT | SUB_PAGE, 2 | READONLY))
    return flags | rng.choice((0, 0, 0x20, 0xFE00 & rng.getrandbits(16)))


def free(p, slots, windows):
    """(a slot, a window), or None where there is none."""
    slot = next((n for n in range(slots) if n not in p.model.slots), None)
    window = [n for n in range(windows) if not isinstance(p.model.windows.get(n), tuple)]
    return slot, p.rng.choice(window) if window else None


def window_of(p, slot):
    """Where this one is mapped."""
    one = p.model.slots[slot]
    return next((n for n, is_ in p.model.windows.items() if is_ == (one.frame, bool(one.flags & READ))), None)


def mappings(rng, p, count, refs, wrong):
    """Maps, unmaps, and entries that change; `wrong`: how often an unmap is one that must be refused."""
    for _ in range(count):
        ref = rng.choice(refs)
        if rng.random() < .35:
            p.grant(ref, rng.choice((PERMIT, PERMIT, PERMIT | READONLY, some_flags(rng))) | p.model.entries.get(ref, (0,))[0] & (READING | WRITING),
                    rng.choice((1, 1, 1, 2)), rng.choice((*range(PAGES), ROOT, SHARED)))
        slot, window = free(p, 20, WINDOWS)
        if slot is not None and window is not None and rng.random() < .6:
            p.map(slot, ref, rng.choice((HOST, DEVICE, HOST | DEVICE, HOST | BY_ENTRY)) | rng.choice((0, READ)), window)
        elif p.model.slots:
            slot = rng.choice(sorted(p.model.slots))
            if rng.random() < wrong:
                wrongly(rng, p, slot)
            else:
                p.unmap_all(slot, window_of(p, slot))


def wrongly(rng, p, slot):
    """One that must be refused, or that ends but a part."""
    one, window = p.model.slots[slot], window_of(p, slot)
    if one.flags & HOST:
        other = rng.choice([n for n in range(WINDOWS) if n != window])
        rng.choice((lambda: p.unmap(slot, other), lambda: p.unmap(slot, -1), lambda: p.unmap(slot, window)))()
    if slot in p.model.slots and p.model.slots[slot].flags & DEVICE:
        rng.choice((lambda: p.unmap(slot, None, (one.frame + 1) % PAGES), lambda: p.unmap(slot, None, one.frame)))()
    p.unmap(SLOTS - 1, 0, None, handle=rng.choice((255, 256, 4095, 1 << 16, 1 << 31, 0xFFFFFFFF)))


def kinds(rng, p, count):
    """Entries of all kinds, each used once, or refused: from this number on they are free."""
    todo = [(kind | rng.choice((0, 0x20, 0x8000)), 1, 0, flags) for kind in (0, 1, 2, 3, 1 | READONLY, 1 | SUB_PAGE)
            for flags in (DEVICE, HOST | READ)]
    todo += [(PERMIT, dom, 0, HOST) for dom in (0, 2, 0x101, 0x8001, SELF, 0xFFFF)]
    todo += [(PERMIT | 0xFE60, 1, frame, flags) for frame in (ROOT, SHARED, *(("raw", n) for n in NOWHERE)) for flags in (DEVICE, DEVICE | READ)]
    todo += [(some_flags(rng), rng.choice((1, 1, 1, 2)), 0, rng.choice((DEVICE, HOST)) | rng.choice((0, READ))) for _ in range(count)]
    rng.shuffle(todo)
    for ref, (flags, dom, frame, how) in enumerate(todo, 50):
        p.grant(ref, flags, dom, frame or rng.randrange(PAGES))
        p.map(ref, ref, how, rng.randrange(WINDOWS))
    return 50 + len(todo)


def as_often(p, ref, how, frame):
    """As often as an entry can be used, and once more."""
    p.grant(ref, PERMIT, 1, frame)
    p.doing = f"{p.ask_map(ref, how, 0, 1)}, again and again: how often until it is refused"
    p.op("xor ebx, ebx")
    p.label(f"once_more{ref}")
    p.call(GRANT_TABLE, MAP, "request", 1)
    p.op("inc ebx", "cmp word [request + 18], 0", f"je once_more{ref}")
    p.say("rbx", USES + 1)
    p.model.uses(ref)[:] = [frame, USES, 0] if how & READ else [frame, 0, USES]
    p.model.bits(ref, READING | (0 if how & READ else WRITING))
    p.entry(ref)


def claims(rng, count):
    """Maps alone: of entries of all kinds, that change while they are in use, and that are used as often as they can be."""
    p = Granting(rng)
    p.grant(9, PERMIT, 1, 1)
    p.map(0, 9, DEVICE | READ)  # read, then granted to others, of another frame
    p.grant(9, PERMIT | READONLY | READING, 1, 2)
    p.map(1, 9, HOST, 0)
    p.map(1, 9, HOST | READ, 0)
    p.grant(9, READING, 2, 3)
    p.map(2, 9, DEVICE | READ)
    p.grant(10, PERMIT, 1, 4)
    p.map(3, 10, DEVICE | READ)
    p.grant(10, PERMIT | 0xFE60 | READING, 1, 2)  # bits that are the granter's alone
    p.map(4, 10, DEVICE)
    p.grant(10, READING | WRITING, 1, 3)
    p.map(5, 10, DEVICE)
    p.grant(11, PERMIT, 1, ROOT)  # its page table: to read; no more than that
    p.map(6, 11, DEVICE | READ)
    p.map(7, 11, DEVICE)
    for flags in (0, READ, USERS, BY_ENTRY):
        p.map(7, 12, flags)
    p.grant(12, PERMIT, 1, 3)
    p.map(7, 12, HOST, None)
    p.map(7, 12, HOST | DEVICE | READ, None)
    p.map(7, 12, HOST | BY_ENTRY | USERS | 5 << AVAIL, 1)
    slot = kinds(rng, p, 20)
    for ref in (PER_FRAME, PER_FRAME + 21, 32 * PER_FRAME, 1 << 16 | 21, 1 << 31 | 21, 0xFFFFFFFF):
        p.map(0, ref, DEVICE | READ, 0)
    for dom in (0, 9, SELF, 0xFFFF):
        p.map(0, 12, DEVICE | READ, 0, dom=dom)
    for slot in range(slot, slot + count):
        ref = rng.randrange(13, 18)
        if rng.random() < .5:
            p.grant(ref, rng.choice((PERMIT, PERMIT, PERMIT | READONLY, some_flags(rng))) | p.model.entries.get(ref, (0,))[0] & (READING | WRITING),
                    rng.choice((1, 1, 1, 2)), rng.choice((*range(PAGES), ROOT, SHARED)))
        p.map(slot, ref, rng.choice((HOST, DEVICE, HOST | DEVICE)) | rng.choice((0, READ)), rng.randrange(WINDOWS))
    as_often(p, 40, DEVICE | READ, 4)
    as_often(p, 41, DEVICE, 5)
    for how in (DEVICE | READ, HOST | DEVICE | READ, DEVICE):
        p.map(SLOTS - 1, 40, how, 5)
    p.map(SLOTS - 1, 41, DEVICE, 5)
    p.map(SLOTS - 2, 41, HOST | READ, 5)
    p.end()
    return p


def waiting(rng, frames=1):
    """One that has a table, and ends: for who calls functions there."""
    p = Granting(rng, frames=frames)
    p.end()
    return p


def handles(rng, count):
    """Each way to end a mapping, and what is none."""
    p = Granting(rng)
    for n in range(4):
        p.grant(9 + n, PERMIT, 1, n)
    p.unmap(0, 0, None, handle=0)
    p.map(0, 9, HOST | DEVICE, 0)
    p.unmap(0, None, 1)
    p.unmap(0, 1)
    p.unmap(0, -1)
    p.unmap(0)  # nothing is asked for
    p.unmap(0, 0)
    p.unmap(0, 0)  # it has no such part any more
    p.unmap(0, None, 0)
    p.unmap(0, None, 0)
    p.map(1, 10, HOST, 1)
    p.map(2, 10, HOST | READ, 2)
    p.unmap(1, 2)  # the same frame, to read
    p.unmap(2, 1)
    p.overwrite(2)
    p.unmap(2, 2)
    p.unmap(1, 1)
    p.map(3, 9, HOST, 3)
    p.overwrite(3)
    p.unmap(3, 3)  # the same frame: nobody can tell
    p.map(4, 11, DEVICE)
    p.map(5, 11, DEVICE | READ)
    p.unmap(4, None, 2)
    p.unmap(5, None, 2)
    p.map(6, 12, HOST | DEVICE, 4)
    p.unmap(6, 4, 2)  # the one by its address, the other by another one's: neither
    p.overwrite(4, 3, there=False)
    p.unmap(6, 4)
    p.overwrite(4, 3)
    p.unmap(6, 4, 3)
    p.map(6, 12, HOST | BY_ENTRY | READ, 2)
    p.unmap(6, 3)
    p.unmap(6, 2)
    p.map(6, 9, HOST, 5)
    p.replace(6, 5)
    mappings(rng, p, count, range(9, 14), .6)
    p.end()
    return p


def copy_status(p, ends, length, flags):
    """(status, source, dest): frames."""
    m, found = p.model, []
    for flag, (_, dom, _) in zip((FROM_GRANT, TO_GRANT), ends):
        if not flags & flag and dom not in (SELF, m.number):
            return DENIED, None, None
    if any(offset + length > 4096 for _, _, offset in ends):
        return BAD_COPY, None, None
    for writes, (what, dom, _) in enumerate(ends):
        if dom not in (SELF, m.number):
            return BAD_DOMAIN, None, None
        if flags >> writes & 1:
            status, frame = m.look(what, writes, 0)
        else:
            status, frame = OKAY if what != SHARED and m.fits(what, writes) else BAD_PAGE, what
        if status:
            return status, None, None
        found.append(frame)
    return OKAY, *found


def copies(rng, count):
    """(the guest, its pages behind all of that)."""
    fill = [[rng.getrandbits(64) for _ in range(512)] for _ in range(PAGES)]
    p = Granting(rng, fill=fill)
    pages = [bytearray(b"".join(word.to_bytes(8, "little") for word in one)) for one in fill]
    for n in range(PAGES):
        p.grant(8 + n, PERMIT, 1, n)
    p.grant(20, PERMIT | READONLY, 1, 0)
    p.grant(21, PERMIT, 2, 1)
    p.grant(22, PERMIT, 1, ROOT)
    p.grant(23, 3, 1, 1)
    p.grant(24, PERMIT, 1, SHARED)
    # In use: another frame than it says by now, to read, and to write.
    p.grant(25, PERMIT, 1, 2)
    p.map(0, 25, DEVICE)
    p.grant(25, READING | WRITING, 2, 3)
    p.grant(26, PERMIT, 1, 4)
    p.map(1, 26, DEVICE | READ)
    p.grant(26, PERMIT | READONLY | READING, 1, 5)

    def one(ends, length, flags):
        status, source, dest = copy_status(p, ends, length, flags)
        p.copy(*ends, length, flags, status)
        if not status and source < PAGES:
            at, to = ends[0][2], ends[1][2]
            pages[dest][to:to + length] = bytes(pages[source][at:at + length])

    good = [*range(8, 8 + PAGES), 25]
    sums = [(2, 4095), (4097, 0), (1, 65535), (0, 65535), (65535, 1), (65535, 65535), (0, 4097), (32768, 32768)]
    for length, at, to in ((4096, 0, 0), (0, 4096, 4096), (1, 4095, 0), (1, 0, 4095), *((length, at, 0) for length, at in sums if length < 4097),
                           *((length, 0, to) for length, to in sums if length < 4097), *((length, at, at) for length, at in sums),
                           (65000, 1000, 1000), (3000, 0, 100), (3000, 1000, 7)):
        one(((8, SELF, at), (9, 1, to)), length, 3)
        one(((3, SELF, at), (3, SELF, to)), length, 0)
    for what in (20, 21, 22, 23, 24, 25, 26, 7, PER_FRAME, PER_FRAME + 8, 0xFFFFFFFF):
        one(((what, SELF, 3), (1, SELF, 900)), 16, FROM_GRANT)
        one(((2, SELF, 40), (what, SELF, 8)), 16, TO_GRANT)
    for what in (ROOT, SHARED, ("raw", 0x100), ("raw", 1 << 32), ("raw", (1 << 64) - 1)):
        if what != ROOT:
            one(((what, SELF, 3), (1, SELF, 900)), 16, 0)
        one(((2, SELF, 40), (what, SELF, 8)), 16, 0)
    for dom in (0, 2, 9, 0xFFFF):
        one(((8, dom, 0), (1, SELF, 0)), 16, FROM_GRANT)
        one(((2, dom, 0), (1, SELF, 0)), 16, 0)
        one(((2, SELF, 0), (1, dom, 0)), 16, rng.choice((0, TO_GRANT)))
    for _ in range(count):
        flags, ends = rng.randrange(4), []
        for flag in (FROM_GRANT, TO_GRANT):
            ends.append((rng.choice(good) if flags & flag else rng.randrange(PAGES), rng.choice((SELF, 1)), rng.randrange(2048)))
        one(tuple(ends), rng.choice((rng.randrange(64), rng.randrange(2048))), flags)
    for ref in (20, 25, 26, 8):
        p.entry(ref)
    p.end()
    return p, pages
