"""A guest whose events are the first to touch what they need: the IDT's page, the TSS's, and the stack's.

Each event has an IDT and a TSS of its own, in pages of the image that nobody has read before, and a stack in RAM that nobody
has written to. It comes in ring 3, so the CPU reads the one, then the other, and pushes; under nested tables that are filled by
violation each is an exit in the midst of the delivery. What is printed says of each kind how many came, and how many with another
frame or error code than they should have.
"""

from .programs import Program

CODE = 0x90000
"""Where the handlers are copied to: gates are made by the assembler, which knows no linker's addresses."""
STACKS = 0x700000
LAPIC, SVR, ICR = 0xFEE00000, 0xF0, 0x300
KINDS = {
    # name: (vector, instructions, error code or None, how far behind its start rip is, in bytes)
    "divide": (0, ["div ecx"], None, 0),
    "int3": (3, ["int3"], None, 1),
    "overflow": (4, ["into"], None, 1),
    "opcode": (6, ["ud2"], None, 0),
    "not present": (11, ["mov fs, esi"], 0x28, 0),
    "protection": (13, ["mov gs, edi"], 0x1234 & ~3, 0),
    "privileged": (13, ["hlt"], 0, 0),
    "soft": (0x30, ["int 0x30"], None, 2),
    "interrupt": (0x50, None, None, None),
}


class Deliveries(Program):
    """`kinds` one after the other, each with pages of its own."""

    def __init__(self, rng, kinds):
        super().__init__(rng, base=0x200000)
        self.use_stack(0x6F0000)
        self.begin()
        pages = []
        for n, kind in enumerate(kinds):
            self.one(n, kind)
            pages.append(self.page(n, kind))
        self.print("events")
        self.say("ebx", "")
        for name in ("came", "doubled", "wrong"):
            self.op(f"mov eax, [{name}]")
            self.say("eax", name)
        self.end(code=0)
        self.tail(pages)

    def begin(self):
        """Flat segments of both rings, the handlers' copy, the local APIC, and nothing else."""
        self.op("lgdt [table]", "jmp 8:.flat")
        self.label(".flat")
        self.op("mov eax, 16", *(f"mov {one}, eax" for one in ("ds", "es", "ss")), "mov esi, handlers", f"mov edi, {CODE:#x}",
                "mov ecx, handlers_end - handlers", "cld", "rep movsb",
                "mov al, 0xff", "out 0x21, al", "out 0xa1, al", f"mov dword [{LAPIC + SVR:#x}], 0x1ff", "xor ebx, ebx")

    def one(self, n, kind):
        """Into ring 3, where it comes; the handler jumps to what follows."""
        vector, code, error, behind = KINDS[kind]
        flags = 2 if code else 0x202
        self.op(f"mov dword [back], .back{n}", f"mov dword [wanted], .at{n}{f' + {behind}' if behind else ''}",
                f"mov dword [wanted_error], {error or 0:#x}", f"mov dword [how], {(error is not None) + 2 * (code is None)}",
                "mov [kept], esp", f"mov edi, tss_descriptor", f"mov eax, tss{n}", "mov dword [edi], 0x67", "mov [edi + 2], ax",
                "shr eax, 16", "mov [edi + 4], al", "mov byte [edi + 5], 0x89", "mov [edi + 7], ah", "mov byte [edi + 6], 0",
                "mov eax, 0x30", "ltr ax", f"mov dword [idtr + 2], page{n}", "lidt [idtr]")
        if not code:
            self.op(f"mov dword [{LAPIC + ICR:#x}], {0x40000 | vector:#x}")  # to itself: it waits for IF
        self.op("mov eax, 0x23", "mov ds, eax", "mov es, eax", "mov esi, 0x2b", "mov edi, 0x1234", f"mov ecx, {0 if code else 0x40000}",
                "push dword 0x23",
                f"push dword {STACKS - 0x100:#x}", f"push dword {flags | (0x800 if kind == 'overflow' else 0):#x}", "push dword 0x1b",
                f"push dword .at{n}", "iret")
        self.label(f".at{n}")
        self.op(*(code or [f"loop .at{n}"]), "int 0x30")  # behind one that was lost
        self.label(f".back{n}")

    def page(self, n, kind):
        """An IDT of 0x51 gates, all to the handler, in a page, and a TSS in another one."""
        gate = f"dw 0, 8, {0xEE00:#x}, {CODE >> 16}"
        stack = STACKS + 0x1000 * (n + 1) + self.rng.randrange(0x100, 0x1000, 4)
        return (f"        align 4096\npage{n}: times 0x51 {gate}\n        times 0x1000 - ($ - page{n}) db 0\n"
                f"tss{n}: dd 0, {stack:#x}, 0x10\n        times 0x1000 - ($ - tss{n}) db 0")

    def tail(self, pages):
        """The handler, which looks at its frame, and all data."""
        self.data += ["""        align 16
handlers:
        push eax
        mov eax, 0x10
        mov ds, eax
        mov es, eax
        pop eax
        inc dword [came]
        test byte [how], 1
        jz .no_error
        pop eax
        cmp eax, [wanted_error]
        je .no_error
        inc dword [wrong]
.no_error:
        pop eax
        cmp eax, [wanted]
        je .there
        inc dword [wrong]
.there: pop eax
        cmp eax, 0x1b
        je .ring
        inc dword [wrong]
.ring:  mov esp, [kept]
        test byte [how], 2
        jz .listen
        mov dword [0xfee000b0], 0
.listen:
        mov eax, [came]
        sti
        nop
        nop
        nop
        cli
        cmp eax, [came]
        je .once
        inc dword [doubled]
.once:  inc ebx
        mov eax, [back]
        jmp eax
handlers_end:""", "        align 8", "table: dw 0x37", "        dd gdt", "        align 8",
                      "gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00cf73000000ffff",
                      "tss_descriptor: dq 0", "idtr: dw 0x51 * 8 - 1", "        dd 0", "back: dd 0", "wanted: dd 0", "wanted_error: dd 0",
                      "how: dd 0", "kept: dd 0", "came: dd 0", "doubled: dd 0", "wrong: dd 0", *pages, "        align 4096"]
