"""Guests that ask their local APIC for interrupts at given time stamps, and sleep till then.

What is printed depends on no time: how many came, how many of them too early, and what the register reads.
"""

from .programs import Program

LAPIC = 0xFEE00000
EOI, SVR, TIMER, INITIAL, CURRENT = 0xB0, 0xF0, 0x320, 0x380, 0x390
MSR = 0x6E0
MASKED, PERIODIC, DEADLINE = 1 << 16, 1 << 17, 1 << 18
SLEEPS = "sleeps", "past", "postponed"
"""Kinds that end in an interrupt."""
KINDS = (*SLEEPS, "cancelled", "elsewhere", "masked")
IN_WORDS = {"sleeps": "a deadline that it sleeps for", "past": "a deadline that is past when it is set",
            "postponed": "a deadline that is set once more, and nearer", "cancelled": "a deadline that is cancelled by 0",
            "elsewhere": "a deadline that is set in the timer's other modes",
            "masked": "a deadline that comes while the timer is masked"}


class Deadlines(Program):
    """`kinds` one after the other; `expected` is what it prints. `looks`: it reads the register, too, behind a deadline's end and a
    change of modes, which Bochs 2.7 does not clear."""

    def __init__(self, rng, kinds, looks=True):
        super().__init__(rng)
        self.looks = looks
        self.vector = rng.randrange(0x30, 0xF0)
        self.expected, self.during, self.came = [], [], 0
        self.now = ""
        """What it is at, in words: `during` has it for each line of `expected`."""
        self.data += ["        align 8", "target: dd 0, 0", "came: dd 0", "early: dd 0", "table: dw 0x7ff", "        dd gates",
                      "descriptors: dw 23", "        dd flat", "        align 8", "flat: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
                      "gates: times 512 dd 0"]
        self.begin()
        for i, kind in enumerate(kinds):
            self.now = f"in part {i + 1}, {IN_WORDS[kind]}"
            getattr(self, kind)()
            self.tell("came", "mov eax, [came]", self.came)
        self.now = "at its end"
        self.tell("early", "mov eax, [early]", 0)
        self.end(code=0)
        self.handler()

    def tell(self, name, how, value):
        """Print what these instructions leave in EAX."""
        self.op(how)
        self.say("eax", name)
        self.expected.append(f"{name}={value:08X}")
        self.during.append(self.now)

    def begin(self):
        """A gate, the 8259s quiet, the local APIC on, its timer in its third mode."""
        self.op("lgdt [descriptors]", "jmp 8:.flat")
        self.label(".flat")
        self.op("mov eax, 16", *(f"mov {segment}, eax" for segment in ("ds", "es", "ss")), "lidt [table]", "mov eax, handler",
                f"mov edi, gates + {self.vector * 8}", "mov [edi], ax", "mov word [edi + 2], cs",
                "mov word [edi + 4], 0x8e00", "shr eax, 16", "mov [edi + 6], ax", "mov al, 0xff", "out 0x21, al", "out 0xa1, al",
                f"mov dword [{LAPIC + SVR:#x}], 0x1ff")
        self.mode(DEADLINE)

    def mode(self, bits):
        self.op(f"mov dword [{LAPIC + TIMER:#x}], {bits | self.vector:#x}")

    def handler(self):
        """Counts, and those that come before their time."""
        self.label("handler")
        self.op("push eax", "push edx", "inc dword [came]", "rdtsc", "sub eax, [target]", "sbb edx, [target + 4]", "jnc .on_time",
                "inc dword [early]")
        self.label(".on_time")
        self.op(f"mov dword [{LAPIC + EOI:#x}], 0", "pop edx", "pop eax", "iret")

    def arm(self, ticks):
        """Now and so many ticks: into `target`, and the register."""
        high = ticks >> 32 & 0xFFFFFFFF
        self.op("rdtsc", f"add eax, {ticks & 0xFFFFFFFF:#x}", f"adc edx, {high:#x}", "mov [target], eax", "mov [target + 4], edx",
                f"mov ecx, {MSR:#x}", "wrmsr")

    def soon(self):
        return self.rng.randrange(2_000, 400_000)

    def over(self):
        """A deadline has come to its end."""
        if self.looks:
            self.register(False)

    def register(self, value):
        """What the register reads: nothing, or the target."""
        self.op(f"mov ecx, {MSR:#x}", "rdmsr")
        if value:
            self.op("sub eax, [target]", "sub edx, [target + 4]")
        self.tell("differs" if value else "reads", "or eax, edx", 0)

    def wait(self):
        """Asleep until it comes."""
        self.came += 1
        self.op(f"mov ebx, {self.came}")
        again, there = self.label(), f"there{self.count}"
        self.op("cli", "cmp [came], ebx", f"jae {there}", "sti", "hlt", f"jmp {again}")
        self.label(there)

    def spin(self):
        """Until the target is past."""
        again = self.label()
        self.op("rdtsc", "sub eax, [target]", "sbb edx, [target + 4]", f"jc {again}")

    def listen(self):
        self.op("sti", *["nop"] * 4, "cli")

    def sleeps(self):
        self.op("cli")
        self.arm(self.soon())
        self.wait()
        self.over()

    def past(self):
        self.op("cli")
        self.arm(-self.rng.randrange(1, 1000) & (1 << 64) - 1)
        self.wait()
        self.listen()
        self.over()

    def postponed(self):
        self.op("cli")
        self.arm(self.rng.randrange(1 << 40, 1 << 60))
        self.register(True)
        self.arm(self.soon())
        self.wait()

    def cancelled(self):
        self.op("cli")
        self.arm(self.rng.randrange(1 << 40, 1 << 60))
        self.register(True)
        self.op("xor eax, eax", "xor edx, edx", f"mov ecx, {MSR:#x}", "wrmsr")
        self.register(False)
        self.listen()

    def elsewhere(self):
        """In each of the other modes."""
        self.op("cli")
        for mode in self.rng.sample((0, PERIODIC), 2):
            self.arm(self.rng.randrange(1 << 40, 1 << 60))
            self.mode(mode)
            self.register(False)
            self.arm(self.soon())
            self.register(False)
            self.mode(DEADLINE)
            self.over()
        self.op(f"mov dword [{LAPIC + INITIAL:#x}], 0x1000")
        self.tell("count", f"mov eax, [{LAPIC + CURRENT:#x}]", 0)
        self.spin()
        self.listen()

    def masked(self):
        self.op("cli")
        self.mode(DEADLINE | MASKED)
        self.arm(self.soon())
        self.spin()
        self.mode(DEADLINE)
        self.listen()
        self.over()


def every(rng, count, looks=True):
    """Each kind, and more of those that sleep, in any order."""
    kinds = [*KINDS, *(rng.choice(SLEEPS) for _ in range(count - len(KINDS)))]
    rng.shuffle(kinds)
    return Deadlines(rng, kinds, looks)
