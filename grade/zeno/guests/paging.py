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


# -- programs --------------------------------------------------------------------------------------


def offset(rng):
    """A dword inside of a page."""
    return rng.randrange(0, 1023) * 4 + rng.choice((0, 0, 0, 1, 2))


def playground(k, space, count=3, pages=5, flags=None):
    """Slots with tables and some pages in each: [(linear address, its frame)]; frames are used twice."""
    rng, found, frames = k.rng, [], []
    for slot in k.slots(count, space):
        k.table(space, slot)
        for index in rng.sample(range(k.per_table), pages):
            shared = frames and rng.random() < 0.3
            pa = rng.choice(frames) if shared else k.frame()
            frames.append(pa)
            va = slot << k.shift | index << 12
            k.put(k.entry_of(space, va), pa | (W | P if flags is None else flags))
            found.append((va, pa))
    if k.form != "plain":
        slot, = k.slots(1, space)
        home = rng.choice(frames)
        k.put(k.upper(space, slot), home >> k.shift << k.shift | PS | W | P)
        near = sorted({pa for pa in frames if pa >> k.shift == home >> k.shift})
        for pa in rng.sample(near, min(3, len(near))):
            found.append((slot << k.shift | pa & (1 << k.shift) - 1, pa))
    return found


def identity(rng, form, count=26, polled=False):
    """2.2: pages that are there, at many addresses. No fault, no change of a table."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    pages = playground(k, space)
    k.turn_on(space)
    for _ in range(count):
        (va, pa), at = rng.choice(pages), offset(rng)
        kind = rng.randrange(6)
        if kind == 0:
            k.fill_code(pa + at)
            k.execute(va + at)
        elif kind == 1:
            # Written here, read there: by its physical address, and at another linear one.
            k.touch(va + at, "write")
            k.touch(pa + at, "read")
            for other, frame in pages:
                if frame == pa and other != va:
                    k.touch(other + at, "read")
                    break
        elif kind == 2:
            k.op("mov [kept_stack], esp", f"mov esp, {va + 0xF00:#x}", f"push dword {k.word():#x}",
                 "pushad", "popad", "pop eax", "mov esp, [kept_stack]")
            k.say("eax", "stack")
        elif kind == 3:
            k.op(f"mov esi, {va:#x}", f"mov edi, {rng.choice(pages)[0]:#x}", "mov ecx, 1024", "cld",
                 "rep movsd", f"mov eax, [edi - {4 * rng.randrange(1, 1024)}]")
            k.say("eax", "copied")
        else:
            k.touch(va + at)
    k.finish()
    return k


def absent(k, space, pages):
    """Addresses where a true fault waits, one kind at a time."""
    rng = k.rng
    found = [rng.choice(k.slots(1, space)) << k.shift | rng.randrange(1 << k.shift)]
    va = rng.choice([va for va, _ in pages if k.entry_of(space, va)])
    table = va >> k.shift << k.shift
    for _ in range(40):
        other = table | rng.randrange(k.per_table) << 12
        if not k.memory.get(k.entry_of(space, other), 0):
            found.append(other | rng.randrange(4096))
            break
    if k.translate(space, 0) is None:
        found.append(rng.randrange(4096))  # page 0, which null pointers point to
    if k.pae:
        missing = [gib for gib in range(4) if gib not in space.directories]
        if missing:
            found.append(rng.choice(missing) << 30 | rng.randrange(1 << 29))
    return found


def reserved(k, space):
    """Addresses of entries that are present and have a reserved bit set."""
    rng, found = k.rng, []
    if k.form == "pse":
        slot, = k.slots(1, space)
        k.put(k.upper(space, slot), rng.randrange(1, 512) << 22 | 1 << 21 | PS | W | P)
        found.append(slot << 22 | rng.randrange(1 << 22))
    if k.pae:
        slot, = k.slots(1, space)
        table = k.table(space, slot)
        index = rng.randrange(512)
        k.put(table + 8 * index, 1 << rng.choice((63, 45, 50)) | k.frame() | W | P)
        found.append(slot << 21 | index << 12 | rng.randrange(4096))
    return found


def crossing(k, space, pages):
    """Accesses that begin on one page and end on the next, where there is none."""
    for va in k.rng.sample([va for va, _ in pages], 4):
        after = (va & ~0xFFF) + 0x1000
        if k.translate(space, after) is None:
            k.touch(after - k.rng.randrange(1, 4), k.rng.choice(("read", "write")))


def read_only(k, space):
    """A page without W, to which a supervisor may write all the same: CR0.WP is 0."""
    slot, = k.slots(1, space)
    table = k.table(space, slot)
    index = k.rng.randrange(k.per_table)
    k.put(table + k.size * index, k.frame() | P)
    return slot << k.shift | index << 12


def scribble(k, space, pages):
    """Writes to an entry that change only what is the kernel's own in it: bits 9 to 11 (SDM 3A table 4-6)."""
    va = k.rng.choice([va for va, _ in pages if k.entry_of(space, va)])
    at = k.entry_of(space, va)
    k.op(f"{k.rng.choice(('or', 'xor'))} dword [{at:#x}], {k.rng.randrange(1, 8) << 9:#x}")
    k.show(at, ~(A | D) & 0xFFFFFFFF)
    k.touch(va + offset(k.rng))


STEADY = 100
"""So many pages steady() writes, and so many others it reads."""


def steady_pages(k, space):
    """Two times STEADY pages, one behind the other, all on one frame; where they begin."""
    slot, = k.slots(1, space)
    table, pa = k.table(space, slot), k.frame()
    for i in range(2 * STEADY):
        k.memory[table + k.size * i] = pa | W | P
    k.op(f"mov edi, {table:#x}", f"mov ecx, {2 * STEADY}")
    again = k.label(k.fresh())
    k.op(f"mov dword [edi], {pa | W | P:#x}", f"add edi, {k.size}", "dec ecx", f"jnz {again}")
    return slot << k.shift


def steady(k, start):
    """First writes and first reads of many pages: none is more than a hidden fault."""
    k.op(f"mov edi, {start + 4 * k.rng.randrange(1000):#x}", f"mov eax, {k.word():#x}")
    for access in ("mov [edi], eax", "add eax, [edi]"):
        k.op(f"mov ecx, {STEADY}")
        again = k.label(k.fresh())
        k.op(access, "rol eax, 3", "add edi, 4096", "dec ecx", f"jnz {again}")
    k.say("eax", "sum")
    k.place()


def faults(rng, form, count=16, polled=False):
    """2.3: true faults of every kind among accesses that are none. No table is changed."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    pages = playground(k, space)
    bad = reserved(k, space)
    fixed, many = read_only(k, space), steady_pages(k, space)
    k.turn_on(space)
    bad += absent(k, space, pages)
    for number in range(count):
        if number < len(bad) or rng.random() < 0.5:
            va = bad[number] if number < len(bad) else rng.choice(bad)
            if rng.random() < 0.2:
                k.execute(va)
            else:
                k.touch(va)
        elif number % 3 == 0:
            scribble(k, space, pages)
        else:
            va, pa = rng.choice(pages)
            k.touch(va + offset(rng))
        if rng.random() < 0.2:
            k.op("mov eax, cr2")
            k.say("eax", "cr2")
    crossing(k, space, pages)
    k.touch(fixed + offset(rng), "write")
    k.touch(fixed + offset(rng), "read")
    scribble(k, space, pages)
    k.op(f"mov eax, {k.word():#x}", "mov cr2, eax")
    k.touch(rng.choice(pages)[0])  # a hidden fault must not show
    k.op("mov eax, cr2")
    k.say("eax", "cr2")
    steady(k, many)
    k.finish()
    return k


def nowhere(rng, form):
    """2.3: pages where the guest has no memory, among others. What is read there is not printed."""
    k = Paged(rng, form)
    k.begin()
    space = k.space()
    pages = playground(k, space)
    slot, = k.slots(1, space)
    table = k.table(space, slot)
    for i, pa in enumerate((0x800000, 0x1000000, 0x40000000, 0x7FFFF000, 0xFFFFF000, 0xA0000)):
        k.put(table + k.size * i, pa | W | P)
    k.turn_on(space)
    for number in range(18):
        va = slot << k.shift | number % 6 << 12 | rng.randrange(1000) * 4
        k.op(rng.choice((f"mov eax, [{va:#x}]", f"cmp eax, [{va:#x}]", f"mov [{va:#x}], eax")))
        k.place()
        k.touch(rng.choice(pages)[0] + offset(rng))
    k.finish()
    return k


# -- 2.4: tables that change -----------------------------------------------------------------------


class Play:
    """Linear pages, page tables and frames that the steps of edits() play with."""

    def __init__(self, k, space):
        rng = k.rng
        self.k, self.space = k, space
        self.slots = k.shared = k.slots(3)
        self.frames = [k.frame() for _ in range(6)]
        self.pages = []
        for slot in self.slots:
            table = k.table(space, slot)
            half = k.per_table // 2
            for index in (*rng.sample(range(half), 2), *rng.sample(range(half, 2 * half), 2)):
                va = slot << k.shift | index << 12
                self.pages.append(va)
                if rng.random() < 0.6:
                    k.put(table + k.size * index, rng.choice(self.frames) | W | P)

    def page(self, present=None):
        """A page under a table, mapped or not."""
        k = self.k
        found = [va for va in self.pages if k.entry_of(self.space, va) and present in
                 (None, bool(k.memory.get(k.entry_of(self.space, va), 0) & P))]
        return k.rng.choice(found) if found else None


def flip(play):
    """A page comes or goes, and is touched behind that (and now and then before it)."""
    k, rng = play.k, play.k.rng
    va = play.page()
    if rng.random() < 0.5:
        k.touch(va + offset(rng))
    old = k.memory.get(k.entry_of(play.space, va), 0)
    k.change(play.space, va, 0 if old & P else rng.choice(play.frames) | W | P)
    k.touch(va + offset(rng))


def move(play):
    """A mapped page gets another frame."""
    k, rng = play.k, play.k.rng
    va = play.page(True)
    if va is None:
        return
    at, pa = offset(rng), rng.choice(play.frames)
    k.touch(va + at, "write")
    k.touch(pa + at, "write")
    k.change(play.space, va, pa | W | P)
    k.touch(va + at, "read")


def demand(play):
    """The handler maps the page and goes back to the instruction that faulted."""
    k, rng = play.k, play.k.rng
    va = play.page(False)
    if va is None:
        return
    name, kept, k.lines = k.fresh(), k.lines, []
    k.label(name)
    k.change(play.space, va, rng.choice(play.frames) | W | P)
    k.places.pop()  # the handler comes here only if the page was absent
    k.op("ret")
    k.routines += k.lines
    k.lines = kept
    k.op(f"mov dword [hook], {name}", f"mov eax, {k.word():#x}",
         f"mov [{va + offset(rng):#x}], eax" if rng.random() < 0.5 else
         f"mov eax, [{va + offset(rng):#x}]")
    k.say("eax", "demanded")


def slot_off_on(play):
    """The entry above a table goes and comes back; or another table takes its place."""
    k, rng = play.k, play.k.rng
    slot = play.page() >> k.shift
    pages = [va for va in play.pages if va >> k.shift == slot]
    at = k.upper(play.space, slot)
    old = k.memory[at]
    for va in pages:
        k.touch(va + offset(rng))
    k.put(at, 0)
    k.load(play.space)
    for va in pages:
        k.touch(va + offset(rng))
    other = k.memory.get(k.upper(play.space, rng.choice(play.slots)), 0)
    k.put(at, other if other & P and rng.random() < 0.5 else old)
    k.touch(rng.choice(pages) + offset(rng))


def large(play):
    """A slot becomes a large page and a table again."""
    k, rng = play.k, play.k.rng
    if k.form == "plain":
        return
    va = play.page()
    at = k.upper(play.space, va >> k.shift)
    old = k.memory[at]
    pa = rng.choice(play.frames)
    where = va >> k.shift << k.shift | pa & (1 << k.shift) - 1
    k.put(at, pa >> k.shift << k.shift | PS | W | P)
    k.load(play.space)
    k.touch(where + offset(rng))
    k.touch(pa + offset(rng))
    k.put(at, old)
    k.load(play.space)
    k.touch(va + offset(rng))


def by_alias(play):
    """A table is mapped as a page, and its entries are written there."""
    k, rng = play.k, play.k.rng
    target, alias = play.page(), play.page()
    entry = k.entry_of(play.space, target)
    if target == alias or k.entry_of(play.space, alias) == entry:
        return
    k.change(play.space, alias, entry & ADDRESS | W | P)
    old = k.memory.get(entry, 0)
    k.touch(target + offset(rng))
    k.put(entry, 0 if old & P else rng.choice(play.frames) | W | P,
          alias | entry & 0xFFF)
    if old & P:
        k.flush(play.space, target, entry)
    k.touch(target + offset(rng))
    # The table is a page no more, or data would be written into it.
    k.change(play.space, alias, rng.choice(play.frames) | W | P)


def copied(play):
    """A whole table by REP MOVSD: onto a frame that becomes a table, or onto a table in use."""
    k, rng = play.k, play.k.rng
    source = k.entry_of(play.space, play.page()) & ADDRESS
    slot = rng.choice(play.slots)
    target = k.memory[k.upper(play.space, slot)] & ADDRESS
    if source == target:
        return
    k.op(f"mov esi, {source:#x}", f"mov edi, {target:#x}", "mov ecx, 1024", "cld", "rep movsd")
    for i in range(k.per_table):
        value = k.memory.get(source + k.size * i, 0)
        if value or k.memory.get(target + k.size * i, 0):
            k.memory[target + k.size * i] = value
    k.load(play.space)
    for va in rng.sample(play.pages, 3):
        if k.entry_of(play.space, va):
            k.touch(va + offset(rng))


def split_write(play):
    """One write that reaches into two entries."""
    k, rng = play.k, play.k.rng
    va = play.page()
    first = k.entry_of(play.space, va) & ~(k.size * 2 - 1)
    second = first + k.size
    pa = rng.choice(play.frames) | W | P
    base = va >> k.shift << k.shift
    pages = [base | ((entry & 0xFFF) // k.size) << 12 for entry in (first, second)]
    for page, entry in zip(pages, (first, second)):
        k.change(play.space, page, 0, entry)
    # Two bytes of the first entry's upper half, two of the second's lower half: P of one, not of the other.
    if k.pae:
        k.op(f"mov edx, {pa << 16 & 0xFFFFFFFF:#x}", f"mov [{second - 2:#x}], edx",
             f"mov word [{second + 2:#x}], {pa >> 16:#x}")
    else:
        k.op(f"mov edx, {pa << 16 & 0xFFFFFFFF:#x}", f"mov [{first + 2:#x}], edx",
             f"mov word [{second + 2:#x}], {pa >> 16:#x}")
    k.memory[second] = pa
    for page in pages:
        k.touch(page + offset(rng))
    # The same with a second entry that is present, and goes.
    k.op("xor edx, edx", f"mov [{second - 2:#x}], edx")
    k.memory[second] = pa & ~0xFFFF
    k.flush(play.space, pages[1], second)
    k.touch(pages[1] + offset(rng))


def edits(rng, form, count=16, polled=False):
    """2.4: tables that change while they are in use."""
    k = Paged(rng, form, polled=polled)
    k.begin()
    space = k.space()
    play = Play(k, space)
    if rng.random() < 0.7:
        k.make_recursive(space)
    k.turn_on(space)
    steps = [flip, move, demand, slot_off_on, large, by_alias, copied, split_write]
    more = [rng.choice((flip, flip, move, demand, by_alias)) for _ in range(count - len(steps))]
    steps += more
    rng.shuffle(steps)
    for step in steps:
        step(play)
    k.finish()
    return k
