"""A model of what Xen's ABI says to each call that a PV guest makes about its page tables, and the guest that makes them.

An Asking is a program and its prediction at once: each call is emitted, and the model says what comes back.
"""

from .pv import SELF, Paravirtual

EINVAL = -22
P, W, U, A, D, PS, G, NX = 1, 2, 4, 0x20, 0x40, 0x80, 0x100, 1 << 63
KERNEL = 1 << 52
ALLOWED = P | W | U | A | D | 7 << 9 | 0xFFF << 52
HARMLESS = A | D | 7 << 9 | 0xFFF << 52
HOLE = range(256, 272)
POOL = 13
KINDS = (4, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0)
"""What each page of the pool is good for: the level of a table, or 0."""
BUILT, SHARED, ZENO, FAR = POOL, POOL + 1, POOL + 2, POOL + 3
"""The builder's table of level 1; the page that Zeno shares; one of Zeno's own; none at all."""
PIN, UNPIN, NEW_ROOT, FLUSH, NEW_USER_ROOT = (0, 1, 2, 3), 4, 5, 6, 15


class Frame:
    """What Zeno should know of one."""

    def __init__(self, kind=0, uses=1):
        self.type, self.uses, self.reads, self.pinned = kind, uses, 0, False
        self.entries = {}
        """{index: (frame, bits)}, as they stand in memory."""
        self.mapped = True
        """For writing, in the builder's tables."""


class Model:
    """All frames that an Asking can name; None: none of its own."""

    def __init__(self, frames, root=None):
        self.frames, self.kernel_root, self.user_root = frames, root, None

    def own(self, n):
        """The frame, if it is the guest's to use."""
        return self.frames[n] if n < len(self.frames) else None

    def get(self, n, kind):
        """One use more."""
        f = self.own(n)
        if f and f.type == kind and f.uses:
            f.uses += 1
            return 0
        if not f or n == SHARED or f.type or f.uses:
            return EINVAL
        f.type = kind
        done = []
        for index in sorted(f.entries):
            if self.count(f, kind, index):
                for before in reversed(done):
                    self.uncount(kind, before, f.entries[before])
                f.type = 0
                return EINVAL
            done.append(index)
        if kind == 4:  # Zeno's own are there instead
            f.entries = {index: entry for index, entry in f.entries.items() if index not in HOLE}
        f.uses = 1
        return 0

    def put(self, n):
        """One use less."""
        f = self.frames[n]
        f.uses -= 1
        if not f.uses and f.type:
            for index in sorted(f.entries, reverse=True):
                self.uncount(f.type, index, f.entries[index])
            f.type = 0

    def as_seen(self, kind, bits):
        """An entry has U, and of level 1 a note that it had not."""
        return bits | U | (KERNEL if kind == 1 else 0) if bits & (P | U) == P else bits

    def count(self, f, kind, index):
        """An entry of a table that is made."""
        to, bits = f.entries[index]
        if not bits & P or kind == 4 and index in HOLE:
            return 0
        f.entries[index] = (to, self.as_seen(kind, bits))
        return self.reach(kind, *f.entries[index])

    def reach(self, kind, to, bits):
        """What an entry leads to is counted."""
        if bits & ~ALLOWED:
            return EINVAL
        if kind > 1:
            return self.get(to, kind - 1)
        f = self.own(to)
        if not f or bits & W and f.type:
            return EINVAL
        if bits & W:
            f.uses += 1
        else:
            f.reads += 1
        return 0

    def uncount(self, kind, index, entry):
        """An entry is taken back."""
        to, bits = entry
        if not bits & P or kind == 4 and index in HOLE:
            return
        if kind > 1:
            self.put(to)
        elif bits & W:
            self.frames[to].uses -= 1
        else:
            self.frames[to].reads -= 1

    def write(self, n, index, to, bits, keeps=False):
        """mmu_update of an entry."""
        f = self.own(n)
        if not f:
            return EINVAL
        if keeps:
            bits |= f.entries.get(index, (FAR, 0))[1] & (A | D)
        if not f.type:
            f.entries[index] = (to, bits)
            return 0
        if f.type == 4 and index in HOLE:
            return EINVAL
        bits, old = self.as_seen(f.type, bits), f.entries.get(index, (FAR, 0))
        if to == old[0] and not (bits ^ old[1]) & ~HARMLESS:
            f.entries[index] = (to, bits)
            return 0
        if bits & P and self.reach(f.type, to, bits):
            return EINVAL
        f.entries[index] = (to, bits)
        self.uncount(f.type, index, old)
        return 0

    def map(self, n, writes):
        """A page of the pool, in the builder's tables."""
        f = self.frames[n]
        if writes == f.mapped:
            return 0
        if writes and f.type:
            return EINVAL
        f.uses += 1 if writes else -1
        f.reads += -1 if writes else 1
        f.mapped = writes
        return 0

    def pin(self, n, kind):
        """PIN_Ln_TABLE."""
        f = self.own(n)
        if not f or f.pinned or self.get(n, kind):
            return EINVAL
        f.pinned = True
        return 0

    def unpin(self, n):
        """UNPIN_TABLE."""
        f = self.own(n)
        if not f or not f.pinned:
            return EINVAL
        f.pinned = False
        self.put(n)
        return 0

    def root(self, n):
        """NEW_USER_BASEPTR; None is none."""
        if n is not None and self.get(n, 4):
            return EINVAL
        old, self.user_root = self.user_root, n
        if old is not None:
            self.put(old)
        return 0

    def new_root(self, n):
        """NEW_BASEPTR, of the root that the CPU has: no other one maps the program."""
        if self.get(n, 4):
            return EINVAL
        assert n == self.kernel_root
        self.put(n)
        return 0


class Asking(Paravirtual):
    """The program: `mfns` has the frame of each number, for whoever fills it."""

    def __init__(self, rng, model):
        super().__init__(rng)
        self.model, self.looks, self.calls, self.there = model, 0, [], []
        self.data += [f"mfns: times {FAR + 1} dq 0", "request: times 3 dq 0", "done: dq 0"]

    def answer(self, what, wanted):
        """Of a call."""
        self.say("rax", wanted)
        self.calls.append(what)

    def own_frame(self, n):
        """Into mfns: that of the page whose address is in rax."""
        self.op(f"mov rcx, {self.base:#x}", "sub rax, rcx", "shr rax, 12", "mov rbx, [info]", "mov rsi, [rbx + 104]",
                "mov rax, [rsi + rax * 8]", f"mov [mfns + {8 * n}], rax")

    def built_frames(self, *numbers):
        """Into mfns: the builder's tables that its own address leads to, from the root down, as many as there are numbers."""
        self.op("mov rbx, [info]", "mov rsi, [rbx + 88]", "mov rax, rsi")
        self.own_frame(numbers[0])
        self.op("mov rbx, [info]", "mov rsi, [rbx + 88]")
        for n, shift in zip(numbers[1:], (39, 30, 21)):
            self.op(f"mov rax, [rsi + {8 * (self.base >> shift & 511)}]", "shl rax, 12", "shr rax, 24", f"mov [mfns + {8 * n}], rax",
                    "mov rcx, 0xffff800000000000", "mov rsi, [rcx + rax * 8]", "shl rsi, 12", f"mov rcx, {self.base:#x}", "add rsi, rcx")

    def not_its_own(self):
        """The frames that are Zeno's, or nobody's, and the one that it shares."""
        self.op("mov rbx, [info]", "mov rax, [rbx + 40]", "shr rax, 12", f"mov [mfns + {8 * SHARED}], rax", f"mov qword [mfns + {8 * ZENO}], 0x101", f"mov qword [mfns + {8 * FAR}], 0x7ffff00")

    def extended(self, command, to):
        """mmuext_op of one."""
        self.op(f"mov qword [request], {command}", f"mov rax, [mfns + {8 * to}]" if to is not None else "xor eax, eax", "mov [request + 8], rax")
        self.call(26, "request", 1, 0, SELF)

    def pin(self, n, kind):
        """A pin."""
        self.extended(PIN[kind - 1], n)
        self.answer(f"to pin page {n} as a table of level {kind}", self.model.pin(n, kind))

    def unpin(self, n):
        """And no more."""
        self.extended(UNPIN, n)
        self.answer(f"to unpin page {n}", self.model.unpin(n))

    def root(self, n):
        """The root of a user that never runs."""
        self.extended(NEW_USER_ROOT, n)
        self.answer(f"its user's root is page {n}", self.model.root(n))

    def new_root(self, n):
        """Its own."""
        self.extended(NEW_ROOT, n)
        self.answer(f"its root is page {n}", self.model.new_root(n))

    def look(self):
        """Somebody looks at Zeno's books here: behind a call with which all that was begun has come to its end."""
        self.extended(FLUSH, None)
        self.label(f"look{self.looks}")
        self.op("nop")
        self.looks += 1
        self.there.append([dict(f.entries) if f else {} for f in self.model.frames[:POOL]])
