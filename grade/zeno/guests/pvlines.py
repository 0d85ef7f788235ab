"""Fresh guests under dom0's name that have the disk's line, by edge and by level, and what physdev.h says of that.

The device is the first IDE channel. A command without data is over at once, and holds its line up until the guest reads
the status. When the line is bound, come, served and closed, in any order, a model of device, controller and port knows.
"""

from .pvevents import Eventful, taken
from .pvports import CLOSE, EEXIST, EINVAL, Port

PIRQ, BIND_PIRQ = 3, 2
IRQ = 14
EOI, IOPL, MAP, UNMAP, SETUP = 12, 6, 13, 14, 21
OTHERS = (0, 1, 4, 7, 15, 16, IRQ + 16, 31, IRQ + 64, IRQ + (1 << 16), IRQ + (1 << 31), 0xFFFFFFFF)
"""Lines that are not the guest's, and numbers that are none."""


class Line:
    """A device's line, as a controller passes it on."""

    def __init__(self, rings):
        self.rings = rings
        self.level, self.up, self.edge, self.open, self.owes = 0, 0, 0, 0, 0
        self.mapped, self.port = 1, 0

    def passes(self):
        """Up to whoever has its port."""
        if self.open and (self.up if self.level else self.edge):
            self.edge, self.open, self.owes = 0, 0, 1
            self.rings(self.port)

    def wants(self):
        """The device. A new command takes the line down before it is up again (ATA, INTRQ)."""
        self.edge = self.up = 1
        self.passes()

    def bind(self, port):
        self.port, self.open, self.owes = port, 1, 0
        self.passes()

    def loses(self):
        self.port, self.open, self.owes = 0, 0, 0

    def eoi(self):
        if self.owes:
            self.open, self.owes = 1, 0
            self.passes()


class Lined(Eventful):
    """A dom0 with one line."""

    def __init__(self, rng):
        super().__init__(rng, 0)
        self.data += ["align 8", "asked: times 5 dq 0"]
        self.line = Line(self.model.rings)
        self.commands, self.ports = 0, []
        """Those that have had the line, the last one behind: it may be closed by now."""

    def physdev(self, op, words, *fields):
        """physdev_op with a structure of these 32-bit fields."""
        self.doing = words
        self.op(*(f"mov dword [asked + {4 * i}], {value & 0xFFFFFFFF:#x}" for i, value in enumerate([*fields, *[0] * (10 - len(fields))])))
        self.call(33, op, "asked")

    def map(self):
        """Its line."""
        self.physdev(MAP, "map_pirq", 0x7FF0, 1, IRQ, 0xFFFFFFFF)
        self.say("rax", 0)
        self.line.mapped = 1

    def unmap(self):
        """Back to the machine; the port stays."""
        self.physdev(UNMAP, "unmap_pirq", 0x7FF0, IRQ)
        self.say("rax", 0 if self.line.mapped else EINVAL)
        if self.line.mapped:
            self.line.loses()
            self.line.mapped = 0

    def trigger(self, level):
        """By level, or by edge; while it is down."""
        self.status()
        self.physdev(SETUP, "setup_gsi", IRQ, level)
        self.say("rax", 0)
        self.line.level = level

    def bind(self):
        """bind_pirq."""
        self.doing = "bind_pirq"
        self.op(f"mov qword [operand], {IRQ}", "mov qword [operand + 8], 0")
        self.call(32, BIND_PIRQ, "operand")
        if not self.line.mapped or self.line.port:
            self.say("rax", EEXIST if self.line.mapped else -1)
            return
        err, port = self.model.new(Port(PIRQ, 0, IRQ))
        self.say("rax", err)
        self.op("mov eax, [operand + 8]")
        self.say("rax", port)
        self.ports.append(port)
        self.line.bind(port)

    def close(self, port):
        """One that has the line, or had it."""
        if port not in self.model.ports:
            return
        self.of_port(CLOSE, port)
        self.ports.remove(port)
        if self.line.port == port:
            self.line.loses()

    def eoi(self, irq=IRQ):
        """PHYSDEVOP_eoi."""
        self.physdev(EOI, f"EOI of {'its line' if irq == IRQ else irq}", irq)
        mine = irq == IRQ and self.line.mapped
        self.say("rax", 0 if mine else EINVAL)
        if mine:
            self.line.eoi()

    def command(self):
        """The device does something that has no data, and says that it has."""
        self.doing, self.commands = "a command of the device's", self.commands + 1
        self.op("mov dx, 0x1f7", "mov al, 0xe1", "out dx, al", "mov dx, 0x3f6")
        self.label(f"busy{self.commands}")
        self.op("in al, dx", "test al, 0x80", f"jnz busy{self.commands}")
        self.line.wants()

    def status(self):
        """The driver reads it: the line goes down."""
        self.doing = "the device's status is read"
        self.op("mov dx, 0x1f7", "in al, dx")
        self.line.up = 0

    def took(self, port):
        """The event is taken."""
        self.doing = f"port {port}'s event is taken"
        self.op(*taken(port), "mov byte [shared_page], 0")
        self.model.pending.discard(port)
        self.model.floors.discard(port // 64)
        self.model.upcall = 0


def lines(rng, count):
    """Commands, status, EOI, other ports: all bits behind each."""
    p = Lined(rng)
    p.op("mov byte [shared_page + 1], 1")
    p.physdev(IOPL, "set_iopl", 1)
    p.say("rax", 0)
    p.op("mov dx, 0x1f6", "mov al, 0xe0", "out dx, al", "mov dx, 0x3f6", "xor eax, eax", "out dx, al")
    p.map()
    p.eoi()
    p.trigger(0)
    p.bind()

    def seen():
        p.look(*p.ports or [1])

    def round_of(level):
        p.trigger(level)
        for step in (p.command, p.command, p.eoi, p.status, p.command, p.eoi, p.eoi, p.status, p.eoi, p.command):
            step()
            seen()

    def of_one(action):
        if p.ports:
            action(rng.choice(p.ports))

    def moved():
        """Its line to another port, whose old one is closed behind that."""
        old = p.line.port
        p.unmap()
        p.eoi()
        p.map()
        p.bind()
        seen()
        if old:
            p.close(old)

    def one(level):
        rng.choice((p.command, p.command, p.status, p.eoi, p.eoi, p.bind, moved, lambda: of_one(p.took), lambda: of_one(p.took),
                    lambda: of_one(p.close), lambda: p.eoi(rng.choice(OTHERS))))()
        seen()

    for level in rng.sample((0, 1), 2):
        round_of(level)
        for port in list(p.ports):
            p.took(port)
        moved()
        p.command()
        p.eoi(IRQ + (16 << rng.randrange(28)))
        seen()
        for _ in range(count):
            one(level)
        # the controller keeps nothing for the next way
        if not p.line.mapped:
            p.map()
        if not p.line.port:
            p.bind()
        p.status()
        p.eoi()
        p.eoi()
        seen()
    for port in list(p.ports):
        p.close(port)
    p.unmap()
    p.eoi()
    p.end()
    return p
