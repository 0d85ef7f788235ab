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

from .kernels import FLAG_IF, IOPL, Kernel, PROBE

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
        self.use_stack(self.base + STACK)
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
        other = next(r for r in (a, *FREE) if r not in memory)  # who is loaded from there leaves the address as it is
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
            lambda: ([*before, f"mov {other}, {memory}", f"mov {memory.replace('cs:', 'ds:')}, {b}"], False),
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


def repeated(k, count, body):
    """body() `count` times; [ebp + 0x3fc] counts."""
    again = k.fresh()
    k.op(f"mov dword [ebp + 0x3fc], {count}")
    k.label(again)
    body()
    k.op("dec dword [ebp + 0x3fc]", f"jnz near {again}")


def begun(rng):
    k = Mix(rng)
    k.begin()
    return k


def ended(k):
    k.show()
    k.total()
    k.finish()
    return k
