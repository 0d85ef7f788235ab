"""Fresh PV guests that grant pages, and use what is granted; and what grant_table.h says of that.

Most grant to themselves: then one guest is the granter and the user, and its entries change at its will. The model in Python
shares nothing with what it judges.
"""

from .pv import SELF, Paravirtual

GRANT_TABLE, UPDATE_VA = 20, 14
MAP, UNMAP, SETUP, COPY, REPLACE = 0, 1, 2, 5, 7
OKAY, GENERAL, BAD_DOMAIN, BAD_GNTREF, BAD_HANDLE, BAD_VIRT, BAD_DEV = 0, -1, -2, -3, -4, -5, -6
DENIED, BAD_PAGE, BAD_COPY = -8, -9, -10
PERMIT, READONLY, READING, WRITING, SUB_PAGE = 1, 4, 8, 16, 0x100
DEVICE, HOST, READ, USERS, BY_ENTRY, AVAIL = 1, 2, 4, 8, 16, 16
"""Of a map; the last one is a shift."""
FROM_GRANT, TO_GRANT = 1, 2
PAGES, WINDOWS, SLOTS, PER_FRAME, USES = 6, 6, 200, 512, 255
GONE = "gone"
"""What a window says whose entry leads nowhere."""
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
        self.slots[slot] = Handle(flags & (7 | BY_ENTRY), ref, frame)
        if flags & HOST:
            self.windows[window] = frame, bool(flags & READ)
        return OKAY

    def unmap(self, slot, window, bus, then=GONE):
        """unmap_grant_ref: `window` None: not that; -1: no such entry. `bus` None: not that; else the frame it says. `then`: what is there."""
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
            self.windows[window] = then
        if asked:
            count = Handle(asked, 0, 0).parts()
            self.uses(one.ref)[1 if one.flags & READ else 2] -= count
            one.flags &= ~asked
            self.over(one.ref)
            if not one.parts():
                del self.slots[slot]
        return OKAY

    def mapped(self):
        """[(frame, to read)] of all windows that lead to one."""
        return [is_ for is_ in self.windows.values() if isinstance(is_, tuple)]


def use_words(flags):
    """What a map asks for."""
    found = [words for flag, words in ((HOST, "host"), (DEVICE, "device"), (USERS, "user's"), (BY_ENTRY, "by its entry")) if flags & flag]
    return f"{' and '.join(found) or 'no part'}, to {'read' if flags & READ else 'write'}"


class Granting(Paravirtual):
    """A guest with a grant table, pages that it grants, and windows where it maps; slot n keeps a mapping's handle and address."""

    def __init__(self, rng, number=1, frames=1, fill=None):
        super().__init__(rng)
        self.model, self.words, self.request = Model(number, frames), {}, ""
        self.data += ["align 4096", f"table: times {frames * 4096} db 0", "pages:"]
        for n in range(PAGES):
            self.data += [f"times 4096 db {0x41 + n}"] if fill is None else [
                "dq " + ", ".join(f"{word:#x}" for word in fill[n][at:at + 16]) for at in range(0, 512, 16)]
        self.data += [f"windows: times {WINDOWS * 4096} db 0", "mfns: times 16 dq 0", "list: times 32 dq 0", "request: times 8 dq 0",
                      f"slots: times {SLOTS} dq 0", f"buses: times {SLOTS} dq 0", "l1: dq 0", "align 4096", "spare: times 4096 db 0x5a"]
        self.op("mov rbx, [info]", "mov r12, [rbx + 104]", f"mov rdx, {self.base:#x}", "mov rax, pages", "sub rax, rdx", "shr rax, 12",
                "xor ecx, ecx", "mfns_of:", "mov r8, [r12 + rax * 8]", "mov [mfns + rcx * 8], r8", "inc rax", "inc rcx", f"cmp ecx, {PAGES}",
                "jb mfns_of", "mov rax, [rbx + 88]", "sub rax, rdx", "shr rax, 12", "mov r8, [r12 + rax * 8]", f"mov [mfns + {8 * ROOT}], r8",
                "mov r8, [rbx + 40]", "shr r8, 12", f"mov [mfns + {8 * SHARED}], r8",
                "mov r8, [r12 + rax * 8 + 24]", "shl r8, 12", "mov [l1], r8")  # the fourth page of its tables: all that it has is below 2 MiB
        self.op(f"mov dword [request], {SELF}", f"mov dword [request + 4], {frames}", "mov qword [request + 16], list")
        self.call(GRANT_TABLE, SETUP, "request", 1)
        self.doing = "setup_table"
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
        self.words[ref] = f"flags {flags:x}, to d{dom}, of {self.frame_words(frame)}"
        self.model.entries[ref] = flags, dom, ("raw", frame) if frame == SHARED else frame

    def entry(self, ref):
        """Its flags now."""
        if ref in self.model.entries:
            self.op(f"movzx eax, word [table + {8 * ref}]")
            self.doing = f"{self.request}: the flags of entry {ref} now"
            self.say("rax", self.model.entries[ref][0])

    def status(self, cmd, at, wanted, words):
        """Of one request; `words`: what it is called by."""
        self.request = words
        self.doing = f"{words}: the call itself"
        self.call(GRANT_TABLE, cmd, "request", 1)
        self.say("rax", 0)
        self.op(f"movsx rax, word [request + {at}]")
        self.doing = f"{words}: its status, of which {wanted} is right"
        self.say("rax", wanted)

    def ask_map(self, ref, flags, window, dom):
        """The request."""
        self.address(window, flags & BY_ENTRY)
        self.op("mov [request], rax", f"mov dword [request + 8], {flags:#x}", f"mov dword [request + 12], {ref:#x}",
                f"mov dword [request + 16], {dom}", "mov dword [request + 20], 0x7777", "mov dword [request + 24], 0x7777")
        return f"map_grant_ref(d{dom}'s {ref}, {use_words(flags)}{', at no entry' if window is None else ''})"

    def address(self, window, its_own=False):
        """Of a window, or of its entry in machine memory, into rax; `window` None: of nothing."""
        self.op(f"mov rax, {WILD:#x}" if window is None else f"mov rax, windows + {4096 * window}")
        if its_own and window is not None:
            self.op(f"mov rdx, {self.base:#x}", "sub rax, rdx", "shr rax, 9", "add rax, [l1]")

    def kept(self, slot):
        """What the mapping is ended by."""
        self.op("mov eax, [request + 20]", f"mov [slots + {8 * slot}], eax", "mov rax, [request + 24]", f"mov [buses + {8 * slot}], rax")

    def map(self, slot, ref, flags, window=0, dom=None):
        """map_grant_ref; by its own number, or another that is nobody's."""
        words = self.ask_map(ref, flags, window, self.model.number if dom is None else dom)
        words += f" of an entry that {self.says(ref)}" if dom is None else ""
        wanted = self.model.map(slot, ref, flags, window) if dom is None else BAD_DOMAIN
        self.status(MAP, 18, wanted, words)
        self.entry(ref)
        if not wanted:
            self.kept(slot)
            if flags & HOST and self.model.slots[slot].frame < PAGES:
                self.op(f"movzx eax, byte [windows + {4096 * window + 77}]")
                self.doing = f"{words}: a byte of the page"
                self.say("rax", 0x41 + self.model.slots[slot].frame)
        return wanted

    def says(self, ref):
        """What stands in an entry, and who uses it."""
        _, readers, writers = self.model.uses(ref)
        return f"says {self.words.get(ref, 'nothing')}" + (f", which has {readers} readers and {writers} writers" if readers or writers else "")

    @staticmethod
    def frame_words(frame):
        """A page, in words."""
        if isinstance(frame, tuple):
            return f"frame {frame[1]:x}"
        return {ROOT: "its root table", SHARED: "its shared page"}.get(frame, f"its page {frame}")

    def unmap(self, slot, window=None, bus=None, handle=None):
        """unmap_grant_ref; `handle`: this number instead of the slot's."""
        one = self.model.slots.get(slot)
        whose = f"the mapping of {one.ref}, {use_words(one.flags)}" if one else "one that is over"
        words = f"unmap_grant_ref({f'handle {handle:x}' if handle is not None else whose}; " + ", ".join([
            "no address" if window is None else "an address without an entry" if window == -1 else f"window {window}, which {self.leads(window)}",
            "no bus address" if bus is None else f"the bus address of page {bus}"]) + ")"
        if window is None:
            self.op("xor eax, eax")
        else:
            self.address(None if window == -1 else window, one and handle is None and one.flags & BY_ENTRY)
        self.op("mov [request], rax")
        self.mfn(("raw", 0) if bus is None else bus)
        self.op("shl rax, 12", "mov [request + 8], rax")
        self.op(f"mov eax, [slots + {8 * slot}]" if handle is None else f"mov eax, {handle:#x}", "mov dword [request + 16], eax",
                "mov dword [request + 20], 0")
        ref = one.ref if one else None
        self.status(UNMAP, 20, self.model.unmap(slot, window, bus) if handle is None else BAD_HANDLE, words)
        if ref is not None:
            self.entry(ref)

    def leads(self, window):
        """Where it does, in words."""
        is_ = self.model.windows.get(window)
        if not isinstance(is_, tuple):
            return f"leads to page {is_[4:]}, were it there" if is_ and is_ != GONE else "leads nowhere" if is_ else "nobody has mapped there"
        return f"leads to page {is_[0]}, to {'read' if is_[1] else 'write'}"

    def replace(self, slot, window):
        """unmap_and_replace: the spare page is there, and no longer where it was."""
        one = self.model.slots[slot]
        self.op(f"mov rax, windows + {4096 * window}", "mov [request], rax", "mov rax, spare", "mov [request + 8], rax",
                f"mov eax, [slots + {8 * slot}]", "mov [request + 16], eax")
        self.status(REPLACE, 20, self.model.unmap(slot, window, None, then="its spare"), f"unmap_and_replace(window {window}; by the spare page)")
        self.op(f"movzx eax, byte [windows + {4096 * window + 77}]")
        self.doing = f"{self.request}: a byte of the page that is there now"
        self.say("rax", 0x5A)
        self.entry(one.ref)

    def unmap_all(self, slot, window):
        """All that this slot has, where it is."""
        one = self.model.slots[slot]
        self.unmap(slot, window if one.flags & HOST else None, one.frame if one.flags & DEVICE else None)

    def overwrite(self, window, page=0, there=True):
        """A page of its own is there, or an entry for it that is not present, without a word to anybody."""
        self.op(f"mov rsi, [mfns + {8 * page}]", "shl rsi, 12", f"or rsi, {7 if there else 6}", f"mov rdi, windows + {4096 * window}",
                f"mov eax, {UPDATE_VA}", "mov edx, 2", "syscall")
        self.doing = f"update_va_mapping of window {window}"
        self.say("rax", 0)
        self.model.windows[window] = (page, False) if there else f"not {page}"

    def copy(self, source, dest, length, flags, wanted):
        """(what, dom, offset) of both; what is a grant's number, or a frame."""
        for at, flag, (what, dom, offset) in ((0, FROM_GRANT, source), (16, TO_GRANT, dest)):
            self.mfn(("raw", what) if flags & flag else what)
            self.op(f"mov [request + {at}], rax", f"mov dword [request + {at + 8}], {dom | offset << 16:#x}")
        self.op(f"mov dword [request + 32], {length | flags << 16:#x}")
        words = [f"{f'grant {what} of' if flags & flag else f'{self.frame_words(what)}, said to be of'} {'itself' if dom == SELF else f'd{dom}'}, from "
                 f"{offset} on" for flag, (what, dom, offset) in ((FROM_GRANT, source), (TO_GRANT, dest))]
        self.status(COPY, 36, wanted, f"copy({length} bytes; {'; to '.join(words)})")

    def end(self):
        """Where somebody may look; then it powers off."""
        self.label("finished")
        self.op("nop")
        super().end()
