"""Fresh guest programs with an IDT of their own: exceptions, `int n`, rings, interrupts, a UART.

A Kernel is a Program with a GDT, an IDT, a TSS and handlers that print the frames which they are
given: what the CPU pushed, where the handler's stack is, which data segments it began with. RF is
left out (emulators differ in it), a page fault's line ends in CR2, and CS, SS and the flags are
never read by an instruction: in ring 1 those would show the real machine. `int` with a trap gate shows the guest's IF instead.

    k = Kernel(rng, returns=True)
    k.begin()
    k.event()                     # a fault or an `int n`, and its frame on COM1
    k.finish()
"""

from .programs import FLAT_CODE, FLAT_DATA, Program, Tables, descriptor, mask_interrupts

USER_CODE, USER_DATA = FLAT_CODE | 3 << 45, FLAT_DATA | 3 << 45
ABSENT = 1 << 47
ERROR_CODES = (8, 10, 11, 12, 13, 14, 17)
TIMER, UART = 0x40, 0x44
"""Vectors of IRQ 0 and IRQ 4: the 8259s begin at 0x40 and 0x48."""
CALL, LEAVE, PROBE = 0x80, 0x81, 0x82
"""Vectors that ring 3 may call: print a frame, go back to the kernel; PROBE is a trap gate."""
INTERRUPT_GATE, TRAP_GATE, USER = 0x8E, 0x8F, 0x60
FLAG_IF, IOPL, FLAG_NT = 1 << 9, 3 << 12, 1 << 14
HIGH_FLAGS = 1 << 18 | 1 << 21
"""AC and ID: what a 16-bit iret must leave as it is."""

# The frame of a handler, from where EBP points:
#   es ds | edi esi ebp - ebx edx ecx eax | vector error | eip cs eflags | esp ss (from ring 3)
COMMON = """\
all_traps:
        pusha
        push ds
        push es
        mov eax, {data:#x}
        mov ds, eax
        mov es, eax
        cld
        mov ebp, esp
        cmp dword [ebp + 40], 14
        jne .exact
        test byte [ebp + 44], 8
        jz .exact
        or byte [ebp + 44], 1   ; reserved bits are an entry's that is present; QEMU 7.2 says not
.exact:
        mov ecx, 40
        call field
        mov ecx, 44
        call field
        mov ecx, 48
        call field
        mov ecx, 52
        call field
        mov eax, [ebp + 56]
        and eax, 0xfffeffff
        call put_field
        mov eax, ebp
        call put_field
        mov ecx, 4
        call half
        mov ecx, 0
        call half
        mov ecx, 36
        call field
        test byte [ebp + 52], 3
        jz .inner
        mov ecx, 60
        call field
        mov ecx, 64
        call half
.inner:
        cmp dword [ebp + 40], 14
        jne .no_page
        mov eax, cr2
        call put_field
.no_page:
        mov al, 10
        call put_byte
        cmp dword [ebp + 40], {leave:#x}
        je .leave
{way}
.leave:
        mov esp, [kernel_esp]
        jmp [to_kernel]
act:
        xor ecx, ecx
        xchg ecx, [hook]
        jecxz .none
        push ebp
        call ecx
        pop ebp
.none:
        ret
go_on:
        xor eax, eax
        xchg eax, [resume]
        test eax, eax
        jz .here
        mov [ebp + 48], eax
.here:
        ret
half:
        movzx eax, word [ebp + ecx]
        jmp put_field
field:
        mov eax, [ebp + ecx]
put_field:
        call put_hex
        mov al, 32
        jmp put_byte
; A gate: vector ESI, handler EAX, access byte ECX, selector EDX.
set_gate:
        mov ebx, eax
        and eax, 0xffff
        shl edx, 16
        or eax, edx
        mov [{idt:#x} + esi * 8], eax
        and ebx, 0xffff0000
        shl ecx, 8
        or ebx, ecx
        mov [{idt:#x} + esi * 8 + 4], ebx
        ret
        align 64
hook: dd 0
resume: dd 0
to_kernel: dd 0
kernel_esp: dd 0
ticks: dd 0
facts: dd 0
rounds: dd 0
"""
# What happens in a handler may fault, too: who returns must know before where he goes on.
RETURN = """\
        call go_on
        call act
        pop es
        pop ds
        popa
        add esp, 8
        iret"""
ABANDON = """\
        call act
        call go_on
        mov esp, [kernel_esp]
        jmp [ebp + 48]"""


class Kernel(Program):
    """A guest with tables and handlers. Without `returns` a handler jumps: there is no iret yet."""

    def __init__(self, rng, returns=True):
        super().__init__(rng)
        self.returns = returns
        self.tables = Tables(self)
        self.idt = self.base + 0x24000 + rng.randrange(0, 0x400, 8)
        self.tss = self.base + 0x26000 + rng.randrange(0, 0x400, 4)
        self.inner = self.base + 0x2A000 - rng.randrange(0, 0x400, 4)
        self.user_stack = self.base + 0x2E000 - rng.randrange(0, 0x400, 4)
        self.limit = rng.randrange(0xE0, 0xF8) * 8 - 1
        self.descriptors = []
        """More of them for the GDT; begin() makes `more` of it, their selectors."""
        self.stubs = set()
        self.routines = []
        self.handlers = {}
        self.kernel_places, self.user_places = [], []

    # -- the beginning and the end ------------------------------------------------------------

    def begin(self):
        """GDT, IDT, TSS; both 8259s off."""
        t = self.tables
        self.console()
        mask_interrupts(self)
        self.code, self.data_ = t.put(FLAT_CODE), t.put(FLAT_DATA)
        self.ucode, self.udata = t.put(USER_CODE) | 3, t.put(USER_DATA) | 3
        self.no_code, self.no_data = t.put(FLAT_CODE & ~ABSENT), t.put(FLAT_DATA & ~ABSENT)
        self.near = t.put(descriptor(self.base, 0xFFFFF, 0x9A, 4))
        task = t.put(descriptor(self.tss, 0x67, 0x89, 0))
        self.more = [t.put(one) for one in self.descriptors]
        t.load()
        t.enter(self.code, self.data_)
        rng = self.rng
        # Only the pair of ring 0 may be used; the others lead elsewhere, and are not ring 0's.
        for ring, (esp, ss) in enumerate(((self.inner, self.data_),
                                          (self.inner - 0x800, self.udata),
                                          (self.inner - 0x1000, self.data_))):
            self.op(f"mov dword [{self.tss + 4 + 8 * ring:#x}], {esp:#x}",
                    f"mov dword [{self.tss + 8 + 8 * ring:#x}], {ss:#x}")
        self.op(f"mov word [{self.tss + 102:#x}], 0x68")
        # Some lie behind the IDT's limit: they are none, however well they look.
        self.behind = rng.sample(range((self.limit + 1) // 8, 256), 3)
        order = [*range(0, 20), *range(0x30, 0x38), CALL, LEAVE, PROBE, *self.behind]
        rng.shuffle(order)
        self.open_gates = [v for v in range(0x30, 0x38)]
        for vector in order:
            self.gate(vector, INTERRUPT_GATE if vector not in (PROBE,) else TRAP_GATE,
                      user=vector in (3, 4, CALL, LEAVE, PROBE))
        self.op(f"mov word [{self.idt - 8:#x}], {self.limit:#x}",
                f"mov dword [{self.idt - 6:#x}], {self.idt:#x}", f"lidt [{self.idt - 8:#x}]",
                f"mov eax, {task:#x}", "ltr ax", "mov [kernel_esp], esp")

    def gate(self, vector, access, user=False, selector=None, handler=None):
        """An IDT entry. The flags and all registers but ESP are lost."""
        self.stubs.add(vector)
        access |= USER if user else 0
        selector = self.code if selector is None else selector
        self.op(f"mov esi, {vector:#x}", f"mov eax, {handler or f'stub{vector}'}",
                f"mov ecx, {access:#x}", f"mov edx, {selector:#x}", "call set_gate")

    def finish(self):
        """The end of the program; a random exit code."""
        self.end(self.rng.randrange(0, 60))

    def source(self):
        stubs = []
        for vector in sorted(self.stubs):
            stubs += [f"stub{vector}:"]
            if vector not in ERROR_CODES:
                stubs += ["        push dword 0"]
            stubs += [f"        push dword {vector:#x}", "        jmp all_traps"]
        common = COMMON.format(data=self.data_, leave=LEAVE, idt=self.idt,
                               way=RETURN if self.returns else ABANDON)
        self.data = [*self.routines, *stubs, common, *self.data]
        return super().source()

    # -- events -------------------------------------------------------------------------------

    def event(self, depth=0):
        """One fault or software interrupt in ring 0, whose frame is printed."""
        rng, on = self.rng, self.fresh()
        if depth < 2 and rng.random() < 0.25:
            self.op(f"mov dword [hook], {self.routine(depth + 1)}")
        self.op(rng.choice(("stc", "clc", "std", "cmp esp, 5", "xor eax, eax", "test esp, esp")))
        lines, fault = self.trap()
        # Handlers that do not return go on where the outermost event does.
        if fault if self.returns else not depth:
            self.op(f"mov dword [resume], {on}")
        self.op(*lines)
        self.label(on)
        self.op("cld")

    def fresh(self):
        """A name for a label that will stand somewhere."""
        self.count += 1
        return f"on{self.count}"

    def routine(self, depth):
        """A function that a handler calls: another event inside of it; PROBE if depth is 0."""
        name, kept = self.fresh(), self.lines
        self.lines = []
        self.label(name)
        if depth:
            self.event(depth)
        else:
            self.op(f"int {PROBE:#x}")
        self.op("ret")
        self.routines += self.lines
        self.lines = kept
        return name

    def trap(self):
        """(instructions, True if it is a fault that would come again)."""
        rng, vector = self.rng, self.rng.choice(self.open_gates)
        load = rng.choice(("ds", "es", "fs", "gs"))
        beyond = self.tables.entries * 8 + 8 * rng.randrange(1, 400) | rng.randrange(4)
        kind = rng.randrange(12)
        if kind < 4:
            return [f"int {vector:#x}"], False
        return {
            4: (["int3"], False),
            5: (["xor ecx, ecx", "div ecx"], True),
            6: (["ud2"], True),
            7: ([f"mov eax, {beyond:#x}", f"mov {load}, ax"], True),
            8: ([f"mov eax, {self.no_data:#x}", f"mov {load}, ax"], True),
            9: ([f"int {rng.choice(self.behind):#x}"], True),
            10: (["mov al, 127", "add al, 1", "into"], False),
            11: ([f"mov ebx, {self.word() | 1:#x}", "mov edx, ebx", "xor eax, eax", "div ebx"],
                 True),
        }[kind]

    def bad_gates(self):
        """Gates that the CPU refuses, one of each kind, and the vectors they are at."""
        rng = self.rng
        spare = self.open_gates[:]
        rng.shuffle(spare)
        data, absent = self.data_, self.no_code
        for vector, access, selector in (
                (spare[0], 0x0E, self.code), (spare[1], 0x0F, self.code),
                (spare[2], rng.choice((0x80, 0x82, 0x89, 0x8C, 0x9A, 0x92)), self.code),
                (spare[3], 0x8E, 0), (spare[4], 0x8E, data), (spare[5], 0x8F, absent),
                (spare[6], 0x8E, self.tables.entries * 8 + 64),
                (spare[7], rng.choice((0x02, 0x09, 0x1A)), self.code)):
            self.gate(vector, access, selector=selector)
        for vector in rng.sample(spare, 8):
            on = self.fresh()
            self.op(f"mov dword [resume], {on}", f"int {vector:#x}")
            self.label(on)

    def flag(self, value):
        """The guest's IF by sti or cli, shown by PROBE's frame (or by the next event's)."""
        self.op("sti" if value else "cli")

    def play_gates(self):
        """Some gates become trap gates, so that IF stays."""
        for vector in self.open_gates:
            if self.rng.random() < 0.4:
                self.gate(vector, TRAP_GATE)

    def inside(self):
        """The guest's IF in handlers behind both kinds of gates, with IF on and off before."""
        vectors = self.rng.sample(self.open_gates, 4)
        for i, vector in enumerate(vectors):
            on = self.fresh()
            self.gate(vector, (INTERRUPT_GATE, TRAP_GATE)[i % 2])
            self.flag(i < 2)
            self.op(f"mov dword [hook], {self.routine(0)}")
            if not self.returns:
                self.op(f"mov dword [resume], {on}")
            self.op(f"int {vector:#x}")
            self.label(on)

    # -- ring 3 -------------------------------------------------------------------------------

    def probe(self):
        """Print the guest's flags, IF included, without reading them."""
        if not self.returns:
            self.op(f"mov dword [resume], {self.fresh()}")
            name = f"on{self.count}"
            self.op(f"int {PROBE:#x}")
            self.label(name)
        else:
            self.op(f"int {PROBE:#x}")

    def to_user(self, flags, where, keep_data=False):
        """iret to ring 3 at a label."""
        if not keep_data:
            self.op(f"mov eax, {self.udata:#x}", "mov ds, eax", "mov es, eax")
        for segment in ("fs", "gs"):
            self.op(f"mov eax, {self.rng.choice((self.udata, self.data_, 0)):#x}",
                    f"mov {segment}, eax")
        self.op(f"push dword {self.udata:#x}", f"push dword {self.user_stack:#x}",
                f"push dword {flags | 2:#x}", f"push dword {self.ucode:#x}",
                f"push dword {where}", "iret")

    def user(self, body, flags=0, keep_data=False):
        """Run body() as ring-3 code and come back."""
        name, back = self.fresh(), self.fresh()
        self.op(f"mov dword [to_kernel], {back}", "mov [kernel_esp], esp")
        self.to_user(flags, name, keep_data)
        self.label(name)
        for register in ("ds", "es", "fs", "gs"):
            # What iret has left in them.
            self.op(f"mov eax, {register}", f"int {CALL:#x}")
        self.op(f"mov eax, {self.udata:#x}", "mov ds, eax")
        self.user_places.append(self.label(self.fresh()))
        body()
        self.op(f"int {LEAVE:#x}")
        self.label(back)
        self.kernel_places.append(back)
        self.op(f"mov eax, {self.data_:#x}", "mov ds, eax", "mov es, eax")

    def user_event(self, iopl=0):
        """Something in ring 3 that may be a fault there."""
        rng, on = self.rng, self.fresh()
        self.op(f"mov dword [resume], {on}")
        kernel_int = f"int {rng.choice(self.open_gates):#x}"
        fine = [[f"mov eax, {self.word():#x}", f"int {CALL:#x}"], ["int3"],
                [f"int {PROBE:#x}"]]
        faults = [["out 0x80, al"], ["in al, 0x80"], ["cli"], ["sti"], ["hlt"], [kernel_int],
                  [kernel_int], [f"mov eax, {self.data_:#x}", "mov gs, eax"], ["ud2"],
                  ["xor ecx, ecx", "div ecx"], ["mov eax, cr0"], ["clts"],
                  [f"lgdt [{self.idt - 8:#x}]"],
                  [f"mov eax, {self.no_data | 3:#x}", "mov es, eax"], ["mov dr0, eax"]]
        if iopl == 3:
            # Allowed, and then not a fault; the next frame shows what became of IF.
            faults = [["out 0x80, al"], ["in al, 0xed"], ["cli"], ["sti"], ["cli"], ["hlt"],
                      [kernel_int]]
        lines = rng.choice(faults if rng.random() < 0.6 else fine)
        self.churn(2, ("ebx", "edx", "esi", "edi"))
        self.op(*lines)
        self.label(on)
        self.op("mov dword [resume], 0")
        if iopl == 3:
            self.op(f"int {CALL:#x}")

    # -- interrupts ---------------------------------------------------------------------------

    def machine(self, mask):
        """8259s at TIMER and TIMER + 8, the 8254's channel 0 at about 1,000 Hz."""
        script = ((0x20, 0x11), (0x21, TIMER), (0x21, 4), (0x21, 1), (0xA0, 0x11),
                  (0xA1, TIMER + 8), (0xA1, 2), (0xA1, 1), (0xA1, 0xFF), (0x43, 0x34),
                  (0x40, 0xA9), (0x40, 0x04), (0x21, mask))
        for port, value in script:
            self.op(f"mov al, {value:#x}", f"out {port:#x}, al")

    def watch_timer(self):
        """A handler that counts, and notes in `facts` what is wrong with a frame."""
        self.gate(TIMER, INTERRUPT_GATE, handler="timer")
        self.routines += f"""\
timer:
        push eax
        push ds
        mov eax, {self.data_:#x}
        mov ds, eax
        inc dword [ticks]
        test dword [esp + 16], {FLAG_IF:#x}
        jnz timer_if
        or dword [facts], 1
timer_if:
        mov al, 0x20
        out 0x20, al
        pop ds
        pop eax
        iret""".splitlines()


# -- programs --------------------------------------------------------------------------------------


def reflect(rng, count=18):
    """1.6: faults and software interrupts in ring 0, nested; no handler returns."""
    k = Kernel(rng, returns=False)
    k.begin()
    k.inside()
    k.play_gates()
    for _ in range(count):
        if rng.random() < 0.4:
            k.flag(rng.randrange(2))
        k.event()
        if rng.random() < 0.3:
            k.probe()
    nested_task(k)
    k.finish()
    return k


def gates(rng):
    """1.6: gates that the CPU refuses, and what it pushes then."""
    k = Kernel(rng, returns=False)
    k.begin()
    k.flag(rng.randrange(2))
    k.bad_gates()
    for vector in k.behind:
        on = k.fresh()
        k.op(f"mov dword [resume], {on}", f"int {vector:#x}")
        k.label(on)
    cut_gate(k)
    k.finish()
    return k


def cut_gate(k):
    """An IDT that ends inside a gate: that gate is none. Its last bytes are where they were."""
    vector, on = k.rng.choice(k.open_gates), k.fresh()
    k.op(f"mov word [{k.idt - 8:#x}], {vector * 8 + k.rng.randrange(7):#x}", f"lidt [{k.idt - 8:#x}]",
         f"mov dword [resume], {on}", f"int {vector:#x}")
    k.label(on)
    k.op(f"mov word [{k.idt - 8:#x}], {k.limit:#x}", f"lidt [{k.idt - 8:#x}]")


def nested_task(k):
    """NT is set before an `int`: it is pushed, and the handler begins without it, as PROBE's next frame shows."""
    on = k.fresh()
    k.op("pushf", f"or dword [esp], {FLAG_NT:#x}", "popf", f"mov dword [resume], {on}",
         f"int {k.rng.choice(k.open_gates):#x}")
    k.label(on)
    k.probe()


def returns(rng):
    """1.7: the same events as in reflect(), but the handlers return; and irets of other kinds."""
    k = Kernel(rng)
    k.begin()
    k.inside()
    k.play_gates()
    steps = [handmade_iret] * 3 + [short_iret] * 2 + [refused_code] * 3 + [refused_stack] * 4
    steps += [lambda k: k.flag(rng.randrange(2))] * 4
    rng.shuffle(steps)
    for step in steps:
        step(k)
        k.event()
        k.probe()
    k.finish()
    return k


def handmade_iret(k):
    """An iret to a frame that no CPU has pushed: all flags that ring 0 may set but TF and NT."""
    on = k.fresh()
    flags = k.rng.getrandbits(22) & (0x8D5 | 0x400 | FLAG_IF | IOPL | 1 << 18 | 1 << 21) | 2
    k.op(f"push dword {flags:#x}", f"push dword {k.code:#x}", f"push dword {on}", "iret")
    k.label(on)
    k.probe()
    k.op("cld")


def short_iret(k):
    """A 16-bit iret with AC and ID set: it pops 16 bits of each, and what stands above them in EFLAGS stays."""
    near, on = k.fresh(), k.fresh()
    flags = k.rng.getrandbits(16) & (0x8D5 | FLAG_IF) | 2
    k.op("pushf", f"or dword [esp], {HIGH_FLAGS:#x}", "popf", f"push word {flags:#x}",
         f"push word {k.near:#x}", f"mov eax, {near}", f"sub eax, {k.base:#x}", "push ax", "iretw")
    k.label(near)
    k.op(f"jmp {k.code:#x}:{on}")
    k.label(on)
    k.probe()
    k.op("pushf", f"and dword [esp], {~HIGH_FLAGS & 0xFFFFFFFF:#x}", "popf")


def refused_code(k):
    """An iret that ends in a fault at the iret itself: a CS that it may not load."""
    refused(k, (k.rng.choice((0, k.rng.randrange(1, 4), k.data_, k.no_code,
                              k.tables.entries * 8 + 32, k.ucode & ~3)), 2))


def refused_stack(k):
    """The same with a good CS of ring 3, and an SS that is not ring 3's."""
    stack = k.rng.choice((0, 3, k.data_, k.udata & ~3, k.ucode, k.data_ | 3, k.no_data | 3))
    refused(k, (k.ucode, 2, k.user_stack, stack))


def refused(k, words):
    """An iret to `words` (CS, flags, and so on, upwards) that the CPU refuses."""
    on = k.fresh()
    k.op("mov [kernel_esp], esp", f"mov dword [resume], {on}")
    k.op(*(f"push dword {word:#x}" for word in reversed(words)), f"push dword {on}", "iret")
    k.label(on)
    k.op("mov esp, [kernel_esp]")


def ring3(rng, rounds=3, count=6):
    """Into ring 3 and back: faults, calls, refused gates, the TSS's stack, IOPL 0 and 3."""
    k = Kernel(rng)
    k.begin()
    k.play_gates()
    for number in range(rounds):
        iopl = 3 if number == rounds - 1 else 0
        flags = rng.getrandbits(12) & 0x8D5 | rng.randrange(2) << 9 | iopl << 12

        def body(iopl=iopl):
            for _ in range(count):
                k.user_event(iopl)

        k.user(body, flags, keep_data=rng.random() < 0.5)
        k.event()
        k.probe()
    k.finish()
    return k


def calls(rng, count=8):
    """1.6 in ring 3: software interrupts through gates of DPL 0 and 3, and the stack of the TSS."""
    k = Kernel(rng)
    k.begin()
    k.play_gates()

    def body():
        for _ in range(count):
            on = k.fresh()
            k.op(f"mov dword [resume], {on}",
                 rng.choice((f"int {CALL:#x}", f"int {rng.choice(k.open_gates):#x}",
                             f"int {rng.randrange(0, 3)}", "int 13", f"int {PROBE:#x}", "int3")))
            k.label(on)
            k.op("mov dword [resume], 0")
        k.op(f"int {rng.choice(k.open_gates):#x}")  # a fault in any case: nothing resumes behind

    k.user(lambda: _last_fault(k, body))
    k.finish()
    return k


def _last_fault(k, body):
    """The last instruction of body() is a fault: where it goes on must be known."""
    on = k.fresh()
    body()
    last = k.lines.pop()
    k.op(f"mov dword [resume], {on}")
    k.lines.append(last)
    k.label(on)


def timers(rng):
    """1.7: interrupts while the guest computes, sleeps, shields itself, in ring 3, and nested."""
    k = Kernel(rng)
    k.begin()
    k.watch_timer()
    k.machine(0xFE)
    rng = k.rng

    def hash_loop(name, iterations):
        k.op(*(f"mov {r}, {k.word():#x}" for r in ("eax", "ebx", "edx", "esi", "edi", "ebp")))
        k.op(f"mov ecx, {iterations}")
        k.label(name)
        k.op("add eax, ebx", "rol ebx, 5", "xor edx, eax", "adc esi, edx", "push esi",
             "sub edi, esi", "pop ebp", "rcl ebp, 3", "xor eax, ebp", "dec ecx", f"jnz {name}")

    k.op("mov dword [ticks], 0", "sti")
    hash_loop("first", rng.randrange(2_200_000, 2_600_000))
    k.op("cli")
    for register in ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"):
        k.say(register, register)
    _fact(k, "cmp dword [ticks], 2", "ae", "interrupts came while it computed")

    k.op("mov dword [ticks], 0", "mov dword [rounds], 0")
    k.label("sleep")
    k.op("inc dword [rounds]", "sti", "hlt", "cli", f"cmp dword [ticks], {rng.randrange(8, 15)}",
         "jb sleep", "mov eax, [ticks]", "add eax, 3", "cmp [rounds], eax")
    _fact(k, None, "be", "each hlt slept until an interrupt came")

    # An interrupt waits behind this loop: the shadow of sti covers the cli each time.
    k.op(f"mov ecx, {rng.randrange(6_500_000, 7_500_000)}", "loop $", "mov dword [ticks], 0",
         f"mov ecx, {rng.randrange(150, 250)}")
    k.label("shield")
    k.op("sti", "cli", "dec ecx", "jnz shield", "cmp dword [ticks], 0")
    _fact(k, None, "e", "nothing came between sti and cli")
    k.op("mov ecx, 1000", "sti", "loop $", "out 0x80, al", "nop", "cli", "cmp dword [ticks], 1")
    _fact(k, None, "ae", "it came when sti had its way")

    def body():
        hash_loop("second", rng.randrange(2_200_000, 2_600_000))
        k.op(f"int {CALL:#x}")

    k.op("mov dword [ticks], 0")
    k.user(body, FLAG_IF)
    _fact(k, "cmp dword [ticks], 2", "ae", "interrupts came in ring 3")
    _fact(k, "cmp dword [facts], 0", "e", "all of them with IF=1")
    _nested(k)
    k.finish()
    return k


def _fact(k, compare, condition, words):
    """Print the words with `yes:` or `no:` before them."""
    no, on = k.fresh(), k.fresh()
    if compare:
        k.op(compare)
    k.op(f"j{condition} {no}")
    k.print(f"no: {words}\n")
    k.op(f"jmp {on}")
    k.label(no)
    k.print(f"yes: {words}\n")
    k.label(on)


def _nested(k):
    """A timer handler that lets the next interrupt in, to a random depth."""
    depth = k.rng.randrange(3, 7)
    k.gate(TIMER, INTERRUPT_GATE, handler="deep")
    k.routines += f"""\
deep:
        push eax
        mov al, 0x20
        out 0x20, al
        inc dword [ticks]
        mov eax, [ticks]
        call put_hex
        cmp eax, {depth}
        jae deep_enough
        sti                     ; the next one comes in this loop
deep_wait:
        cmp [ticks], eax
        je deep_wait
        cli
        jmp deep_last
deep_enough:
        push eax
        mov al, 0xff
        out 0x21, al
        pop eax
deep_last:
        call put_hex
        pop eax
        iret""".splitlines()
    k.op("mov dword [ticks], 0", "sti", "hlt", "cli", "mov al, 10", "call put_byte")
    k.op("mov al, 0xff", "out 0x21, al")


def one_interrupt(rng):
    """IF goes on and off, with loops between: an interrupt may come only where IF is 1.

    (Program, the label of its timer handler, [(first label, last label)] of the places with IF=1.)
    """
    k = Kernel(rng)
    k.begin()
    k.watch_timer()
    k.machine(0xFE)
    open_places = []
    for number in range(8):
        on = k.rng.random() < 0.5 or number == 3
        k.op("sti" if on else "cli")
        first = k.label(k.fresh())
        k.op(f"mov ecx, {k.rng.randrange(400_000, 700_000)}")
        again = k.label(k.fresh())
        k.op("add eax, ecx", "rol eax, 3", "dec ecx", f"jnz {again}")
        last = k.label(k.fresh())
        k.op("cli")
        if on:
            open_places.append((first, last))
    # All of that may lie between two ticks. The last place is open until some have come, however long that takes.
    k.op("mov dword [ticks], 0", "sti")
    first = k.label(k.fresh())
    k.op("cmp dword [ticks], 3", f"jb {first}")
    open_places.append((first, k.label(k.fresh())))
    k.op("cli", "mov al, 0xff", "out 0x21, al")
    k.print("the end\n")
    k.finish()
    return k, "timer", open_places


# -- the UART --------------------------------------------------------------------------------------

UART_HANDLER = """\
uart:
        pusha
        inc dword [rounds]
uart_more:
        mov edx, 0x3fa
        in al, dx
        test al, 1
        jnz uart_done
        and al, 6
        cmp al, 2
        je uart_send
        mov edx, 0x3fd
        in al, dx
uart_read:
        mov edx, 0x3f8
        in al, dx
        call uart_take
        mov edx, 0x3fd
        in al, dx
        test al, 1
        jnz uart_read
        jmp uart_more
uart_send:
        mov esi, [sending]
        mov al, [esi]
        test al, al
        jz uart_dry
        mov edx, 0x3f8
        out dx, al
        inc dword [sending]
        jmp uart_more
uart_dry:
        mov edx, 0x3f9
        in al, dx
        and al, 0xfd
        out dx, al
        mov dword [sent], 1
        jmp uart_more
uart_done:
        mov al, 0x20
        out 0x20, al
        popa
        iret
uart_take:
        movzx eax, al
        mov ecx, [taken]
        mov [taken_bytes + ecx], al
        inc dword [taken]
        ret
        align 4
sending: dd 0
sent: dd 0
taken: dd 0
taken_bytes: times 256 db 0
"""


def _uart_kernel(rng, fifo):
    k = Kernel(rng)
    k.begin()
    k.watch_timer()
    k.routines += UART_HANDLER.splitlines()
    k.gate(UART, INTERRUPT_GATE, handler="uart")
    for port, value in ((0x3FA, fifo), (0x3FC, 0x0B)):
        k.op(f"mov edx, {port:#x}", f"mov al, {value:#x}", "out dx, al")
    k.machine(0xEE)
    return k


def _sleep_until(k, variable, value, patience):
    """Sleep until a variable is there, or the timer has come too often."""
    again, on = k.fresh(), k.fresh()
    k.op("mov dword [ticks], 0")
    k.label(again)
    k.op(f"cmp dword [{variable}], {value}", f"jae {on}", f"cmp dword [ticks], {patience}",
         f"jae {on}", "sti", "hlt", "cli", f"jmp {again}")
    k.label(on)


def typed(rng, length):
    """Receives `length` characters by interrupts and prints them. Says `go` when it listens."""
    k = _uart_kernel(rng, rng.choice((0x00, 0x01, 0x41, 0x81, 0xC1)))
    # A driver empties the receiver first. What was typed for it must wait until it has received-data interrupts on.
    k.op("mov edx, 0x3f8", *["in al, dx"] * 3)
    k.print("go\n")
    k.op("mov edx, 0x3f9", "mov al, 1", "out dx, al")
    _sleep_until(k, "taken", length, 400)
    k.op("mov edx, 0x3f9", "xor eax, eax", "out dx, al")
    k.op("mov eax, [taken]")
    k.say("eax", "characters")
    k.op("mov esi, taken_bytes", "call put_text", "mov al, 10", "call put_byte")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k


def sent(rng, lines=3):
    """Prints only by transmitter interrupts, in several goes; each must end and not come again."""
    k = _uart_kernel(rng, rng.choice((0x00, 0x01)))
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    for _ in range(lines):
        words = "".join(rng.choice(alphabet) for _ in range(rng.randrange(5, 40))) + "\n"
        # The text is not in the image: each byte is turned by a key that the program adds.
        key = rng.randrange(1, 127)
        source = ", ".join(str(ord(one) ^ key) for one in words)
        name, loop, done = k.fresh(), k.fresh(), k.fresh()
        k.data.append(f"{name}: db {source}, {key}")
        k.op(f"mov esi, {name}")
        k.label(loop)
        k.op(f"xor byte [esi], {key}", f"jz {done}", "inc esi", f"jmp {loop}")
        k.label(done)
        k.op(f"mov dword [sending], {name}", "mov dword [sent], 0", "mov dword [rounds], 0")
        k.op("mov edx, 0x3f9", "mov al, 2", "out dx, al")
        _sleep_until(k, "sent", 1, 200)
        _fact(k, "cmp dword [rounds], 0", "ne", "by interrupts")
        # A line that is still up would bring more of them.
        k.op("mov dword [rounds], 0")
        _sleep_until(k, "rounds", 1, 4)
        _fact(k, "cmp dword [rounds], 0", "e", "and then it is quiet")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k
