"""A program of accesses across the ends of pages, and what of them comes to the bus: where, how wide, in which order."""

from .mmio import NOBODY, P, W, Mmio
from .segments import descriptor

LONG_CODE = descriptor(0, 0xFFFFF, 0x9A, 0xA)
LONG = 99
"""What has been read by 64-bit code."""


class Bus:
    """A program of accesses where nobody has anything, and what of them must come to the bus: reads give ones."""

    def __init__(self, rng, count=36):
        k = self.program = Mmio(rng)
        k.use_stack(k.base + 0x20000)
        k.descriptors.append(LONG_CODE)
        self.memory, self.wanted, self.values = {}, [], {}
        kinds = ("nobody", "ram", "hole", "nobody-ro", "nobody", "ram")
        pairs = [(a, b) for a in kinds for b in kinds if "nobody" in a + b] * 2
        rng.shuffle(pairs)
        plan = [(pair, k.page(*pair) + 0x1000) for pair in pairs[:count]]
        k.begin()
        k.paging()
        for pair, boundary in plan:
            for at, kind in zip((boundary - 16, boundary), pair):
                if kind == "ram":
                    self._fill(at)
        for number, (pair, boundary) in enumerate(plan):
            self._access(number, pair, boundary)
        boundary = next(boundary for pair, boundary in plan if pair == ("nobody", "nobody"))
        # Whole, and with a part of more than four bytes: always.
        for number, skip in enumerate(rng.sample((rng.randrange(8, 64), rng.choice((1, 2, 3)), rng.choice((5, 6, 7))), 3)):
            self._access(count + number, None, boundary, "wide", boundary - skip)
        self._long()
        k.finish()

    def _entry(self, at):
        return self.program.pages[(at - self.program.run) >> 12]

    def _physical(self, at):
        return self._entry(at) & ~0xFFF | at & 0xFFF

    def _fill(self, at):
        for i in range(0, 16, 4):
            word = self.program.word()
            self.program.op(f"mov dword [{at + i:#x}], {word:#x}")
            self.memory.update({self._physical(at + i + j): word >> 8 * j & 0xFF for j in range(4)})

    def _parts(self, at, size):
        """[(physical address, bytes)] of an access, a page's part each."""
        first = min(size, 0x1000 - (at & 0xFFF))
        return [(self._physical(at + skip), n) for skip, n in ((0, first), (first, size - first)) if n]

    def _faults(self, at, size, write):
        return any(not e & P or (write and not e & W) for e in (self._entry(at), self._entry(at + size - 1)))

    def _load(self, at, size):
        value = b""
        for where, n in self._parts(at, size):
            if where >= NOBODY:
                self.wanted.append(("read", where, n, 0))
            value += bytes(self.memory.get(where + i, 0xFF) for i in range(n))
        return int.from_bytes(value, "little")

    def _store(self, at, size, value):
        for where, n in self._parts(at, size):
            part, value = value & (1 << 8 * n) - 1, value >> 8 * n
            if where >= NOBODY:
                self.wanted.append(("write", where, n, part))
            else:
                self.memory.update({where + i: part >> 8 * i & 0xFF for i in range(n)})

    def _long(self):
        """Sixteen bytes, which 64-bit code has: twice eight. The code behind it is 32-bit code of the long mode."""
        k, rng = self.program, self.program.rng
        top, at, on, back = k.directory + 0x8000, NOBODY + rng.randrange(0, 1 << 21, 16), k.fresh(), k.fresh()
        new = [k.word() for _ in range(2)]
        k.op("mov eax, cr0", "and eax, 0x7fffffff", "mov cr0, eax", "mov eax, cr4", "or eax, 0x20", "mov cr4, eax",
             "cld", "xor eax, eax", f"mov edi, {top:#x}", "mov ecx, 0x1000", "rep stosd",
             f"mov dword [{top:#x}], {top + 0x1007:#x}", f"mov dword [{top + 0x1000:#x}], {top + 0x2007:#x}",
             f"mov dword [{top + 0x1000 + 8 * (NOBODY >> 30):#x}], {top + 0x3007:#x}",
             *(f"mov dword [{top + 0x2000 + 8 * n:#x}], {n << 21 | 0x87:#x}" for n in range(6)),
             f"mov dword [{top + 0x3000 + 8 * (NOBODY >> 21 & 511):#x}], {NOBODY | 0x87:#x}", f"mov eax, {top:#x}", "mov cr3, eax",
             "mov ecx, 0xc0000080", "rdmsr", "or eax, 0x100", "wrmsr", "mov eax, cr0", "or eax, 0x80000000", "mov cr0, eax",
             f"jmp dword {k.more[1]:#x}:{on}")
        k.label(on)
        k.op("bits 64", "mov esp, esp", f"mov esi, {at:#x}", "xor eax, eax", f"mov edx, {k.word() | 1:#x}", "cmpxchg16b [rsi]",
             "mov r8, rdx", f"mov ebx, {new[0]:#x}", f"mov ecx, {new[1]:#x}", "cmpxchg16b [rsi]", "mov rdx, r8", "shr rdx, 32",
             f"push {k.code:#x}", f"push {back}", "o64 retf", "bits 32")
        k.label(back)
        k.say("edx", f"eax {LONG}")
        self.values[f"eax {LONG}"] = 0xFFFFFFFF
        ones = (1 << 64) - 1
        for low, high in ((ones, ones), new):
            self.wanted += [("read", at, 8, 0), ("read", at + 8, 8, 0), ("write", at, 8, low), ("write", at + 8, 8, high)]

    def _access(self, number, pair, boundary, how=None, at=None):
        k, rng = self.program, self.program.rng
        how, size = how or rng.choice(("load", "store", "add", "movs from", "movs to", "push", "wide")), rng.choice((1, 2, 4))
        size = {"push": 4, "wide": 8}.get(how, size)
        at = at or boundary - (rng.randrange(1, size) if size > 1 else rng.randrange(2))
        if how == "push" and self._faults(at, size, True):
            how = "store"  # a stack that faults would be the guest's end
        register, name = {1: "al", 2: "ax", 4: "eax"}.get(size), {1: "byte", 2: "word", 4: "dword", 8: "qword"}[size]
        word, on, other = k.word(), k.fresh(), k.frames + 0x2000
        write = how not in ("load", "movs from")
        k.op(f"mov dword [resume], {on}", f"mov eax, {word:#x}", f"mov esi, {at:#x}", f"mov edi, {other:#x}", "mov ecx, 5", "mov edx, 6")
        k.op(*{"load": [f"mov {register}, [esi]"], "store": [f"mov [esi], {register}"], "add": [f"add {name} [esi], {register}"],
               "movs from": [f"movs{name[0]}", f"mov {register}, [{other:#x}]"],
               "movs to": [f"mov [edi], {register}", "xchg esi, edi", f"movs{name[0]}"],
               "push": ["mov [kept], esp", "mov esp, esi", "add esp, 4", "push eax", "mov esp, [kept]"],
               "wide": ["mov ebx, eax", "cmpxchg8b [esi]"]}[how])
        k.label(on)
        k.op("mov dword [resume], 0")
        mask = (1 << 8 * size) - 1
        if self._faults(at, size, write):
            return
        if write and how not in ("add", "wide"):
            self._store(at, size, word & mask)
            return
        value = self._load(at, size)
        if how == "add":
            self._store(at, size, value + word & mask)
        elif how == "wide":  # the word is not 6:eax, so what was there is written again
            self._store(at, size, value)
            k.say("eax", f"eax {number}")
            self.values[f"eax {number}"] = value & 0xFFFFFFFF
        else:
            k.say("eax", f"eax {number}")
            self.values[f"eax {number}"] = word & ~mask & 0xFFFFFFFF | value
