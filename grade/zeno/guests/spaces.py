"""More guest programs with paging: marks, rights, many address spaces, and page tables as weapons.

What they are made of is in paging.py, and so are the rules that keep chance out of them.

SDM = Intel SDM order no. 325462-080, June 2023.
"""

from .kernels import CALL
from .edits import edits
from .paging import A, ADDRESS, P, PS, Paged, Space, U, W, WINDOW
from .walks import faults, identity, offset

# -- 2.5: accessed and dirty -----------------------------------------------------------------------


def fresh_entry(k, space, va, value):
    """The entry of va as it is given, and nothing of it in the TLB."""
    k.put(k.entry_of(space, va), value, simply=True)
    k.op(f"invlpg [{va:#x}]")


def marks(rng, form, count=12, polled=False):
    """2.5: what accesses of each kind leave in A and D."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    slots, frames = k.slots(3), [k.frame() for _ in range(5)]
    for slot in slots:
        k.table(space, slot)
    k.turn_on(space)
    kinds = ["read", "write", "rmw", "code", "alias", "upper", "outs", "ins", "table", "both"]
    kinds += [rng.choice(kinds) for _ in range(count - len(kinds))]
    rng.shuffle(kinds)
    for kind in kinds:
        va = rng.choice(slots) << k.shift | rng.randrange(k.per_table) << 12
        pa, at = rng.choice(frames), rng.randrange(0, 4000)
        if kind == "code":
            k.fill_code(pa + at)
        fresh_entry(k, space, va, pa | W | P)
        entry = k.entry_of(space, va)
        mark(k, space, kind, va + at, (va, pa, entry), slots)
        k.show(entry)
    if form != "plain":
        large_marks(k, space)
    k.finish()
    return k


def mark(k, space, kind, va, page, slots):
    """One access, or several, of which the caller shows what they left."""
    rng, (start, pa, entry) = k.rng, page
    if kind in ("read", "write", "rmw"):
        k.touch(va, kind)
    elif kind == "code":
        k.execute(va)
    elif kind == "both":
        k.touch(va, "read")
        k.show(entry)
        k.touch(va, "write")
    elif kind == "alias":
        # Two entries for one frame: D belongs to the entry that the write came through.
        other = rng.choice(slots) << k.shift | rng.randrange(k.per_table) << 12
        if k.entry_of(space, other) == entry:
            return
        fresh_entry(k, space, other, pa | W | P)
        k.touch(other + (va & 0xFFF), "write")
        k.show(k.entry_of(space, other))
        k.touch(va, "read")
    elif kind == "upper":
        at = k.upper(space, va >> k.shift)
        k.put(at, k.memory[at] & ~A, simply=True)
        k.load(space)
        k.show(at)
        for one in ("read", "write"):
            k.touch(va, one)
            k.show(at)
        k.memory[at] |= A
    elif kind == "outs":
        # Read and written by whoever does the I/O: the UART's scratch register takes any byte.
        k.op(f"mov byte [{pa + (va & 0xFFF):#x}], {rng.randrange(256)}", f"mov esi, {va:#x}",
             "mov edx, 0x3ff", "outsb", "in al, dx")
        k.say("eax", "sent")
    elif kind == "ins":
        k.op(f"mov al, {rng.randrange(256)}", f"mov edi, {va:#x}", "mov edx, 0x3ff", "out dx, al",
             "insb")
        k.say(f"[{pa + (va & 0xFFF):#x}]", "got")
    else:
        # The page is a page table, so the write is not an ordinary one on every machine.
        table = k.memory[k.upper(space, slots[0])] & ADDRESS
        fresh_entry(k, space, start, table | W | P)
        free = k.per_table - 1
        while k.memory.get(table + k.size * free, 0) or start == slots[0] << k.shift | free << 12:
            free -= 1
        k.op(f"mov dword [{start + k.size * free:#x}], {rng.randrange(1 << 20) << 12:#x}")


def large_marks(k, space):
    """A and D of a large page stand in the upper entry."""
    slot, = k.slots(1, space)
    pa = k.frame()
    at = k.upper(space, slot)
    k.put(at, pa >> k.shift << k.shift | PS | W | P, simply=True)
    where = slot << k.shift | pa & (1 << k.shift) - 1
    k.touch(where + offset(k.rng), "read")
    k.show(at)
    k.touch(where + offset(k.rng), "write")
    k.show(at)


# -- 2.6: rights -----------------------------------------------------------------------------------


def rights(rng, form, rounds=3, count=9, polled=False):
    """2.6: U/S, R/W and WP at both levels, from ring 0 and ring 3."""
    k = Paged(rng, form, user=True, polled=polled)
    k.begin()
    k.play_gates()
    space = k.space()
    pages, codes = [], set()
    for upper in (P, W | P, U | P, U | W | P):
        slot, = k.slots(1, space)
        table = k.table(space, slot, upper | A)
        for index, lower in zip(rng.sample(range(k.per_table), 4), (P, W | P, U | P, U | W | P)):
            pa = k.frame()
            k.put(table + k.size * index, pa | lower)
            pages.append(slot << k.shift | index << 12)
            k.fill_code(pa)
            codes.add(pages[-1])
    if form != "plain":
        for lower in rng.sample((P, W | P, U | P, U | W | P), 3):
            slot, = k.slots(1, space)
            pa = k.frame()
            k.fill_code(pa)
            k.put(k.upper(space, slot), pa >> k.shift << k.shift | PS | lower)
            pages.append(slot << k.shift | pa & (1 << k.shift) - 1)
    k.turn_on(space, wp=rng.random() < 0.5)
    for number in range(rounds):
        k.set_wp(number % 2 if rng.random() < 0.8 else not number % 2)
        seen = rng.sample(pages, count)
        for va in seen:
            k.touch(va + 8 + offset(rng) % 4000)
        k.user(lambda seen=seen: user_touches(k, seen, pages), rng.randrange(2) << 9)
        for va in rng.sample(seen, 3):
            k.touch(va + 8 + offset(rng) % 4000, "write")
    k.finish()
    return k


def user_touches(k, seen, pages):
    """In ring 3: pages that the kernel has just used, and others."""
    rng = k.rng
    for va in rng.sample(seen, 4) + rng.sample(pages, 4):
        where = va + 8 + offset(rng) % 4000
        k.op(f"mov eax, {k.word():#x}")
        kind = rng.choice(("read", "write", "rmw", "code"))
        if kind == "code":
            k.op(f"mov ecx, {va:#x}")
            k.attempt("call ecx")
        else:
            if kind == "rmw" and k.translate(k.now, va, user=True) is None:
                kind = "write"
            k.attempt({"read": f"mov eax, [{where:#x}]", "write": f"mov [{where:#x}], eax",
                       "rmw": f"xchg [{where:#x}], eax"}[kind])
        k.op(f"int {CALL:#x}")


# -- 2.7: many address spaces ----------------------------------------------------------------------


def spaces(rng, form, number=5, count=24, polled=False):
    """2.7: address spaces that share tables, change behind each other's back, and go away."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    slots, frames = k.slots(2), [k.frame() for _ in range(6)]
    shared, found = None, []
    for i in range(number):
        one = k.space()
        found.append(one)
        k.table(one, slots[0])
        shared = k.table(one, slots[1], at=shared)
    index = rng.sample(range(k.per_table), 3)
    for one in found:
        for at in index:
            k.put(k.entry_of(one, slots[0] << k.shift | at << 12), rng.choice(frames) | W | P)
    k.put(shared + k.size * index[0], rng.choice(frames) | W | P)
    now = found[0]
    k.turn_on(now)
    for _ in range(count):
        kind = rng.randrange(5)
        if kind < 2:
            now = rng.choice(found)
            k.load(now)
            # What is mapped in the first GiB is not therefore in the others.
            echo = rng.randrange(1, 4) << 30
            if k.translate(now, echo | k.base) is None:
                k.op(f"mov eax, {k.word():#x}")
                k.attempt(f"mov eax, [kept_esp + {echo:#x}]")
                k.say("eax", "echo")
        elif kind == 2:
            # A table that is not in use now; when its space comes back, all is as it says.
            other = rng.choice([one for one in found if one is not now])
            va = slots[0] << k.shift | rng.choice(index) << 12
            k.put(k.entry_of(other, va), rng.choice((0, rng.choice(frames) | W | P)))
        elif kind == 3:
            va = slots[1] << k.shift | index[0] << 12
            k.change(now, va, rng.choice(frames) | W | P)
        for slot in slots:
            for at in rng.sample(index, 2):
                k.touch((slot << k.shift | at << 12) + offset(rng))
    reuse(k, found, now, slots[0], index)
    k.finish()
    return k


def reuse(k, found, now, slot, index):
    """A space ends: its tables become data, and its frames another space's tables."""
    rng = k.rng
    gone = rng.choice([one for one in found if one is not now])
    va = slot << k.shift | index[0] << 12
    table = k.entry_of(gone, va) & ADDRESS
    k.op(f"mov edi, {table:#x}", "mov ecx, 1024", f"mov eax, {k.word() & ~P:#x}", "cld", "rep stosd")
    for i in range(k.per_table):
        k.memory.pop(table + k.size * i, None)
    # The old table is data under the space that runs: written through the page, read as memory.
    k.change(now, va, table | W | P)
    at = offset(rng)
    k.touch(va + at, "write")
    k.touch(table + at, "read")
    k.op(f"mov edi, {table:#x}", "mov ecx, 1024", "xor eax, eax", "rep stosd")
    k.put(table + k.size * index[1], k.frame() | W | P)
    k.put(k.upper(gone, slot), table | W | P | A)
    k.load(gone)
    for one in index:
        k.touch((slot << k.shift | one << 12) + offset(rng))


def carousel(rng, form, number, rounds, polled=False):
    """Address spaces that take turns, each with pages of its own. (Program, how many pages)"""
    k = Paged(rng, form, polled=polled)
    k.begin()
    slot, = k.slots(1)
    index = rng.sample(range(k.per_table), 4)
    found = []
    for _ in range(number):
        one = k.space()
        k.table(one, slot)
        for at in index:
            k.put(k.entry_of(one, slot << k.shift | at << 12), k.frame() | W | P)
        found.append(one)
    k.turn_on(found[0])
    k.op(f"mov edi, {rounds}", f"mov ecx, {k.word():#x}")
    again = k.label(k.fresh())
    for one in found:
        k.load(one)
        for at in index:
            where = (slot << k.shift | at << 12) + 4 * rng.randrange(1024)
            k.op(f"add ecx, [{where:#x}]", "rol ecx, 5", f"mov [{where:#x}], ecx")
    k.op("dec edi", f"jnz {again}")
    k.say("ecx", "sum")
    k.finish()
    return k, number * len(index)


def flood(rng, form, number=58, turns=2, polled=False):
    """More page tables than a host likes to shadow: address spaces that use their tables in all four GiB."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    data = [k.frame() for _ in range(3)]
    inside = rng.sample(range(8, (1 << (30 - k.shift)) - 8), 4)
    index = [rng.randrange(k.per_table // 2), rng.randrange(k.per_table // 2, k.per_table)]
    slots = [gib << (30 - k.shift) | one for gib, one in enumerate(inside)]
    found, registers = [], k.frame()
    for count in range(number):
        one = Space(registers + 32 * count if k.pae else k.frame())
        if k.pae:
            # One directory for all: as a part of each GiB it is another one to whoever shadows it.
            pd = k.frame()
            one.directories = dict.fromkeys(range(4), pd)
            for gib in range(4):
                k.put(one.cr3 + 8 * gib, pd | P)
        else:
            one.directories = dict.fromkeys(range(4), one.cr3)
        for slot in k.kernel_slots:
            if slot not in k.kernel_entries:
                k.kernel_entries[slot] = k.kernel_entry(slot)
            k.put(k.upper(one, slot), k.kernel_entries[slot])
        table = k.frame()
        for slot in slots:
            k.table(one, slot, at=table)
        for at in index:
            k.put(table + k.size * at, rng.choice(data) | W | P)
        found.append(one)
    k.turn_on(found[0])
    k.op(f"mov edi, {turns}", f"mov ecx, {k.word():#x}")
    again = k.label(k.fresh())
    for one in found:
        k.load(one)
        for slot in slots:
            for at in index:
                where = (slot << k.shift | at << 12) + 4 * rng.randrange(1024)
                k.op(f"add ecx, [{where:#x}]", "rol ecx, 5", f"mov [{where:#x}], ecx")
        k.place()
    k.op("dec edi", f"jnz {again}")
    k.say("ecx", "sum")
    k.finish()
    return k


# -- tables as weapons -----------------------------------------------------------------------------

ATTACKS = ["beyond", "cr3-nowhere", "tables-nowhere", "window", "window-mapped", "self", "storm",
           "all-large", "stack-lost", "idt-lost", "code-lost"]
"""What attack() can make."""


def attack(rng, kind):
    """A guest whose page tables are meant to hurt its host. It prints `begins`, and how it went if it can."""
    form = rng.choice(("pse", "pae"))
    k = Paged(rng, form)
    k.begin()
    space = k.space()
    slots = k.slots(3)
    tables = [k.table(space, slot) for slot in slots]
    for i in range(6):
        k.put(tables[0] + k.size * i, k.frame() | W | P)
    k.turn_on(space)
    k.print("begins\n")
    va = slots[0] << k.shift
    k.touch(va, "write")
    {"beyond": beyond, "cr3-nowhere": cr3_nowhere, "tables-nowhere": tables_nowhere,
     "window": window, "window-mapped": window_mapped, "self": onto_itself, "storm": storm,
     "all-large": all_large, "stack-lost": stack_lost, "idt-lost": idt_lost,
     "code-lost": code_lost}[kind](k, space, slots, tables)
    k.print("no effect\n")
    k.finish()
    return k


def went_through(k, va):
    """Says so if what is written to va can be read there."""
    on = k.fresh()
    k.op("mov [kept_esp], esp", f"mov dword [resume], {on}", f"mov ebx, {va:#x}",
         f"mov eax, {k.word() | 1:#x}", "mov [ebx], eax", "cmp [ebx], eax", f"jne {on}",
         "call came_through")
    k.label(on)
    k.op("mov esp, [kept_esp]", "mov dword [resume], 0")


def beyond(k, space, slots, tables):
    """Pages where the guest has no memory, and the host has."""
    for i in range(8, 24):
        pa = k.rng.choice((0x800000, 0x1000000, 0x2000000, 0x4000000, 0x7000000, 0xA0000, 0xC8000,
                           0xFEE00000, 0xFFFFF000)) + k.rng.randrange(0, 1) * 4096
        k.put(tables[0] + k.size * i, pa | U | W | P)
        went_through(k, (slots[0] << k.shift) + (i << 12) + 4 * k.rng.randrange(1000))


def cr3_nowhere(k, space, slots, tables):
    """CR3 where there is no memory: its tables are all ones, or nothing."""
    for pa in (0x000A0000, 0x00800000, 0x7FFFF000, 0xFFFFE000):
        k.op(f"mov eax, {pa:#x}")
        k.attempt("mov cr3, eax", "mov eax, [0x1000]")


def tables_nowhere(k, space, slots, tables):
    """Page tables where there is no memory, and in the guest's code."""
    for pa in (0xFFFFF000, 0x00800000, 0x000A0000, 0x000C8000, k.base):
        k.put(k.upper(space, slots[1]), pa | U | W | P)
        k.load(space)
        k.touch((slots[1] << k.shift) + 4096 * k.rng.randrange(k.per_table), "read")
        k.touch((slots[1] << k.shift) + 4096 * k.rng.randrange(k.per_table), "write")


def window(k, space, slots, tables):
    """The VMM window, which the guest does not map."""
    for _ in range(6):
        went_through(k, WINDOW + k.rng.choice((0, 4096, k.rng.randrange(0, 4 << 20, 4))))


def window_mapped(k, space, slots, tables):
    """The VMM window, where the guest maps pages of its own, writable for all."""
    low = WINDOW >> k.shift
    k.directory(space, 3)
    k.load(space)
    for slot in range(low, 1 << (32 - k.shift)):
        k.put(k.upper(space, slot), tables[0] | U | W | P)
    k.load(space)
    for _ in range(6):
        k.touch(WINDOW + k.rng.choice((0, 4096, k.rng.randrange(0, 4 << 20, 4))))


def onto_itself(k, space, slots, tables):
    """A directory that is its own table and page, and is written through all of these mappings."""
    at = k.upper(space, slots[1])
    pd = at & ADDRESS
    k.put(at, pd | U | W | P)
    inside = (slots[1] << k.shift) + (((at & 0xFFF) // k.size) << 12)
    for i in range(40):
        k.op(f"mov dword [{inside + k.size * ((slots[2] & k.per_table - 1)):#x}], "
             f"{k.rng.choice((0, tables[2] | 7, pd | 7, 0x87)):#x}", f"mov eax, [{inside:#x}]",
             f"invlpg [{slots[2] << k.shift:#x}]")
        k.attempt(f"mov eax, [{(slots[2] << k.shift) + 4096 * (i % 7):#x}]")


def storm(k, space, slots, tables):
    """A page's entry changes for as long as the guest has time, each time with a use of it."""
    k.op("mov ecx, 3000")
    again = k.label(k.fresh())
    k.op(f"btc dword [{tables[0]:#x}], 1", f"mov eax, [{slots[0] << k.shift:#x}]",
         f"invlpg [{slots[0] << k.shift:#x}]", "dec ecx", f"jnz {again}")


def all_large(k, space, slots, tables):
    """All of the 4 GiB as large pages, for which there is memory behind two of them at most."""
    for slot in range(0, 1 << (32 - k.shift), 16 if k.pae else 8):
        if slot in k.kernel_slots or slot >> (30 - k.shift) not in space.directories:
            continue
        k.op(f"mov dword [{k.upper(space, slot):#x}], {slot << k.shift | 0x87:#x}")
        if k.pae:
            k.op(f"mov dword [{k.upper(space, slot) + 4:#x}], 0")
        if k.rng.random() < 0.3 and slot << k.shift >= 0x800000:
            went_through(k, (slot << k.shift) + 0x123400)


def stack_lost(k, space, slots, tables):
    """A fault whose frame has no stack: double fault, triple fault."""
    k.op(f"mov esp, {(slots[2] << k.shift) + 0x8000:#x}", "push eax")


def idt_lost(k, space, slots, tables):
    """An IDT on a page that is not there."""
    k.op(f"mov dword [{k.idt - 6:#x}], {(slots[2] << k.shift) + 0x5000:#x}", f"lidt [{k.idt - 8:#x}]",
         "int 0x30")


def code_lost(k, space, slots, tables):
    """The program unmaps itself."""
    for slot in k.kernel_slots:
        k.op(f"mov dword [{k.upper(space, slot):#x}], 0")
    k.load(space)


PROGRAMS = {"identity": identity, "faults": faults, "edits": edits, "marks": marks,
            "rights": rights, "spaces": spaces, "flood": flood,
            "carousel": lambda rng, form, polled=False: carousel(rng, form, 3, 40, polled)[0]}
