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

from .programs import Program, mask_interrupts
from .segments import FLAT_CODE, FLAT_DATA, Tables, descriptor

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
        # FS and GS, too: iret to ring 3 has emptied them, and QEMU alone lets a null selector be used.
        self.op(f"mov eax, {self.data_:#x}", *(f"mov {register}, eax" for register in ("ds", "es", "fs", "gs")))

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
