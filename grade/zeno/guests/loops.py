"""Fresh guest programs for a translator whose exits or translations are counted (see mixes.py)."""

from .irqs import fact
from .kernels import CALL, FLAG_IF, INTERRUPT_GATE
from .mixes import Mix, POPPED, begun, ended, repeated
from .mixtures import mixed_page


def long_blocks(rng, count=1500):
    """Straight code without a branch, many times: (program, instructions in the loop)."""
    k = begun(rng)
    k.native = True
    first = len(k.lines)

    def body():
        for _ in range(90):
            lines, vague = k.one()
            while any("rep" in line or "enter" in line or "f" == line[0] for line in lines):
                lines, vague = k.one()
            k.op(*lines)
            if vague:  # behind bts QEMU's OF depends on where its own block began, and setcc reads it
                k.op("cmp edx, esi")
        k.op("cmp eax, ebx")

    repeated(k, count, body)
    return ended(k), count * (len(k.lines) - first) // 2


def page_ends(rng, count=7):
    """Instructions of all lengths over the ends of pages, in a loop."""
    k = begun(rng)

    def body():
        for _ in range(count):
            k.straddle()
            k.plain(1)
            k.fold()

    repeated(k, 3, body)
    return ended(k)


def precise(rng, count=24):
    """Faults in the middle of blocks, of instructions that are copied and of such that are not: every frame."""
    k = begun(rng)
    k.play_gates()
    for _ in range(count):
        k.flags()
        k.fault()
        k.show()
    return ended(k)


def own_gate(rng, vector):
    """`int vector`, which is Zeno's own call-out, as the guest's: in its kernel, in its ring 3, refused and allowed."""
    k = Mix(rng)
    k.limit = 0xF8 * 8 - 1
    k.begin()
    for user in rng.sample((False, True), 2):
        k.gate(vector, INTERRUPT_GATE, user=user)
        k.op(f"mov ebp, {k.scratch:#x}", "cmp eax, ebx")
        for _ in range(3):
            k.plain(2)
            k.op(f"int {vector:#x}")
        on = k.fresh()

        def body(on=on, user=user):
            if not user:
                k.op(f"mov dword [resume], {on}")
            k.op(f"int {vector:#x}")
            k.label(on)
            k.op("mov dword [resume], 0")

        k.user(body, FLAG_IF)
        k.op(f"mov ebp, {k.scratch:#x}")
    return ended(k)


def many_blocks(rng, blocks=8800, rounds=2):
    """
    More blocks than the cache has room for, each a jump to the next one. The way to the first is indirect: what was remembered
    of it must not outlive the cache.
    """
    k = begun(rng)
    first, out, way = k.fresh(), k.fresh(), k.fresh()

    def body():
        k.op(f"jmp [{way}]")
        k.label(out)
        k.fold()

    repeated(k, rounds, body)
    add = ("inc eax", "inc ebx", "dec ecx", "inc edx", "dec esi", "inc edi")
    chain = [f"{first}:"]
    for i in range(blocks):
        chain += [f"        {add[(i + blocks) % 6]}", "        jmp short $ + 2"]
    k.routines += [*chain, f"        jmp {out}", f"{way}: dd {first}"]
    return ended(k)


def long_code(rng, words=68_000):
    """
    Instructions of one byte, more of them than the cache can remember places of, made at run time. What is at address 0 stays
    what it is: the host may not use a map that there is no room for.
    """
    k = begun(rng)
    where = k.base + 0x80000
    k.op("cld", f"mov edi, {where:#x}", f"mov eax, {0x40404040 + 0x01010101 * rng.choice((0, 1, 2, 3, 6, 7)):#x}",
         f"mov ecx, {words}", "rep stosd", "mov byte [edi], 0xc3", "xor edi, edi", f"mov eax, {k.word():#x}", "mov ecx, 64",
         "rep stosd", f"mov eax, {where:#x}", "call eax")
    k.fold()
    k.op(*(line for at in range(0, 256, 4) for line in ("rol ebx, 1", f"xor ebx, [{at:#x}]")))
    return ended(k)


def again(rng, functions=40, rounds=60):
    """A few functions, called over and over: (program, more blocks than it has)."""
    k = begun(rng)
    names = [k.leaf() for _ in range(functions)]
    repeated(k, rounds, lambda: k.op(*(f"call {name}" for name in names)))
    return ended(k), 2 * functions + 500


def flag_loop(rng, rounds=500, groups=16):
    """The four flag instructions in a loop, without a branch between: (program, how many of them run)."""
    k = begun(rng)
    names = ("cli", "sti", "pushfd", "popfd")
    kinds = (["cli", "nop"], ["sti", "nop"], ["pushfd", "lea esp, [esp + 4]", "adc edi, esi"], ["pushfd", "pop eax", "and eax, 0x3ed7", "add edx, eax"],
             ["pushfd", "cli", "inc ebx", "popfd"], ["pushfd", "sti", "dec esi", "popfd"],
             [f"push dword {rng.getrandbits(22) & POPPED & ~0x400 | 2:#x}", "popfd", "adc edx, esi"])
    lines = [line for _ in range(groups) for line in rng.choice(kinds)]
    lines += ["pushfd", "pop ecx", "and ecx, 0xfffeffef", "rol edi, 5", "xor edi, ecx"]
    repeated(k, rounds, lambda: k.op(*lines))
    return ended(k), rounds * sum(line in names for line in lines)


def pending(rng):
    """An interrupt waits while IF is 0, and comes where sti or popf lets it in: behind its shadow, or at once."""
    k = begun(rng)
    k.watch_timer()
    k.machine(0xFE)
    ways = [(("sti", "nop", "cli"), True), (("sti", "inc eax", "inc eax", "cli"), True), (("sti", "cli"), False),
            (("pushfd", "or dword [esp], 0x200", "popfd", "nop", "cli"), True),
            (("pushfd", "and dword [esp], 0xfffffdff", "popfd", "nop", "cli"), False),
            (("sti", "mov eax, cr0", "nop", "cli"), True)]
    rng.shuffle(ways)
    for lines, comes in ways:
        again_, on = k.fresh(), k.fresh()
        k.op("cli", "mov al, 10", "out 0x20, al", "mov ecx, 6000000")
        k.label(again_)
        k.op("in al, 0x20", "test al, 1", f"jnz {on}", f"mov edx, {rng.randrange(200, 300)}", "db 0x4a, 0x75, 0xfd",
             "dec ecx", f"jnz {again_}")
        k.label(on)
        k.op("mov dword [ticks], 0", *lines)
        fact(k, f"cmp dword [ticks], {int(comes)}", "ae" if comes else "e", f"{'it came' if comes else 'nothing came'} in: "
             + ", ".join(lines))
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k


def direct_loop(rng, count=6000):
    """Direct jumps, taken and not, forwards and backwards, loop and jecxz, in a loop: (program, its rounds)."""
    k = begun(rng)
    k.native = True

    def body():
        for _ in range(4):
            rng.choice((k.skip, k.zero, lambda: (k.plain(2), k.skip())))()
        one, two, three = k.fresh(), k.fresh(), k.fresh()
        k.op(f"jmp {one}")
        k.label(two)
        k.op("inc esi", f"jmp short {three}")
        k.label(one)
        k.op("dec edi", f"jmp {two}")
        k.label(three)
        k.op("mov ecx, 3")
        back = k.label(k.fresh())
        k.op("rol eax, 3", f"loop {back}", f"call {three}_next")
        k.label(f"{three}_next")
        k.op("pop edx")

    repeated(k, count, body)
    return ended(k), count


def steps_back(rng, blocks=4000):
    """Each new block jumps back to the one before it, which is translated already: (program, blocks)."""
    k = begun(rng)
    names, third = [k.fresh() for _ in range(blocks)], 0x55555556
    # A third of the additions carries: those in blocks that are new.
    k.op(f"mov ebx, {third:#x}", f"jmp {names[0]}")
    for before, name in zip([names[0], *names], names):
        k.routines += [f"{name}:", f"        xor {rng.choice(('eax', 'ecx', 'esi'))}, {k.word():#x}",
                       f"        add ebx, {third:#x}", f"        jc near {before}"]
    out = k.fresh()
    k.routines.append(f"        jmp {out}")
    k.label(out)
    return ended(k), blocks


def indirect_loop(rng, count=4800):
    """Returns, calls and jumps through registers, memory and tables, each of them in a loop: (program, its rounds)."""
    k = begun(rng)
    k.native = True

    def body():
        for step in rng.sample((k.call, k.table, k.cleaned, k.computed, k.stack_return), 5):
            step()

    repeated(k, count, body)
    return ended(k), count


def colliding(rng, count=200):
    """Targets that are 64 KiB apart, in turns: the low halves of their addresses are the same."""
    k = begun(rng)
    at = rng.randrange(0x100, 0xE00) & ~3
    places = [k.base + 0x40000 + 0x10000 * i + at for i in range(3)]
    for place in places:
        code = b"\x05" + k.word().to_bytes(4, "little") + b"\xd1\xc3\xc3"  # add eax, ...; rol ebx, 1; ret
        k.op(*(f"mov dword [{place + 4 * i:#x}], {int.from_bytes(code[4 * i:4 * i + 4], 'little'):#x}"
               for i in range(2)))
    choice = [rng.randrange(3) for _ in range(7)]

    def body():
        for one in choice:
            k.op(f"mov edx, {places[one]:#x}", "call edx")
        # The return addresses of these two calls do not collide; those targets do.
        k.op(f"push dword {k.fresh()}", f"push dword {places[choice[0]]:#x}", "ret")
        k.label(f"on{k.count}")
        k.fold()

    repeated(k, count, body)
    return ended(k)


def beside(rng, functions=60, rounds=40):
    """One function of many is changed again and again: (program, functions, rounds)."""
    k = begun(rng)
    names = [k.leaf() for _ in range(functions)]
    where = k.fresh_code + rng.randrange(0, 0x800)
    k.op(f"mov byte [{where:#x}], 0xb8", f"mov dword [{where + 1:#x}], {k.word():#x}", f"mov byte [{where + 5:#x}], 0xc3")

    def body():
        k.op(*(f"call {name}" for name in names))
        k.op(f"add dword [{where + 1:#x}], {k.word():#x}", f"call {where:#x}", "add edx, eax")
        k.fold()

    repeated(k, rounds, body)
    return ended(k), functions, rounds


def mixed_loop(rng, count=12_000):
    """A page of code and data, written in each round: (program, its rounds)."""
    k = begun(rng)
    mixed_page(k, count)
    mixed_page(k, count)
    # And now its code changes, when the page is known as one of both kinds.
    counter, at, again_ = k.fresh(), k.fresh(), k.fresh()

    def body():
        k.label(at)
        k.op(f"add eax, {k.word():#x}", f"add [{counter}], eax", "ret")
        k.label(counter)
        k.op(f"dd {k.word():#x}")

    name = k.function(body)
    k.op(f"mov ecx, {count // 2}")
    k.label(again_)
    k.op(f"call {name}", "mov edx, ecx", "and edx, 127", f"cmp edx, {rng.randrange(128)}", "sete dl", "mov ebx, edx",
         "imul ebx, ebx, 0x1357", f"add [{at} + 1], ebx", "dec ecx", f"jnz {again_}")
    _known_before(k)
    return ended(k), 5 * count // 2


def late_calls(rng):
    """New calls of a function whose page has become one of both kinds."""
    k = begun(rng)
    _known_before(k)
    return ended(k)


def _known_before(k):
    """
    A page becomes one of both kinds when a function on it has been called for long: it changes then, and is called again, from
    where it was called before and from new places.
    """
    name, by, counter, again_ = k.fresh(), k.fresh(), k.fresh(), k.fresh()
    k.routines += ["        align 4096", f"{name}:", f"        add eax, {k.word():#x}", "        ret", f"{counter}: dd 0",
                   "        align 4096", f"{by}:", f"        call {name}", "        ret"]
    change = f"add dword [{name} + 1], {k.word():#x}"
    k.op("mov ecx, 2300", *[f"call {by}"] * 3)
    k.label(again_)
    k.op(f"add [{counter}], ecx", "dec ecx", f"jnz {again_}")
    for _ in range(3):
        k.op(change, f"call {by}")
        k.fold()
    for _ in range(6):
        k.op(f"call {name}", "nop", change)
    k.op(f"call {by}")
    k.fold()


def user_loop(rng, count=20_000):
    """A loop in ring 3 that nothing may slow down, with GS and FS in use: (program, label in it, its rounds)."""
    k = begun(rng)
    label = k.fresh()

    def body():
        k.op(f"mov eax, {k.udata:#x}", "mov gs, eax", "mov fs, eax", f"mov ebp, {k.scratch:#x}", f"mov ecx, {count}")
        k.label(label)
        k.op(f"add [gs:{k.scratch + 64:#x}], ecx", f"xor ebx, [fs:{k.scratch + 64:#x}]", "rol ebx, 3", "push ebx",
             "pop edx", "dec ecx", f"jnz {label}", f"int {CALL:#x}", "mov eax, gs", f"int {CALL:#x}")

    for _ in range(2):
        k.user(body, FLAG_IF)
        k.op(f"mov ebp, {k.scratch:#x}")
        k.sensitive()
        k.show()
        break
    return ended(k), label, count
