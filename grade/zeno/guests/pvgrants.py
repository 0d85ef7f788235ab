"""Fresh PV guests that grant pages, and use what is granted; and what grant_table.h says of that.

Most grant to themselves: then one guest is the granter and the user, and its entries change at its will. The model in Python
shares nothing with what it judges.
"""

from .pv import SELF, Paravirtual

GRANT_TABLE, UPDATE_VA, YIELD = 20, 14, 0
MAP, UNMAP, SETUP, COPY = 0, 1, 2, 5
OKAY, GENERAL, BAD_DOMAIN, BAD_GNTREF, BAD_HANDLE, BAD_VIRT, BAD_DEV = 0, -1, -2, -3, -4, -5, -6
DENIED, BAD_PAGE, BAD_COPY = -8, -9, -10
PERMIT, READONLY, READING, WRITING, SUB_PAGE = 1, 4, 8, 16, 0x100
DEVICE, HOST, READ = 1, 2, 4
FROM_GRANT, TO_GRANT = 1, 2
PAGES, WINDOWS, SLOTS, PER_FRAME, USES = 6, 6, 64, 512, 255
ROOT, SHARED = PAGES, PAGES + 1
"""Behind the pages in `mfns`: its page table, and a page that is not its own."""
NOWHERE = (0x100, 0x7FFFFFFF, 0xFFFFFFFF, 0)
"""Frames that are no memory of its own, as numbers."""
WILD = 0x800000000000


class Handle:
    """One mapping."""

    def __init__(self, flags, ref, frame):
        self.flags, self.ref, self.frame = flags, ref, frame

    def parts(self):
        """So many uses."""
        return (self.flags & 1) + (self.flags >> 1 & 1)


class Model:
    """A domain's table, as it and Zeno have it. A frame is a page's number, or ("raw", n)."""

    def __init__(self, number, frames):
        self.number, self.frames = number, frames
        self.entries, self.active, self.slots, self.windows = {}, {}, {}, {}

    def uses(self, ref):
        """[frame, readers, writers]"""
        return self.active.setdefault(ref, [None, 0, 0])

    def fits(self, frame, writes):
        """Its memory, which may be used so."""
        return isinstance(frame, int) and (frame < PAGES or frame == ROOT and not writes)

    def allowed(self, ref, writes):
        """By what the entry says now."""
        flags, dom, _ = self.entries.get(ref, (0, 0, ("raw", 0)))
        return flags & (3 | SUB_PAGE) == PERMIT and dom == self.number and not (writes and flags & READONLY)

    def look(self, ref, writes, count=1):
        """(status, frame) of so many uses."""
        if ref >= self.frames * PER_FRAME:
            return BAD_GNTREF, None
        frame, readers, writers = self.uses(ref)
        used = readers or writers
        if count and used and (writers if writes else readers) + count > USES:
            return GENERAL, None
        if (not used or writes and not writers) and not self.allowed(ref, writes):
            return GENERAL, None
        frame = frame if used else self.entries[ref][2]
        return (OKAY, frame) if self.fits(frame, writes) else (BAD_PAGE, None)

    def bits(self, ref, on):
        """The two that are Zeno's, of these."""
        flags, dom, frame = self.entries[ref]
        self.entries[ref] = flags | on, dom, frame

    def over(self, ref):
        """What is in use no more."""
        _, readers, writers = self.uses(ref)
        flags, dom, frame = self.entries[ref]
        if not writers:
            self.entries[ref] = flags & ~(WRITING if readers else WRITING | READING), dom, frame

    def map(self, slot, ref, flags, window):
        """map_grant_ref of its own; `window`: a number, or None: no such entry."""
        writes, parts = not flags & READ, (flags & 1) + (flags >> 1 & 1)
        if not parts:
            return BAD_GNTREF
        if flags & HOST and window is None:
            return BAD_VIRT
        status, frame = self.look(ref, writes, parts)
        if status:
            if status == BAD_PAGE:
                self.over(ref)
            elif ref in self.entries and parts == 2 and self.look(ref, writes)[0] == OKAY:
                self.over(ref)  # one was claimed, and given back
            return status
        one = self.uses(ref)
        if not (one[1] or one[2]) or writes and not one[2]:
            self.bits(ref, READING | (WRITING if writes else 0))
        one[0] = frame
        one[2 if writes else 1] += parts
        self.slots[slot] = Handle(flags & 7, ref, frame)
        if flags & HOST:
            self.windows[window] = frame, bool(flags & READ)
        return OKAY

    def unmap(self, slot, window, bus):
        """unmap_grant_ref: `window` None: not that; -1: no such entry. `bus` None: not that; else the frame it says."""
        one = self.slots.get(slot)
        if not one:
            return BAD_HANDLE
        asked = one.flags & ((HOST if window is not None else 0) | (DEVICE if bus is not None else 0))
        if asked & DEVICE and bus != one.frame:
            return BAD_DEV
        if asked & HOST:
            if window == -1:
                return BAD_VIRT
            if self.windows.get(window) != (one.frame, bool(one.flags & READ)):
                return GENERAL
            del self.windows[window]
        if asked:
            count = Handle(asked, 0, 0).parts()
            self.uses(one.ref)[1 if one.flags & READ else 2] -= count
            one.flags &= ~asked
            self.over(one.ref)
            if not one.parts():
                del self.slots[slot]
        return OKAY


class Granting(Paravirtual):
    """A guest with a grant table, pages that it grants, and windows where it maps; slot n keeps a mapping's handle and address."""

    def __init__(self, rng, number=1, frames=1, fill=None):
        super().__init__(rng)
        self.model = Model(number, frames)
        self.data += ["align 4096", f"table: times {frames * 4096} db 0", "pages:"]
        for n in range(PAGES):
            self.data += [f"times 4096 db {0x41 + n}"] if fill is None else [
                "dq " + ", ".join(f"{word:#x}" for word in fill[n][at:at + 16]) for at in range(0, 512, 16)]
        self.data += [f"windows: times {WINDOWS * 4096} db 0", "mfns: times 16 dq 0", "list: times 32 dq 0", "request: times 8 dq 0",
                      f"slots: times {SLOTS} dq 0", f"buses: times {SLOTS} dq 0"]
        self.op("mov rbx, [info]", "mov r12, [rbx + 104]", f"mov rdx, {self.base:#x}", "mov rax, pages", "sub rax, rdx", "shr rax, 12",
                "xor ecx, ecx", "mfns_of:", "mov r8, [r12 + rax * 8]", "mov [mfns + rcx * 8], r8", "inc rax", "inc rcx", f"cmp ecx, {PAGES}",
                "jb mfns_of", "mov rax, [rbx + 88]", "sub rax, rdx", "shr rax, 12", "mov r8, [r12 + rax * 8]", f"mov [mfns + {8 * ROOT}], r8",
                "mov r8, [rbx + 40]", "shr r8, 12", f"mov [mfns + {8 * SHARED}], r8")
        self.op(f"mov dword [request], {SELF}", f"mov dword [request + 4], {frames}", "mov qword [request + 16], list")
        self.call(GRANT_TABLE, SETUP, "request", 1)
        self.say("rax", 0)
        for n in range(frames):
            self.op(f"mov rsi, [list + {8 * n}]", "shl rsi, 12", "or rsi, 7", f"mov rdi, table + {4096 * n}", f"mov eax, {UPDATE_VA}",
                    "mov edx, 2", "syscall")
            self.say("rax", 0)

    def mfn(self, frame, register="rax"):
        """The frame's number into a register."""
        self.op(f"mov {register}, {frame[1]:#x}" if isinstance(frame, tuple) else f"mov {register}, [mfns + {8 * frame}]")

    def grant(self, ref, flags, dom, frame):
        """The entry says so."""
        self.mfn(frame)
        self.op(f"mov [table + {8 * ref + 4}], eax", f"mov dword [table + {8 * ref}], {flags | dom << 16:#x}")
        self.model.entries[ref] = flags, dom, ("raw", frame) if frame == SHARED else frame

    def entry(self, ref):
        """Its flags now."""
        if ref in self.model.entries:
            self.op(f"movzx eax, word [table + {8 * ref}]")
            self.say("rax", self.model.entries[ref][0])

    def status(self, cmd, at, wanted):
        """Of one request."""
        self.call(GRANT_TABLE, cmd, "request", 1)
        self.say("rax", 0)
        self.op(f"movsx rax, word [request + {at}]")
        self.say("rax", wanted)

    def ask_map(self, ref, flags, window, dom):
        """The request."""
        where = f"{WILD:#x}" if window is None else f"windows + {4096 * window}"
        self.op(f"mov rax, {where}", "mov [request], rax", f"mov dword [request + 8], {flags:#x}", f"mov dword [request + 12], {ref:#x}",
                f"mov dword [request + 16], {dom}")

    def kept(self, slot):
        """What the mapping is ended by."""
        self.op("mov eax, [request + 20]", f"mov [slots + {8 * slot}], eax", "mov rax, [request + 24]", f"mov [buses + {8 * slot}], rax")

    def map(self, slot, ref, flags, window=0, dom=None):
        """map_grant_ref; by its own number, or another that is nobody's."""
        self.ask_map(ref, flags, window, self.model.number if dom is None else dom)
        wanted = self.model.map(slot, ref, flags, window) if dom is None else BAD_DOMAIN
        self.status(MAP, 18, wanted)
        self.entry(ref)
        if not wanted:
            self.kept(slot)
            if flags & HOST and self.model.slots[slot].frame < PAGES:
                self.op(f"movzx eax, byte [windows + {4096 * window + 77}]")
                self.say("rax", 0x41 + self.model.slots[slot].frame)
        return wanted

    def unmap(self, slot, window=None, bus=None, handle=None):
        """unmap_grant_ref; `handle`: this number instead of the slot's."""
        where = "0" if window is None else f"{WILD:#x}" if window == -1 else f"windows + {4096 * window}"
        self.op(f"mov rax, {where}", "mov [request], rax")
        self.mfn(("raw", 0) if bus is None else bus)
        self.op("shl rax, 12", "mov [request + 8], rax")
        self.op(f"mov eax, [slots + {8 * slot}]" if handle is None else f"mov eax, {handle:#x}", "mov dword [request + 16], eax",
                "mov dword [request + 20], 0")
        one = self.model.slots.get(slot)
        ref = one.ref if one else None
        self.status(UNMAP, 20, self.model.unmap(slot, window, bus) if handle is None else BAD_HANDLE)
        if ref is not None:
            self.entry(ref)

    def unmap_all(self, slot, window):
        """All that this slot has, where it is."""
        one = self.model.slots[slot]
        self.unmap(slot, window if one.flags & HOST else None, one.frame if one.flags & DEVICE else None)

    def overwrite(self, window):
        """Its own page 0 is there, without a word to anybody."""
        self.op("mov rsi, [mfns]", "shl rsi, 12", "or rsi, 7", f"mov rdi, windows + {4096 * window}", f"mov eax, {UPDATE_VA}", "mov edx, 2",
                "syscall")
        self.say("rax", 0)
        self.model.windows[window] = 0, False

    def copy(self, source, dest, length, flags, wanted):
        """(what, dom, offset) of both; what is a grant's number, or a frame."""
        for at, flag, (what, dom, offset) in ((0, FROM_GRANT, source), (16, TO_GRANT, dest)):
            self.mfn(("raw", what) if flags & flag else what)
            self.op(f"mov [request + {at}], rax", f"mov dword [request + {at + 8}], {dom | offset << 16:#x}")
        self.op(f"mov dword [request + 32], {length | flags << 16:#x}")
        self.status(COPY, 36, wanted)

    def end(self):
        """Where somebody may look; then it powers off."""
        self.label("finished")
        self.op("nop")
        super().end()

    def until(self, name, *lines):
        """Again and again, up to when the last of these lines jumps to `{out}`."""
        self.label(f"{name}_again")
        self.op(*(line.format(out=f"{name}_out") for line in lines))
        self.call(29, YIELD)
        self.op(f"jmp {name}_again")
        self.label(f"{name}_out")


def some_flags(rng):
    """Of an entry: of each kind, some with bits that say nothing."""
    flags = rng.choice((PERMIT, PERMIT, PERMIT, PERMIT | READONLY, 0, 2, 3, PERMIT | SUB_PAGE, 2 | READONLY))
    return flags | rng.choice((0, 0, 0x20, 0xFE00 & rng.getrandbits(16)))


def entries(rng, count):
    """What an entry allows: kinds, names, uses, and numbers beyond the table."""
    p = Granting(rng)
    page = lambda: rng.randrange(PAGES)  # noqa: E731
    use = lambda ref: (DEVICE | rng.choice((0, READ))) if rng.randrange(2) else HOST | rng.choice((0, READ))  # noqa: E731
    todo = [(kind | other, 1, flags) for kind in (0, 1, 2, 3, 1 | READONLY, 1 | SUB_PAGE, 1 | 0x20) for other in (0, 0x8000)
            for flags in (DEVICE, DEVICE | READ)]
    todo += [(PERMIT, dom, HOST) for dom in (0, 2, 0x101, 0x8001, SELF, 0xFFFF)]
    todo += [(some_flags(rng), rng.choice((1, 1, 1, 2)), None) for _ in range(count)]
    rng.shuffle(todo)
    for flags, dom, how in todo:
        ref = rng.choice((8, 9, rng.randrange(8, PER_FRAME), PER_FRAME - 1))
        p.grant(ref, flags, dom, page())
        if not p.map(0, ref, how or use(ref), 0):
            p.unmap_all(0, 0)
    for frame in (ROOT, SHARED, *(("raw", n) for n in NOWHERE)):
        p.grant(20, PERMIT, 1, frame)
        for how in (DEVICE, DEVICE | READ):
            if not p.map(0, 20, how, 0):
                p.unmap_all(0, 0)
    p.grant(21, PERMIT, 1, 0)
    for ref in (PER_FRAME, PER_FRAME + 21, 32 * PER_FRAME, 1 << 16 | 21, 1 << 31 | 21, 0xFFFFFFFF):
        p.map(0, ref, DEVICE | READ, 0)
    for dom in (0, 9, SELF, 0xFFFF):
        p.map(0, 21, DEVICE | READ, 0, dom=dom)
    p.end()
    return p


def long_table(rng):
    """Three frames of entries, some of which are in use at the end."""
    p = Granting(rng, frames=3)
    refs = [0, 7, PER_FRAME - 1, PER_FRAME, PER_FRAME + 7, 2 * PER_FRAME + 7, 3 * PER_FRAME - 1]
    refs += rng.sample([n for n in range(10, 3 * PER_FRAME - 10) if n % PER_FRAME not in (0, 7, PER_FRAME - 1)], 5)
    rng.shuffle(refs)
    for slot, ref in enumerate(refs):
        p.grant(ref, PERMIT, 1, rng.randrange(PAGES))
        p.map(slot, ref, DEVICE | rng.choice((0, READ)))
        if rng.random() < .3:
            p.map(20 + slot, ref, DEVICE | READ)
    for ref in (3 * PER_FRAME, 3 * PER_FRAME + 7, 4 * PER_FRAME + 7, 32 * PER_FRAME + 7, 1 << 31 | 7, 0xFFFFFFFF):
        p.map(40, ref, DEVICE | READ)
    p.end()
    return p


def free(p, slots, windows):
    """(a slot, a window), or None where there is none."""
    slot = next((n for n in range(slots) if n not in p.model.slots), None)
    window = [n for n in range(windows) if n not in p.model.windows]
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
            p.map(slot, ref, rng.choice((HOST, DEVICE, HOST | DEVICE)) | rng.choice((0, READ)), window)
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


def claims(rng, count):
    """The granter changes what is in use; then an entry is used as often as it can be."""
    p = Granting(rng)
    p.grant(9, PERMIT, 1, 1)
    p.map(0, 9, DEVICE | READ)  # read, then granted to others, of another frame
    p.grant(9, PERMIT | READONLY | READING, 1, 2)
    p.map(1, 9, HOST, 0)
    p.map(1, 9, HOST | READ, 0)
    p.grant(9, READING, 2, 3)
    p.map(2, 9, DEVICE | READ)
    p.unmap_all(2, None)
    p.unmap_all(1, 0)
    p.unmap_all(0, None)
    p.map(0, 9, DEVICE | READ)
    p.grant(9, PERMIT | 0xFE60, 1, 2)  # bits that are the granter's alone
    p.map(0, 9, DEVICE)
    p.unmap_all(0, None)
    p.grant(9, 0, 1, 3)
    p.grant(10, PERMIT, 1, ROOT)  # its page table: to read; no more than that
    p.map(0, 10, DEVICE | READ)
    p.map(1, 10, DEVICE)
    p.unmap_all(0, None)
    for flags in (0, READ, 8, 16):
        p.map(0, 9, flags)
    p.grant(9, PERMIT, 1, 3)
    p.map(0, 9, HOST, None)
    p.map(0, 9, HOST | DEVICE | READ, None)
    mappings(rng, p, count, range(11, 15), 0)
    p.grant(40, PERMIT, 1, 4)
    p.ask_map(40, DEVICE | READ, 0, 1)
    p.op("xor ebx, ebx")
    p.label("once_more")
    p.call(GRANT_TABLE, MAP, "request", 1)
    p.op("inc ebx", "cmp word [request + 18], 0", "je once_more")
    p.say("rbx", USES + 1)
    p.model.uses(40)[:] = 4, USES, 0
    p.model.bits(40, READING)
    p.entry(40)
    for how in (DEVICE | READ, HOST | DEVICE | READ, DEVICE):
        p.map(50, 40, how, 5)
    p.end()
    return p


def waiting(rng):
    """One that has a page of its own, and none in use: for who calls functions behind its end."""
    p = Granting(rng)
    p.grant(9, PERMIT, 1, 1)
    p.map(0, 9, DEVICE | READ)
    p.unmap_all(0, None)
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
    for length, at, to in ((4096, 0, 0), (0, 4096, 4096), (1, 4095, 0), (2, 4095, 0), (2, 0, 4095), (4097, 0, 0), (1, 65535, 0),
                           (65535, 0, 65535), (0, 4097, 0), (65000, 1000, 1000), (3000, 0, 100), (3000, 1000, 7)):
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


# -- two domains -------------------------------------------------------------------------------------

FIRST, THIRDS = 8, 50


class Peer(Granting):
    """One that uses what another one grants: the answers are known, the flags are looked at in memory."""

    def map_of(self, slot, ref, flags, window, dom):
        """It waits for the entry."""
        self.ask_map(ref, flags, window, dom)
        self.until(f"map{len(self.lines)}", f"mov eax, {GRANT_TABLE}", "xor edi, edi", "mov rsi, request", "mov edx, 1", "syscall",
                   "cmp word [request + 18], 0", "je {out}")
        self.kept(slot)

    def unmap_of(self, slot, window, bus):
        """All of it."""
        self.op(f"mov rax, {'0' if window is None else f'windows + {4096 * window}'}", "mov [request], rax",
                f"mov rax, [buses + {8 * slot}]" if bus else "xor eax, eax", "mov [request + 8], rax", f"mov eax, [slots + {8 * slot}]",
                "mov [request + 16], eax")
        self.status(UNMAP, 20, OKAY)


def ends_first(rng, others):
    """Mappings of `others`' grants: [(slot, ref, flags, window)], with gaps: those that are ended again."""
    made, window = [], 0
    for slot in range(12):
        flags = rng.choice((DEVICE, HOST, HOST | DEVICE)) if window < WINDOWS - 1 else DEVICE
        made.append((slot, FIRST + rng.randrange(others), flags | rng.choice((0, READ)), window))
        window += bool(flags & HOST)
    return made, sorted(rng.sample(range(1, 11), 5))


def short(rng):
    """One that ends at once."""
    p = Paravirtual(rng)
    p.end()
    return p


def pair(rng, user_ends):
    """([guests, in the order of their starts], which mappings there are when one of the first two ends: (slot, ref, flags, window))."""
    user, granter = (2, 1) if user_ends else (1, 2)
    a, b, c = Peer(rng, granter), Peer(rng, user), Peer(rng, granter)
    for n in range(PAGES):
        a.grant(FIRST + n, PERMIT, user, n)
    made, gone = ends_first(rng, PAGES)
    b.grant(30, PERMIT, user, 2)
    for slot, ref, flags, window in made:
        b.map_of(slot, ref, flags, window, granter)
    b.map(30, 30, DEVICE)  # what it grants to itself, and keeps
    for slot in gone:
        _, _, flags, window = made[slot]
        b.unmap_of(slot, window if flags & HOST else None, flags & DEVICE)
    left = [one for one in made if one[0] not in gone]
    b.map_of(40, FIRST, HOST, WINDOWS - 1, granter)
    b.op(f"mov byte [windows + {4096 * (WINDOWS - 1)}], 7")  # by which the granter knows that it has all of them
    left.append((40, FIRST, HOST, WINDOWS - 1))
    a.until("ready", "cmp byte [pages], 7", "je {out}")
    if user_ends:
        a.label("waits")
        a.call(29, YIELD)
        a.op("jmp waits")
    else:  # somebody else has the granter's number, when he grants something
        b.map_of(41, THIRDS, DEVICE, 0, granter)
        for slot, ref, flags, window in left:
            if flags & HOST:
                b.op(f"movzx eax, byte [windows + {4096 * window + 99}]")
                b.say("rax", 0x41 + ref - FIRST)
            b.unmap_of(slot, window if flags & HOST else None, flags & DEVICE)
        b.unmap(30, None, 2)
        b.unmap_of(41, None, True)
        b.map_of(42, THIRDS, HOST, 0, granter)
        b.op("mov byte [windows], 9")
        c.grant(THIRDS, PERMIT, user, 1)
        c.until("done", "cmp byte [pages + 4096], 9", "je {out}")
    for one in (a, b, c):
        one.end()
    return ([a, b] if user_ends else [b, a, c]), left
