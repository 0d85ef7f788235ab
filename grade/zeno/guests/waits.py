"""Fresh guest programs that wait for one interrupt at a time, in all ways: each must come once, and not too late.

The 8254's channel 0 counts down once for each round, so what is due is known to the guest, however fast the machine is:
it reads the 8259's request register to see that an interrupt waits.
"""

from .irqs import fact
from .kernels import FLAG_IF, Kernel

PATIENCE = 3_000_000
"""Rounds of a loop, before the guest says that nothing came."""
SOON = 150
"""Rounds of a loop: no host looks so often by itself."""


class Waits(Kernel):
    """A guest with a timer that fires once for each shot()."""

    def __init__(self, rng):
        super().__init__(rng)
        self.begin()
        self.watch_timer()
        self.machine(0xFE)
        self.op("mov al, 0x30", "out 0x43, al", "mov dword [ticks], 0", "mov dword [rounds], 0")

    def shot(self):
        """One interrupt to come, in 80 to 750 of the timer's microseconds."""
        count = self.rng.randrange(100, 900)
        self.op("cli", "mov al, 0x30", "out 0x43, al", "inc dword [rounds]", f"mov al, {count & 255}", "out 0x40, al",
                f"mov al, {count >> 8}", "out 0x40, al")

    def pending(self):
        """Interrupts off; on when the 8259 has a request."""
        again, on = self.fresh(), self.fresh()
        self.op(f"mov ecx, {PATIENCE // 20}")
        self.label(again)
        self.op("dec ecx", f"jz {on}", "mov al, 0x0a", "out 0x20, al", "in al, 0x20", "test al, 1", f"jz {again}")
        self.label(on)

    def came(self, failed):
        """Go to `failed` unless all that were due have come, and no more."""
        self.op("mov eax, [ticks]", "cmp eax, [rounds]", f"jne {failed}")

    def still(self, failed):
        """... unless the last one has not come yet."""
        self.op("mov eax, [ticks]", "inc eax", "cmp eax, [rounds]", f"jne {failed}")

    def loop_until(self, *body):
        """Runs the body until it has come, or patience ends."""
        again, on = self.fresh(), self.fresh()
        self.op(f"mov ecx, {PATIENCE if not body else 40}")
        self.label(again)
        self.op(*body, "mov eax, [ticks]", "cmp eax, [rounds]", f"je {on}", "dec ecx", f"jnz {again}")
        self.label(on)

    def soon(self):
        """A short loop without an exit."""
        self.op(f"mov ecx, {SOON}", "loop $")


def _sleep(k, _failed):
    k.loop_until("sti", "hlt")


def _late_sleep(k, failed):
    k.pending()
    k.still(failed)
    k.op("sti", "hlt")


def _spin(k, _failed):
    k.op("sti")
    k.loop_until()


def _masked(k, failed):
    k.pending()
    k.still(failed)
    k.op("sti")
    k.soon()


def _popf(k, failed):
    k.pending()
    k.still(failed)
    k.op(f"push dword {FLAG_IF | 2:#x}", "popf")
    k.soon()


def _iret(k, failed):
    on = k.fresh()
    k.pending()
    k.still(failed)
    k.op(f"push dword {FLAG_IF | 2:#x}", f"push dword {k.code:#x}", f"push dword {on}", "iret")
    k.label(on)
    k.soon()


def _controller(k, failed):
    k.op("mov al, 0xff", "out 0x21, al", "sti")
    k.pending()
    k.still(failed)
    k.op("mov al, 0xfe", "out 0x21, al")
    k.soon()


def _ways(k, rounds, ways, words):
    """That many rounds, each one way; then in words whether all was well."""
    failed, end = k.fresh(), k.fresh()
    chosen = [ways[i % len(ways)] for i in range(rounds)]
    k.rng.shuffle(chosen)
    for way in chosen:
        k.shot()
        way(k, failed)
        k.op("cli")
        k.came(failed)
    k.op(f"jmp {end}")
    k.label(failed)
    k.op("cli")
    k.say("[ticks]", "interrupts")
    k.say("[rounds]", "rounds")
    k.label(end)
    k.op("mov eax, [ticks]", "cmp eax, [rounds]")
    fact(k, None, "e", words)
    fact(k, f"cmp dword [rounds], {rounds}", "e", f"there were {rounds} rounds")
    fact(k, "cmp dword [facts], 0", "e", "all of them with IF=1")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()


def hundred(rng):
    """A hundred interrupts: asleep, late to bed, spinning, masked by IF and by the 8259."""
    k = Waits(rng)
    _ways(k, 100, (_sleep, _late_sleep, _spin, _masked, _controller), "each interrupt came, and came once")
    return k


def windows(rng):
    """Interrupts that wait until sti, popf, iret or the 8259 let them in: then they come at once."""
    k = Waits(rng)
    _ways(k, 32, (_masked, _popf, _iret, _controller), "what waited came at once")
    return k


def shadows(rng, rounds=24):
    """What sti keeps out for one instruction, whoever does that instruction, and no longer."""
    k = Waits(rng)
    failed, end = k.fresh(), k.fresh()
    exits = ("out 0x80, al", "in al, 0xed", "mov eax, dr6", "cpuid", "mov ebx, dr7", "nop")
    for number in range(rounds):
        k.shot()
        k.pending()
        k.still(failed)
        for _ in range(k.rng.randrange(1, 6)):
            k.op("sti", "cli")
        k.still(failed)
        one = exits[number % len(exits)]
        k.op("sti", one, "cli")
        k.came(failed)
    k.op(f"jmp {end}")
    k.label(failed)
    k.op("cli")
    k.label(end)
    k.op("mov eax, [ticks]", "cmp eax, [rounds]")
    fact(k, None, "e", "one instruction behind sti was shielded, and no more")
    fact(k, f"cmp dword [rounds], {rounds}", "e", f"there were {rounds} rounds")
    k.op("mov al, 0xff", "out 0x21, al")
    k.finish()
    return k


# -- events that an exit has interrupted -----------------------------------------------------------


def targets(rng, count):
    """A Kernel that prints the frame of whatever comes, with `count` places `place0` ... that exit, IF off and on.

    (Program, the labels.)
    """
    k = Kernel(rng)
    k.begin()
    names = []
    for number in range(count):
        k.churn(3)
        name = f"place{number}"
        names.append(name)
        k.label(name)
        k.op("out 0x80, al")
        k.label(f"behind{number}")
        k.churn(2)
        k.op("int 0x33")
    k.finish()
    return k, names
