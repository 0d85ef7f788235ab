"""Guests that start their second CPU, more than once, and print what it finds at its first instruction.

All that is printed the manual fixes (SDM 3A, "Processor State After Reset" and "MP Initialization"). The first CPU runs in
protected mode; the second one begins in a page of its own, leaves what it finds there, and waits. Before some start-up IPIs it has had a
turn, in which it took INIT, and before some not: a `pause` ends a turn.
"""

from .programs import Program

ICR_LOW, ICR_HIGH, SVR = 0xFEE00300, 0xFEE00310, 0xFEE000F0
INIT, STARTUP = 0x4500, 0x4600
FOUND = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "ds", "es", "ss", "fs", "gs", "cs", "flags", "cr0", "cr2", "cr3", "cr4", "dr0",
         "dr6", "dr7", "gdt limit", "gdt base", "idt limit", "idt base", "apic base", "clock")
SEGMENTS = FOUND[8:14]
AFTER = {"flags": 2, "cr0": 0x60000010, "dr6": 0xFFFF0FF0, "dr7": 0x400, "gdt limit": 0xFFFF, "idt limit": 0xFFFF, "apic base": 0xFEE00800}
AHEAD = 0x5A5A0000
"""The high half of the time stamp that it spoils its own with: no machine here has run for so long."""
DONE, SPOILT = 1, 2
PATIENCE = 5000
"""Turns that the first CPU gives the second one, to do some hundred instructions."""
PLACE = 0xE00
"""In its page: the sign that it is done, then what it found."""

CODE = """\
        align 16
        bits 16
second:
{found}
        mov ax, cs
        mov ss, ax
        mov sp, 0xd00
        pushfd
        pop dword [cs:{flags}]
{control}
        o32 sgdt [cs:0xd80]
        o32 sidt [cs:0xd88]
        mov ax, [cs:0xd80]
        mov [cs:{gdt_limit}], ax
        mov eax, [cs:0xd82]
        mov [cs:{gdt_base}], eax
        mov ax, [cs:0xd88]
        mov [cs:{idt_limit}], ax
        mov eax, [cs:0xd8a]
        mov [cs:{idt_base}], eax
        mov ecx, 0x1b
        rdmsr
        mov [cs:{apic_base}], eax
        mov ecx, 0x10
        rdmsr
        and edx, 0xffff0000
        mov [cs:{clock}], edx
        mov dword [cs:{place}], {done}
        cmp byte [cs:{place} - 4], 0
        jne spoil
wait2:  hlt
        jmp wait2
spoil:  mov ebp, cs
        shl ebp, 4
        mov eax, 0x12345678
        mov dr0, eax
        mov eax, 0x11
        mov dr7, eax
        mov eax, 0x100000
        mov cr2, eax
        xor eax, eax
        mov edx, {ahead:#x}
        mov ecx, 0x10
        wrmsr
        mov eax, cr4
        or al, 0x10
        mov cr4, eax
        o32 lgdt [cs:descriptors2 - second]
        mov eax, pages
        mov cr3, eax
        mov eax, 0x80000011
        mov cr0, eax
        jmp dword 8:flat2
        align 4
descriptors2: dw 23
        dd flat
second_end:
        bits 32
flat2:  mov eax, 16
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov fs, eax
        mov gs, eax
        mov esi, {words[0]:#x}
        mov edi, {words[1]:#x}
        mov ebx, {words[2]:#x}
        mov ecx, {words[3]:#x}
        mov edx, {words[4]:#x}
        lea esp, [ebp + 0xc00]
        mov dword [ebp + {place}], {spoilt}
        std
        stc
flat2_on:
        hlt
        jmp flat2_on
"""


class Starting(Program):
    """Starts its second CPU `rounds` times; `expected` is what it prints."""

    def __init__(self, rng, rounds):
        super().__init__(rng)
        self.expected = []
        at = {name: PLACE + 4 + 4 * i for i, name in enumerate(FOUND)}
        saved = [f"        mov [cs:{at[name]}], {name}" for name in FOUND[:8]] + [f"        mov [cs:{at[name]}], {name}" for name in SEGMENTS]
        control = [line for name in FOUND[15:22] for line in (f"        mov eax, {name}", f"        mov [cs:{at[name]}], eax")]
        self.data += CODE.format(
            found="\n".join(saved), control="\n".join(control), flags=at["flags"], place=PLACE, done=DONE, spoilt=SPOILT,
            ahead=AHEAD, words=[self.word() for _ in range(5)], **{name.replace(" ", "_"): at[name] for name in FOUND[22:]}).split("\n")
        self.data += ["descriptors: dw 23", "        dd flat", "        align 8", "flat: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
                      "        align 4096", "pages: dd 0x83, 0x400083, 0x800083", "        times 1021 dd 0"]
        self.use_stack(self.base + 0x20000)
        self.op("cli", "lgdt [descriptors]", "jmp 8:.flat")
        self.label(".flat")
        self.op("mov eax, 16", *(f"mov {segment}, eax" for segment in ("ds", "es", "ss")), f"mov dword [{SVR:#x}], 0x1ff")
        pages = rng.sample(range(0x10, 0x90), rounds + 1)
        self.other = pages.pop()
        self.page(self.other, False)
        turns = rng.sample((True, False), 2) + [rng.random() < .5 for _ in range(2, rounds)]
        for i, page in enumerate(pages[:-1]):
            self.start(page, turns[i], AHEAD if i else 0)
            # One that runs takes no notice.
            self.send(STARTUP | self.other)
        self.start(pages[-1], turns[-1], AHEAD, twice=True)
        self.tell(f"mov eax, [{(self.other << 12) + PLACE:#x}]", "elsewhere", 0)
        self.end(code=0)
        self.label("lost")
        self.exit(1)
        self.op("jmp dead_end")

    def tell(self, how, name, value):
        """Print what this instruction leaves in EAX."""
        self.op(how)
        self.say("eax", name.replace(" ", "-"))
        self.expected.append(f"{name.replace(' ', '-')}={value:08X}")

    def send(self, command):
        """To the second CPU."""
        self.op(f"mov dword [{ICR_HIGH:#x}], 1 << 24", f"mov dword [{ICR_LOW:#x}], {command:#x}")

    def page(self, page, spoils):
        """The code, and nothing found yet."""
        self.op("cld", f"mov edi, {page << 12:#x}", "xor eax, eax", "mov ecx, 1024", "rep stosd", "mov esi, second",
                f"mov edi, {page << 12:#x}", "mov ecx, second_end - second", "rep movsb",
                f"mov dword [{(page << 12) + PLACE - 4:#x}], {int(spoils)}")

    def start(self, page, turn, clock, twice=False):
        """INIT, a turn or none, and start-up IPI: what it finds, and then it spoils what it can."""
        after = AFTER | {"cs": page << 8, "clock": clock}
        self.page(page, True)
        self.send(INIT)
        self.op(*["pause"] * (3 if turn else 0))
        self.send(STARTUP | page)
        if twice:
            self.send(STARTUP | self.other)
        self.op(f"mov ecx, {PATIENCE}")
        again = self.label()
        self.op("pause", f"cmp dword [{(page << 12) + PLACE:#x}], {SPOILT}", f"loopne {again}", "jne lost")
        for i, name in enumerate(FOUND):
            at = (page << 12) + PLACE + 4 + 4 * i
            if name == "edx":
                self.op("mov eax, 1", "cpuid")
                self.tell(f"sub eax, [{at:#x}]", name, 0)
            else:
                self.tell(f"mov eax, [{at:#x}]", name, after.get(name, 0))
