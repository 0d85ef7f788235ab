"""A device model that is made for one run, for the host's ring 3, and its guest.

The model's device is a number: each write and each read changes it, by its port and width. What the guest reads is what the
device does in Python. One port takes its time, one sets an alarm. Zeno's half of the run page is garbage as soon as it is read.
"""

from ..judging import headers
from .programs import Program, assemble_flat

(PAGE, REASON, PORT, SIZE, DATA_OUT, NOW, DATA_IN, DONE, DEADLINE, TIME, RUN, LINE, SEND, CPU, END, BASE) = headers.numbers(("inc/user.h",), (
    "USER_RUN_PAGE", *(f"offsetof(struct run_page, {name})" for name in (
        "reason", "port", "size", "data_out", "now", "data_in", "done", "deadline")), "RUN_TIME", "USER_RUN", "USER_IRQ_LINE", "USER_SEND",
    "USER_CPU", "USER_END", "USER_BASE"))
COM1, OFF = 0x3F8, 0xF4
PORTS, SLOW, ALARM = 16, 8, 12
MASK = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFFFFFF}

SOURCE = """\
        bits 64
        org {base:#x}
image:  db 0x7f, "ELF", 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        dw 2, 62
        dd 1
        dq start, segmt - image, 0
        dd 0
        dw 64, 56, 1, 0, 0, 0
segmt:  dd 1, 5
        dq 0, image, image, bytes, bytes, 4096
start:  mov r15d, {page:#x}
        mov r12d, {seed:#x}
        mov r13, -1
next:   mov eax, [r15 + {reason}]
        movzx ecx, word [r15 + {port}]
        movzx edx, byte [r15 + {width}]
        mov ebx, [r15 + {data_out}]
        mov rbp, [r15 + {now}]
        mov r8, {garbage:#x}
        mov [r15], r8
        mov [r15 + {data_out}], r8d
        xor r14d, r14d
        mov r10d, eax
        cmp eax, {time}
        je time
        inc r14d
        mov r9d, ecx
        sub r9d, {ports:#x}
        cmp r9d, {count}
        jb ours
        cmp ecx, {off:#x}
        je off
        sub ecx, {com1:#x}
        cmp ecx, 8
        jae nobody
        or ecx, r10d
        jnz answer
        mov edi, ebx
        mov eax, {send}
        int 4
        jmp answer
off:    mov edi, ebx
        mov eax, {end}
        int 4
        jmp answer
nobody: xor r14d, r14d
        jmp answer
time:   mov r13, -1
        mov edi, {line}
        xor esi, esi
        mov eax, {irq}
        int 4
        inc esi
        mov eax, {irq}
        int 4
        jmp answer
ours:   cmp r9d, {alarm}
        jne .slow
        mov r13d, ebx
        add r13, rbp
        jmp answer
.slow:  cmp r9d, {slow}
        jne .quick
.spin:  mov eax, {cpu}
        int 4
        cmp eax, {thousandths}
        jb .spin
.quick: shl r9d, 4
        add r9d, edx
        imul r9d, r9d, {factor:#x}
        rol r12d, 5
        add r12d, r9d
        test r10d, r10d
        jnz answer
        xor r12d, ebx
answer: mov [r15 + {data_in}], r12d
        mov [r15 + {done}], r14d
        mov [r15 + {deadline}], r13
        mov eax, {run}
        int 4
        jmp next
bytes   equ $ - image
"""


class Model:
    """The program, and what its device does."""

    def __init__(self, rng):
        self.ports = rng.randrange(0x600, 0xE00, PORTS)
        self.line = rng.choice((1, 3, 4, 5, 6, 7))
        self.value = rng.getrandbits(32)
        self.factor = rng.getrandbits(31) | 1
        self.source = SOURCE.format(
            base=BASE, page=PAGE, reason=REASON, port=PORT, width=SIZE, data_out=DATA_OUT, now=NOW, data_in=DATA_IN, done=DONE,
            deadline=DEADLINE, time=TIME, run=RUN, irq=LINE, send=SEND, cpu=CPU, end=END, com1=COM1, off=OFF, count=PORTS, slow=SLOW,
            alarm=ALARM, ports=self.ports, line=self.line, seed=self.value, factor=self.factor, garbage=rng.getrandbits(62),
            thousandths=rng.randrange(150, 300))

    def assemble(self, folder, name):
        """The ELF file that Zeno loads."""
        return assemble_flat(self.source, folder, name)

    def _turn(self, port, size):
        self.value = (self.value << 5 | self.value >> 27) + ((port << 4) + size) * self.factor & 0xFFFFFFFF

    def write(self, port, size, value):
        """A write by the guest; ports count from the device's first."""
        self._turn(port, size)
        self.value ^= value & MASK[size]

    def read(self, port, size):
        """What a read by the guest gives."""
        self._turn(port, size)
        return self.value & MASK[size]


class Asking(Program):
    """A guest of such a device; `expected` is what it prints."""

    REGISTER = {1: "al", 2: "ax", 4: "eax"}

    def __init__(self, rng, model, accesses, strings, alarms):
        super().__init__(rng)
        self.model, self.expected, self.came = model, [], 0
        vector = rng.randrange(0x20, 0xF8, 8)
        self.vector = vector + model.line
        self.data += ["        align 8", "came: dd 0", "buffer: times 16 dd 0", "table: dw 0x7ff", "        dd gates",
                      "descriptors: dw 23", "        dd flat", "        align 8", "flat: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff",
                      "gates: times 512 dd 0"]
        self.begin(vector)
        todo = [self.access] * accesses + [self.string] * strings + [self.alarm] * alarms + [self.nobody] * 2
        rng.shuffle(todo)
        for one in todo:
            one()
        self.code = rng.randrange(1, 100)
        self.end(code=self.code)
        self.label("handler")
        self.op("push eax", "inc dword [came]", "mov al, 0x20", "out 0x20, al", "pop eax", "iret")

    def begin(self, vector):
        """A gate for the device's line, and the 8259s with only that one open."""
        self.op("cli", "lgdt [descriptors]", "jmp 8:.flat")
        self.label(".flat")
        self.op("mov eax, 16", *(f"mov {segment}, eax" for segment in ("ds", "es", "ss")), "lidt [table]", "mov eax, handler",
                f"mov edi, gates + {self.vector * 8}", "mov [edi], ax", "mov word [edi + 2], cs", "mov word [edi + 4], 0x8e00",
                "shr eax, 16", "mov [edi + 6], ax")
        for port, value in ((0x20, 0x11), (0x21, vector), (0x21, 4), (0x21, 1), (0x21, ~(1 << self.model.line) & 0xFF), (0xA1, 0xFF)):
            self.op(f"mov al, {value}", f"out {port:#x}, al")

    def tell(self, register, name, value):
        self.say(register, name)
        self.expected.append(f"{name}={value:08X}")

    def access(self):
        """One of any width."""
        size = self.rng.choice((1, 2, 4))
        port, value = self.rng.randrange(0, SLOW, size), self.word()
        self.op(f"mov edx, {self.model.ports + port:#x}")
        if self.rng.random() < .6:
            self.op(f"mov eax, {value:#x}", f"out dx, {self.REGISTER[size]}")
            self.model.write(port, size, value)
        else:
            self.op(f"mov eax, {value:#x}", f"in {self.REGISTER[size]}, dx")
            self.tell("eax", "read", value & ~MASK[size] | self.model.read(port, size))

    def string(self):
        """Several at the port that takes its time: the guest's turns end in the middle."""
        size, count, back = self.rng.choice((1, 2, 4)), self.rng.randrange(2, 5), self.rng.random() < .5
        at = (count - 1) * size if back else 0
        places = [at + (-size if back else size) * i for i in range(count)]
        letter, end = {1: "b", 2: "w", 4: "d"}[size], places[-1] + (-size if back else size)
        self.op(f"mov edx, {self.model.ports + SLOW:#x}", f"mov ecx, {count}", "std" if back else "cld")
        if self.rng.random() < .5:
            values = [self.word() for _ in range(count)]
            for place, value in zip(places, values):
                self.op(f"mov dword [buffer + 16], {value:#x}", f"mov {self.REGISTER[size]}, [buffer + 16]",
                        f"mov [buffer + {place}], {self.REGISTER[size]}")
                self.model.write(SLOW, size, value)
            self.op(f"mov esi, buffer + {at}", f"rep outs{letter}", "cld", "sub esi, buffer")
            self.tell("esi", "esi", end & 0xFFFFFFFF)
        else:
            self.op(f"mov edi, buffer + {at}", f"rep ins{letter}", "cld", "sub edi, buffer")
            self.tell("edi", "edi", end & 0xFFFFFFFF)
            for place in places:
                self.op("xor eax, eax", f"mov {self.REGISTER[size]}, [buffer + {place}]")
                self.tell("eax", "string", self.model.read(SLOW, size))
        self.tell("ecx", "ecx", 0)

    def alarm(self):
        """It sleeps until the device wakes it."""
        self.came += 1
        self.op(f"mov edx, {self.model.ports + ALARM:#x}", f"mov eax, {self.rng.choice((0, self.rng.randrange(5_000_000)))}",
                "out dx, eax")
        again, there = self.label(), f"there{self.count}"
        self.op("cli", f"cmp dword [came], {self.came}", f"jae {there}", "sti", "hlt", f"jmp {again}")
        self.label(there)
        self.op("mov eax, [came]")
        self.tell("eax", "came", self.came)

    def nobody(self):
        """A port that the model does not know."""
        size = self.rng.choice((1, 2, 4))
        self.op(f"mov edx, {self.model.ports + 2 * PORTS:#x}", "xor eax, eax", f"in {self.REGISTER[size]}, dx")
        self.tell("eax", "nobody", MASK[size])
