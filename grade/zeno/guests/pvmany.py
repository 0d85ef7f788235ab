"""Fresh PV guests that ask for many hypercalls at once."""

from .pv import ENOSYS, EPERM, MANY, NONE_SUCH, SELF, Paravirtual

EFAULT, EINVAL = -14, -22
VERSION = 0x40011
ENTRY = 64
KINDS = ("version", "none", "nothing", "other", "nested", "many")


class Many(Paravirtual):
    """Multicalls one after the other; `asked` has the number of each call in them, in order."""

    def __init__(self, rng):
        super().__init__(rng)
        self.asked, self.count = [], 0
        self.data += ["align 4096", "calls_at: times 0x6000 db 0", "done: dq 0", f"requests: times {MANY} dq 1, 0"]
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
        if what == "nested":
            return 13, ("calls_at", 1), EINVAL
        return 1, ("requests", rng.randrange(1100, MANY), "done", SELF), 0

    def fill(self, offset, calls):
        """So many entries from there on."""
        for n, (number, args, _) in enumerate(calls):
            at = offset + n * ENTRY
            self.op(f"mov rax, {number:#x}", f"mov [calls_at + {at}], rax", f"mov qword [calls_at + {at + 8}], 0x5a5a")
            for i, arg in enumerate(args):
                self.op(f"mov rax, {arg}", f"mov [calls_at + {at + 16 + 8 * i}], rax")

    def note(self, offset, calls):
        """Somebody who looks on sees these begin, in this order: (number, arguments, where the entry lies)."""
        self.asked += [(number, args, offset + n * ENTRY) for n, (number, args, _) in enumerate(calls)]

    def go(self, offset, count, wanted):
        """The call itself."""
        self.call(13, f"calls_at + {offset:#x}", f"{count:#x}")
        self.say("rax", wanted)

    def plain(self, kinds=KINDS):
        """Some that are all done."""
        calls, offset = [self.one(kinds) for _ in range(self.rng.randrange(3, 9))], self.rng.randrange(0, 0x5000) & ~7
        self.fill(offset, calls)
        self.note(offset, calls)
        self.go(offset, len(calls), 0)
        for n, (_, _, result) in enumerate(calls):
            self.say(f"[calls_at + {offset + n * ENTRY + 8}]", result)

    def long(self, count):
        """As many as lie in the pages: more than the host is to be kept from its affairs."""
        self.op("lea rdi, [calls_at]", f"mov ecx, {count}")
        self.label("fill_long")
        self.op("mov qword [rdi], 17", "mov qword [rdi + 8], 0", "mov qword [rdi + 16], 0", "add rdi, 64", "loop fill_long")
        self.go(0, count, 0)
        self.op("xor eax, eax", "lea rdi, [calls_at]", f"mov ecx, {count}")
        self.label("add_long")
        self.op("add rax, [rdi + 8]", "add rdi, 64", "loop add_long")
        self.say("rax", VERSION * count)

    def edge(self):
        """The array leads on into memory that is read-only, or none: what comes before is done."""
        count, reads = self.rng.randrange(1, 4), self.rng.randrange(2)
        calls = [(17, (0, 0), VERSION) for _ in range(count)]
        offset = 0x5000 - count * ENTRY
        self.fill(offset, [*calls, *[(17, (0, 0), VERSION)] * reads])
        self.map_last(5 if reads else 0)
        self.note(offset, [*calls, *[(17, (0, 0), VERSION)] * reads])
        self.go(offset, self.rng.choice((count + 1, count + 5, 0xFFFFFFFF)), EFAULT)
        for n in range(count):
            self.say(f"[calls_at + {offset + n * ENTRY + 8}]", VERSION)
        self.map_last(7)

    def map_last(self, bits):
        """The last page of the array."""
        self.op("mov rax, calls_at + 0x5000", f"mov rcx, {self.base:#x}", "sub rax, rcx", "shr rax, 12", "mov rbx, [info]",
                "mov rbx, [rbx + 104]", "mov rsi, [rbx + rax * 8]", "shl rsi, 12", f"or rsi, {bits}", "mov rdi, calls_at + 0x5000",
                "mov edx, 2", "mov eax, 14", "syscall")


def results(rng):
    """Calls of all kinds in one, and their results."""
    p = Many(rng)
    p.go(0, 0, 0)
    for _ in range(5):
        p.plain()
    p.long(rng.randrange(130, 300))
    p.end()
    return p


def edges(rng):
    """Arrays that end in the middle, and what is done of them."""
    p = Many(rng)
    for _ in range(2):
        p.plain(KINDS[:-1])
        p.edge()
    p.end()
    return p
