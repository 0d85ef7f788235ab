"""What event_channel.h says of ports: a model in Python, which shares nothing with what it judges.

The guests whose ports it knows are those of pvevents, pvupcalls and pvpeers.
"""

from .pv import SELF

EINVAL, ENOENT, ESRCH, EEXIST, ENOSPC = -22, -2, -3, -17, -28
CLOSED, UNBOUND, INTERDOMAIN, _, VIRQ, IPI = range(6)
PORTS, ZENO = 4096, 0x7FF2
BIND_INTERDOMAIN, BIND_VIRQ, CLOSE, SEND, STATUS, ALLOC_UNBOUND, BIND_IPI, UNMASK = 0, 1, 3, 4, 5, 6, 7, 9
TIMER, DEBUG, VIRQS = 0, 1, 24
NAMES = {BIND_INTERDOMAIN: "bind_interdomain", BIND_VIRQ: "bind_virq", CLOSE: "close", SEND: "send", STATUS: "status",
         ALLOC_UNBOUND: "alloc_unbound", BIND_IPI: "bind_ipi", UNMASK: "unmask"}
OUT = {ALLOC_UNBOUND: 4, BIND_IPI: 4, BIND_VIRQ: 8, BIND_INTERDOMAIN: 8}
"""Where in its structure an operation answers."""


class Port:
    """One that is open: as the grader knows it."""

    def __init__(self, state, dom=0, other=0):
        self.state, self.dom, self.other = state, dom, other

    def words(self):
        """state, vcpu, dom, other."""
        return self.state, 0, self.dom, self.other


class Model:
    """All ports of a domain, and the bits by which its guest sees them."""

    def __init__(self, number):
        self.number = number
        self.ports = {1: Port(INTERDOMAIN, ZENO, 2), 2: Port(INTERDOMAIN, ZENO, 1)}
        self.pending, self.mask, self.floors, self.upcall, self.masked = set(), set(), set(), 0, 1

    def new(self, port):
        """The lowest one that is closed; an error."""
        n = next((n for n in range(1, PORTS) if n not in self.ports), None)
        if n is None:
            return ENOSPC, 0
        self.ports[n] = port
        return 0, n

    def alloc_unbound(self, dom, remote):
        """As event_channel.h says; no other domain is there."""
        if dom not in (SELF, self.number):
            return ESRCH, 0
        return self.new(Port(UNBOUND, self.number if remote == SELF else remote))

    def bind_ipi(self, vcpu):
        """To itself."""
        return self.new(Port(IPI)) if vcpu == 0 else (ENOENT, 0)

    def bind_virq(self, virq):
        """Each one once."""
        if virq >= VIRQS:
            return EINVAL, 0
        if any(one.state == VIRQ and one.other == virq for one in self.ports.values()):
            return EEXIST, 0
        return self.new(Port(VIRQ, 0, virq))

    def bind_self(self, port):
        """To a port of its own that is open to itself."""
        there = self.ports.get(port)
        if not there or there.state != UNBOUND or there.dom != self.number:
            return EINVAL, 0
        err, n = self.new(Port(INTERDOMAIN, self.number, port))
        if not err:
            there.state, there.other = INTERDOMAIN, n
            self.rings(n)
        return err, n

    def tell(self, port):
        """Up to the vCPU."""
        if port not in self.mask and port // 64 not in self.floors:
            self.floors.add(port // 64)
            self.upcall = 1

    def rings(self, port):
        """An event at a port of its own."""
        if port not in self.pending:
            self.pending.add(port)
            self.tell(port)

    def send(self, port):
        """To whoever listens."""
        one = self.ports.get(port)
        if not one or one.state == VIRQ:
            return EINVAL
        if one.state == IPI:
            self.rings(port)
        elif one.state == INTERDOMAIN and one.dom == self.number:
            self.rings(one.other)
        return 0

    def unmask(self, port):
        """And look again."""
        if port >= PORTS:
            return EINVAL
        if port in self.ports and port in self.mask:
            self.mask.discard(port)
            if port in self.pending:
                self.tell(port)
        return 0

    def close(self, port):
        """With all that is left of it."""
        one = self.ports.pop(port, None)
        if not one:
            return EINVAL
        self.pending.discard(port)
        if one.state == INTERDOMAIN and one.dom == self.number:
            self.ports[one.other] = Port(UNBOUND, self.number)
        return 0
