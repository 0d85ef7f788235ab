"""Fresh PV guests that are about memory: where a kernel wants to lie, and what it finds there."""

from .pv import BASE, Paravirtual

PAGES = 2048
"""Of a domain with 8 MiB."""
FOUR_MIB, SLACK, TOP = 4 << 20, 512 << 10, 1 << 64
INIT_P2M, MOD_START_PFN = 15, 16
"""Notes."""


def pages_of(size):
    """So many pages hold it."""
    return size + 0xFFF >> 12


def tables_for(first, pages):
    """Page tables, the root among them, that map so many pages from this address on."""
    last = first + (pages << 12) - 1
    return 1 + sum((last >> shift) - (first >> shift) + 1 for shift in (21, 30, 39))


class Plan:
    """What lies where, by pfn: xen.h, "Start-of-day memory layout"."""

    def __init__(self, base, size, module=0, left_out=False, p2m=None):
        self.base, self.left_out, self.p2m_at, self.module = base, left_out, p2m, module
        self.module_pfn = pages_of(size)
        self.module_pages = pages_of(module)
        self.p2m_pages = pages_of(PAGES * 8)
        at = self.module_pfn + self.module_pages + (0 if p2m else self.p2m_pages)
        self.info_pfn, self.tables_pfn = at, at + 3
        self.p2m_tables = tables_for(p2m, self.p2m_pages) - 1 if p2m else 0
        self.tables = needed = 0
        while needed < self.tables_pfn + self.tables + 1:
            needed = self.tables_pfn + self.tables + 1
            self.mapped = self._mapped(needed)
            self.tables = tables_for(base, self.mapped) + self.p2m_tables
        self.stack_pfn = self.tables_pfn + self.tables
        self.p2m_pfn = self.mapped if p2m else at - self.p2m_pages

    def _mapped(self, needed):
        """Half a MiB at least behind what is needed, up to a multiple of 4 MiB."""
        end = self.base + (needed << 12) + SLACK
        return min((end + FOUR_MIB - 1 & ~(FOUR_MIB - 1)) - self.base >> 12, PAGES - (self.p2m_pages if self.p2m_at else 0))

    def va(self, pfn):
        """Where the kernel sees it."""
        return self.base + (pfn << 12)

    def is_table(self, pfn):
        """One of its page tables."""
        return self.tables_pfn <= pfn < self.stack_pfn

    def is_mapped(self, pfn):
        """A ramdisk can be left out."""
        return not (self.left_out and self.module_pfn <= pfn < self.module_pfn + self.module_pages)

    def wanted(self):
        """{address: pfn} of all that is mapped."""
        found = {self.va(n): n for n in range(self.mapped) if self.is_mapped(n)}
        if self.p2m_at:
            found |= {self.p2m_at + (n << 12): self.p2m_pfn + n for n in range(self.p2m_pages)}
        return found


def bases(rng):
    """Where a kernel may want to lie, one of each kind: {in words: its VIRT_BASE}."""
    before = rng.randrange(1, 0x180) << 12
    return {"from the middle of what a table of level 1 maps": BASE + (rng.randrange(1, 0x200) << 12) + (rng.randrange(64) << 21),
            "across a multiple of 1 GiB": (rng.randrange(1, 0x200) << 30) - before,
            "across a multiple of 512 GiB": (rng.randrange(1, 256) << 39) - before,
            "across a multiple of 512 GiB, above the hole": TOP - (rng.randrange(1, 239) << 39) - before,
            "up to the last address of all": TOP - FOUR_MIB,
            "up to the hole": (1 << 47) - FOUR_MIB}


class Placed(Paravirtual):
    """A kernel that looks at all of its pages, and at last writes to one of its page tables."""

    def __init__(self, rng, base, module=b"", left_out=False, p2m=None):
        notes = ({INIT_P2M: p2m} if p2m else {}) | ({MOD_START_PFN: 1} if left_out else {})
        super().__init__(rng, base, notes)
        self.module, self.left_out, self.p2m_at = module, left_out, p2m
        self.plan = None
        self.data += ["end_of_all: dq 0"]
        self.op("mov r12, [info]")
        self.say("[r12 + 96]", lambda p: p.plan.tables)
        for name in ("low", "high"):  # with a gap, where a ramdisk is left out
            self.op(f"mov rdi, {name}_from", f"mov ecx, {name}_pages")
            self.label(f"{name}_page")
            self.op("mov al, [rdi]", "add rdi, 0x1000", f"loop {name}_page")
        self.op("mov rbx, [r12 + 104]", f"mov rax, [rbx + {8 * (PAGES - 1)}]")
        for code in ("mov [rdi + 8], rdi", "rol rax, 1\n        xor rax, [rdi + 8]"):
            self.op("xor eax, eax", "mov rdi, free_from", "mov ecx, free_pages")
            self.label(f"free{len(self.lines)}")
            self.op(code, "add rdi, 0x1000", f"loop free{len(self.lines) - 1}")
        self.say("rax", lambda p: p.sum_of_free())
        if module:
            self.op("mov rbx, [r12 + 112]")
            if left_out:
                self.say("rbx", lambda p: p.plan.module_pfn)
            else:
                at = rng.randrange(0, len(module) - 8)
                self.say(f"[rbx + {at}]", int.from_bytes(module[at:at + 8], "little"))
        self.op("mov rbx, [r12 + 88]", "mov rax, one_table", "shl rax, 12", "mov byte [rbx + rax + 0x800], 0")
        self.lines.append("        push rax\n        mov eax, 0xbad\n        call put\n        pop rax")
        self.end()

    def sum_of_free(self):
        """Of the addresses of its free pages, as it adds them up."""
        total = 0
        for pfn in range(self.plan.stack_pfn + 1, self.plan.mapped):
            total = (total << 1 | total >> 63) & TOP - 1 ^ self.plan.va(pfn)
        return total

    def placed(self, text):
        plan = self.plan or Plan(self.base, 0x100000)
        gap = plan.module_pfn + plan.module_pages if self.left_out else plan.module_pfn
        numbers = {"low_from": plan.base, "low_pages": plan.module_pfn, "high_from": plan.va(gap), "high_pages": plan.mapped - gap,
                   "free_from": plan.va(plan.stack_pfn + 1), "free_pages": plan.mapped - plan.stack_pfn - 1,
                   "one_table": self.rng.randrange(plan.tables)}
        return super().placed(text).replace("        bits 64\n", "        bits 64\n" + "".join(
            f"{name} equ {value:#x}\n" for name, value in numbers.items()), 1)

    def assemble(self, folder, name):
        """Twice: how large it is, is known behind the first time."""
        super().assemble(folder, name)
        size = (self.at("end_of_all") + 8 - self.base) % TOP
        self.plan = Plan(self.base, size, len(self.module), self.left_out, self.p2m_at)
        return super().assemble(folder, name)


def placed(rng, kinds):
    """Kernels of these kinds, with a ramdisk, without it in the map, or with a list of frames elsewhere: {in words: one}."""
    where, found = bases(rng), {}
    for n, kind in enumerate(kinds):
        base = where[kind]
        module = rng.randbytes(rng.randrange(9, 0x6000)) if n < 2 else b""
        p2m = None
        if n == 2:
            slot = rng.choice([one for one in range(2, 250) if abs(one - (base >> 39)) > 2])
            p2m = (slot << 39) - (rng.randrange(1, 4) << 12)
        found[kind] = Placed(rng, base, module, n == 1, p2m)
    return found
