"""Fresh guest programs whose instructions exit under the hardware's own virtualization, each in many forms.

What they print is the registers and the memory behind each; the instruction that the hypervisor does must leave all
that it does not name.
"""

from .kernels import CALL, Kernel
from .programs import COM1, Program, mask_interrupts
from .segments import FLAT_CODE, FLAT_DATA, Tables, descriptor

SCRATCH = COM1 + 7
"""A byte of the UART's that keeps what is written."""
NOBODY = (0x1E0, 0x2A8, 0x5B0)
"""Ports of nothing: a read gives ones, as many as it has bits."""
PREFIXES = ("", "db 0x2e\n        ", "db 0x66\n        ", "db 0x3e, 0x67\n        ", "db 0xf3\n        ")
MARK = 0xA5


def letters(p, count):
    """Letters that stand in the image as other bytes, and the instructions that turn them: the label."""
    key, name = p.rng.randrange(128, 255), p.label_name()
    p.data.append(f"{name}: db " + ", ".join(str(p.rng.randrange(65, 91) ^ key) for _ in range(count + 8)))
    turn = p.label_name()
    p.op(f"mov ecx, {count + 8}")
    p.label(turn)
    p.op(f"xor byte [{name} + ecx - 1], {key}", f"loop {turn}")
    return name


class Exits(Program):
    """A Program with segments that do not begin at 0, and with names for labels to come."""

    def __init__(self, rng):
        super().__init__(rng)
        self.use_stack(self.base + 0x20000)  # what lies across the ends of pages makes 50 KiB of code, and may make 100
        self.console()
        self.data.append("drained: ret")  # for_slow_uart() has another one
        mask_interrupts(self)
        self.area = self.base + 0x30000 + rng.randrange(0, 0x800, 4)
        """A part of memory for what comes in."""
        tables = Tables(self)
        code, data = tables.put(FLAT_CODE), tables.put(FLAT_DATA)
        self.own_base = self.base - rng.randrange(0x40, 0x1000)
        self.own, self.data_ = tables.put(descriptor(self.own_base, 0xFFFFF, 0x92, 0xC)), data
        self.near_base = self.area
        self.near = tables.put(descriptor(self.near_base, 0xFFFFF, 0x92, 0xC))
        tables.load()
        tables.enter(code, data)
        self.op(f"mov eax, {self.own:#x}", "mov fs, eax", f"mov eax, {self.near:#x}", "mov gs, eax")

    def label_name(self):
        """A name for a label that will stand somewhere."""
        self.count += 1
        return f"on{self.count}"

    def known(self, *registers):
        """Random values, of which each is printed later."""
        self.op(*(f"mov {register}, {self.word():#x}" for register in registers))

    def fill(self, count=64):
        """The area, with a mark in each byte."""
        again = self.label_name()
        self.op(f"mov ecx, {count}")
        self.label(again)
        self.op(f"mov byte [{self.area} + ecx - 1], {MARK:#x}", f"loop {again}")

    def sum(self, count=64):
        """Print a sum over the area, in which each byte's place counts."""
        again = self.label_name()
        self.op("push eax", "push ecx", "push edx", "xor eax, eax", f"mov ecx, {count}")
        self.label(again)
        self.op("imul eax, eax, 33", f"movzx edx, byte [{self.area} + ecx - 1]", "add eax, edx", f"loop {again}")
        self.say("eax", "area")
        self.op("pop edx", "pop ecx", "pop eax")

    def show(self, *registers):
        """Print some of them, flags kept out."""
        for register in registers:
            self.say(register, register)


def _outs(p, size):
    """One form of outs: of letters to COM1, or of anything to nobody."""
    rng, count = p.rng, p.rng.randrange(2, 14)
    rep, down, short = (rng.random() < chance for chance in (0.75, 0.3, 0.4))
    name = letters(p, count * 4)
    segment = "gs" if short else rng.choice(("ds", "ds", "fs", "cs", "ss"))
    if short:  # 16 bits of index and count: what stands above them must not matter, and stays
        p.op(f"mov ecx, {count * 4}", f"mov esi, {name}", f"mov edi, {p.area}", "cld", "rep movsb")
    start = size * (count - 1) if down else 0
    base = {"fs": p.own_base, "gs": p.area}.get(segment, 0)
    at = f"{start}" if short else f"{name} + {start} - {base:#x}"
    high = rng.getrandbits(16) << 16 if short else 0
    port = COM1 if size == 1 else rng.choice(NOBODY)
    p.known("eax", "ebx", "edi", "ebp")
    p.op("call drained", f"mov esi, {at}", f"mov ecx, {count}", f"mov edx, {rng.getrandbits(16) << 16 | port:#x}")
    if high:
        p.op(f"or esi, {high:#x}", f"or ecx, {rng.getrandbits(16) << 16:#x}")
    override = {"ds": [], "fs": [0x64], "gs": [0x65], "cs": [0x2E], "ss": [0x36]}[segment]
    code = [*([0x67] if short else []), *override, *([rng.choice((0xF3, 0xF3, 0xF2))] if rep else []),
            *([0x66] if size == 2 else []), 0x6E if size == 1 else 0x6F]
    p.op("std" if down else "cld", "db " + ", ".join(f"{byte:#x}" for byte in code), "cld")
    p.show("esi", "ecx", "eax", "edx")


def _ins(p, size):
    """One form of ins: from what was written to the UART's own byte, or from nobody."""
    rng, count = p.rng, p.rng.randrange(1, 9)
    rep, down, short = (rng.random() < chance for chance in (0.75, 0.3, 0.4))
    port = SCRATCH if size == 1 else rng.choice(NOBODY)
    p.fill()
    p.op(f"mov edx, {SCRATCH:#x}", f"mov al, {rng.getrandbits(8):#x}", "out dx, al")
    p.known("eax", "ebx", "esi", "ebp")
    first = rng.randrange(0, 20) + (size * (count - 1) if down else 0)
    if short:
        p.op(f"mov eax, {p.near:#x}", "mov es, eax", f"mov edi, {rng.getrandbits(16) << 16 | first:#x}",
             f"mov ecx, {rng.getrandbits(16) << 16 | count:#x}")
    else:
        p.op(f"mov edi, {p.area + first:#x}", f"mov ecx, {count}")
    p.op(f"mov edx, {rng.getrandbits(16) << 16 | port:#x}")
    # The memory is ES's whatever segment stands before it.
    code = [*([0x67] if short else []), *rng.choice(([], [], [0x65], [0x2E])), *([0xF3] if rep else []),
            *([0x66] if size == 2 else []), 0x6C if size == 1 else 0x6D]
    p.op("std" if down else "cld", "db " + ", ".join(f"{byte:#x}" for byte in code), "cld",
         f"mov ebx, {p.data_:#x}", "mov es, ebx")
    p.show("edi", "ecx", "eax", "edx")
    p.sum()


def _none(p):
    """A count of zero: nothing is moved."""
    p.known("eax", "ebx", "esi", "edi")
    p.op(f"mov edx, {COM1:#x}", f"mov esi, {p.area}", "xor ecx, ecx", p.rng.choice(("rep outsb", "db 0xf2, 0x6e")))
    p.show("esi", "ecx")


def strings(rng, count=22):
    """ins and outs: sizes, repeat prefixes, directions, segments, addresses of 16 bits."""
    p = Exits(rng)
    kinds = [(what, size) for what in (_outs, _ins) for size in (1, 2, 4)] * 3
    rng.shuffle(kinds)
    for number, (what, size) in enumerate(kinds[:count]):
        what(p, size)
        if number % 6 == 0:
            _none(p)
    p.end(rng.randrange(0, 60))
    return p


def ports(rng, count=26):
    """in and out without a string: sizes, both forms, and registers whose upper parts stay."""
    p = Exits(rng)
    for _ in range(count):
        kind = rng.choice(("out", "in", "in", "nobody"))
        if kind == "out":
            p.op("call drained", f"mov eax, {p.word():#x}", "and al, 31", "add al, 64", f"mov edx, {rng.getrandbits(16) << 16 | COM1:#x}",
                 rng.choice(PREFIXES[:3]) + "db 0xee")
        elif kind == "in":
            p.op(f"mov edx, {rng.getrandbits(16) << 16 | SCRATCH:#x}", f"mov eax, {p.word():#x}", "out dx, al",
                 f"mov eax, {p.word():#x}", rng.choice(PREFIXES[:4]) + "db 0xec")
            p.show("eax", "edx")
        else:
            port = rng.choice(NOBODY)
            p.op(f"mov eax, {p.word():#x}", f"mov edx, {rng.getrandbits(16) << 16 | port:#x}",
                 rng.choice(("in al, dx", "in ax, dx", "in eax, dx", "in ax, 0xe0", "in eax, 0xe4", "in al, 0xe5")))
            p.show("eax", "edx")
        p.churn(2, ("ebx", "esi", "edi", "ebp"))
    p.show("ebx", "esi", "edi", "ebp")
    p.end(rng.randrange(0, 60))
    return p


# -- registers -------------------------------------------------------------------------------------

OTHERS = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp")
MSRS = (0x175, 0x176, 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000102, 0xC0000084, 0x174)
"""MSRs that hold what a kernel writes; the last two, 32 bits of it."""
LEAVES = (0, 0x80000000, 0x80000002, 0x80000003, 0x80000004)
"""What CPUID says of no feature."""
EFER, LME, NXE = 0xC0000080, 1 << 8, 1 << 11
CR0_PLAY, CR4_PLAY = (1 << 1, 1 << 3, 1 << 5, 1 << 16), (1 << 2, 1 << 3, 1 << 4, 1 << 6, 1 << 7, 1 << 8)


def _far(p, at, *lines):
    """Instructions whose first byte lies `at` bytes before the end of a page, and the rest behind it."""
    over, back = p.label_name(), p.label_name()
    p.op(f"jmp {over}")
    p.lines += [f"        times (4096 - {at} - ($ - $$)) & 4095 nop"]
    p.label(over)
    p.op(*lines, f"jmp {back}")
    p.label(back)


def _move(p, to, number, letter, register):
    """mov to or from a control or debug register, as bytes, for NASM takes no prefix there."""
    opcode = {("c", False): 0x20, ("d", False): 0x21, ("c", True): 0x22, ("d", True): 0x23}[letter, to]
    gpr = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi").index(register)
    modrm = p.rng.choice((0xC0, 0xC0, 0x00, 0x40)) | number << 3 | gpr  # its mode bits say nothing
    prefix = p.rng.choice(([], [], [0x66], [0x2E]))
    line = "db " + ", ".join(f"{byte:#x}" for byte in (*prefix, 0x0F, opcode, modrm))
    if p.rng.random() < 0.25:
        _far(p, p.rng.randrange(1, 3), line)
    else:
        p.op(line)


def _cr4(p):
    bits = sum(bit for bit in CR4_PLAY if p.rng.random() < 0.5)
    a, b = p.rng.sample(OTHERS, 2)
    p.op(f"mov {a}, {bits:#x}")
    _move(p, True, 4, "c", a)
    _move(p, False, 4, "c", b)
    p.show(b)


def _dr(p):
    number = p.rng.choice((0, 1, 2, 3, 6, 7))
    a, b = p.rng.sample(OTHERS, 2)
    value = {6: p.word() & 0xE00F, 7: p.word() & 0xFFFF0300 & ~0xFFFF0000}.get(number, p.word())
    p.op(f"mov {a}, {value:#x}")
    _move(p, True, number, "d", a)
    _move(p, False, number, "d", b)
    p.show(b)


def _cr0(p):
    """With EFER.LME set while PAE is not, a kernel moves to CR0."""
    a, b = p.rng.sample(OTHERS, 2)
    bits = sum(bit for bit in CR0_PLAY if p.rng.random() < 0.5) | 1
    p.op(f"mov {a}, 0", "mov cr4, " + a, f"mov ecx, {EFER:#x}", "rdmsr", f"or eax, {LME:#x}", "wrmsr")
    p.op(f"mov {a}, {bits:#x}")
    _move(p, True, 0, "c", a)
    if p.rng.random() < 0.6:
        p.op("clts")
    _move(p, False, 0, "c", b)
    p.show(b)
    p.op(f"mov ecx, {EFER:#x}", "rdmsr", f"and eax, {~LME & 0xFFFFFFFF:#x}", "wrmsr", "mov eax, 1", "mov cr0, eax")


def _msr(p):
    number = p.rng.choice(MSRS)
    low, high = p.word(), p.word() & 0x7FFF
    if number in MSRS[-2:]:
        high = 0
    if number == MSRS[-1]:
        low &= 0xFFFF  # QEMU 7.2 keeps no more of it
    p.op(f"mov ecx, {number:#x}", f"mov eax, {low:#x}", f"mov edx, {high:#x}",
         p.rng.choice(PREFIXES[:3]) + "db 0x0f, 0x30")
    p.show("eax", "ecx", "edx")
    p.known("eax", "edx")
    if p.rng.random() < 0.3:
        _far(p, 1, "rdmsr")
    else:
        p.op(p.rng.choice(PREFIXES[:3]) + "db 0x0f, 0x32")
    p.show("eax", "ecx", "edx")


def _efer(p):
    p.op(f"mov ecx, {EFER:#x}", "rdmsr", f"{p.rng.choice(('or', 'and'))} eax, {p.rng.choice((NXE, 1)):#x}", "wrmsr", "rdmsr")
    p.show("eax", "edx")


def _cpuid(p):
    p.op(f"mov eax, {p.rng.choice(LEAVES):#x}", f"mov ecx, {p.word():#x}")
    p.known("ebx", "edx", "esi", "edi", "ebp")
    if p.rng.random() < 0.4:
        _far(p, 1, "cpuid")
    else:
        p.op(p.rng.choice(PREFIXES) + "db 0x0f, 0xa2")
    p.show(*OTHERS)


def registers(rng, count=36):
    """Control and debug registers, MSRs, CPUID, with prefixes and across the ends of pages."""
    p = Exits(rng)
    kinds = [_cr4, _dr, _cr0, _msr, _efer, _cpuid] * (count // 6)
    rng.shuffle(kinds)
    for kind in kinds:
        kind(p)
    p.end(rng.randrange(0, 60))
    return p


def refused(rng, count=20):
    """What a guest may not do, in both rings: each frame of its handler's, and then it goes on."""
    k = Kernel(rng)
    k.begin()
    for _ in range(count):
        if rng.random() < 0.5:
            iopl = rng.choice((0, 3))
            k.user(lambda iopl=iopl: [_as_user(k, iopl) for _ in range(3)], iopl << 12)
            continue
        on = k.fresh()
        k.churn(3)
        k.op(f"mov dword [resume], {on}")
        if rng.random() < 0.5:
            k.op("mov eax, 8", "mov cr4, eax", f"mov dr{rng.choice((4, 5))}, eax")
        else:
            # With an address in EAX that is none, the CPU says #GP before the intercept.
            k.op(f"mov eax, {rng.randrange(0x100000, 0x200000, 4096):#x}", f"db 0x0f, 0x01, {rng.choice((0xd8, 0xda, 0xdb, 0xdc, 0xdd)):#x}")
        k.label(on)
        k.op("mov dword [resume], 0", "xor eax, eax", "mov cr4, eax")
        if rng.random() < 0.5:
            k.op("int 0x33")
    k.finish()
    return k


def _as_user(k, iopl):
    """An instruction of ring 3's that exits from ring 0; with IOPL 3 ports are allowed."""
    on, may_not = k.fresh(), ["mov eax, cr4", "mov dr0, eax", "rdmsr", "hlt", "clts"]
    ports = [["in al, 0xe5"], ["out 0x80, eax"], ["mov esi, esp", "mov edx, 0x5b0", "outsb"]]
    k.op(f"mov dword [resume], {on}", f"mov eax, {k.word():#x}", f"mov ecx, {EFER:#x}")
    if k.rng.random() < 0.5:
        k.op(*k.rng.choice(ports))
    else:
        k.op(k.rng.choice(may_not))
    k.label(on)
    k.op("mov dword [resume], 0", f"int {CALL:#x}")


TABLES_AT, PAGE_AT = 0x40000, 0x50000
"""From the program's base: page tables, two pages with code."""


def stale(rng, kind):
    """An instruction that exits from a page that the tables have no more, or that is another one there.

    `kind` is (what the CPU executes, what the tables lead to by then; "" for nothing).
    """
    p = Program(rng)
    p.console()
    executed, there = kind
    base = p.base & ~0xFFF
    directory, page, other = base + TABLES_AT, base + PAGE_AT, base + PAGE_AT + 0x1000
    table, offset = directory + 0x1000, rng.randrange(0x100, 0xE00)
    fill = "fill"
    p.op("cld", "xor eax, eax", f"mov edi, {directory:#x}", "mov ecx, 1024", "rep stosd",
         *(f"mov dword [{directory + 4 * n:#x}], {table + 0x1000 * n + 3:#x}" for n in range(3)),
         f"mov edi, {table:#x}", "mov eax, 3")
    p.label(fill)
    p.op("stosd", "add eax, 4096", f"cmp edi, {table + 0x3000:#x}", f"jb {fill}")
    for at, code, loop in ((page, executed, "code"), (other, there or "nop", "others")):
        p.op(f"mov esi, {loop}", f"mov edi, {at + offset:#x}", "mov ecx, 64", "rep movsb")
        p.data.append(f"{loop}:  {code}\n        jmp $\n        times 64 nop")
    entry = 0 if not there else other + 3
    # The page is looked at, its entry changes, and there is no exit before the instruction.
    p.print("begins\n")
    p.op(f"mov eax, {directory:#x}", "mov cr3, eax", "mov eax, cr0", "or eax, 0x80000000", "mov cr0, eax",
         f"mov edi, {p.base + 0x20000:#x}", f"mov esi, {p.base:#x}", "mov edx, 0x5b0", "mov eax, 0x10",
         f"mov cl, [{page:#x}]", f"mov ebx, {page + offset:#x}", f"mov dword [{table + (page >> 12) * 4:#x}], {entry:#x}",
         "jmp ebx")
    p.end(1)
    return p


def gone(rng, kind):
    """An instruction that exits from a page that is another one when somebody reads it; behind it both go on alike.

    `kind` is (what the CPU executes, what the tables lead to by then); both are as long.
    """
    p = Exits(rng)
    executed, there = kind
    base = p.base & ~0xFFF
    directory, page, other = base + TABLES_AT, base + PAGE_AT, base + PAGE_AT + 0x1000
    table, offset = directory + 0x1000, rng.randrange(0x100, 0xE00)
    p.op("cld", "xor eax, eax", f"mov edi, {directory:#x}", "mov ecx, 1024", "rep stosd",
         *(f"mov dword [{directory + 4 * n:#x}], {table + 0x1000 * n + 3:#x}" for n in range(3)),
         f"mov edi, {table:#x}", "mov eax, 3")
    p.label("fill")
    p.op("stosd", "add eax, 4096", f"cmp edi, {table + 0x3000:#x}", "jb fill", f"mov byte [{page:#x}], 0xc3")
    for at, code, name in ((page, executed, "code"), (other, there, "others")):
        p.op(f"mov esi, {name}", f"mov edi, {at + offset:#x}", "mov ecx, 16", "rep movsb")
        p.data.append(f"{name}:  {code}\n        jmp ebp\n        times 16 nop")
    # The page is executed, its entry changes, and there is no exit before the instruction.
    p.op(f"mov eax, {directory:#x}", "mov cr3, eax", "mov eax, cr0", "or eax, 0x80000000", "mov cr0, eax")
    msr, letter = rng.choice(MSRS[:2]), rng.randrange(65, 91)
    p.op(f"mov ecx, {msr:#x}", f"mov eax, {p.word():#x}", "xor edx, edx", "wrmsr")
    p.op("call drained", f"mov byte [{p.area:#x}], {letter}", f"mov edi, {p.area + 16:#x}", f"mov esi, {p.area:#x}",
         f"mov edx, {COM1 if executed.startswith('out') else 0:#x}", f"mov eax, {letter if executed == 'out dx, al' else 0x10:#x}",
         "mov ebp, on_again", f"mov ebx, {page:#x}", "call ebx", "mov ebx, 8", f"mov dword [{table + (page >> 12) * 4:#x}], {other + 3:#x}",
         f"push dword {page + offset:#x}", "ret")
    p.label("on_again")
    p.show("eax", "ebx", "edx", "esi", "edi")
    p.op("mov eax, cr4")
    p.show("eax")
    p.op("mov eax, dr1")
    p.show("eax")
    p.end(rng.randrange(0, 60))
    return p


# -- what runs itself ------------------------------------------------------------------------------


def busy(rng, rounds=None):
    """A computation with few exits: (Program, labels in it). All of it must run itself."""
    p = Program(rng)
    mask_interrupts(p)
    rounds = rounds or rng.randrange(60_000, 90_000)
    names = []
    for _ in range(3):
        p.op(*(f"mov {register}, {p.word():#x}" for register in OTHERS if register != "ecx"), f"mov ecx, {rounds}")
        again = p.label()
        names.append(again)
        p.churn(rng.randrange(8, 14), ("eax", "ebx", "edx", "esi", "edi", "ebp"))
        skip = f"over{p.count}"
        p.op("test eax, 64", f"jz {skip}", "push ebx", "pop ebp")
        p.label(skip)
        names.append(skip)
        p.op("dec ecx", f"jnz {again}", "cpuid" if rng.random() < 0.5 else "out 0x80, al")
        p.say("esi", "esi")
    p.end(rng.randrange(0, 60))
    return p, names
