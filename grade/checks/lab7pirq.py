"""Lab 7.6: a line of the machine's as a port of dom0's.

Equivalent: a fresh dom0 with the disk's line. Witnessed: the functions by themselves, with lines of which the grader says what
they do.
"""

import struct

from zeno.guests import pvevents, pvlines, pvports
from zeno.judging import headers

from .lab4 import word
from .lab6a import Enough, invoke, prints, watched
from .lab7a import D_PV, O_DOM, O_OTHER, O_STATE, PD_EVENTS, PE_PORTS, P_PAGE, P_SHARED, PORT_SIZE

P_PIRQ, PIRQ_SIZE, PIRQS, MAPPED = headers.numbers(("vmm/pv/events/ports.h",), (
    "offsetof(struct pv_ports, pirq)", "sizeof(struct pv_pirq)", "PV_PIRQS", "offsetof(struct pv_pirq, mapped)"))
STEPS = 90


def disk(t):
    """What a dom0 sees of the disk's line."""
    t.directory.mkdir(parents=True, exist_ok=True)
    image = t.directory / "line.img"
    image.write_bytes(bytes(1 << 16))
    prints(t, pvlines.lines(t.rng, 30), "dom0", "a dom0 that has the disk's line", extra=("-drive", f"file={image},format=raw,if=ide"))


class Lines:
    """A domain's lines, and what must become of them."""

    def __init__(self, t, client, stack, at):
        self.t, self.client, self.stack, self.at = t, client, stack, at
        self.entries = word(client, at + P_PAGE)
        self.mapped, self.open, self.owes, self.port = set(), {}, set(), {}
        """What should be; `told` is what the kernel has done."""
        self.told, self.rung = {}, []
        self.said = "at first"
        # what lies behind the last line looks like one that has come, and many ports are masked, which is no matter of a line's
        client.write(at + P_PIRQ, bytes(PIRQ_SIZE * PIRQS) + b"\1" * PIRQ_SIZE)
        client.write(word(client, at + P_SHARED) + 2560, t.rng.randbytes(64))

    def calls(self, words, name, *args):
        """One of the functions; what it says, and all lines behind it."""
        self.said, self.rung = words, []
        instead = [("pv_line_open", lambda regs: self.told.update({regs["rdi"] & 0xFFFFFFFF: regs["rsi"] & 1})),
                   ("pv_port_raise", lambda regs: self.rung.append((regs["rdi"], regs["rsi"] & 0xFFFFFFFF)))]
        return invoke(self.t, self.client, self.stack, name, self.at, *args, instead=instead)["rax"] & 0xFFFFFFFF

    def right(self, rings=()):
        """Each line, and who has been told."""
        for irq in sorted({*self.told, *self.open}):
            want, got = self.open.get(irq, 0), self.told.get(irq, 0)
            self.t.check(want == got, f"{self.said}: line {irq} {'may not' if want else 'may still'} interrupt", "open" if want else "closed",
                         "open" if got else "closed")
        rings = {(self.at, port) for port in rings}
        self.t.check(set(self.rung) == rings, f"{self.said}: another port hears of it, or none", sorted(rings) or "nobody", self.rung or "nobody")

    def gets(self, irq):
        """It is the domain's."""
        self.client.write(self.at + P_PIRQ + PIRQ_SIZE * irq + MAPPED, b"\1")
        self.mapped.add(irq)

    def loses(self, irq):
        """With its port, which stays."""
        self.calls(f"line {irq} is given back", "pv_pirq_unmap", irq)
        self.mapped.discard(irq)
        self.silent(irq)
        self.right()

    def silent(self, irq):
        self.open[irq] = 0
        self.port.pop(irq, None)
        self.owes.discard(irq)

    def bind(self, irq, port):
        """As bind_pirq does it."""
        entry = bytearray(PORT_SIZE)
        entry[O_STATE] = pvlines.PIRQ
        struct.pack_into("<H", entry, O_DOM, 0)
        struct.pack_into("<H", entry, O_OTHER, irq)
        self.client.write(self.entries + PORT_SIZE * port, bytes(entry))
        self.calls(f"line {irq} has port {port}", "pv_pirq_bind", irq, port)
        self.port[irq], self.open[irq] = port, 1
        self.owes.discard(irq)
        self.right()

    def comes(self, irq):
        """An interrupt, of a line that is open."""
        self.calls(f"line {irq} comes, whose port is {self.port[irq]}", "pv_pirq_came", irq)
        self.open[irq] = 0
        self.owes.add(irq)
        self.right([self.port[irq]])

    def eoi(self, irq):
        """Of any number."""
        words = f"EOI of line {irq}, which {'is not the domain' + chr(39) + 's' if irq not in self.mapped else 'has come' if irq in self.owes else 'has not come'}"
        want = 0 if irq in self.mapped else pvports.EINVAL
        got = self.calls(words, "pv_pirq_eoi", irq)
        self.t.check(got == want & 0xFFFFFFFF, f"{words}: the answer is something else", want, got - (got >> 31 << 32))
        if irq in self.owes:
            self.owes.discard(irq)
            self.open[irq] = 1
        self.right()

    def closes(self, irq, port):
        """A port that has this line, or had it."""
        self.calls(f"port {port} of line {irq} is closed" + ("" if self.port.get(irq) == port else ", which is not its own any more"),
                   "pv_pirq_unbind", irq, port)
        if self.port.get(irq) == port:
            self.silent(irq)
        self.right()


def by_itself(t, client, stack, at):
    """Lines that come, are served, given back and bound anew, in any order."""
    rng, ports = t.rng, iter(range(3, 500))
    lines, some = Lines(t, client, stack, at), t.rng.sample(range(PIRQS), 4)
    old = []
    for irq in some[:3]:
        lines.gets(irq)
        lines.eoi(irq)
        lines.eoi(PIRQS)
        old.append((irq, next(ports)))
        lines.bind(*old[-1])
        lines.eoi(irq)
        lines.comes(irq)
        lines.eoi(irq + PIRQS)
        lines.eoi(irq)
        lines.eoi(irq)
    for step in range(STEPS):
        irq = rng.choice(some)
        kind = rng.choice(("comes", "comes", "eoi", "eoi", "closes", "loses", "moves", "any")) if step else "moves"
        if irq not in lines.mapped:
            lines.eoi(irq)
            lines.gets(irq)
        if irq not in lines.port and kind in ("comes", "moves"):
            old.append((irq, next(ports)))
            lines.bind(*old[-1])
        if kind == "comes" and lines.open[irq]:
            lines.comes(irq)
        elif kind == "eoi":
            lines.eoi(irq)
        elif kind == "any":
            lines.eoi(rng.choice((*pvlines.OTHERS, rng.getrandbits(32), irq + PIRQS, irq + (PIRQS << rng.randrange(28)))))
        elif kind == "loses":
            lines.loses(irq)
        elif kind == "moves":
            before = lines.port[irq]
            if lines.open[irq] and rng.random() < .5:
                lines.comes(irq)
            lines.loses(irq)
            lines.eoi(irq)
            lines.gets(irq)
            old.append((irq, next(ports)))
            lines.bind(*old[-1])
            lines.closes(irq, before)
        elif kind == "closes" and irq in lines.port:
            lines.closes(irq, lines.port[irq])
            lines.eoi(irq)


def lines(t):
    """By themselves, in the ports of a domain that has just ended."""
    program, done = pvevents.Eventful(t.rng), []
    for _ in range(3):
        program.ipi()
    program.end()

    def see(client, regs):
        at = word(client, word(client, regs["rdi"] + D_PV) + PD_EVENTS) + PE_PORTS
        by_itself(t, client, (regs["rsp"] - 0x800) & ~15, at)
        done.append(True)
        raise Enough

    watched(t, program, {"domain_off": see})
    t.check(done, "the guest does not come to its end", "it powers off", "it does not")
