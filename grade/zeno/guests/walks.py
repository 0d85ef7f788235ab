"""Fresh guest programs with paging that touch what is mapped and what is not (paging.py has their rules).

SDM = Intel SDM order no. 325462-080, June 2023.
"""

from .paging import A, D, P, PS, Paged, W


def offset(rng):
    """A dword inside of a page."""
    return rng.randrange(0, 1023) * 4 + rng.choice((0, 0, 0, 1, 2))


def playground(k, space, count=3, pages=5, flags=None):
    """Slots with tables and some pages in each: [(linear address, its frame)]; frames are used twice."""
    rng, found, frames = k.rng, [], []
    for slot in k.slots(count, space):
        k.table(space, slot)
        for index in rng.sample(range(k.per_table), pages):
            shared = frames and rng.random() < 0.3
            pa = rng.choice(frames) if shared else k.frame()
            frames.append(pa)
            va = slot << k.shift | index << 12
            k.put(k.entry_of(space, va), pa | (W | P if flags is None else flags))
            found.append((va, pa))
    if k.form != "plain":
        slot, = k.slots(1, space)
        home = rng.choice(frames)
        k.put(k.upper(space, slot), home >> k.shift << k.shift | PS | W | P)
        near = sorted({pa for pa in frames if pa >> k.shift == home >> k.shift})
        for pa in rng.sample(near, min(3, len(near))):
            found.append((slot << k.shift | pa & (1 << k.shift) - 1, pa))
    return found


def identity(rng, form, count=26, polled=False):
    """2.2: pages that are there, at many addresses. No fault, no change of a table."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    pages = playground(k, space)
    k.turn_on(space)
    for _ in range(count):
        (va, pa), at = rng.choice(pages), offset(rng)
        kind = rng.randrange(6)
        if kind == 0:
            k.fill_code(pa + at)
            k.execute(va + at)
        elif kind == 1:
            # Written here, read there: by its physical address, and at another linear one.
            k.touch(va + at, "write")
            k.touch(pa + at, "read")
            for other, frame in pages:
                if frame == pa and other != va:
                    k.touch(other + at, "read")
                    break
        elif kind == 2:
            k.op("mov [kept_stack], esp", f"mov esp, {va + 0xF00:#x}", f"push dword {k.word():#x}",
                 "pushad", "popad", "pop eax", "mov esp, [kept_stack]")
            k.say("eax", "stack")
        elif kind == 3:
            k.op(f"mov esi, {va:#x}", f"mov edi, {rng.choice(pages)[0]:#x}", "mov ecx, 1024", "cld",
                 "rep movsd", f"mov eax, [edi - {4 * rng.randrange(1, 1024)}]")
            k.say("eax", "copied")
        else:
            k.touch(va + at)
    k.finish()
    return k


def absent(k, space, pages):
    """Addresses where a true fault waits, one kind at a time."""
    rng = k.rng
    found = [rng.choice(k.slots(1, space)) << k.shift | rng.randrange(1 << k.shift)]
    va = rng.choice([va for va, _ in pages if k.entry_of(space, va)])
    table = va >> k.shift << k.shift
    for _ in range(40):
        other = table | rng.randrange(k.per_table) << 12
        if not k.memory.get(k.entry_of(space, other), 0):
            found.append(other | rng.randrange(4096))
            break
    if k.translate(space, 0) is None:
        found.append(rng.randrange(4096))  # page 0, which null pointers point to
    if k.pae:
        missing = [gib for gib in range(4) if gib not in space.directories]
        if missing:
            found.append(rng.choice(missing) << 30 | rng.randrange(1 << 29))
    return found


def reserved(k, space):
    """Addresses of entries that are present and have a reserved bit set."""
    rng, found = k.rng, []
    if k.form == "pse":
        slot, = k.slots(1, space)
        k.put(k.upper(space, slot), rng.randrange(1, 512) << 22 | 1 << 21 | PS | W | P)
        found.append(slot << 22 | rng.randrange(1 << 22))
    if k.pae:
        slot, = k.slots(1, space)
        table = k.table(space, slot)
        index = rng.randrange(512)
        k.put(table + 8 * index, 1 << rng.choice((63, 45, 50)) | k.frame() | W | P)
        found.append(slot << 21 | index << 12 | rng.randrange(4096))
    return found


def crossing(k, space, pages):
    """Accesses that begin on one page and end on the next, where there is none."""
    for va in k.rng.sample([va for va, _ in pages], 4):
        after = (va & ~0xFFF) + 0x1000
        if k.translate(space, after) is None:
            k.touch(after - k.rng.randrange(1, 4), k.rng.choice(("read", "write")))


def read_only(k, space):
    """A page without W, to which a supervisor may write all the same: CR0.WP is 0."""
    slot, = k.slots(1, space)
    table = k.table(space, slot)
    index = k.rng.randrange(k.per_table)
    k.put(table + k.size * index, k.frame() | P)
    return slot << k.shift | index << 12


def scribble(k, space, pages):
    """Writes to an entry that change only what is the kernel's own in it: bits 9 to 11 (SDM 3A table 4-6)."""
    va = k.rng.choice([va for va, _ in pages if k.entry_of(space, va)])
    at = k.entry_of(space, va)
    k.op(f"{k.rng.choice(('or', 'xor'))} dword [{at:#x}], {k.rng.randrange(1, 8) << 9:#x}")
    k.show(at, ~(A | D) & 0xFFFFFFFF)
    k.touch(va + offset(k.rng))


STEADY = 100
"""So many pages steady() writes, and so many others it reads."""


def steady_pages(k, space):
    """Two times STEADY pages, one behind the other, all on one frame; where they begin."""
    slot, = k.slots(1, space)
    table, pa = k.table(space, slot), k.frame()
    for i in range(2 * STEADY):
        k.memory[table + k.size * i] = pa | W | P
    k.op(f"mov edi, {table:#x}", f"mov ecx, {2 * STEADY}")
    again = k.label(k.fresh())
    k.op(f"mov dword [edi], {pa | W | P:#x}", f"add edi, {k.size}", "dec ecx", f"jnz {again}")
    return slot << k.shift


def steady(k, start):
    """First writes and first reads of many pages: none is more than a hidden fault."""
    k.op(f"mov edi, {start + 4 * k.rng.randrange(1000):#x}", f"mov eax, {k.word():#x}")
    for access in ("mov [edi], eax", "add eax, [edi]"):
        k.op(f"mov ecx, {STEADY}")
        again = k.label(k.fresh())
        k.op(access, "rol eax, 3", "add edi, 4096", "dec ecx", f"jnz {again}")
    k.say("eax", "sum")
    k.place()


def faults(rng, form, count=16, polled=False):
    """2.3: true faults of every kind among accesses that are none. No table is changed."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    pages = playground(k, space)
    bad = reserved(k, space)
    fixed, many = read_only(k, space), steady_pages(k, space)
    k.turn_on(space)
    bad += absent(k, space, pages)
    for number in range(count):
        if number < len(bad) or rng.random() < 0.5:
            va = bad[number] if number < len(bad) else rng.choice(bad)
            if rng.random() < 0.2:
                k.execute(va)
            else:
                k.touch(va)
        elif number % 3 == 0:
            scribble(k, space, pages)
        else:
            va, pa = rng.choice(pages)
            k.touch(va + offset(rng))
        if rng.random() < 0.2:
            k.op("mov eax, cr2")
            k.say("eax", "cr2")
    crossing(k, space, pages)
    k.touch(fixed + offset(rng), "write")
    k.touch(fixed + offset(rng), "read")
    scribble(k, space, pages)
    k.op(f"mov eax, {k.word():#x}", "mov cr2, eax")
    k.touch(rng.choice(pages)[0])  # a hidden fault must not show
    k.op("mov eax, cr2")
    k.say("eax", "cr2")
    steady(k, many)
    k.finish()
    return k


def nowhere(rng, form):
    """2.3: pages where the guest has no memory, among others. What is read there is not printed."""
    k = Paged(rng, form)
    k.begin()
    space = k.space()
    pages = playground(k, space)
    slot, = k.slots(1, space)
    table = k.table(space, slot)
    for i, pa in enumerate((0x800000, 0x1000000, 0x40000000, 0x7FFFF000, 0xFFFFF000, 0xA0000)):
        k.put(table + k.size * i, pa | W | P)
    k.turn_on(space)
    for number in range(18):
        va = slot << k.shift | number % 6 << 12 | rng.randrange(1000) * 4
        k.op(rng.choice((f"mov eax, [{va:#x}]", f"cmp eax, [{va:#x}]", f"mov [{va:#x}], eax")))
        k.place()
        k.touch(rng.choice(pages)[0] + offset(rng))
    k.finish()
    return k
