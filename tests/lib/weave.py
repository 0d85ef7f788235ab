"""Random guests for differential tests: one program per seed, for the bare machine and for an engine.

Each is a number of sections: valid instructions in random order, branches of all kinds, flags, segments, code that changes
itself. After each section registers, flags, and a sum over memory are printed.
"""

from zeno.guests import programs

MEMORY = 0x700000  # scratch, beyond where programs are linked
SIZE = 256
GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "ebp")
BYTES = ("al", "bl", "cl", "dl", "ah", "bh", "ch", "dh")
CONDITIONS = ("o", "no", "c", "nc", "z", "nz", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")


class Weave:
    """One guest in the making."""

    def __init__(self, rng):
        self.rng = rng
        self.p = programs.Program(rng)
        self.functions = []
        self.names = 0

    def name(self, stem):
        self.names += 1
        return f"{stem}_{self.names}"

    def reg(self):
        return self.rng.choice(GENERAL)

    def mem(self, size=4):
        return f"[{MEMORY + self.rng.randrange(0, SIZE - size):#x}]"

    def plain(self):
        """One instruction that any ring may run. No cmpxchg8b: after it QEMU's flags are rubbish (TRICKS.md)."""
        rng, a, b = self.rng, self.reg(), self.reg()
        alu = rng.choice(("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"))
        word = rng.getrandbits(32)
        return rng.choice((
            [f"{alu} {a}, {b}"], [f"{alu} {a}, {word:#x}"], [f"{alu} dword {self.mem()}, {a}"],
            [f"{alu} {a}, {self.mem()}"], [f"{alu} byte {self.mem(1)}, {word & 127}"],
            [f"lock xadd {self.mem()}, {a}"], [f"xchg {a}, {self.mem()}"], [f"bswap {a}"],
            [f"mov {a}, {self.mem()}"], [f"mov {self.mem()}, {a}"], [f"mov {rng.choice(BYTES)}, {self.mem(1)}"],
            [f"mov word {self.mem(2)}, {word & 0x7fff}"], [f"{rng.choice(('inc', 'dec', 'neg', 'not'))} {a}"],
            [f"{rng.choice(('rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar'))} {a}, {rng.randrange(1, 31)}"],
            [f"{rng.choice(('shld', 'shrd'))} {a}, {b}, {rng.randrange(1, 31)}"], [f"imul {a}, {b}, {word & 0xffff}"],
            [f"mul {b}"], [f"{rng.choice(('bt', 'bts', 'btr', 'btc'))} {a}, {rng.randrange(32)}", "setc cl",
             f"add {a}, {b}"],  # QEMU's other flags depend on where its own blocks begin
            [f"set{rng.choice(CONDITIONS)} {rng.choice(BYTES)}"], [f"cmov{rng.choice(CONDITIONS)} {a}, {b}"],
            [f"movzx {a}, word {self.mem(2)}"], [f"movsx {a}, byte {self.mem(1)}"], [f"lea {a}, [{b} + {a} * 2 + 7]"],
            ["cdq"], ["cwde"], ["lahf"], ["sahf"], ["cmc"], ["stc"], ["daa"], [f"cmpxchg {self.mem()}, {a}"],
            [f"push {a}", f"pop {b}"], ["pusha", "popa"],
            [f"push dword {word:#x}", f"pop dword {self.mem()}"], ["enter 16, 0", "leave"],
            [f"or {b}, 0x10000", f"mov edx, {word & 255}", f"div {b}"] if b not in ("eax", "edx") else ["nop"],
        ))

    def sensitive(self):
        """What ring 1 may not do, or would do wrong."""
        rng, a = self.rng, self.reg()
        seg = rng.choice(("ds", "es", "ss", "cs", "fs", "gs"))
        data = rng.choice(("ds", "es", "fs", "gs"))
        keep = rng.choice((0x200, 0x3000, 0x3200, 0x200cd5, 0x43200, 0x4c5))
        return rng.choice((
            ["cli"], ["sti"], ["sti", "nop"], ["sti", f"inc {a}", "cli"], ["pushf", f"pop {a}"], ["pushf", "popf"],
            ["pushf", f"xor dword [esp], {keep:#x}", "popf", "cld"], [f"push {seg}", f"pop {a}"],
            [f"mov {a}, {seg}"], [f"push {data}", f"pop {data}"], [f"mov {a}, {data}", f"mov {data}, {a}"],
            ["pushfw", "popfw"], [f"smsw {a}"], [f"mov {a}, cr0"], [f"str {a}"], [f"sldt {a}"], ["cpuid"],
            [f"mov {a}, [gs:{MEMORY + 8:#x}]"],
            [f"add {a}, [cs:{MEMORY + 16:#x}]"],
            [f"mov {a}, ss", f"mov ss, {a}", "nop"],
        ))

    def branch(self, depth):
        """A piece of code with a branch in it."""
        rng, p = self.rng, self.p
        kind = rng.choice(("jcc", "loop", "jecxz", "call", "callr", "jmpm", "retn", "modify", "modify", "jmp"))
        after = self.name("after")
        if kind == "jcc":
            p.op(f"j{rng.choice(CONDITIONS)} {after}")
            self.some(rng.randrange(1, 6), depth + 1)
        elif kind == "jmp":
            p.op(f"jmp {after}")
        elif kind == "jecxz":
            p.op(f"{rng.choice(('jecxz', 'jcxz'))} {after}")
            self.some(2, depth + 1)
        elif kind == "loop":
            again = self.name("again")
            p.op(f"mov ecx, {rng.randrange(1, 6)}")
            p.label(again)
            p.op("push ecx")
            self.some(rng.randrange(1, 5), depth + 1)
            p.op("pop ecx", f"{rng.choice(('loop', 'loopne', 'loope'))} {again}")
        elif kind in ("call", "callr", "jmpm", "retn"):
            self.call(kind, after)
        else:
            self.modify()
        p.label(after)

    def call(self, kind, after):
        p = self.p
        if not self.functions or kind == "jmpm":
            p.op(f"mov dword [{MEMORY + SIZE:#x}], {after}", f"jmp [{MEMORY + SIZE:#x}]")
            return
        f, arguments = self.rng.choice(self.functions)
        for _ in range(arguments):
            p.op(f"push {self.reg()}")
        if kind == "callr":
            p.op(f"mov edi, {f}", "call edi")
        else:
            p.op(f"call {f}")

    def modify(self):
        """The next instruction's operand, or one that has run before, is written."""
        p, at, again = self.p, self.name("patched"), self.name("again")
        word = self.rng.getrandbits(31)
        if self.rng.randrange(2):
            p.op(f"mov dword [{at} + 1], {word:#x}")
            p.label(at)
            p.op("mov eax, 0")
            return
        p.op("mov ebp, 3")
        p.label(again)
        p.label(at)
        p.op("mov eax, 1", f"add dword [{at} + 1], {word & 0xffff:#x}", "dec ebp", f"jnz {again}")

    def some(self, count, depth=0):
        for _ in range(count):
            what = self.rng.randrange(10)
            if what < 6:
                self.p.op(*self.plain())
            elif what < 8:
                self.p.op(*self.sensitive())
            elif depth < 3:
                self.branch(depth)

    def function(self):
        """A function, not to be fallen into, that pops its arguments itself or has none."""
        name, arguments = self.name("function"), self.rng.choice((0, 0, 1, 3))
        self.p.op(f"jmp {name}_end")
        self.p.label(name)
        self.some(4, 2)
        self.p.op(f"ret {arguments * 4}" if arguments else "ret")
        self.p.label(f"{name}_end")
        self.functions.append((name, arguments))

    def report(self):
        """Registers, flags and memory as they are now; interrupts off while printing takes place."""
        p = self.p
        p.op("pushf", "pusha")
        for i, register in enumerate(("edi", "esi", "ebp", "esp", "ebx", "edx", "ecx", "eax", "flags")):
            if register != "esp":
                p.op(f"mov eax, [esp + {4 * i}]")
                p.say("eax", register)
        again = self.name("sum")
        p.op(f"mov esi, {MEMORY:#x}", f"mov ecx, {SIZE // 4}", "xor ebx, ebx", "cld")
        p.label(again)
        p.op("lodsd", "rol ebx, 5", "add ebx, eax", f"loop {again}")
        p.say("ebx", "memory")
        p.op("popa", "popf")


def program(rng, sections=12):
    """A whole guest."""
    w = Weave(rng)
    programs.mask_interrupts(w.p)
    w.p.data += ["align 4096", "gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff",
                 "gdtr: dw 31", "dd gdt"]
    w.p.op("lgdt [gdtr]", "jmp 0x08:tables_in", "tables_in:", "mov eax, 0x10")
    w.p.op(*(f"mov {seg}, eax" for seg in ("ds", "es", "ss", "fs", "gs")))
    w.p.op("cld", f"mov edi, {MEMORY:#x}", f"mov ecx, {SIZE // 4 + 4}", "mov eax, 0x12345678", "rep stosd")
    for _ in range(3):
        w.function()
    for _ in range(sections):
        w.some(25)
        w.report()
    w.p.end()
    return w.p
