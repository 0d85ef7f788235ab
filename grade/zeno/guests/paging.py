"""Fresh guest programs with paging: page tables at random places, in three formats, and what goes wrong.

A Paged is a Kernel (kernels.py) that builds page tables, turns paging on and works behind them. Formats:
`plain` (32-bit paging, 4 KiB pages), `pse` (with 4 MiB pages, too), `pae` (PAE with 2 MiB pages). The program
itself, its stacks, descriptor tables and page tables are mapped where they are (linear = physical), so that the
values in its entries are the same wherever it runs; random slots of the upper levels are there to play with.

The generator keeps a model of the tables, only to know which steps are worth taking. What is right, the bare
machine says. These rules keep that from being a matter of chance:
  - an entry that was present is changed together with the flush that the manual asks for (SDM 3A 4.10.4);
  - flags A and D of entries are printed only after accesses that came to their end, since CPUs differ in what
    a faulting walk leaves in the upper levels.

SDM = Intel SDM order no. 325462-080, June 2023.
"""

from .kernels import Kernel

P, W, U, A, D, PS = 1, 2, 4, 0x20, 0x40, 0x80
FORMATS = ("plain", "pse", "pae")
POOL, POOL_FRAMES = 0x40000, 136
"""From the program's base: the frames that tables and pages are made of."""
TEXT_END = 0x10000
WINDOW = 0xFFC00000
CR0_PG, CR0_WP, CR4_PSE, CR4_PAE = 1 << 31, 1 << 16, 1 << 4, 1 << 5
ADDRESS = 0xFFFFF000
SAME_FLAGS = "cmp esp, esp"
"""Behind what sums up an entry: A and D in it, which are exercise 2.5's, show in the flags else."""


class Space:
    """One address space: what goes into CR3, and the page directories ({GiB: address})."""

    def __init__(self, cr3):
        self.cr3 = cr3
        self.directories = {}


class Paged(Kernel):
    """A guest kernel with paging."""

    def __init__(self, rng, form="plain", user=False, returns=True, polled=False):
        super().__init__(rng, returns)
        self.form, self.user_too, self.polled = form, user, polled
        self.pae = form == "pae"
        self.size, self.shift = (8, 21) if self.pae else (4, 22)
        self.per_table = 4096 // self.size
        self.memory = {}
        self.pool = [self.base + POOL + 4096 * i for i in range(POOL_FRAMES)]
        rng.shuffle(self.pool)
        self.paging = False
        self.now = None
        self.wp = False
        self.recursive = None
        self.shared = []
        self.places = []
        self.big_kernel = not user and form != "plain" and rng.random() < 0.5
        last = (self.base + POOL + 4096 * POOL_FRAMES - 1) >> self.shift
        self.kernel_slots = list(range(self.base >> self.shift, last + 1))
        self.kernel_entries = {}

    # -- tables -------------------------------------------------------------------------------

    def frame(self):
        """A frame that nothing uses."""
        return self.pool.pop()

    def slots(self, count, space=None):
        """Slots of the upper level that are not the kernel's, nor in use; in two GiB at least."""
        while True:
            found = self.rng.sample(range(2, (WINDOW >> self.shift) - 4), count)
            spread = {slot >> (30 - self.shift) for slot in found}
            used = [slot for slot in found if slot in self.kernel_slots
                    or space and self.upper_value(space, slot)]
            if not used and (len(spread) > 1 or count < 2):
                return found

    def space(self):
        """A new address space with the kernel in it."""
        if not self.pae:
            top = self.frame()
            one = Space(top)
            one.directories = dict.fromkeys(range(4), top)
        else:
            one = Space(self.frame() + 32 * self.rng.randrange(128))
        for slot in self.kernel_slots:
            if slot not in self.kernel_entries:
                self.kernel_entries[slot] = self.kernel_entry(slot)
            self.put(self.upper(one, slot), self.kernel_entries[slot])
        return one

    def directory(self, space, gib):
        """The page directory for one GiB, made where there is none."""
        if gib not in space.directories:
            space.directories[gib] = self.frame()
            self.put(space.cr3 + 8 * gib, space.directories[gib] | P)
            if self.paging and space is self.now:
                self.load(space)  # it stands in a register (SDM 3A 4.4.1)
        return space.directories[gib]

    def upper(self, space, slot):
        """Address of the upper entry of a slot."""
        per_gib = 1 << (30 - self.shift)
        inside = slot % per_gib if self.pae else slot
        return self.directory(space, slot // per_gib) + self.size * inside

    def upper_value(self, space, slot):
        """The upper entry itself, as the model has it; 0 where there is no directory."""
        if slot >> (30 - self.shift) not in space.directories:
            return 0
        return self.memory.get(self.upper(space, slot), 0)

    def kernel_entry(self, slot):
        """The upper entry that maps the kernel where it is."""
        start = slot << self.shift
        if self.big_kernel:
            return start | PS | D | A | W | P
        table = self.frame()
        user = U if self.user_too else 0
        for i in range(self.per_table):
            page = start + 4096 * i
            if self.base <= page < self.base + POOL + 4096 * POOL_FRAMES:
                text = page < self.base + TEXT_END or page - self.base in (0x2C000, 0x2D000, 0x2E000)
                self.put(table + self.size * i, page | W | P | (user if text else 0))
        return table | A | W | P | user

    def table(self, space, slot, flags=W | P | A, at=None):
        """A page table (a new one, or the one at `at`) for a slot; its address."""
        at = self.frame() if at is None else at
        self.put(self.upper(space, slot), at | flags)
        return at

    def entry_of(self, space, va):
        """Address of the last-level entry that maps va; None where a level above is absent or large."""
        value = self.upper_value(space, va >> self.shift)
        if not value & P or (value & PS and self.form != "plain"):
            return None
        return (value & ADDRESS) + self.size * (va >> 12 & self.per_table - 1)

    def translate(self, space, va, write=False, user=False):
        """The model's walk: physical address, or None for a fault."""
        upper = self.upper_value(space, va >> self.shift)
        rights = upper
        if not upper & P:
            return None
        if upper & PS and self.form != "plain":
            target = (upper >> self.shift << self.shift) + (va & (1 << self.shift) - 1)
            if upper & ~ADDRESS & ~0xFFF or upper & (1 << self.shift) - 1 & ~0x1FFF:
                return None
        else:
            last = self.memory.get((upper & ADDRESS) + self.size * (va >> 12 & self.per_table - 1), 0)
            if not last & P or last >> 32:
                return None
            rights &= last
            target = (last & ADDRESS) + (va & 0xFFF)
        if (user and not rights & U) or (write and not rights & W and (user or self.wp)):
            return None
        return target & 0xFFFFFFFF

    def put(self, at, value, via=None, simply=False):
        """Write an entry. `via`: the linear address to do it at, if it is not the physical one."""
        via = at if via is None else via
        old = self.memory.get(at, 0)
        self.memory[at] = value
        if simply or not self.paging:
            self.op(f"mov dword [{via:#x}], {value & 0xFFFFFFFF:#x}")
            if value >> 32 or old >> 32:
                self.op(f"mov dword [{via + 4:#x}], {value >> 32:#x}")
            return
        parts = [(via, old & 0xFFFFFFFF, value & 0xFFFFFFFF)]
        if value >> 32 or old >> 32:
            parts.append((via + 4, old >> 32, value >> 32))
            if value & P:
                parts.reverse()  # P goes on last, and off first
        for where, before, after in parts:
            self.store(where, before, after)

    def store(self, where, before, after):
        """A dword that holds `before` becomes `after`, by one of the ways that kernels know."""
        change, rng = before ^ after, self.rng
        ways = ["mov", "register", "xchg", "xor", "stosd", "cmpxchg", "bytes", "halves"]
        if not after & (A | D):
            ways += ["add"]  # the CPU may have set those: a sum must not carry out of them
        if change and not change & (change - 1):
            ways += ["bit", "bit"]
        if before & ~after == 0:
            ways += ["or"]
        if after & ~before == 0:
            ways += ["and"]
        way = rng.choice(ways)
        if way in ("xor", "or", "and", "add"):
            value = {"xor": change, "or": after & ~before, "and": after | ~before & 0xFFFFFFFF,
                     "add": (after - before) & 0xFFFFFFFF}[way]
            self.op(f"{rng.choice(('', 'lock '))}{way} dword [{where:#x}], {value:#x}", SAME_FLAGS)
        elif way == "bit":
            number = change.bit_length() - 1
            self.op(f"{'bts' if after & change else 'btr'} dword [{where:#x}], {number}", SAME_FLAGS)
        elif way == "stosd":
            self.op(f"mov edi, {where:#x}", f"mov eax, {after:#x}", "mov ecx, 1",
                    rng.choice(("stosd", "rep stosd")))
        elif way == "cmpxchg":
            # A and D may have been set since: the value to compare with comes from memory.
            self.op(f"mov eax, [{where:#x}]", f"mov edx, {after:#x}",
                    f"lock cmpxchg [{where:#x}], edx")
        elif way in ("bytes", "halves"):
            step, word = (1, "byte") if way == "bytes" else (2, "word")
            order = [i for i in range(0, 4, step) if change >> 8 * i & (1 << 8 * step) - 1]
            for i in rng.sample(order, len(order)):
                self.op(f"mov {word} [{where + i:#x}], {after >> 8 * i & (1 << 8 * step) - 1:#x}")
        elif way == "mov":
            self.op(f"mov dword [{where:#x}], {after:#x}")
        else:
            self.op(f"mov edx, {after:#x}", f"{'xchg' if way == 'xchg' else 'mov'} [{where:#x}], edx")

    # -- the beginning ------------------------------------------------------------------------

    def begin(self):
        super().begin()
        self.op("cld", "xor eax, eax", f"mov edi, {self.base + POOL:#x}",
                f"mov ecx, {POOL_FRAMES * 1024}", "rep stosd")

    def turn_on(self, space, wp=False):
        """CR3, CR4, CR0.PG."""
        cr4 = {"plain": 0, "pse": CR4_PSE, "pae": CR4_PAE}[self.form]
        self.op(f"mov eax, {space.cr3:#x}", "mov cr3, eax")
        if cr4:
            self.op(f"mov eax, {cr4:#x}", "mov cr4, eax")
        self.op(f"mov eax, {CR0_PG | (CR0_WP if wp else 0) | 1:#x}", "mov cr0, eax",
                f"jmp {self.fresh()}")
        self.label(f"on{self.count}")
        self.label("paging_on")
        self.paging, self.now, self.wp = True, space, wp

    def set_wp(self, on):
        """CR0.WP."""
        self.wp = bool(on)
        self.op(f"mov eax, {CR0_PG | (CR0_WP if on else 0) | 1:#x}", "mov cr0, eax")

    def load(self, space):
        """CR3, so that the TLB is empty."""
        self.now = space
        self.op(f"mov eax, {space.cr3:#x}", "mov cr3, eax")

    # -- what the program does behind its tables -----------------------------------------------

    def attempt(self, *lines):
        """Instructions of which the first may fault: the handler prints it and goes on behind the last."""
        on = self.fresh()
        self.op("mov [kept_esp], esp", f"mov dword [resume], {on}", *lines)
        self.label(on)
        self.op("mov esp, [kept_esp]", "mov dword [resume], 0")
        self.place()

    def place(self):
        """A label at which a test may stop."""
        self.places.append(self.label(self.fresh()))

    def touch(self, va, kind=None):
        """One access, and what it gave: EAX is printed, or a fault's frame and then EAX."""
        kind = kind or self.rng.choice(("read", "read", "write", "write", "rmw", "byte"))
        if kind in ("rmw", "byte") and self.translate(self.now, va) is None:
            kind = "write"  # QEMU reads first, and its fault says so (SDM 3A 4.7: W/R is 1)
        value = self.word()
        self.op(f"mov eax, {value:#x}")
        if kind == "read":
            self.attempt(f"mov eax, [{va:#x}]")
        elif kind == "write":
            self.attempt(f"mov [{va:#x}], eax")
        elif kind == "rmw":
            self.attempt(f"{self.rng.choice(('add', 'xchg', 'xor', 'lock xadd'))} [{va:#x}], eax")
        elif kind == "byte":
            self.attempt(f"{self.rng.choice(('adc', 'mov'))} [{va:#x}], al")
        self.say("eax", kind[0])

    def execute(self, va):
        """Call a page's code: `mov eax, N; ret`, which fill_code() has put there."""
        self.op(f"mov eax, {self.word():#x}", f"mov ecx, {va:#x}")
        self.attempt("call ecx")
        self.say("eax", "x")

    def fill_code(self, pa):
        """`mov eax, random; ret` at a physical address that is mapped where it is."""
        self.op(f"mov byte [{pa:#x}], 0xb8", f"mov dword [{pa + 1:#x}], {self.word():#x}",
                f"mov byte [{pa + 5:#x}], 0xc3")

    def show(self, at, mask=0xFFFFFFFF):
        """Print a page-table entry."""
        self.op(f"mov eax, [{at:#x}]")
        if mask != 0xFFFFFFFF:
            self.op(f"and eax, {mask:#x}")
        self.say("eax", "entry")

    def change(self, space, va, value, at=None):
        """Change the last-level entry of va, with an INVLPG where one is needed, and only there."""
        at = self.entry_of(space, va) if at is None else at
        old = self.memory.get(at, 0)
        self.put(at, value, self.way_to(space, va, at))
        if old & P:
            self.flush(space, va, at)
        self.place()

    def flush(self, space, va, at):
        """INVLPG for the address whose entry is at `at`, and for others that use the same entry."""
        slots = {va >> self.shift} | {slot for slot in self.shared if self.upper_value(space, slot)
                                      & (ADDRESS | PS) == at & ADDRESS}
        for slot in sorted(slots):
            where = slot << self.shift | (at & 0xFFF) // self.size << 12
            self.op(*self.rng.choice(((f"mov ebx, {where:#x}", "invlpg [ebx]"),
                                      (f"invlpg [{where:#x}]",))))

    def way_to(self, space, va, at):
        """The linear address by which an entry is written: its own, or through the recursive slot."""
        if self.recursive is None or self.rng.random() < 0.5:
            return at
        slot = va >> self.shift
        per_gib = 1 << (30 - self.shift)
        if self.pae and slot // per_gib != self.recursive // per_gib:
            return at
        return (self.recursive << self.shift | (slot % per_gib if self.pae else slot) << 12
                | self.size * (va >> 12 & self.per_table - 1))

    def make_recursive(self, space):
        """One slot of the directory points to the directory."""
        self.recursive, = self.slots(1, space)
        pd = self.directory(space, (self.recursive << self.shift) >> 30)
        self.put(self.upper(space, self.recursive), pd | A | D | W | P)

    def finish(self):
        if self.polled:
            self.op("mov edx, 0x3fd")
            self.label("drained")
            self.op("in al, dx", "test al, 0x40", "jz drained")
        super().finish()

    def source(self):
        self.routines += ["        align 64", "kept_esp: dd 0", "kept_stack: dd 0"]
        self.routines += ["came_through:", f"        mov esi, {self.text('went through')}",
                          "        jmp put_text"]
        text = super().source()
        if self.polled:
            # Bochs' UART loses what is written before the last byte is gone.
            text = text.replace("""\
        mov edx, 0x3f8
        out dx, al
        pop edx
        ret
""", """\
        push eax
        mov edx, 0x3fd
.wait:  in al, dx
        test al, 0x20
        jz .wait
        pop eax
        mov edx, 0x3f8
        out dx, al
        pop edx
        ret
""")
        return text
