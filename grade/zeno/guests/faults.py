"""Fresh guest programs for exceptions, `int n`, gates, `iret` and rings (kernels.py says what they are made of)."""

from .kernels import CALL, FLAG_IF, FLAG_NT, HIGH_FLAGS, IOPL, Kernel, PROBE


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
    absent_gate(k)
    k.finish()
    return k


def cut_gate(k):
    """An IDT that ends inside a gate: that gate is none. Its last bytes are where they were."""
    vector, on = k.rng.choice(k.open_gates), k.fresh()
    k.op(f"mov word [{k.idt - 8:#x}], {vector * 8 + k.rng.randrange(7):#x}", f"lidt [{k.idt - 8:#x}]",
         f"mov dword [resume], {on}", f"int {vector:#x}")
    k.label(on)
    k.op(f"mov word [{k.idt - 8:#x}], {k.limit:#x}", f"lidt [{k.idt - 8:#x}]")


VIDEO = 0xA0000
"""Where a PC's RAM ends, and video memory begins: not the guest's under Zeno, and never gates."""


def absent_gate(k):
    """An IDT that begins in RAM and goes on where there is none."""
    on, first = k.fresh(), k.rng.randrange(0x20, 0x28)
    k.op(f"mov esi, {k.idt:#x}", f"mov edi, {VIDEO - 8 * first:#x}", f"mov ecx, {2 * first}", "cld", "rep movsd",
         f"mov dword [{k.idt - 6:#x}], {VIDEO - 8 * first:#x}", f"lidt [{k.idt - 8:#x}]",
         f"mov dword [resume], {on}", f"int {k.rng.randrange(first, 0x60):#x}")
    k.label(on)
    k.op(f"mov dword [{k.idt - 6:#x}], {k.idt:#x}", f"lidt [{k.idt - 8:#x}]")


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
