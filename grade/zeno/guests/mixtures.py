"""Fresh guest programs for a translator: mixed code, code that changes, interrupts in the middle of it (see mixes.py)."""

from .irqs import fact
from .kernels import CALL, FLAG_IF, INTERRUPT_GATE, TIMER
from .mixes import FREE, Mix, POPPED, begun, ended, repeated
from .segments import descriptor


def mix(rng, count=30, rounds=3, kinds=None, above=0):
    """The differential fuzzer's program: everything, several times over, so that what was translated runs again."""
    k = Mix(rng)
    while k.base < above:
        k = Mix(rng)
    k.begin()
    again = k.fresh()
    k.op(f"mov dword [rounds], {rounds}")
    k.label(again)
    choices = kinds or ["plain"] * 4 + ["branches"] * 4 + ["sensitive"] * 3 + ["flags"] * 2 + ["straddle", "fault"]
    straddles = 0
    for _ in range(count):
        kind = rng.choice(choices)
        straddles += kind == "straddle"
        if kind == "straddle" and straddles > 6:
            kind = "plain"
        getattr(k, kind)()
        k.op("call show" if rng.random() < 0.25 else "call fold")
    k.op("dec dword [rounds]", f"jnz {again}")
    k.total()
    k.finish()
    return k


def straight(rng):
    """
    Blocks without anything privileged, and memory by way of each segment register. It lies high: by way of Zeno's own GS its
    addresses, which wrap, are other memory then, and not a hole that the host would emulate.
    """
    return mix(rng, 24, 2, ["plain", "plain", "overridden", "skip", "selectors"], above=0x410000)


def narrow_stack(rng, count=6):
    """
    A stack of 16 bits, which wraps: pushf, popf, call and ret n on it. The upper half of ESP is no part of it, and not looked at:
    an iret to such a stack leaves that as it was (SDM 2A "IRET").
    """
    k = Mix(rng)
    k.descriptors = [descriptor(k.base + 0x80000, 0xFFFF, 0x92, 0)]
    k.begin()
    way, at = k.function(lambda: k.op("inc edi", "ret 8")), k.scratch + 0x3E0
    k.op("mov esi, esp", f"mov eax, {k.more[0]:#x}", "mov ss, ax")
    for sp in rng.sample(range(0, 24, 4), count):
        k.op(f"mov esp, {rng.randrange(1, 0x10000) << 16 | sp:#x}", "push eax", "push edx", f"call {way}",
             f"mov [{at:#x}], sp", f"xor di, [{at:#x}]", "rol edi, 3", "pushfd", "pop ecx", "and ecx, 0xfffeffef",
             "add edi, ecx", f"push dword {rng.getrandbits(12) & POPPED & ~FLAG_IF | 2:#x}", "popfd", "adc edi, 0", "cld",
             f"mov [{at:#x}], sp", f"add di, [{at:#x}]")
    k.op(f"mov eax, {k.data_:#x}", "mov ss, ax", "mov esp, esi")
    return ended(k)


def refused(rng, count=600):
    """Two stores in a loop that the CPU can't do, since there is code on their page: (program, how often they run)."""
    k = begun(rng)
    name, counter = k.function(lambda: k.op(f"add eax, {k.word():#x}", "ret")), k.fresh()
    k.routines += [f"{counter}: dd 0, 0"]
    k.op(f"call {name}")
    repeated(k, count, lambda: k.op(f"mov [{counter}], eax", f"add [{counter} + 4], eax", f"call {name}"))
    k.op(f"mov ebx, [{counter}]", f"mov ecx, [{counter} + 4]")
    return ended(k), 2 * count


def jumps(rng):
    """Direct jumps, calls, returns and loops, indirect ones, over page ends."""
    return mix(rng, 30, 3, ["branches", "branches", "plain", "straddle"])


def callouts(rng):
    """What leaves the cache: the eighteen and all that is privileged, faults among them."""
    return mix(rng, 36, 2, ["sensitive"] * 4 + ["fault", "plain"])


def flag_play(rng):
    """cli, sti, pushf, popf in a random order, each followed by all flags."""
    k = Mix(rng)
    k.begin()
    for _ in range(24):
        k.flags()
        if rng.random() < 0.3:
            k.plain(1)
        k.show()
        if rng.random() < 0.3:
            k.probe()
    k.finish()
    return k


def eighteen(rng):
    """The sensitive instructions one by one, each with what it shows."""
    k = Mix(rng)
    k.begin()
    for _ in range(40):
        k.sensitive()
        k.show()
    k.finish()
    return k


def trips(rng, rounds=3, count=6):
    """Into ring 3 and back: the user's code reads its selectors and flags, and runs on the CPU."""
    k = Mix(rng)
    k.begin()
    for number in range(rounds):
        iopl = 3 if number == rounds - 1 else 0
        flags = rng.getrandbits(12) & 0x8C5 | rng.randrange(2) << 9 | iopl << 12

        def body(iopl=iopl):
            k.op("mov eax, cs", f"int {CALL:#x}", "mov eax, ss", f"int {CALL:#x}")
            for _ in range(count):
                k.churn(3, ("ebx", "edx", "esi", "edi"))
                k.user_event(iopl)

        k.user(body, flags, keep_data=rng.random() < 0.5)
        k.op(f"mov ebp, {k.scratch:#x}")
        for _ in range(3):
            k.flags()
            k.sensitive()
            k.show()
    k.finish()
    return k


# -- code that changes -----------------------------------------------------------------------------


def _next_instruction(k):
    """A write to the instruction behind it."""
    rng, at = k.rng, k.fresh()
    register = rng.choice(("eax", "ebx", "edx", "esi"))
    kind = rng.randrange(4)
    if kind == 0:
        k.op(f"mov dword [{at} + 1], {k.word():#x}")
        k.label(at)
        k.op(f"mov {register}, {k.word():#x}")
    elif kind == 1:
        # inc and dec of registers differ in one bit.
        k.op(f"xor byte [{at}], 8")
        k.label(at)
        k.op(f"inc {register}", "nop")
    elif kind == 2:
        k.op(f"mov eax, {at}", f"mov byte [eax + 1], {rng.randrange(1, 99)}")
        k.label(at)
        k.op(f"mov cl, {rng.randrange(1, 99)}")
    else:
        k.op(f"mov edi, {at} + 2", f"mov eax, {k.word():#x}", "cld", "stosd")
        k.label(at)
        k.op(f"xor ebx, {k.word():#x}", "nop")
    k.show()


def _other_block(k):
    """A function changed between its calls."""
    rng, at, again = k.rng, k.fresh(), k.fresh()

    def body():
        k.plain(1)
        k.label(at)
        k.op(f"mov edx, {k.word():#x}")
        k.plain(1)
        k.op("ret")

    name = k.function(body)
    k.op(f"mov dword [facts + 4], {rng.randrange(3, 9)}")
    k.label(again)
    k.op(f"call {name}", f"add dword [{at} + 1], {k.word():#x}")
    k.fold()
    k.op("dec dword [facts + 4]", f"jnz {again}")
    k.show()


def _jump_moved(k):
    """The target of a jmp rel32 changes between runs: a chain that must not stay."""
    rng, at, again, on = k.rng, k.fresh(), k.fresh(), k.fresh()
    one = k.function(lambda: (k.op(f"add eax, {k.word():#x}"), k.op(f"jmp {on}")))
    two = k.function(lambda: (k.op(f"xor eax, {k.word():#x}"), k.op(f"jmp {on}")))
    k.op("xor eax, eax", f"mov dword [facts + 4], {rng.randrange(4, 9)}")
    k.label(again)
    k.op("jmp $ + 2")
    k.label(at)
    k.op(f"jmp near {one}")
    k.label(on)
    k.op(f"mov ecx, {two} - {one}", "test byte [facts + 4], 1", f"jz {on}_even", "neg ecx")
    k.label(f"{on}_even")
    k.op("mov ebx, [facts + 8]", "xor ebx, 1", "mov [facts + 8], ebx", f"mov ecx, {two} - {at} - 5", f"jnz {on}_set",
         f"mov ecx, {one} - {at} - 5")
    k.label(f"{on}_set")
    k.op(f"mov [{at} + 1], ecx")
    k.fold()
    k.op("dec dword [facts + 4]", f"jnz {again}")
    k.show()


def _copied(k):
    """Functions copied to one place one after the other, and run there."""
    rng, where = k.rng, k.fresh_code + k.rng.randrange(0, 0xF00)
    for _ in range(rng.randrange(2, 5)):
        end = k.fresh()

        def body(end=end):
            k.plain(rng.randrange(1, 4))
            k.op(f"lea eax, [eax + ebx + {k.word():#x}]", "ret")
            k.label(end)

        name = k.function(body)
        k.op("cld", f"mov esi, {name}", f"mov edi, {where:#x}", f"mov ecx, {end} - {name}", "rep movsb",
             f"mov eax, {where:#x}", "call eax")
        k.show()
        if rng.random() < 0.5:
            k.op(f"call {where:#x}")
            k.fold()


def _made(k):
    """Code made byte by byte: mov eax, a number; ret. Another number each time."""
    rng, where, again = k.rng, k.fresh_code + 0x1000 + k.rng.randrange(0, 0xFF0), k.fresh()
    k.op(f"mov dword [facts + 4], {rng.randrange(4, 12)}", f"mov edx, {k.word():#x}")
    k.label(again)
    k.op(f"mov byte [{where:#x}], 0xb8", f"mov [{where + 1:#x}], edx", f"mov byte [{where + 5:#x}], 0xc3",
         f"mov ebx, {where:#x}", "call ebx", "rol edx, 5", "add edx, eax")
    k.fold()
    k.op("dec dword [facts + 4]", f"jnz {again}")
    k.show()


def mixed_page(k, times=None):
    """A counter that lies among code, and is written by it."""
    rng, counter, again = k.rng, k.fresh(), k.fresh()
    name = k.function(lambda: (k.op(f"add [{counter}], ecx", f"adc eax, [{counter}]", "ret"), k.label(counter),
                               k.op(f"dd {k.word():#x}")))
    k.op(f"mov ecx, {times or rng.randrange(30, 60)}")
    k.label(again)
    k.op(f"call {name}", "dec ecx", f"jnz {again}", f"mov ebx, [{counter}]")
    k.show()


def _pushed_code(k):
    """Code written by push, with the stack pointer in the middle of it."""
    where = k.fresh_code + 0x2000 + k.rng.randrange(0, 0xF00, 4)
    code = [0x90, 0xB8, *k.word().to_bytes(4, "little"), 0x40, 0xC3]
    words = [int.from_bytes(bytes(code[i:i + 4]), "little") for i in (0, 4)]
    k.op("mov edx, esp", f"mov esp, {where + 8:#x}", f"push dword {words[1]:#x}", f"push dword {words[0]:#x}",
         "mov esp, edx", f"call {where:#x}")
    k.show()


def _copied_twice(k):
    """A callee of a chained call is changed through another address of a copy's."""
    where = k.fresh_code + 0x3000 + k.rng.randrange(0, 0x800)
    name = k.function(lambda: (k.op(f"add eax, {k.word():#x}", f"xor ebx, {k.word():#x}", "ret")))
    again = k.fresh()
    k.op("cld", f"mov esi, {name}", f"mov edi, {where:#x}", "mov ecx, 16", "rep movsb", "mov ecx, 5")
    k.label(again)
    k.op(f"call {where:#x}", f"rol dword [{where + 1:#x}], 3", f"call {where:#x}", "dec ecx", f"jnz {again}")
    k.show()


CHANGES = (_next_instruction, _other_block, _jump_moved, _copied, _made, mixed_page, _pushed_code, _copied_twice)


def changing(rng, count=12):
    """Self-modifying code of all kinds."""
    k = Mix(rng)
    k.begin()
    steps = [*CHANGES, *(rng.choice(CHANGES) for _ in range(count - len(CHANGES)))]
    rng.shuffle(steps)
    for step in steps:
        step(k)
        k.plain(2)
    k.total()
    k.finish()
    return k


# -- interrupts ------------------------------------------------------------------------------------

PLACES = """\
timer:
        push eax
        push ecx
        push ds
        mov eax, {data:#x}
        mov ds, eax
        inc dword [ticks]
        mov eax, [last]
        mov [last], edi
        sub eax, edi
        cmp eax, [longest]
        jbe timer_soon
        mov [longest], eax
timer_soon:
        test dword [esp + 20], {flag_if:#x}
        jnz timer_if
        or dword [facts], 1
timer_if:
        cmp dword [esp + 16], {code:#x}
        je timer_cs
        or dword [facts], 2
timer_cs:
        mov eax, [esp + 12]
        mov ecx, boundaries
timer_look:
        cmp dword [ecx], 0
        je timer_wrong
        cmp [ecx], eax
        je timer_right
        add ecx, 4
        jmp timer_look
timer_wrong:
        or dword [facts], 4
timer_right:
        mov al, 0x20
        out 0x20, al
        pop ds
        pop ecx
        pop eax
        iret
"""


def interrupted(rng, loops=2):
    """Interrupts in loops full of flags, calls and call-outs: each comes between two instructions."""
    k = Mix(rng)
    k.begin()
    k.gate(TIMER, INTERRUPT_GATE, handler="timer")
    k.routines += PLACES.format(data=k.data_, flag_if=FLAG_IF, code=k.code).splitlines()
    k.machine(0xFE)
    marks = []

    def step(*lines):
        for line in lines:
            marks.append(k.label(k.fresh()))
            k.op(line)

    def leaf():
        step("add esi, eax", "rol esi, 7", "ret")

    def loop(steps, insns, polled, patience=None):
        again, on, rounds = k.fresh(), k.fresh(), insns // (len(steps) + 4) + rng.randrange(9999)
        # The host looks at the guest's devices at its own tick, and that comes every 10 million instructions.
        k.op("mov dword [ticks], 0", *(f"mov {r}, {k.word():#x}" for r in FREE),
             f"mov edi, {rounds}", "mov [last], edi", "mov dword [longest], 0")
        step("sti", "nop")
        k.label(again)
        step(*steps)
        if polled:
            # A call-out costs: not each time. And it is where devices are looked at: in the other loops only the host's tick is.
            step("test edi, 0x3ffff", f"jnz {on}", "mov ecx, cs", "add eax, ecx")
            k.label(on)
        step("dec edi", f"jnz {again}", "cli")
        k.op("and ebx, 0x200")
        for register in FREE:
            k.say(register, register)
        fact(k, "cmp dword [ticks], 1", "ae", "interrupts came")
        if patience:
            end = k.fresh()
            k.op("mov eax, [last]", "cmp eax, [longest]", f"jbe {end}", "mov [longest], eax")
            k.label(end)
            fact(k, f"cmp dword [longest], {patience // (len(steps) + 4)}", "b", "none of them was long in coming")

    for number in range(loops):
        name = k.function(leaf)
        loop([line for _ in range(6) for line in rng.choice((
            ("pushfd", "pop ebx", "and ebx, 0x200", "add eax, ebx"), (f"call {name}",),
            (f"mov ecx, {name}", "call ecx"), ("pushfd", "cli", "inc edx", "popfd"),
            ("cli", "add eax, 3", "sti", "nop"), ("push ecx", "pop ecx"),
            ("imul eax, eax, 77",), ("rcl edx, 3", "xor edx, eax")))], 12_500_000, not number)
    # Hardly any instruction of this one is its own translation: who waits for a tick that meets such a one waits for ten. One
    # round takes ten times as long as on the bare machine, so between two ticks there are a million instructions. Rounds are of
    # two lengths, by chance, so that ticks meet all places.
    name = k.function(lambda: step("ret"))
    steps = [("pushfd", "popfd"), (f"mov ecx, {name}", "call ecx")] * 6
    rng.shuffle(steps)
    on = k.fresh()
    uneven = ("imul eax, eax, 1664525", "add eax, 1013904223", f"js {on}", "pushfd", "popfd", f"{on}: nop")
    loop([*uneven, *(line for lines in steps for line in lines)], 25_000_000, False, patience=2_000_000)
    fact(k, "test dword [facts], 1", "e", "all of them with IF=1")
    fact(k, "test dword [facts], 2", "e", "all of them from the kernel's CS")
    fact(k, "test dword [facts], 4", "e", "each between two instructions of the guest's")
    k.data.append(f"align 4\nlast: dd 0\nlongest: dd 0\nboundaries: dd {', '.join(marks)}, 0")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k
