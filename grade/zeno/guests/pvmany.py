"""Fresh PV guests that ask for many hypercalls at once."""

from .pv import ENOSYS, EPERM, MANY, NONE_SUCH, SELF, Paravirtual

EFAULT, EINVAL = -14, -22
VERSION = 0x40011
ENTRY = 64
KINDS = ("version", "none", "nothing", "other", "nested", "sets", "gets", "gets", "many")


class Many(Paravirtual):
    """Multicalls one after the other; `asked` has each call in them, in order: (number, arguments, where its entry lies: may somebody who
    looks on write there)."""

    def __init__(self, rng):
        super().__init__(rng)
        self.asked, self.dr = [], [0] * 4
        self.data += ["align 4096", "calls_at: times 0x6000 db 0", "done: dq 0", f"requests: times {MANY} dq 1, 0", "built: dq 0", "behind: dq 0"]
        # Its page tables lie behind its console's page, which is its own to write; and all that is mapped is full tables of level 1.
        self.op("mov rbx, [info]", "mov rax, [rbx + 88]", "mov [built], rax", "mov rax, [rbx + 96]", "sub rax, 3", "shl rax, 21",
                f"mov rcx, {self.base:#x}", "add rax, rcx", "mov [behind], rax")
        # Requests to the table of frames that say nothing new: more than one exit may look at.
        self.op("mov rax, [info]", "mov rax, [rax + 104]", "mov rax, [rax + 0x100 * 8]", "shl rax, 12", "or rax, 1", "lea rdi, [requests]",
                f"mov ecx, {MANY}")
        self.label("each")
        self.op("mov [rdi], rax", "mov qword [rdi + 8], 0x100", "add rdi, 16", "loop each")

    def one(self, kinds):
        """A call at random: (number, arguments, result)."""
        rng = self.rng
        what = rng.choice(kinds)
        if what == "version":
            return 17, (0, 0), VERSION
        if what == "none":
            return rng.choice([n for n in NONE_SUCH if n < 63]), [self.word() for _ in range(6)], ENOSYS
        if what == "nothing":
            return 1, (0, 0, 0, SELF), 0
        if what == "other":
            return 1, (0, 0, 0, rng.randrange(1, SELF)), EPERM
        if what == "sets":
            n = rng.randrange(4)
            self.dr[n] = rng.getrandbits(46)
            return 8, (n, self.dr[n]), 0
        if what == "gets":  # what one of many has set, which nobody knows by heart
            n = rng.randrange(4)
            return 9, (n,), self.dr[n]
        if what == "nested":
            return 13, ("calls_at", 1), EINVAL
        return 1, ("requests", rng.randrange(1100, MANY), "done", SELF), 0

    def fill(self, offset, calls, base="calls_at"):
        """So many entries from there on; `base` is a label, or [a label that has an address]."""
        self.op(f"mov rbx, {base}")
        for n, (number, args, _) in enumerate(calls):
            at = offset + n * ENTRY
            self.op(f"mov rax, {number:#x}", f"mov [rbx + {at}], rax", f"mov qword [rbx + {at + 8}], 0x5a5a")
            for i, arg in enumerate(args):
                self.op(f"mov rax, {arg}", f"mov [rbx + {at + 16 + 8 * i}], rax")

    def note(self, offset, calls, changes=True):
        """Somebody who looks on sees these begin, in this order."""
        self.asked += [(number, args, offset + n * ENTRY if changes and not lasts(number, args) else None)
                       for n, (number, args, _) in enumerate(calls)]

    def go(self, offset, count, wanted, base="calls_at"):
        """The call itself."""
        self.op(f"mov rbx, {base}")
        self.op(f"lea rdi, [rbx + {offset}]", f"mov esi, {count:#x}", "mov eax, 13", "syscall")
        self.say("rax", wanted)

    def found(self, offset, results, base="calls_at"):
        """What stands in the entries then."""
        for n, result in enumerate(results):
            self.op(f"mov rbx, {base}")
            self.say(f"[rbx + {offset + n * ENTRY + 8}]", result)

    def plain(self, kinds=KINDS):
        """Some that are all done."""
        calls, offset = [self.one(kinds) for _ in range(self.rng.randrange(3, 9))] + [self.one(("gets",))], self.rng.randrange(0, 0x5000) & ~7
        self.fill(offset, calls)
        self.note(offset, calls)
        self.go(offset, len(calls), 0)
        self.found(offset, [result for _, _, result in calls])

    def long(self, count):
        """More than the host is to be kept from its affairs."""
        self.op("lea rdi, [calls_at]", f"mov ecx, {count}")
        self.label("fill_long")
        self.op("mov qword [rdi], 17", "mov qword [rdi + 8], 0", "mov qword [rdi + 16], 0", "add rdi, 64", "loop fill_long")
        self.note(0, [(17, (0,), VERSION)] * count)
        self.go(0, count, 0)
        self.op("xor eax, eax", "lea rdi, [calls_at]", f"mov ecx, {count}")
        self.label("add_long")
        self.op("add rax, [rdi + 8]", "add rdi, 64", "loop add_long")
        self.say("rax", VERSION * count)

    def dear(self):
        """Three that have more to do, all in all, than one exit may, but none alone."""
        calls = [(1, ("requests", self.rng.randrange(500, 900), "done", SELF), 0) for _ in range(3)] + [(17, (0, 0), VERSION)]
        self.fill(0, calls)
        self.note(0, calls, False)
        self.go(0, len(calls), 0)
        self.found(0, [result for _, _, result in calls])

    def edge(self, reads):
        """The array leads on into memory that is read-only, or none: what comes before is done. A root's first entries say: call 0."""
        count, base = self.rng.randrange(1, 4), "[built]" if reads else "[behind]"
        calls = [(17, (0, 0), VERSION) for _ in range(count)]
        self.fill(-count * ENTRY, calls, base)
        self.note(0, [*calls, *[(0, (0,) * 6, 0)] * reads], False)
        self.go(-count * ENTRY, self.rng.choice((count + 5, 0xFFFFFFFF)), EFAULT, base)
        self.found(-count * ENTRY, [VERSION] * count, base)

    def last(self):
        """One that ends the guest, among others: nothing comes behind it."""
        calls = [(17, (0, 0), VERSION), (29, (2, "reason"), None)]
        self.fill(0, [*calls, *[(17, (0, 0), VERSION)] * 2])
        self.note(0, calls, False)
        self.call(13, "calls_at", len(calls) + 2)


def lasts(number, args):
    """A call that may be made again before it is done, with what stands in its entry then."""
    return number == 1 and args[1]


def results(rng):
    """Calls of all kinds in one, and their results."""
    p = Many(rng)
    for n in range(4):
        p.dr[n] = rng.getrandbits(46)
        p.call(8, n, f"{p.dr[n]:#x}")
    p.go(0, 0, 0)
    for _ in range(5):
        p.plain()
    p.long(rng.randrange(130, 300))
    p.end()
    return p


def edges(rng):
    """Arrays that end in the middle, or at the guest's end, or not soon; and what is done of them."""
    p = Many(rng)
    todo = [lambda: p.plain(KINDS[:-1]), lambda: p.plain(KINDS[:-1]), lambda: p.edge(0), lambda: p.edge(1), p.dear, lambda: p.long(rng.randrange(70, 110))]
    rng.shuffle(todo)
    for one in todo:
        one()
    p.last()
    return p
