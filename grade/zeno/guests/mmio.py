"""Fresh guest programs that use devices' registers as operands of all kinds of instructions.

An Mmio is a Kernel (kernels.py) with paging: a run of linear pages leads to RAM, to the APICs of a PC, to what is nobody's
and to nothing, in any order, so that an access may begin in one and end in the next. What a register keeps is the same on
a bare PC and on the platform `pc-apic`, for what is written there has no other bits.
"""

from .kernels import CALL, IOPL, Kernel
from .segments import descriptor

P, W, U = 1, 2, 4
LAPIC, IOAPIC, NOBODY = 0xFEE00000, 0xFEC00000, 0xD0000000
VERSION, TPR, EOI, LDR, DFR, SVR, ICR, INITIAL, DIVIDE = 0x30, 0x80, 0xB0, 0xD0, 0xE0, 0xF0, 0x300, 0x380, 0x3E0
SELECT, WINDOW = 0x00, 0x10
IOAPIC_VERSION = 1
SCRATCH = INITIAL
"""A register that keeps all 32 bits; its timer is masked, and so only counts."""
DIRECTORY, FRAMES = 0x40000, 0x50000
"""From the program's base: page tables; pages to play with."""
CR0_PG, CR0_WP = 1 << 31, 1 << 16
ALL, NO_AF, SHIFT, ROTATE, CARRY, CF_OF, ZERO, NONE = 0x8D5, 0x8C5, 0xC5, 0xD5, 0x41, 0x801, 0x40, 0
"""Flags that an instruction leaves defined (SDM 1 appendix A)."""
GPRS = ("eax", "ecx", "edx")
"""Registers for operands; the others are for addresses."""

# (the emulator's name for it, the instruction, the flags that count). {m} is four bytes of memory, {r} a register.
FORMS = [
    *((op, f"{op} dword {{m}}, {{r}}", flags) for op, flags in (
        ("mov", ALL), ("add", ALL), ("adc", ALL), ("sub", ALL), ("sbb", ALL), ("cmp", ALL), ("and", NO_AF), ("or", NO_AF),
        ("xor", NO_AF), ("test", NO_AF), ("xchg", ALL), ("xadd", ALL), ("cmpxchg", ALL))),
    *((op, f"{op} {{r}}, dword {{m}}", flags) for op, flags in (
        ("mov", ALL), ("add", ALL), ("adc", ALL), ("sub", ALL), ("sbb", ALL), ("cmp", ALL), ("and", NO_AF), ("or", NO_AF),
        ("xor", NO_AF), ("imul", CF_OF), ("bsf", ZERO), ("bsr", ZERO), ("popcnt", NO_AF), ("tzcnt", CARRY), ("lzcnt", CARRY),
        ("movbe", ALL), ("crc32", ALL), ("adcx", ALL), ("adox", ALL))),
    *((op, f"{op} dword {{m}}, {{i}}", flags) for op, flags in (
        ("mov", ALL), ("add", ALL), ("adc", ALL), ("sub", ALL), ("sbb", ALL), ("cmp", ALL), ("and", NO_AF), ("or", NO_AF),
        ("xor", NO_AF), ("test", NO_AF))),
    *((op, f"{op} dword {{m}}, byte {{i8}}", flags) for op, flags in (("add", ALL), ("or", NO_AF), ("cmp", ALL), ("sbb", ALL))),
    *((op, f"{op} dword {{m}}", flags) for op, flags in (("inc", ALL), ("dec", ALL), ("neg", ALL), ("not", ALL))),
    *((op, f"{op} dword {{m}}", flags) for op, flags in (("mul", CF_OF), ("imul", CF_OF))),
    # The quotient has its 32 bits, by 1 and by -1, too.
    *((op, f"xor edx, edx\n        and eax, 0x7fffffff\n        or dword {{m}}, 1\n        {op} dword {{m}}", NONE)
      for op in ("div", "idiv")),
    *((op, f"{op} dword {{m}}, {{bit}}", 1) for op in ("bt", "bts", "btr", "btc")),
    *((op, f"mov ecx, {{bit}}\n        {op} dword {{m}}, ecx", 1) for op in ("bt", "bts", "btr", "btc")),
    *((op, f"{op} dword {{m}}, 1", NO_AF) for op in ("shl", "shr", "sar")),
    *((op, f"{op} dword {{m}}, {{count}}", SHIFT) for op in ("shl", "shr", "sar")),
    *((op, f"mov ecx, {{count}}\n        {op} dword {{m}}, cl", SHIFT) for op in ("shl", "shr", "sar")),
    *((op, f"{op} dword {{m}}, {{count}}", ROTATE) for op in ("rol", "ror")),
    # QEMU 7.2 loses the flags of arithmetic when the access of `rcl` or `setcc` behind it exits (handouts/emulators.md).
    *((op, f"{carry}\n        {op} dword {{m}}, {{count}}", ROTATE) for op in ("rcl", "rcr") for carry in ("stc", "clc")),
    *((op, f"{op} dword {{m}}, {{r}}, {{count}}", SHIFT) for op in ("shld", "shrd")),
    *((op, f"mov ecx, {{count}}\n        {op} dword {{m}}, edx, cl", SHIFT) for op in ("shld", "shrd")),
    ("imul", "imul {r}, dword {m}, {i}", CF_OF),
    ("movbe", "movbe dword {m}, {r}", ALL),
    # QEMU 7.2 has lost its other flags, bare and behind an exit.
    *(("cmpxchg8b/16b", f"{lock}cmpxchg8b qword {{m}}", ZERO) for lock in ("", "lock ")),
    ("cmpxchg", "mov eax, dword {m}\n        lock cmpxchg dword {m}, edx", ALL),
    ("add", "lock add dword {m}, {r}", ALL), ("xadd", "lock xadd dword {m}, {r}", ALL), ("dec", "lock dec dword {m}", ALL),
    ("cmov", "cmovc {r}, dword {m}", ALL), ("cmov", "cmovnz {r}, dword {m}", ALL), ("cmov", "cmovs {r}, dword {m}", ALL),
    ("setcc", "stc\n        setc byte {m}", ALL), ("setcc", "clc\n        setns byte {m}", ALL),
    ("nop", "nop dword {m}", ALL),
    ("movzx", "movzx {r}, byte {m}", ALL), ("movzx", "movzx {r}, word {m}", ALL),
    ("movsx", "movsx {r}, byte {m}", ALL), ("movsx", "movsx {r}, word {m}", ALL),
    *((op, f"{op} {size} {{m}}, {reg}", ALL) for op in ("mov", "add", "xchg", "xadd", "cmpxchg")
      for size, reg in (("byte", "dl"), ("byte", "ch"), ("word", "dx"))),
    *((op, f"{op} {reg}, {size} {{m}}", ALL) for op in ("mov", "sub", "cmp") for size, reg in (("byte", "dl"), ("byte", "ah"), ("word", "cx"))),
    *((op, f"{op} {size} {{m}}", ALL) for op in ("inc", "neg", "not") for size in ("byte", "word")),
    ("mul", "mul byte {m}", CF_OF), ("imul", "imul word {m}", CF_OF), ("shl", "shl word {m}, 3", SHIFT),
    ("mov", "mov word {m}, {i8}", ALL), ("mov", "mov byte {m}, {i8}", ALL),
    ("push", "push dword {m}\n        pop ecx", ALL), ("pop", "push eax\n        pop dword {m}", ALL),
    ("push", "push word {m}\n        pop cx", ALL),
    ("jmp [rm]", "mov dword {m}, {on}\n        mov ecx, {r}\n        jmp dword {m}\n        inc ecx\n{on}:", ALL),
    ("call [rm]", "mov dword {m}, {on}\n        call dword {m}\n        inc ecx\n{on}:  pop edx", ALL),
    ("bound", "mov eax, 0x7fffffff\n        mov dword {m}, 0x80000000\n        mov ecx, 0x80000000\n        bound ecx, {m}", ALL),
    ("xlat", "mov eax, {i8} & 3\n        mov ebx, {at}\n        sub ebx, eax\n        xlatb", ALL),
]

# The same for what has its address in a register by its nature: {at} is the linear address.
STRINGS = [
    ("lods", "mov esi, {at}\n        lodsd", ALL), ("lods", "mov esi, {at}\n        lodsb", ALL),
    ("stos", "mov edi, {at}\n        stosd", ALL), ("stos", "mov edi, {at}\n        stosw", ALL),
    ("scas", "mov edi, {at}\n        scasd", ALL), ("cmps", "mov esi, {at}\n        mov edi, {ram}\n        cmpsd", ALL),
    ("cmps", "mov edi, {at}\n        mov esi, {ram}\n        mov ecx, 3\n        repe cmpsd", ALL),
    ("scas", "mov edi, {at}\n        mov ecx, 4\n        repne scasd", ALL),
    ("movs", "mov esi, {at}\n        mov edi, {ram}\n        movsd", ALL),
    ("movs", "mov edi, {at}\n        mov esi, {ram}\n        movsd", ALL),
    ("movs", "mov esi, {at}\n        mov edi, {ram}\n        mov ecx, 4\n        rep movsd", ALL),
    ("movs", "mov edi, {at}\n        mov esi, {ram}\n        mov ecx, 4\n        rep movsd", ALL),
    ("movs", "mov edi, {at} + 12\n        mov esi, {ram} + 12\n        mov ecx, 4\n        std\n        rep movsd\n        cld", ALL),
    ("movs", "mov esi, {at}\n        mov edi, {other}\n        mov ecx, 2\n        rep movsd", ALL),
    ("movs", "mov esi, {at}\n        mov edi, {ram}\n        mov ecx, 24\n        rep movsb", ALL),
    ("stos", "mov edi, {at}\n        mov ecx, 4\n        rep stosd", ALL),
    ("stos", "mov edi, {at}\n        xor ecx, ecx\n        rep stosd", NONE),
]

# With the stack in a register of the device's; ESP is put back behind it.
STACKS = [
    ("push", "mov esp, {at} + 4\n        push edx", ALL), ("push", "mov esp, {at} + 4\n        push dword {i}", ALL),
    ("push", "mov esp, {at} + 2\n        push dx", ALL), ("push", "mov esp, {at} + 4\n        push byte {i8}", ALL),
    ("pop", "mov esp, {at}\n        pop ecx", ALL), ("pop", "mov esp, {at}\n        pop dword [{ram}]", ALL),
    ("push", "mov esp, {at} + 4\n        push dword [{ram}]", ALL),
    ("pusha", "mov esp, {tpr} + 4\n        pusha", ALL), ("pusha", "mov esp, {at} + 16\n        pushaw", ALL),
    ("popa", "mov ebp, esp\n        mov [kept], ebp\n        mov esp, {at} - 16\n        popa", ALL),
    ("call", "mov esp, {at} + 4\n        call {on}\n{on}:", ALL),
    ("ret", "mov dword [{at}], {on}\n        mov esp, {at}\n        ret\n        inc ecx\n{on}:", ALL),
    ("ret", "mov dword [{at}], {on}\n        mov esp, {at}\n        ret 8\n        inc ecx\n{on}:", ALL),
    ("enter", "mov esp, {at} + 4\n        mov ebp, {i}\n        enter 0, 0", ALL),
    ("enter", "mov esp, {at} + 12\n        mov ebp, {at} + 16\n        enter 4, 2", ALL),
    ("leave", "mov ebp, {at}\n        leave", ALL),
]


class Mmio(Kernel):
    """A kernel whose page tables lead to devices."""

    def __init__(self, rng):
        super().__init__(rng)
        self.directory = (self.base & ~0xFFF) + DIRECTORY
        self.frames = (self.base & ~0xFFF) + FRAMES
        self.run = rng.randrange(0x10000000, 0xC0000000, 1 << 22)
        """Where the run of pages begins."""
        self.pages = []
        """Entries of the run."""
        self.numbered = 0
        self.segment_base = self.run - rng.randrange(0x10, 0x10000)
        self.descriptors = [descriptor(self.segment_base, 0xFFFFF, 0x92, 0xC)]

    def entry(self, kind):
        """What an entry for such a page has: `ram`, `lapic`, `ioapic`, `nobody`, with `-ro`, `-kernel`; or `hole`."""
        where, _, rights = kind.partition("-")
        if where == "hole":
            return 0
        self.frames += 0x1000 if where == "ram" else 0
        at = {"ram": self.frames, "lapic": LAPIC, "ioapic": IOAPIC, "nobody": NOBODY + 0x1000 * self.rng.getrandbits(12)}[where]
        return at | P | (0 if rights == "ro" else W) | (0 if rights == "kernel" else U)

    def page(self, *kinds):
        """Pages one behind the other, at the end of the run: the linear address of the first."""
        at = self.run + 0x1000 * len(self.pages)
        self.pages += [self.entry(kind) for kind in kinds]
        return at

    def paging(self):
        """Page tables: the first 12 MiB as they are, and the run."""
        table, again = self.directory + 0x1000, self.fresh()
        self.op("cld", "xor eax, eax", f"mov edi, {self.directory:#x}", "mov ecx, 0x1400", "rep stosd",
                *(f"mov dword [{self.directory + 4 * n:#x}], {table + 0x1000 * n + 7:#x}" for n in range(3)),
                f"mov dword [{self.directory + (self.run >> 22) * 4:#x}], {table + 0x3007:#x}", f"mov edi, {table:#x}", "mov eax, 7")
        self.label(again)
        self.op("stosd", "add eax, 4096", f"cmp edi, {table + 0x3000:#x}", f"jb {again}")
        self.op(*(f"mov dword [{table + 0x3000 + 4 * n:#x}], {entry:#x}" for n, entry in enumerate(self.pages) if entry))
        self.op(f"mov eax, {self.directory:#x}", "mov cr3, eax", "mov eax, cr0", f"or eax, {CR0_PG | CR0_WP:#x}", "mov cr0, eax")

    # -- operands -----------------------------------------------------------------------------

    def operand(self, at):
        """An operand of memory at a linear address, after what it needs: no register of GPRS, no flag."""
        rng, kind = self.rng, self.rng.randrange(6)
        offset, index, scale = rng.getrandbits(16), rng.getrandbits(12), rng.choice((1, 2, 4, 8))
        if kind == 0:
            return f"[{at:#x}]"
        if kind == 1:
            self.op(f"mov ebx, {at:#x}")
            return "[ebx]"
        if kind == 2:
            self.op(f"mov esi, {at - offset:#x}")
            return f"[esi + {offset:#x}]"
        if kind == 3:
            self.op(f"mov ebx, {at - offset:#x}", f"mov edi, {offset + 8:#x}")
            return "[ebx + edi - 8]"
        if kind == 4:
            self.op(f"mov edi, {index:#x}", f"mov ebx, {at - index * scale & 0xffffffff:#x}")
            return f"[ebx + edi * {scale}]"
        self.op("push eax", f"mov eax, {self.more[0]:#x}", "mov fs, eax", "pop eax",
                f"mov ebx, {at - self.segment_base:#x}")
        return "[fs:ebx]"

    def fill(self, form, at, ram=0, other=0):
        """The instruction's lines."""
        rng = self.rng
        words = {"r": rng.choice(GPRS), "i": f"{self.word():#x}", "i8": rng.randrange(-128, 128), "bit": rng.randrange(32),
                 "count": rng.randrange(2, 32), "on": self.fresh(), "at": f"{at:#x}", "ram": f"{ram:#x}", "other": f"{other:#x}", "tpr": f"{other:#x}"}
        if "{m}" in form:
            words["m"] = self.operand(at)
        return form.format(**words).split("\n        ")

    def after(self, words, flags, *more):
        """What the instruction has left: flags, registers, memory."""
        self.op("mov [kept + 4], eax", "pushf", "pop eax", f"and eax, {flags:#x}", "mov [kept + 8], eax", "mov eax, [kept + 4]")
        self.numbered += 1
        self.print(f"{self.numbered} {words}: ")
        self.op("push eax", "mov eax, [kept + 8]", "call put_hex", "pop eax")
        for register in (*GPRS, "esi", "edi"):
            self.op("push eax", f"mov eax, {register}" if register != "eax" else "nop", "push eax", "mov al, 32", "call put_byte", "pop eax",
                    "call put_hex", "pop eax")
        for at in more:
            self.op("push eax", "mov al, 47", "call put_byte", f"mov eax, [{at:#x}]", "call put_hex", "pop eax")
        self.print("\n")

    def values(self, at):
        """Random registers, flags, and what is there."""
        self.op(*(f"mov {register}, {self.word():#x}" for register in ("ebx", "esi", "edi", "ebp")),
                f"mov eax, {self.rng.choice((self.word(), self.word(), 0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)):#x}",
                f"mov [{at:#x}], eax" if at else "nop", f"mov eax, {self.word():#x}", f"mov ecx, {self.word():#x}", f"mov edx, {self.word():#x}",
                self.rng.choice(("stc", "clc", "cmp eax, ecx", "test edx, edx", "add eax, ecx", "cmp al, al")))

    def one(self, form, at, ram=0, other=0, more=None, faults=False):
        """One instruction with its operand at `at`, and what it leaves there, or at `more`."""
        _, text, flags = form
        self.values(None if faults else at)
        self.op(f"mov dword [{ram:#x}], {self.word():#x}", f"mov dword [{ram + 4:#x}], {self.word():#x}") if "{ram}" in text else None
        stack = "esp, " in text or "leave" in text
        if stack:
            self.op("mov [kept], esp")
        on, faults = self.fresh(), faults or "bound" in text
        if faults:
            self.op(f"mov dword [resume], {on}")
        lines = self.fill(text, at, ram, other)
        self.op(*lines)
        self.label(on)
        if faults:
            self.op("mov dword [resume], 0")
        if stack:
            self.op("mov [kept + 12], esp", "mov esp, [kept]")
        words = " ".join(lines[-1 if len(lines) < 3 else 0].split()).replace(f"{at:#x}", "register")
        self.after(words, flags, *([at] if more is None else more), *([ram, ram + 4] if "{ram}" in text else [other] if "{tpr}" in text else []))

    def begin(self):
        super().begin()
        self.data.append("        align 16\nkept:   dd 0, 0, 0, 0")




DRAWN = [form for form in FORMS if form[0] not in ("adcx", "adox")]
"""Those that each CPU of a lab's has: Bochs' Haswell has no ADX."""
SIMPLE = [form for form in DRAWN if form[0] not in ("jmp [rm]", "call [rm]", "bound", "div", "idiv", "xlat")]
"""Those that do not need what they have just written there."""
KEEPERS = (TPR, LDR, DFR, SVR, DIVIDE, INITIAL, INITIAL)
"""Registers of which the same bits are kept everywhere."""


NARROW = [form for form in SIMPLE if "dword {m}" not in form[1] and "[m]" not in form[1] and "qword" not in form[1]]
"""Of one byte or two: what four that are not aligned read is not defined, and is emulators' own (SDM 3A 11.4.1)."""


def _setup(k, lapic):
    k.op(f"mov dword [{lapic + SVR:#x}], 0x1ff", f"mov dword [{lapic + DIVIDE:#x}], 3")


STEPPED = """\
stepped:                        ; where a #DB came, unless that is where the last one came: QEMU's own `rep` has one more
        push eax
        push ebx
        mov ebx, [steps]
        mov eax, [esp + 8]
        cmp eax, [steps + ebx]
        je .same
        add ebx, 4
        mov [steps + ebx], eax
        mov [steps], ebx
.same:  pop ebx
        pop eax
        iret
        align 4
steps:  times 64 dd 0"""


def _steps(k, lapic, ram):
    """What comes behind an instruction with a register: its #DB, and behind `sti` the interrupt that waited for its end."""
    rng, again, done = k.rng, k.fresh(), k.fresh()
    at, own = lapic + SCRATCH, lapic + TPR
    k.data.append(STEPPED)
    k.gate(1, 0x8E, handler="stepped")
    lines = [f"mov eax, [{at:#x}]", f"add dword [{at:#x}], 5", f"push dword [{at:#x}]", f"pop dword [{at:#x}]", "movsd", "nop",
             f"mov edi, {at:#x}\n        mov ecx, 3\n        rep movsd", f"mov esi, {at:#x}\n        mov ecx, 7\n        rep movsb", f"cmp byte [{own:#x}], 3"]
    rng.shuffle(lines)
    k.op(f"mov esi, {at:#x}", f"mov edi, {ram:#x}", "cld", "pushf", "or dword [esp], 0x100", "popf", *lines,
         "pushf", "and dword [esp], ~0x100", "popf", f"mov ebx, [steps]", "add ebx, steps")
    k.label(again)
    k.op("cmp ebx, steps", f"je {done}", "mov eax, [ebx]", "sub ebx, 4")
    k.say("eax", "a step to")
    k.op(f"jmp {again}")
    k.label(done)
    k.op(f"mov dword [{at:#x}], {k.word():#x}", "xor ecx, ecx")  # what odd places have given is emulators' own
    for line in rng.sample((f"mov eax, [{at:#x}]", f"inc dword [{at:#x}]", f"movzx ecx, byte [{own:#x}]", f"push dword [{at:#x}]\n        pop eax"), 2):
        k.op("cli", f"mov dword [{lapic + ICR:#x}], {0x40000 | rng.choice(k.open_gates):#x}", "sti", line, *["nop"] * 3, "cli",
             f"mov dword [{lapic + EOI:#x}], 0")


def sweep(rng):
    """Each instruction with a register of the local APIC's."""
    k = Mmio(rng)
    k.use_stack(k.base + 0x20000)
    lapic, ram = k.page("lapic"), k.page("ram")
    k.begin()
    k.paging()
    _setup(k, lapic)
    _steps(k, lapic, ram)
    for form in [*FORMS, *STRINGS, *STACKS]:
        k.one(form, lapic + SCRATCH, ram + 4 * rng.randrange(900), lapic + TPR)
    k.finish()
    return k


PAGES = ("ram", "ioapic", "lapic", "ram-ro", "ioapic-ro", "hole")
LOADS = [form for form in SIMPLE if form[1].startswith(("mov {r}, dword", "movzx", "movsx", "cmp {r}", "sub {r}", "popcnt"))]
STORES = [form for form in SIMPLE if form[1].startswith(("mov dword", "mov word"))]


CALM = [form for form in SIMPLE if form[0] not in ("rcl", "rcr", "setcc", "cmpxchg8b/16b")]
"""Those of which QEMU 7.2 knows the flags when the access faults."""


def _crossing(k, pair, boundary, select):
    """An access that begins in one page and ends in the next."""
    # QEMU 7.2 says of an instruction that reads and writes what is not there that it reads.
    forms = k.rng.choice((LOADS, STORES)) if "hole" in pair else CALM
    seen = [at for at, kind in zip((boundary - 4, boundary), pair) if kind != "hole"]
    k.print(f"from {pair[0]} to {pair[1]}, ring 0, ")
    k.one(k.rng.choice(forms), boundary - k.rng.randrange(1, 4), more=[select, *seen], faults=True)


COPIES = [(a, b) for a in ("ram", "ram-ro", "ram-kernel", "hole") for b in ("ram", "ram-ro", "ram-kernel", "hole") if "ram" in (a, b)]
"""Where what was read from a device is written to, with no device there."""


def _copy(k, pair, boundary, source, ring):
    """From a device's register to RAM, across the end of a page: both parts, or none."""
    on = k.fresh()
    k.print(f"from {pair[0]} to {pair[1]}, ring {ring}, movsd: ")
    k.op(f"mov dword [resume], {on}", f"mov esi, {source:#x}", f"mov edi, {boundary - k.rng.randrange(1, 4):#x}", "movsd")
    k.label(on)
    k.op("mov dword [resume], 0")


def _copies(k, places, source):
    """From ring 3, then from the kernel, and what lies at these places then."""
    k.op(f"mov dword [{source:#x}], {k.word():#x}")

    def body():
        for pair, boundary in places:
            _copy(k, pair, boundary, source, 3)

    k.user(body, IOPL)
    for how in (0, 1):
        for pair, boundary in places:
            if how:
                _copy(k, pair, boundary, source, 0)
            for at, kind in zip((boundary - 4, boundary), pair):
                if kind != "hole":
                    k.op(f"mov eax, [{at:#x}]")
                    k.say("eax", f"to {' and '.join(pair)}")


USERS = ("mov eax, [ebx]", "mov [ebx], eax", "or eax, [ebx]", "add [ebx], eax", "xchg [ebx], eax", "xadd [ebx], eax")


def _as_user(k, pair, at):
    """The same from ring 3, whose frame says what it got."""
    on, forbidden = k.fresh(), "hole" in pair or "ram-kernel" in pair or "ioapic-kernel" in pair
    line = k.rng.choice(USERS[:3] if forbidden else USERS)
    k.print(f"from {pair[0]} to {pair[1]}, ring 3, {line}: ")
    k.op(f"mov dword [resume], {on}", f"mov ebx, {at:#x}", f"mov eax, {k.word():#x}", "cmp eax, ebx", line)
    k.label(on)
    k.op("mov dword [resume], 0", f"int {CALL:#x}")


def _rings(k, pairs, select):
    """Some accesses of a program's, across the ends of pages, and what they have changed."""
    def body():
        for pair, boundary in pairs:
            _as_user(k, pair, boundary - k.rng.randrange(1, 4))

    k.user(body, IOPL)
    for pair, boundary in pairs:
        for at, kind in zip((boundary - 4, boundary), pair):
            if kind != "hole":
                k.op(f"mov eax, [{at:#x}]")
                k.say("eax")
    k.op(f"mov eax, [{select:#x}]")
    k.say("eax", "select")


def registers(rng, count=45):
    """Registers of both APICs: strings and stacks, so many other instructions, widths, places."""
    k = Mmio(rng)
    k.use_stack(k.base + 0x20000)
    lapic, ram, ioapic = (k.page(kind) for kind in ("lapic", "ram", "ioapic"))
    k.begin()
    k.paging()
    _setup(k, lapic)
    k.op(f"mov eax, [{lapic + VERSION:#x}]", "and eax, 0xff")
    k.say("eax", "lapic version")
    k.op(f"mov dword [{lapic + TPR:#x}], 0")
    _steps(k, lapic, ram)
    plan = [("scratch", form) for form in [*STRINGS, *STACKS, *rng.sample(DRAWN, count)]]
    plan += [(where, form) for where in ("narrow", "select", "window")
             for form in rng.sample(NARROW if where == "narrow" else SIMPLE, count // 6)]
    rng.shuffle(plan)
    for where, form in plan:
        if where == "scratch":
            k.one(form, lapic + SCRATCH, ram + 4 * rng.randrange(900), lapic + TPR)
        elif where == "narrow":
            k.one(form, lapic + rng.choice(KEEPERS) + rng.randrange(4), more=[lapic + TPR, lapic + INITIAL])
        elif where == "select":
            k.one(form, ioapic + SELECT)
        else:
            k.op(f"mov dword [{ioapic + SELECT:#x}], {IOAPIC_VERSION}")
            k.one(form, ioapic + WINDOW)
    k.finish()
    return k


def pages(rng, count=30):
    """Accesses across the ends of pages, in both rings: to devices, RAM, what is not there, what may not be written."""
    k = Mmio(rng)
    k.use_stack(k.base + 0x20000)
    lapic, ioapic = k.page("lapic"), k.page("ioapic")
    devices = ("lapic", "ioapic", "ioapic-ro")
    pairs = [(a, b) for a in PAGES for b in PAGES if a in devices or b in devices]
    rng.shuffle(pairs)
    # What the CPU meets first is the device's.
    inner = [(a, b) for a in ("ioapic", "lapic") for b in ("ram", "ram-kernel", "ioapic-kernel", "ram-ro", "hole")]
    rng.shuffle(inner)
    both, users, copies = ([(pair, k.page(*pair) + 0x1000) for pair in some] for some in (pairs[:count], inner, COPIES))
    k.begin()
    k.paging()
    _setup(k, lapic)
    k.print("a fault's line: vector, error code, eip, cs, eflags, its handler's stack, ds, es, eax; esp, ss from ring 3; cr2\n")
    for pair, boundary in both:
        _crossing(k, pair, boundary, ioapic + SELECT)
    for first in range(0, len(users), 5):
        _rings(k, users[first:first + 5], ioapic + SELECT)
    _copies(k, copies, lapic + SCRATCH)
    k.print("accessed and dirty: ")
    k.op(f"mov esi, {k.directory + 0x4000:#x}", f"mov ecx, {len(k.pages)}")
    again = k.label(k.fresh())
    k.op("lodsd", "shr eax, 5", "and eax, 3", "add eax, 48", "call put_byte", f"loop {again}")
    k.print("\n")
    k.finish()
    return k


# -- what can't be done ----------------------------------------------------------------------------

REFUSED = {
    # name: (lines, the address that the last line names)
    "x87": (["fld dword [{lapic} + 0x380]"], LAPIC + INITIAL), "table register": (["lgdt [{lapic} + 0x30]"], LAPIC + VERSION),
    "segment register": (["mov fs, [{lapic} + 0x30]"], LAPIC + VERSION), "flags": (["mov esp, {lapic} + 0x384", "pushf"], LAPIC + INITIAL),
    "code": (["jmp dword {code:#x}:{lapic} + 0x30"], LAPIC + VERSION), "call": (["mov eax, {ioapic}", "call eax"], IOAPIC),
    "stack of a handler": (["mov esp, {lapic} + 0x384", "int 0x30"], LAPIC + INITIAL),
    "stack of a fault's handler": (["mov esp, {lapic} + 0x384", "xor ecx, ecx", "div ecx"], LAPIC + INITIAL),
    "descriptors": (["mov word [kept], 0xfff", "mov dword [kept + 2], {lapic}", "lidt [kept]", "int3"], LAPIC + 24),
    "page table": (["mov dword [{spare}], {nobody:#x} | 7", "mov eax, [{far}]"], NOBODY),
    # The CPU has the page in its TLB, and goes on.
    "code gone": (["align 64", "call .here\n.here: pop esi", "shr esi, 12", "mov dword [{directory:#x} + 0x1000 + esi * 4], 0",
                   "mov eax, [{lapic} + 0x30]"], LAPIC + VERSION),
    "page directory": (["mov eax, {ioapic_at:#x}", "mov cr3, eax", "nop"], IOAPIC),
}


def refused(rng, name):
    """A kernel that wants of a device's registers what none has, and then goes on."""
    k = Mmio(rng)
    k.use_stack(k.base + 0x20000)
    words = {"lapic": k.page("lapic"), "ioapic": k.page("ioapic"), "nobody": NOBODY, "ioapic_at": IOAPIC, "directory": k.directory}
    k.begin()
    k.paging()
    slot = (k.run >> 22) + 1
    words |= {"code": k.code, "spare": f"{k.directory + 4 * slot:#x}", "far": f"{slot << 22:#x}"}
    k.print("begins\n")
    k.op(*(line.format(**words) for line in REFUSED[name][0]))
    k.print("went on\n")
    k.finish()
    return k


STRING = 4096
"""So many elements has the string of long_string()."""


def long_string(rng):
    """One instruction that reads a register thousands of times; it says nothing."""
    k = Mmio(rng)
    k.use_stack(k.base + 0x20000)
    lapic = k.page("lapic")
    k.begin()
    k.paging()
    k.op(f"mov esi, {lapic:#x}", f"mov ecx, {STRING}", rng.choice(("rep lodsb", "rep lodsb", "repne lodsb")))
    k.finish()
    return k


def programs(rng):
    """What Zeno can't do, tried by a program of ring 3's: its kernel has the fault, and goes on."""
    k = Mmio(rng)
    k.use_stack(k.base + 0x20000)
    lapic = k.page("lapic")
    k.begin()
    k.paging()
    _setup(k, lapic)

    def body():
        for line in rng.sample((f"mov eax, {lapic + VERSION:#x}\n        jmp eax", f"fld dword [{lapic + INITIAL:#x}]", f"fild qword [{lapic + TPR:#x}]", f"mov es, [{lapic + VERSION:#x}]"), 4):
            on = k.fresh()
            k.op(f"mov dword [resume], {on}", line)
            k.label(on)
            k.op("mov dword [resume], 0")
        _as_user(k, ("lapic", "lapic"), lapic + INITIAL)

    k.user(body, IOPL)
    k.print("goes on\n")
    k.finish()
    return k
