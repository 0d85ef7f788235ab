"""Fresh guest programs that are interrupted: by a timer, and by a UART (kernels.py says what they are made of)."""

from .kernels import CALL, FLAG_IF, INTERRUPT_GATE, Kernel, TIMER, UART


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
    fact(k, "cmp dword [ticks], 2", "ae", "interrupts came while it computed")

    k.op("mov dword [ticks], 0", "mov dword [rounds], 0")
    k.label("sleep")
    k.op("inc dword [rounds]", "sti", "hlt", "cli", f"cmp dword [ticks], {rng.randrange(8, 15)}",
         "jb sleep", "mov eax, [ticks]", "add eax, 3", "cmp [rounds], eax")
    fact(k, None, "be", "each hlt slept until an interrupt came")

    # An interrupt waits behind this loop: the shadow of sti covers the cli each time.
    k.op(f"mov ecx, {rng.randrange(6_500_000, 7_500_000)}", "loop $", "mov dword [ticks], 0",
         f"mov ecx, {rng.randrange(150, 250)}")
    k.label("shield")
    k.op("sti", "cli", "dec ecx", "jnz shield", "cmp dword [ticks], 0")
    fact(k, None, "e", "nothing came between sti and cli")
    k.op("mov ecx, 1000", "sti", "loop $", "out 0x80, al", "nop", "cli", "cmp dword [ticks], 1")
    fact(k, None, "ae", "it came when sti had its way")

    def body():
        hash_loop("second", rng.randrange(2_200_000, 2_600_000))
        k.op(f"int {CALL:#x}")

    k.op("mov dword [ticks], 0")
    k.user(body, FLAG_IF)
    fact(k, "cmp dword [ticks], 2", "ae", "interrupts came in ring 3")
    fact(k, "cmp dword [facts], 0", "e", "all of them with IF=1")
    _refused(k)
    _nested(k)
    k.finish()
    return k


def _refused(k):
    """An interrupt whose gate the CPU refuses: that fault's handler returns to where the guest was, behind the hlt."""
    behind = k.fresh()  # wherever the frame says that it was
    vector, access = k.rng.choice(((11, INTERRUPT_GATE & 0x7F), (13, 0x8C)))
    k.gate(TIMER, access)
    k.gate(vector, INTERRUPT_GATE, handler="external")
    # The CPU sets EXT in the error code, for no instruction asked for this (SDM 3A 6.13); QEMU 7.2 does not.
    k.routines += ["external:", "        or dword [esp], 1", f"        jmp stub{vector}"]
    k.op(f"mov dword [resume], {behind}", "xor eax, eax", "sti", "hlt")
    k.label(behind)
    k.op("cli", "mov al, 0x20", "out 0x20, al")


def fact(k, compare, condition, words):
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
        fact(k, "cmp dword [rounds], 0", "ne", "by interrupts")
        # A line that is still up would bring more of them.
        k.op("mov dword [rounds], 0")
        _sleep_until(k, "rounds", 1, 4)
        fact(k, "cmp dword [rounds], 0", "e", "and then it is quiet")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k
