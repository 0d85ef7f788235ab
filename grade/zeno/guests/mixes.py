"""Fresh guest programs for a binary translator: whatever code may do that a translator must see through.

A Mix is a Kernel whose kernel code reads all that ring 1 would show wrongly: CS, SS, the flags, the tables'
registers. What it prints is registers, flags and memory, in full (`show`) or folded into a sum (`fold`).
AF is left out, since logical operations leave it undefined, and so is RF.

    k = Mix(rng)
    k.begin()
    k.plain(10)                   # arithmetic, memory, strings
    k.branches()                  # jumps, calls and loops of all kinds
    k.show()
    k.finish()

EBP points to memory to play with, and keeps doing so; all other registers are anybody's.
"""

from .programs import descriptor
from .kernels import CALL, FLAG_IF, INTERRUPT_GATE, IOPL, PROBE, TIMER, Kernel
from .kernels import _fact as fact

SCRATCH, FRESH, STACK = 0x30000, 0x34000, 0x3C000
"""Where, from the program's base, memory to play with, code made at run time, and the stack are."""
FREE = ("eax", "ebx", "ecx", "edx", "esi", "edi")
BYTES = ("al", "bl", "cl", "dl", "ah", "bh", "ch", "dh")
WORDS = ("ax", "bx", "cx", "dx", "si", "di")
CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")
POPPED = 0x8D5 & ~0x10 | 0x400 | FLAG_IF | IOPL | 1 << 18 | 1 << 21
"""Flags that a program may pop: all but TF, NT, RF and VM."""

ROUTINES = """\
show:
        pushfd
        pushad
        and dword [esp + 32], 0xfffeffef
        mov ebp, esp
        mov ebx, 32
show_next:
        mov eax, [ebp + ebx]
        call put_hex
        mov al, 32
        call put_byte
        sub ebx, 4
        jns show_next
        mov al, 10
        call put_byte
        popad
        popfd
        ret
fold:
        pushfd
        pushad
        and dword [esp + 32], 0xfffeffef
        mov esi, esp
        mov ecx, 9
        mov eax, [sum]
fold_next:
        rol eax, 5
        xor eax, [esi]
        add eax, 0x9e3779b9
        add esi, 4
        dec ecx
        jnz fold_next
        mov [sum], eax
        popad
        popfd
        ret
fold_memory:
        pushfd
        pushad
        mov esi, {scratch:#x}
        mov ecx, 256
        mov eax, [sum]
fold_word:
        rol eax, 7
        add eax, [esi]
        add esi, 4
        dec ecx
        jnz fold_word
        mov [sum], eax
        popad
        popfd
        ret
"""
POLL = """\
        push eax
        mov edx, 0x3fd
poll:
        in al, dx
        test al, 0x20
        jz poll
        pop eax
        mov edx, 0x3f8
        out dx, al
"""


NATIVE = ("ds", "es", "ss", "fs")
"""Segments through which translated code reaches memory itself."""


class Mix(Kernel):
    """A guest for a translator."""

    def __init__(self, rng):
        super().__init__(rng)
        self.scratch, self.fresh_code = self.base + SCRATCH, self.base + FRESH
        self.native = False
        """Where visits to the host are counted: no operand through CS or GS, which are the translator's own."""
        self.patient = False
        """Bare Bochs loses bytes that come before the UART is ready; everything else is always ready."""

    def begin(self):
        """Tables, stack, memory to play with."""
        self.op(f"mov esp, {self.base + STACK:#x}")
        super().begin()
        self.routines += ROUTINES.format(scratch=self.scratch).splitlines()
        rng = self.rng
        again = self.fresh()
        self.op(f"mov edi, {self.scratch:#x}", f"mov eax, {self.word():#x}", "mov ecx, 256")
        self.label(again)
        self.op("mov [edi], eax", f"imul eax, eax, {rng.randrange(3, 1 << 20) | 1:#x}",
                f"add eax, {self.word():#x}", "add edi, 4", "dec ecx", f"jnz {again}")
        self.op(*(f"mov {register}, {self.word():#x}" for register in FREE))
        self.op(f"mov ebp, {self.scratch:#x}", "cmp eax, ebx")

    def source(self):
        """What is written at run time has a page of its own: a page with code on it is another matter."""
        text = super().source().replace("        align 64\nhook:", "        align 4096\nsum: dd 0\nhook:")
        return text.replace("        mov edx, 0x3f8\n        out dx, al\n", POLL) if self.patient else text

    def finish(self):
        """As every guest's, when the last byte has left the UART."""
        again = self.fresh()
        self.op("mov edx, 0x3fd")
        self.label(again)
        self.op("in al, dx", "test al, 0x40", f"jz {again}")
        super().finish()

    def show(self):
        """Print all registers and flags."""
        self.op("call show")

    def fold(self):
        """Take all registers and flags into the sum."""
        self.op("call fold")

    def total(self):
        """Print the sum, with the memory in it."""
        self.op("call fold_memory", "push eax", "mov eax, [sum]")
        self.say("eax", "sum")
        self.op("pop eax")

    def function(self, body):
        """A function made by body(), somewhere else; its label."""
        name, kept = self.fresh(), self.lines
        self.lines = []
        self.label(name)
        body()
        self.routines += self.lines
        self.lines = kept
        return name

    def page_end(self, length):
        """The next instruction begins `length` bytes before the end of a page."""
        on = self.fresh()
        self.op(f"jmp {on}", f"times (8192 - {length} - (($ - $$) % 4096)) % 4096 db 0x90")
        self.label(on)

    # -- straight code ------------------------------------------------------------------------

    def memory(self, size=4):
        """An operand in memory, and the instructions that make its registers good for it."""
        rng, at = self.rng, self.rng.randrange(0, 0x380)
        kind = rng.randrange(6)
        if kind == 0:
            return [], f"[{self.scratch + at:#x}]"
        if kind == 1:
            index = rng.choice(("eax", "ebx", "ecx", "edx", "esi", "edi"))
            scale = rng.choice((1, 2, 4))
            return [f"and {index}, 31"], f"[ebp + {index} * {scale} + {at % 0x300:#x}]"
        if kind == 2:
            segment = rng.choice(NATIVE if self.native else ("cs", *NATIVE, "gs"))
            return [], f"[{segment}:{self.scratch + at & ~(size - 1):#x}]"
        return [], f"[ebp + {at:#x}]"

    def one(self):
        """Instructions of one idea, and True if they leave flags undefined."""
        rng = self.rng
        a, b = rng.choice(FREE), rng.choice(FREE)
        before, memory = self.memory()
        writable = "[cs:" not in memory
        alu = rng.choice(("add", "sub", "adc", "sbb", "xor", "and", "or", "cmp"))
        cc = rng.choice(CONDITIONS)
        kinds = [
            lambda: ([f"{alu} {a}, {b}"], False),
            lambda: ([f"{alu} {a}, {rng.choice((self.word(), rng.randrange(128))):#x}"], False),
            lambda: ([f"{alu} {rng.choice(BYTES)}, {rng.choice(BYTES)}"], False),
            lambda: ([f"{alu} {rng.choice(WORDS)}, {rng.getrandbits(16):#x}"], False),
            lambda: ([*before, f"{alu} {a}, {memory}"], False),
            lambda: ([*before, f"{alu} {memory}, {a}"] if writable else [*before, f"test {memory}, {a}"],
                     False),
            lambda: ([*before, f"{rng.choice(('not', 'neg', 'inc', 'dec'))} dword {memory}"]
                     if writable else [f"neg {a}"], False),
            lambda: ([*before, f"mov {a}, {memory}", f"mov {memory.replace('cs:', 'ds:')}, {b}"], False),
            lambda: ([f"lea {a}, [{a} + {b} * {rng.choice((2, 4, 8))} + {rng.randrange(99)}]"], False),
            lambda: ([f"{rng.choice(('rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar'))} {a}, "
                      f"{rng.choice(('cl', '1', rng.randrange(1, 31)))}"], True),
            lambda: ([f"{rng.choice(('shld', 'shrd'))} {a}, {b}, {rng.randrange(1, 31)}"], True),
            lambda: ([rng.choice((f"imul {a}, {b}", "mul ebx", "imul ecx", f"imul {a}, {b}, -3"))], True),
            lambda: (["xor edx, edx", f"or ebx, {rng.randrange(1, 999)}", "div ebx"], True),
            lambda: ([f"or {b}, {rng.randrange(1, 1 << 31):#x}",
                      f"{rng.choice(('bsf', 'bsr'))} {a}, {b}"], True),
            lambda: ([f"{rng.choice(('bt', 'bts', 'btr', 'btc'))} {a}, {rng.randrange(32)}"], True),
            lambda: ([f"xchg {a}, {b}", f"bswap {a}"], False),
            lambda: ([f"set{cc} {rng.choice(BYTES)}", f"cmov{cc} {a}, {b}"], False),
            lambda: ([f"{rng.choice(('movzx', 'movsx'))} {a}, {rng.choice(WORDS + BYTES)}"], False),
            lambda: ([rng.choice(("cdq", "cwde", "cbw", "cwd", "cmc", "stc", "clc", "nop"))], False),
            lambda: ([f"push {a}", *before, f"push dword {memory}", f"pop {b}", f"pop {a}"], False),
            lambda: (["pusha", f"xor [esp + {4 * rng.choice((0, 1, 4, 5, 6, 7))}], {a}", "popa"], False),
            lambda: ([f"push {a}", f"enter {4 * rng.randrange(6)}, 0", "leave", f"pop {a}"], False),
            lambda: ([*before, f"xadd {memory}, {a}"] if writable else [f"xadd {a}, {b}"], False),
            lambda: ([*before, f"lock cmpxchg {memory}, {b}"] if writable else [f"cmpxchg {a}, {b}"],
                     False),
            lambda: (["lahf", "and ah, 0xc5", "sahf"], False),
            self.strings,
            lambda: (["fninit", f"fild dword [ebp + {4 * rng.randrange(200)}]", "fld1", "faddp",
                      f"fistp qword [ebp + {8 * rng.randrange(99)}]"], False),
        ]
        return rng.choice(kinds)()

    def strings(self):
        """A string instruction, forwards or backwards."""
        rng = self.rng
        down = rng.random() < 0.3
        lines = [f"lea esi, [ebp + {rng.randrange(0x80, 0x180):#x}]",
                 f"lea edi, [ebp + {rng.randrange(0x200, 0x300):#x}]", "std" if down else "cld"]
        size = rng.choice("bwd")
        if rng.random() < 0.6:
            lines += [f"mov ecx, {rng.randrange(0, 24)}", "cmp eax, eax",
                      rng.choice((f"rep movs{size}", f"rep stos{size}", f"repe cmps{size}",
                                  f"repne scas{size}", f"rep lods{size}"))]
        else:
            lines += [rng.choice((f"movs{size}", f"lods{size}", f"stos{size}", f"scas{size}"))]
        return [*lines, "cld"], False

    def plain(self, count=6):
        """Straight code; the flags behind it are defined."""
        for _ in range(count):
            lines, vague = self.one()
            self.op(*lines)
            if vague:
                self.op(f"cmp {self.rng.choice(FREE)}, {self.rng.choice(FREE)}")

    def overridden(self):
        """Memory that is written by way of one segment register and read by way of another."""
        rng, segments = self.rng, ["cs", "ds", "es", "ss", "fs", "gs"]
        rng.shuffle(segments)
        for segment in segments:
            at, a = self.scratch + rng.randrange(0, 0x380), rng.choice(FREE)
            self.op(f"mov [{at:#x}], {rng.choice(FREE)}", f"add {a}, [{segment}:{at:#x}]")
            if segment != "cs":
                self.op(f"ror dword [{segment}:{at:#x}], 9", f"xor {a}, [{at:#x}]")

    def selectors(self):
        """Selectors that are read: CS and SS have another RPL in ring 1, and GS is the translator's."""
        for segment in self.rng.sample(("cs", "ds", "es", "ss", "fs", "gs"), 6):
            a, at = self.rng.choice(FREE), f"[{self.scratch + 0x3F0:#x}]"
            self.op(*self.rng.choice(([f"mov {a}, {segment}"], [f"mov {at}, {segment}", f"movzx {a}, word {at}"],
                                      [f"push {segment}", f"pop {a}", f"movzx {a}, {a[1:]}"])))
            self.op("call fold")

    # -- what is sensitive --------------------------------------------------------------------

    def sensitive(self):
        """Something of the eighteen, or privileged, whose result is in registers behind it."""
        rng, a = self.rng, self.rng.choice(FREE)
        at = f"[{self.scratch + 0x3F0:#x}]"
        segment = rng.choice(("ds", "es", "ss", "fs", "gs"))
        selectors = (self.code, self.data_, self.ucode, self.udata, self.no_data)
        pick = f"mov ebx, {rng.choice(selectors):#x}"
        out = self.fresh()
        kinds = [
            lambda: [f"sgdt {at}", f"mov {a}, {at}"], lambda: [f"sidt {at}", f"mov {a}, {at}"],
            lambda: ["xor eax, eax", "sldt ax"], lambda: ["xor ecx, ecx", "str cx"],
            lambda: ["smsw ax", "and eax, 0x3f"], lambda: [f"smsw {at}", "and dword " + at + ", 0x3f"],
            lambda: [f"mov {a}, cs"], lambda: [f"mov {a}, ss"], lambda: [f"mov {a}, {segment}"],
            lambda: ["push cs", f"pop {a}", f"movzx {a}, {a[1:]}"],
            lambda: ["push ss", f"pop {a}", f"movzx {a}, {a[1:]}"],
            lambda: [f"push {segment}", f"pop {segment}"],
            lambda: [f"push {segment}", f"pop {a}", f"movzx {a}, {a[1:]}"],
            lambda: [f"mov {a}, {self.data_:#x}", f"mov {rng.choice(('es', 'fs', 'gs'))}, {a}"],
            lambda: [pick, "mov ecx, 7", "lar ecx, ebx", f"jnz {out}", "and ecx, 0xf0fe00", out + ":"],
            lambda: [pick, "mov ecx, 7", "lsl ecx, ebx"],
            lambda: [pick, "verr bx"], lambda: [pick, "verw bx"],
            lambda: ["mov ecx, 0x1230", f"mov edx, {rng.randrange(4)}", "arpl cx, dx"],
            lambda: [f"mov {a}, cr0", f"and {a}, 0x3f"], lambda: [f"mov cr2, {a}", f"mov {a}, cr2"],
            lambda: [f"mov {a}, cr4"], lambda: ["clts"], lambda: [f"invlpg [ebp + {a}]"],
            lambda: [f"mov dr{rng.randrange(4)}, {a}"], lambda: ["in al, 0x21"],
            lambda: ["out 0xed, al"], lambda: ["xor eax, eax", "cpuid", "xor eax, eax"],
            lambda: [f"int {PROBE:#x}"], lambda: [f"int {rng.choice(self.open_gates):#x}"],
            lambda: [f"jmp {self.code:#x}:{out}", "ud2", out + ":"],
            lambda: ["push cs", f"push dword {out}", "retf", "ud2", out + ":"],
            lambda: ["pushfd", "push cs", f"push dword {out}", "iret", "ud2", out + ":"],
            lambda: [f"call {self.code:#x}:{self.far()}"],
            lambda: [f"push {segment}", "push word 0", f"pop dword [{self.scratch + 0x3E0:#x}]", "lea esp, [esp + 2]"],
        ]
        self.op(*rng.choice(kinds)())

    def far(self):
        """A function that is called from afar."""
        return self.function(lambda: (self.plain(2), self.op("retf")))

    def flags(self):
        """pushf, popf, cli and sti; the flags are shown by what is behind them."""
        rng, a = self.rng, self.rng.choice(FREE)
        popped = rng.getrandbits(22) & POPPED | 2
        self.op(*rng.choice((
            ["cli"], ["sti"], ["cli", "sti"], ["sti", "cli"], ["sti", "nop", "cli"],
            ["pushfd", f"pop {a}", f"and {a}, 0xfffeffef"], ["pushfd", "lea esp, [esp + 4]"],
            ["pushfw", f"pop {a[1:]}", f"and {a}, 0xffffffef"],
            [f"push dword {popped:#x}", "popfd", "cld"],
            ["pushfd", f"xor dword [esp], {popped & ~2:#x}", "popfd", "cld"],
            [f"push word {popped & 0x7fff:#x}", "popfw", "cld"],
            ["pushfd", "cli", f"add {a}, {a}", "popfd"],
            ["pushfd", "sti", f"sub {a}, 1", "popfd"],
            ["sti", "pushfd", "pop ebx", "and ebx, 0xffef"],
            ["cli", "pushfd", "pop ecx", "and ecx, 0xffef"])))

    # -- control flow -------------------------------------------------------------------------

    def branches(self):
        """A jump, call or loop of some kind."""
        rng = self.rng
        rng.choice((self.skip, self.skip, self.counted, self.call, self.call, self.table, self.computed,
                    self.stack_return, self.zero, self.cleaned))()

    def skip(self):
        """Over something by a condition, with a near or a short jump."""
        on, kind = self.fresh(), self.rng.choice(("short", "near"))
        self.op(f"j{self.rng.choice(CONDITIONS)} {kind} {on}")
        self.plain(2)
        self.label(on)

    def zero(self):
        """jcxz and jecxz, taken and not."""
        rng, on = self.rng, self.fresh()
        self.op(rng.choice(("xor ecx, ecx", "and ecx, 1", "and ecx, 0xffff0000", "shl ecx, 31")), "cmp eax, ebx",
                f"{rng.choice(('jcxz', 'jecxz'))} {on}")
        self.op("not edx")
        self.label(on)

    def counted(self):
        """loop, loope, loopne, with a body that leaves ECX alone."""
        rng, again = self.rng, self.fresh()
        self.op(f"mov ecx, {rng.randrange(1, 12)}")
        if rng.random() < 0.3:
            self.op("a16 nop")
        self.label(again)
        self.op(f"add {rng.choice(('eax', 'ebx', 'edx'))}, ecx", "rol edx, 3", f"xor ebx, {self.word():#x}",
                f"cmp bl, {rng.getrandbits(8):#x}", f"{rng.choice(('loop', 'loope', 'loopne', 'a16 loop'))} {again}")

    def leaf(self, way="ret"):
        """A function to call."""
        return self.function(lambda: (self.plain(3), self.op(way)))

    def call(self):
        """A call: direct, by register, by memory, nested."""
        rng, name = self.rng, self.leaf()
        if rng.random() < 0.4:
            inner = name
            name = self.function(lambda: (self.plain(1), self.op(f"call {inner}"), self.plain(1), self.op("ret")))
        self.op(*rng.choice((
            [f"call {name}"], [f"mov eax, {name}", "call eax"],
            [f"mov dword [ebp + 0x3d0], {name}", "call [ebp + 0x3d0]"],
            [f"push dword {name}", "call [esp]", "pop ecx"],
            [f"mov dword [{self.scratch + 0x3D4:#x}], {name}", f"call [{self.scratch + 0x3D4:#x}]"])))

    def cleaned(self):
        """A function that takes its arguments off the stack."""
        count = self.rng.randrange(1, 5)
        name = self.leaf(f"ret {4 * count}")
        self.op(*["push eax", "push ebx", "push edx", "push esi"][:count], f"call {name}")

    def table(self):
        """A switch: jmp through a table of addresses."""
        rng, on, name = self.rng, self.fresh(), self.fresh()
        cases = [self.function(lambda: (self.plain(2), self.op(f"jmp {on}"))) for _ in range(4)]
        self.data.append(f"align 4\n{name}: dd {', '.join(cases)}")
        self.op(f"and {rng.choice(('eax', 'edx'))}, 3", "and eax, 3", f"jmp [{name} + eax * 4]")
        self.label(on)

    def computed(self):
        """jmp to a register, and a call whose return address is moved."""
        on, other = self.fresh(), self.fresh()
        self.op(f"mov ebx, {other}", "jmp ebx", "ud2")
        self.label(other)
        mover = self.function(lambda: self.op("add dword [esp], 2", "ret"))
        self.op(f"call {mover}", "ud2", f"jmp {on}", "ud2")
        self.label(on)

    def stack_return(self):
        """ret as a jump."""
        on = self.fresh()
        self.op(f"push dword {on}", self.rng.choice(("ret", "ret 0")), "ud2")
        self.label(on)

    def straddle(self):
        """Instructions over the end of a page."""
        self.page_end(self.rng.randrange(1, 7))
        rng, on = self.rng, self.fresh()
        self.op(rng.choice((f"mov eax, {self.word():#x}", f"add dword [ebp + 0x200], {self.word():#x}",
                            f"imul ecx, edx, {self.word():#x}", f"lea edx, [eax + ebx + {self.word():#x}]",
                            f"mov [{self.scratch + 0x204:#x}], ecx", f"jmp near {on}", f"call {on}")))
        self.label(on)
        if "call" in self.lines[-2]:
            self.op("pop eax")

    def fault(self):
        """A fault in the middle of a block; the handler prints its frame."""
        self.plain(self.rng.randrange(0, 3))
        self.event(depth=2)


# -- programs --------------------------------------------------------------------------------------


def mix(rng, count=30, rounds=3, kinds=None, above=0):
    """The differential fuzzer's program: everything, several times over, so that what was translated runs again."""
    k = Mix(rng)
    while k.base < above:
        k = Mix(rng)
    k.begin()
    again = k.fresh()
    k.op(f"mov dword [rounds], {rounds}")
    k.label(again)
    choices = kinds or ["plain"] * 4 + ["branches"] * 4 + ["sensitive"] * 3 + ["flags"] * 2 + ["straddle", "fault"]
    straddles = 0
    for _ in range(count):
        kind = rng.choice(choices)
        straddles += kind == "straddle"
        if kind == "straddle" and straddles > 6:
            kind = "plain"
        getattr(k, kind)()
        k.op("call show" if rng.random() < 0.25 else "call fold")
    k.op("dec dword [rounds]", f"jnz {again}")
    k.total()
    k.finish()
    return k


def straight(rng):
    """
    Blocks without anything privileged, and memory by way of each segment register. It lies high: by way of Zeno's own GS its
    addresses, which wrap, are other memory then, and not a hole that the host would emulate.
    """
    return mix(rng, 24, 2, ["plain", "plain", "overridden", "skip", "selectors"], above=0x410000)


def narrow_stack(rng, count=6):
    """
    A stack of 16 bits, which wraps: pushf, popf, call and ret n on it. The upper half of ESP is no part of it, and not looked at:
    an iret to such a stack leaves that as it was (SDM 2A "IRET").
    """
    k = Mix(rng)
    k.descriptors = [descriptor(k.base + 0x80000, 0xFFFF, 0x92, 0)]
    k.begin()
    way, at = k.function(lambda: k.op("inc edi", "ret 8")), k.scratch + 0x3E0
    k.op("mov esi, esp", f"mov eax, {k.more[0]:#x}", "mov ss, ax")
    for sp in rng.sample(range(0, 24, 4), count):
        k.op(f"mov esp, {rng.randrange(1, 0x10000) << 16 | sp:#x}", "push eax", "push edx", f"call {way}",
             f"mov [{at:#x}], sp", f"xor di, [{at:#x}]", "rol edi, 3", "pushfd", "pop ecx", "and ecx, 0xfffeffef",
             "add edi, ecx", f"push dword {rng.getrandbits(12) & POPPED & ~FLAG_IF | 2:#x}", "popfd", "adc edi, 0", "cld",
             f"mov [{at:#x}], sp", f"add di, [{at:#x}]")
    k.op(f"mov eax, {k.data_:#x}", "mov ss, ax", "mov esp, esi")
    return _done(k)


def refused(rng, count=600):
    """Two stores in a loop that the CPU can't do, since there is code on their page: (program, how often they run)."""
    k = _ready(rng)
    name, counter = k.function(lambda: k.op(f"add eax, {k.word():#x}", "ret")), k.fresh()
    k.routines += [f"{counter}: dd 0, 0"]
    k.op(f"call {name}")
    _loop(k, count, lambda: k.op(f"mov [{counter}], eax", f"add [{counter} + 4], eax", f"call {name}"))
    k.op(f"mov ebx, [{counter}]", f"mov ecx, [{counter} + 4]")
    return _done(k), 2 * count


def jumps(rng):
    """Direct jumps, calls, returns and loops, indirect ones, over page ends."""
    return mix(rng, 30, 3, ["branches", "branches", "plain", "straddle"])


def callouts(rng):
    """What leaves the cache: the eighteen and all that is privileged, faults among them."""
    return mix(rng, 36, 2, ["sensitive"] * 4 + ["fault", "plain"])


def flag_play(rng):
    """cli, sti, pushf, popf in a random order, each followed by all flags."""
    k = Mix(rng)
    k.begin()
    for _ in range(24):
        k.flags()
        if rng.random() < 0.3:
            k.plain(1)
        k.show()
        if rng.random() < 0.3:
            k.probe()
    k.finish()
    return k


def eighteen(rng):
    """The sensitive instructions one by one, each with what it shows."""
    k = Mix(rng)
    k.begin()
    for _ in range(40):
        k.sensitive()
        k.show()
    k.finish()
    return k


def trips(rng, rounds=3, count=6):
    """Into ring 3 and back: the user's code reads its selectors and flags, and runs on the CPU."""
    k = Mix(rng)
    k.begin()
    for number in range(rounds):
        iopl = 3 if number == rounds - 1 else 0
        flags = rng.getrandbits(12) & 0x8C5 | rng.randrange(2) << 9 | iopl << 12

        def body(iopl=iopl):
            k.op("mov eax, cs", f"int {CALL:#x}", "mov eax, ss", f"int {CALL:#x}")
            for _ in range(count):
                k.churn(3, ("ebx", "edx", "esi", "edi"))
                k.user_event(iopl)

        k.user(body, flags, keep_data=rng.random() < 0.5)
        k.op(f"mov ebp, {k.scratch:#x}")
        for _ in range(3):
            k.flags()
            k.sensitive()
            k.show()
    k.finish()
    return k


# -- code that changes -----------------------------------------------------------------------------


def _next_instruction(k):
    """A write to the instruction behind it."""
    rng, at = k.rng, k.fresh()
    register = rng.choice(("eax", "ebx", "edx", "esi"))
    kind = rng.randrange(4)
    if kind == 0:
        k.op(f"mov dword [{at} + 1], {k.word():#x}")
        k.label(at)
        k.op(f"mov {register}, {k.word():#x}")
    elif kind == 1:
        # inc and dec of registers differ in one bit.
        k.op(f"xor byte [{at}], 8")
        k.label(at)
        k.op(f"inc {register}", "nop")
    elif kind == 2:
        k.op(f"mov eax, {at}", f"mov byte [eax + 1], {rng.randrange(1, 99)}")
        k.label(at)
        k.op(f"mov cl, {rng.randrange(1, 99)}")
    else:
        k.op(f"mov edi, {at} + 2", f"mov eax, {k.word():#x}", "cld", "stosd")
        k.label(at)
        k.op(f"xor ebx, {k.word():#x}", "nop")
    k.show()


def _other_block(k):
    """A function changed between its calls."""
    rng, at, again = k.rng, k.fresh(), k.fresh()

    def body():
        k.plain(1)
        k.label(at)
        k.op(f"mov edx, {k.word():#x}")
        k.plain(1)
        k.op("ret")

    name = k.function(body)
    k.op(f"mov dword [facts + 4], {rng.randrange(3, 9)}")
    k.label(again)
    k.op(f"call {name}", f"add dword [{at} + 1], {k.word():#x}")
    k.fold()
    k.op("dec dword [facts + 4]", f"jnz {again}")
    k.show()


def _jump_moved(k):
    """The target of a jmp rel32 changes between runs: a chain that must not stay."""
    rng, at, again, on = k.rng, k.fresh(), k.fresh(), k.fresh()
    one = k.function(lambda: (k.op(f"add eax, {k.word():#x}"), k.op(f"jmp {on}")))
    two = k.function(lambda: (k.op(f"xor eax, {k.word():#x}"), k.op(f"jmp {on}")))
    k.op("xor eax, eax", f"mov dword [facts + 4], {rng.randrange(4, 9)}")
    k.label(again)
    k.op("jmp $ + 2")
    k.label(at)
    k.op(f"jmp near {one}")
    k.label(on)
    k.op(f"mov ecx, {two} - {one}", "test byte [facts + 4], 1", f"jz {on}_even", "neg ecx")
    k.label(f"{on}_even")
    k.op("mov ebx, [facts + 8]", "xor ebx, 1", "mov [facts + 8], ebx", f"mov ecx, {two} - {at} - 5", f"jnz {on}_set",
         f"mov ecx, {one} - {at} - 5")
    k.label(f"{on}_set")
    k.op(f"mov [{at} + 1], ecx")
    k.fold()
    k.op("dec dword [facts + 4]", f"jnz {again}")
    k.show()


def _copied(k):
    """Functions copied to one place one after the other, and run there."""
    rng, where = k.rng, k.fresh_code + k.rng.randrange(0, 0xF00)
    for _ in range(rng.randrange(2, 5)):
        end = k.fresh()

        def body(end=end):
            k.plain(rng.randrange(1, 4))
            k.op(f"lea eax, [eax + ebx + {k.word():#x}]", "ret")
            k.label(end)

        name = k.function(body)
        k.op("cld", f"mov esi, {name}", f"mov edi, {where:#x}", f"mov ecx, {end} - {name}", "rep movsb",
             f"mov eax, {where:#x}", "call eax")
        k.show()
        if rng.random() < 0.5:
            k.op(f"call {where:#x}")
            k.fold()


def _made(k):
    """Code made byte by byte: mov eax, a number; ret. Another number each time."""
    rng, where, again = k.rng, k.fresh_code + 0x1000 + k.rng.randrange(0, 0xFF0), k.fresh()
    k.op(f"mov dword [facts + 4], {rng.randrange(4, 12)}", f"mov edx, {k.word():#x}")
    k.label(again)
    k.op(f"mov byte [{where:#x}], 0xb8", f"mov [{where + 1:#x}], edx", f"mov byte [{where + 5:#x}], 0xc3",
         f"mov ebx, {where:#x}", "call ebx", "rol edx, 5", "add edx, eax")
    k.fold()
    k.op("dec dword [facts + 4]", f"jnz {again}")
    k.show()


def _mixed_page(k, times=None):
    """A counter that lies among code, and is written by it."""
    rng, counter, again = k.rng, k.fresh(), k.fresh()
    name = k.function(lambda: (k.op(f"add [{counter}], ecx", f"adc eax, [{counter}]", "ret"), k.label(counter),
                               k.op(f"dd {k.word():#x}")))
    k.op(f"mov ecx, {times or rng.randrange(30, 60)}")
    k.label(again)
    k.op(f"call {name}", "dec ecx", f"jnz {again}", f"mov ebx, [{counter}]")
    k.show()


def _pushed_code(k):
    """Code written by push, with the stack pointer in the middle of it."""
    where = k.fresh_code + 0x2000 + k.rng.randrange(0, 0xF00, 4)
    code = [0x90, 0xB8, *k.word().to_bytes(4, "little"), 0x40, 0xC3]
    words = [int.from_bytes(bytes(code[i:i + 4]), "little") for i in (0, 4)]
    k.op("mov edx, esp", f"mov esp, {where + 8:#x}", f"push dword {words[1]:#x}", f"push dword {words[0]:#x}",
         "mov esp, edx", f"call {where:#x}")
    k.show()


def _copied_twice(k):
    """A callee of a chained call is changed through another address of a copy's."""
    where = k.fresh_code + 0x3000 + k.rng.randrange(0, 0x800)
    name = k.function(lambda: (k.op(f"add eax, {k.word():#x}", f"xor ebx, {k.word():#x}", "ret")))
    again = k.fresh()
    k.op("cld", f"mov esi, {name}", f"mov edi, {where:#x}", "mov ecx, 16", "rep movsb", "mov ecx, 5")
    k.label(again)
    k.op(f"call {where:#x}", f"rol dword [{where + 1:#x}], 3", f"call {where:#x}", "dec ecx", f"jnz {again}")
    k.show()


CHANGES = (_next_instruction, _other_block, _jump_moved, _copied, _made, _mixed_page, _pushed_code, _copied_twice)


def changing(rng, count=12):
    """Self-modifying code of all kinds."""
    k = Mix(rng)
    k.begin()
    steps = [*CHANGES, *(rng.choice(CHANGES) for _ in range(count - len(CHANGES)))]
    rng.shuffle(steps)
    for step in steps:
        step(k)
        k.plain(2)
    k.total()
    k.finish()
    return k


# -- interrupts ------------------------------------------------------------------------------------

PLACES = """\
timer:
        push eax
        push ecx
        push ds
        mov eax, {data:#x}
        mov ds, eax
        inc dword [ticks]
        mov eax, [last]
        mov [last], edi
        sub eax, edi
        cmp eax, [longest]
        jbe timer_soon
        mov [longest], eax
timer_soon:
        test dword [esp + 20], {flag_if:#x}
        jnz timer_if
        or dword [facts], 1
timer_if:
        cmp dword [esp + 16], {code:#x}
        je timer_cs
        or dword [facts], 2
timer_cs:
        mov eax, [esp + 12]
        mov ecx, boundaries
timer_look:
        cmp dword [ecx], 0
        je timer_wrong
        cmp [ecx], eax
        je timer_right
        add ecx, 4
        jmp timer_look
timer_wrong:
        or dword [facts], 4
timer_right:
        mov al, 0x20
        out 0x20, al
        pop ds
        pop ecx
        pop eax
        iret
"""


def interrupted(rng, loops=2):
    """Interrupts in loops full of flags, calls and call-outs: each comes between two instructions."""
    k = Mix(rng)
    k.begin()
    k.gate(TIMER, INTERRUPT_GATE, handler="timer")
    k.routines += PLACES.format(data=k.data_, flag_if=FLAG_IF, code=k.code).splitlines()
    k.machine(0xFE)
    marks = []

    def step(*lines):
        for line in lines:
            marks.append(k.label(k.fresh()))
            k.op(line)

    def leaf():
        step("add esi, eax", "rol esi, 7", "ret")

    def loop(steps, insns, polled, patience=None):
        again, on, rounds = k.fresh(), k.fresh(), insns // (len(steps) + 4) + rng.randrange(9999)
        # The host looks at the guest's devices at its own tick, and that comes every 10 million instructions.
        k.op("mov dword [ticks], 0", *(f"mov {r}, {k.word():#x}" for r in FREE),
             f"mov edi, {rounds}", "mov [last], edi", "mov dword [longest], 0")
        step("sti", "nop")
        k.label(again)
        step(*steps)
        if polled:
            # A call-out costs: not each time. And it is where devices are looked at: in the other loops only the host's tick is.
            step("test edi, 0x3ffff", f"jnz {on}", "mov ecx, cs", "add eax, ecx")
            k.label(on)
        step("dec edi", f"jnz {again}", "cli")
        k.op("and ebx, 0x200")
        for register in FREE:
            k.say(register, register)
        fact(k, "cmp dword [ticks], 1", "ae", "interrupts came")
        if patience:
            end = k.fresh()
            k.op("mov eax, [last]", "cmp eax, [longest]", f"jbe {end}", "mov [longest], eax")
            k.label(end)
            fact(k, f"cmp dword [longest], {patience // (len(steps) + 4)}", "b", "none of them was long in coming")

    for number in range(loops):
        name = k.function(leaf)
        loop([line for _ in range(6) for line in rng.choice((
            ("pushfd", "pop ebx", "and ebx, 0x200", "add eax, ebx"), (f"call {name}",),
            (f"mov ecx, {name}", "call ecx"), ("pushfd", "cli", "inc edx", "popfd"),
            ("cli", "add eax, 3", "sti", "nop"), ("push ecx", "pop ecx"),
            ("imul eax, eax, 77",), ("rcl edx, 3", "xor edx, eax")))], 12_500_000, not number)
    # Hardly any instruction of this one is its own translation: who waits for a tick that meets such a one waits for ten. One
    # round takes ten times as long as on the bare machine, so between two ticks there are a million instructions. Rounds are of
    # two lengths, by chance, so that ticks meet all places.
    name = k.function(lambda: step("ret"))
    steps = [("pushfd", "popfd"), (f"mov ecx, {name}", "call ecx")] * 6
    rng.shuffle(steps)
    on = k.fresh()
    uneven = ("imul eax, eax, 1664525", "add eax, 1013904223", f"js {on}", "pushfd", "popfd", f"{on}: nop")
    loop([*uneven, *(line for lines in steps for line in lines)], 25_000_000, False, patience=2_000_000)
    fact(k, "test dword [facts], 1", "e", "all of them with IF=1")
    fact(k, "test dword [facts], 2", "e", "all of them from the kernel's CS")
    fact(k, "test dword [facts], 4", "e", "each between two instructions of the guest's")
    k.data.append(f"align 4\nlast: dd 0\nlongest: dd 0\nboundaries: dd {', '.join(marks)}, 0")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k


# -- programs whose exits are counted --------------------------------------------------------------


def _loop(k, count, body):
    """body() `count` times; [ebp + 0x3fc] counts."""
    again = k.fresh()
    k.op(f"mov dword [ebp + 0x3fc], {count}")
    k.label(again)
    body()
    k.op("dec dword [ebp + 0x3fc]", f"jnz near {again}")


def _ready(rng):
    k = Mix(rng)
    k.begin()
    return k


def _done(k):
    k.show()
    k.total()
    k.finish()
    return k


def long_blocks(rng, count=1500):
    """Straight code without a branch, many times: (program, instructions in the loop)."""
    k = _ready(rng)
    k.native = True
    first = len(k.lines)

    def body():
        for _ in range(90):
            lines, _ = k.one()
            while any("rep" in line or "enter" in line or "f" == line[0] for line in lines):
                lines, _ = k.one()
            k.op(*lines)
        k.op("cmp eax, ebx")

    _loop(k, count, body)
    return _done(k), count * (len(k.lines) - first) // 2


def page_ends(rng, count=7):
    """Instructions of all lengths over the ends of pages, in a loop."""
    k = _ready(rng)

    def body():
        for _ in range(count):
            k.straddle()
            k.plain(1)
            k.fold()

    _loop(k, 3, body)
    return _done(k)


def precise(rng, count=24):
    """Faults in the middle of blocks, of instructions that are copied and of such that are not: every frame."""
    k = _ready(rng)
    k.play_gates()
    for _ in range(count):
        k.flags()
        k.fault()
        k.show()
    return _done(k)


def own_gate(rng, vector):
    """`int vector`, which is Zeno's own call-out, as the guest's: in its kernel, in its ring 3, refused and allowed."""
    k = Mix(rng)
    k.limit = 0xF8 * 8 - 1
    k.begin()
    for user in rng.sample((False, True), 2):
        k.gate(vector, INTERRUPT_GATE, user=user)
        k.op(f"mov ebp, {k.scratch:#x}", "cmp eax, ebx")
        for _ in range(3):
            k.plain(2)
            k.op(f"int {vector:#x}")
        on = k.fresh()

        def body(on=on, user=user):
            if not user:
                k.op(f"mov dword [resume], {on}")
            k.op(f"int {vector:#x}")
            k.label(on)
            k.op("mov dword [resume], 0")

        k.user(body, FLAG_IF)
        k.op(f"mov ebp, {k.scratch:#x}")
    return _done(k)


def many_blocks(rng, blocks=8800, rounds=2):
    """
    More blocks than the cache has room for, each a jump to the next one. The way to the first is indirect: what was remembered
    of it must not outlive the cache.
    """
    k = _ready(rng)
    first, out, way = k.fresh(), k.fresh(), k.fresh()

    def body():
        k.op(f"jmp [{way}]")
        k.label(out)
        k.fold()

    _loop(k, rounds, body)
    add = ("inc eax", "inc ebx", "dec ecx", "inc edx", "dec esi", "inc edi")
    chain = [f"{first}:"]
    for i in range(blocks):
        chain += [f"        {add[(i + blocks) % 6]}", "        jmp short $ + 2"]
    k.routines += [*chain, f"        jmp {out}", f"{way}: dd {first}"]
    return _done(k)


def long_code(rng, words=68_000):
    """
    Instructions of one byte, more of them than the cache can remember places of, made at run time. What is at address 0 stays
    what it is: the host may not use a map that there is no room for.
    """
    k = _ready(rng)
    where = k.base + 0x80000
    k.op("cld", f"mov edi, {where:#x}", f"mov eax, {0x40404040 + 0x01010101 * rng.choice((0, 1, 2, 3, 6, 7)):#x}",
         f"mov ecx, {words}", "rep stosd", "mov byte [edi], 0xc3", "xor edi, edi", f"mov eax, {k.word():#x}", "mov ecx, 64",
         "rep stosd", f"mov eax, {where:#x}", "call eax")
    k.fold()
    k.op(*(line for at in range(0, 256, 4) for line in ("rol ebx, 1", f"xor ebx, [{at:#x}]")))
    return _done(k)


def again(rng, functions=40, rounds=60):
    """A few functions, called over and over: (program, more blocks than it has)."""
    k = _ready(rng)
    names = [k.leaf() for _ in range(functions)]
    _loop(k, rounds, lambda: k.op(*(f"call {name}" for name in names)))
    return _done(k), 2 * functions + 500


def flag_loop(rng, rounds=500, groups=16):
    """The four flag instructions in a loop, without a branch between: (program, how many of them run)."""
    k = _ready(rng)
    names = ("cli", "sti", "pushfd", "popfd")
    kinds = (["cli", "nop"], ["sti", "nop"], ["pushfd", "lea esp, [esp + 4]", "adc edi, esi"], ["pushfd", "pop eax", "and eax, 0x3ed7", "add edx, eax"],
             ["pushfd", "cli", "inc ebx", "popfd"], ["pushfd", "sti", "dec esi", "popfd"],
             [f"push dword {rng.getrandbits(22) & POPPED & ~0x400 | 2:#x}", "popfd", "adc edx, esi"])
    lines = [line for _ in range(groups) for line in rng.choice(kinds)]
    lines += ["pushfd", "pop ecx", "and ecx, 0xfffeffef", "rol edi, 5", "xor edi, ecx"]
    _loop(k, rounds, lambda: k.op(*lines))
    return _done(k), rounds * sum(line in names for line in lines)


def pending(rng):
    """An interrupt waits while IF is 0, and comes where sti or popf lets it in: behind its shadow, or at once."""
    k = _ready(rng)
    k.watch_timer()
    k.machine(0xFE)
    ways = [(("sti", "nop", "cli"), True), (("sti", "inc eax", "inc eax", "cli"), True), (("sti", "cli"), False),
            (("pushfd", "or dword [esp], 0x200", "popfd", "nop", "cli"), True),
            (("pushfd", "and dword [esp], 0xfffffdff", "popfd", "nop", "cli"), False),
            (("sti", "mov eax, cr0", "nop", "cli"), True)]
    rng.shuffle(ways)
    for lines, comes in ways:
        again_, on = k.fresh(), k.fresh()
        k.op("cli", "mov al, 10", "out 0x20, al", "mov ecx, 6000000")
        k.label(again_)
        k.op("in al, 0x20", "test al, 1", f"jnz {on}", f"mov edx, {rng.randrange(200, 300)}", "db 0x4a, 0x75, 0xfd",
             "dec ecx", f"jnz {again_}")
        k.label(on)
        k.op("mov dword [ticks], 0", *lines)
        fact(k, f"cmp dword [ticks], {int(comes)}", "ae" if comes else "e", f"{'it came' if comes else 'nothing came'} in: "
             + ", ".join(lines))
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k


def direct_loop(rng, count=6000):
    """Direct jumps, taken and not, forwards and backwards, loop and jecxz, in a loop: (program, its rounds)."""
    k = _ready(rng)
    k.native = True

    def body():
        for _ in range(4):
            rng.choice((k.skip, k.zero, lambda: (k.plain(2), k.skip())))()
        one, two, three = k.fresh(), k.fresh(), k.fresh()
        k.op(f"jmp {one}")
        k.label(two)
        k.op("inc esi", f"jmp short {three}")
        k.label(one)
        k.op("dec edi", f"jmp {two}")
        k.label(three)
        k.op("mov ecx, 3")
        back = k.label(k.fresh())
        k.op("rol eax, 3", f"loop {back}", f"call {three}_next")
        k.label(f"{three}_next")
        k.op("pop edx")

    _loop(k, count, body)
    return _done(k), count


def steps_back(rng, blocks=4000):
    """Each new block jumps back to the one before it, which is translated already: (program, blocks)."""
    k = _ready(rng)
    names, third = [k.fresh() for _ in range(blocks)], 0x55555556
    # A third of the additions carries: those in blocks that are new.
    k.op(f"mov ebx, {third:#x}", f"jmp {names[0]}")
    for before, name in zip([names[0], *names], names):
        k.routines += [f"{name}:", f"        xor {rng.choice(('eax', 'ecx', 'esi'))}, {k.word():#x}",
                       f"        add ebx, {third:#x}", f"        jc near {before}"]
    out = k.fresh()
    k.routines.append(f"        jmp {out}")
    k.label(out)
    return _done(k), blocks


def indirect_loop(rng, count=6000):
    """Returns, calls and jumps through registers, memory and tables, in a loop: (program, its rounds)."""
    k = _ready(rng)
    k.native = True

    def body():
        for step in rng.sample((k.call, k.call, k.table, k.cleaned, k.computed, k.stack_return), 4):
            step()

    _loop(k, count, body)
    return _done(k), count


def colliding(rng, count=200):
    """Targets that are 64 KiB apart, in turns: the low halves of their addresses are the same."""
    k = _ready(rng)
    at = rng.randrange(0x100, 0xE00) & ~3
    places = [k.base + 0x40000 + 0x10000 * i + at for i in range(3)]
    for place in places:
        code = b"\x05" + k.word().to_bytes(4, "little") + b"\xd1\xc3\xc3"  # add eax, ...; rol ebx, 1; ret
        k.op(*(f"mov dword [{place + 4 * i:#x}], {int.from_bytes(code[4 * i:4 * i + 4], 'little'):#x}"
               for i in range(2)))
    choice = [rng.randrange(3) for _ in range(7)]

    def body():
        for one in choice:
            k.op(f"mov edx, {places[one]:#x}", "call edx")
        # The return addresses of these two calls do not collide; those targets do.
        k.op(f"push dword {k.fresh()}", f"push dword {places[choice[0]]:#x}", "ret")
        k.label(f"on{k.count}")
        k.fold()

    _loop(k, count, body)
    return _done(k)


def beside(rng, functions=60, rounds=40):
    """One function of many is changed again and again: (program, functions, rounds)."""
    k = _ready(rng)
    names = [k.leaf() for _ in range(functions)]
    where = k.fresh_code + rng.randrange(0, 0x800)
    k.op(f"mov byte [{where:#x}], 0xb8", f"mov dword [{where + 1:#x}], {k.word():#x}", f"mov byte [{where + 5:#x}], 0xc3")

    def body():
        k.op(*(f"call {name}" for name in names))
        k.op(f"add dword [{where + 1:#x}], {k.word():#x}", f"call {where:#x}", "add edx, eax")
        k.fold()

    _loop(k, rounds, body)
    return _done(k), functions, rounds


def mixed_loop(rng, count=12_000):
    """A page of code and data, written in each round: (program, its rounds)."""
    k = _ready(rng)
    _mixed_page(k, count)
    _mixed_page(k, count)
    # And now its code changes, when the page is known as one of both kinds.
    counter, at, again_ = k.fresh(), k.fresh(), k.fresh()

    def body():
        k.label(at)
        k.op(f"add eax, {k.word():#x}", f"add [{counter}], eax", "ret")
        k.label(counter)
        k.op(f"dd {k.word():#x}")

    name = k.function(body)
    k.op(f"mov ecx, {count // 2}")
    k.label(again_)
    k.op(f"call {name}", "mov edx, ecx", "and edx, 127", f"cmp edx, {rng.randrange(128)}", "sete dl", "mov ebx, edx",
         "imul ebx, ebx, 0x1357", f"add [{at} + 1], ebx", "dec ecx", f"jnz {again_}")
    _known_before(k)
    return _done(k), 5 * count // 2


def late_calls(rng):
    """New calls of a function whose page has become one of both kinds."""
    k = _ready(rng)
    _known_before(k)
    return _done(k)


def _known_before(k):
    """
    A page becomes one of both kinds when a function on it has been called for long: it changes then, and is called again, from
    where it was called before and from new places.
    """
    name, by, counter, again_ = k.fresh(), k.fresh(), k.fresh(), k.fresh()
    k.routines += ["        align 4096", f"{name}:", f"        add eax, {k.word():#x}", "        ret", f"{counter}: dd 0",
                   "        align 4096", f"{by}:", f"        call {name}", "        ret"]
    change = f"add dword [{name} + 1], {k.word():#x}"
    k.op("mov ecx, 2300", *[f"call {by}"] * 3)
    k.label(again_)
    k.op(f"add [{counter}], ecx", "dec ecx", f"jnz {again_}")
    for _ in range(3):
        k.op(change, f"call {by}")
        k.fold()
    for _ in range(6):
        k.op(f"call {name}", "nop", change)
    k.op(f"call {by}")
    k.fold()


def user_loop(rng, count=20_000):
    """A loop in ring 3 that nothing may slow down, with GS and FS in use: (program, label in it, its rounds)."""
    k = _ready(rng)
    label = k.fresh()

    def body():
        k.op(f"mov eax, {k.udata:#x}", "mov gs, eax", "mov fs, eax", f"mov ebp, {k.scratch:#x}", f"mov ecx, {count}")
        k.label(label)
        k.op(f"add [gs:{k.scratch + 64:#x}], ecx", f"xor ebx, [fs:{k.scratch + 64:#x}]", "rol ebx, 3", "push ebx",
             "pop edx", "dec ecx", f"jnz {label}", f"int {CALL:#x}", "mov eax, gs", f"int {CALL:#x}")

    for _ in range(2):
        k.user(body, FLAG_IF)
        k.op(f"mov ebp, {k.scratch:#x}")
        k.sensitive()
        k.show()
        break
    return _done(k), label, count
