"""Fresh PV guests that call each other: one that listens, one that calls and ends, and the next one with its number."""

from .pv import SELF
from .pvevents import PENDING, Eventful, bit, taken
from .pvports import BIND_INTERDOMAIN, CLOSE, EINVAL, ESRCH, INTERDOMAIN, NAMES, PORTS, SEND, STATUS, UNBOUND, Port

STATUS_OF, STATUS_DOM, STATUS_PORT = 8, 16, 20
LISTENER, CALLER, NOBODY = 1, 2, 9


class Peer(Eventful):
    """One that waits for another by giving up its turn."""

    def __init__(self, rng, number):
        super().__init__(rng, number)
        self.data.append("ring: dq 0")
        self.op("mov byte [shared_page + 1], 1")

    def newest(self, opened, *args):
        """The port that this opens."""
        before = {*self.model.ports}
        opened(*args)
        return ({*self.model.ports} - before).pop()

    def word_of(self, port):
        """All that pends in this port's word."""
        return f"[shared_page + {PENDING} + {8 * (port // 64)}]"

    def until_rung(self, name, port):
        """The port is pending; which is taken."""
        pending, floor = taken(port)
        self.until(name, pending, "jc {out}")
        self.op(floor)
        self.doing = f"an event at port {port}"

    def until_bound(self, name, dom, port):
        """The other one has opened that port."""
        self.op(f"mov dword [operand], {dom}", f"mov dword [operand + 4], {port}")
        self.until(name, "mov eax, 32", f"mov edi, {BIND_INTERDOMAIN}", "mov rsi, operand", "syscall", f"cmp rax, {EINVAL}", "jne {out}")
        err, n = self.model.new(Port(INTERDOMAIN, dom, port))
        self.doing = f"{NAMES[BIND_INTERDOMAIN]}({dom}, {port})"
        self.done(err, n, BIND_INTERDOMAIN)
        self.say(self.word_of(n), 1 << n % 64)
        self.op(*taken(n))
        return n

    def until_alone(self, name, port):
        """It goes on ringing up to when nobody is at the port's other end: whoever is there no longer is none to ring."""
        self.op(f"mov dword [operand], {SELF}", f"mov dword [operand + 4], {port}")
        self.until(name, f"mov dword [ring], {port}", "mov eax, 32", f"mov edi, {SEND}", "mov rsi, ring", "syscall", "mov eax, 32",
                   f"mov edi, {STATUS}", "mov rsi, operand", "syscall", f"cmp dword [operand + {STATUS_OF}], {UNBOUND}", "je {out}")

    def refused(self, dom, port, error):
        """bind_interdomain."""
        self.event(BIND_INTERDOMAIN, dom, port)
        self.say("rax", error)

    def ends(self, port, state, dom, other=None):
        """What status says."""
        self.event(STATUS, SELF, port)
        self.op(f"mov eax, [operand + {STATUS_OF}]")
        self.say("rax", state)
        self.op(f"movzx eax, word [operand + {STATUS_DOM}]")
        self.say("rax", dom)
        if other is not None:
            self.op(f"mov eax, [operand + {STATUS_PORT}]")
            self.say("rax", other)


def calls(b, hall, door, others):
    """The caller's part: in by the listener's hall and door, and by no other of its ports; its own end. Its two ports."""
    mine = b.until_bound("bound", LISTENER, door)
    kept = b.until_bound("kept", LISTENER, hall)
    for dom, port, error in (*((LISTENER, one, EINVAL) for one in (door, hall, *others, 1, 4095, PORTS + door, 1 << 31)), (NOBODY, door, ESRCH),
                             (SELF, mine, EINVAL)):
        b.refused(dom, port, error)
    b.of_port(SEND, mine)
    b.until_rung("answered", mine)
    # Out, while the listener lives, and in again by the same door.
    b.of_port(CLOSE, mine)
    b.until_bound("rebound", LISTENER, door)
    b.of_port(SEND, mine)
    b.until_rung("answered2", mine)
    b.end()
    return mine, kept


def answers(a, door, mine):
    """The listener's, up to when it has seen that the caller is gone; its ports at the caller's end."""
    for name in ("rung", "rung2"):
        a.until_rung(name, door)
        a.ends(door, INTERDOMAIN, CALLER, mine)
        a.model.ports[door] = Port(INTERDOMAIN, CALLER, mine)
        a.of_port(SEND, door)
    then = dict(a.model.ports)
    a.until_alone("alone", door)
    a.model.ports[door] = Port(UNBOUND, CALLER)
    a.ends(door, UNBOUND, CALLER)
    a.of_port(SEND, door)
    a.of_port(CLOSE, door)
    return then


def pairs(a, loop, door):
    """Of the listener's own ports: either end is closed, which rings nobody, and the other one waits for the next."""
    a.op(f"btr {bit(loop)}")
    for this, that in ((loop, door), (door, loop)):
        a.of_port(CLOSE, this)
        a.say(a.word_of(door), 0)
        a.ends(that, UNBOUND, LISTENER)
        a.bind_self(that)
        a.ends(that, INTERDOMAIN, LISTENER, this)
        a.op(*taken(this))


def succeeds(a, c, second, hall, kept):
    """The next one with the caller's number: in by a port that was opened for it, and not rung by what the dead one had bound. Its port."""
    while max(c.model.ports) < kept:
        c.ipi()
    theirs = c.until_bound("bound", LISTENER, second)
    c.of_port(SEND, theirs)
    a.until_rung("again", second)
    a.of_port(SEND, hall)
    a.model.ports[hall] = Port(UNBOUND, CALLER)
    a.ends(hall, UNBOUND, CALLER)
    a.of_port(SEND, second)
    c.until_rung("answered", theirs)
    c.doing = f"an event that is for a dead one's port {kept}"
    c.op("xor eax, eax", f"bt {bit(kept)}", "setc al")
    c.say("rax", 0)
    c.end()
    a.until_alone("alone2", second)
    return theirs


def peers(rng):
    """(listener, caller, the one behind it, [tables]): the listener's and the caller's at the caller's end; the listener's at the third's."""
    a, b, c = Peer(rng, LISTENER), Peer(rng, CALLER), Peer(rng, CALLER)
    for _ in range(rng.randrange(1, 5)):
        foreign = a.newest(a.alloc, SELF, rng.choice((5, 7, 8)))
        b.alloc(SELF, rng.choice((5, 7, 8)))
    ipi = a.newest(a.ipi)
    # The caller's port has the number that the other end of the listener's door has later: there the domain alone differs.
    for _ in range(3):
        b.ipi()
    # Nobody looks at the hall before the next one with the caller's number is there.
    hall, door = (a.newest(a.alloc, SELF, CALLER) for _ in range(2))
    mine, kept = calls(b, hall, door, (foreign, ipi))
    a.model.ports[hall] = Port(INTERDOMAIN, CALLER, kept)
    tables = [answers(a, door, mine), dict(b.model.ports)]
    # The same number is another port now, and the dead one's is not that one's end.
    a.alloc(SELF, SELF)
    loop = a.newest(a.bind_self, door)
    second = a.newest(a.alloc, SELF, CALLER)
    a.model.ports[second] = Port(INTERDOMAIN, CALLER, succeeds(a, c, second, hall, kept))
    tables.append(dict(a.model.ports))
    a.ends(door, INTERDOMAIN, LISTENER, loop)
    a.op(*taken(loop))
    a.of_port(SEND, door)
    a.say(a.word_of(loop), 1 << loop % 64)
    pairs(a, loop, door)
    a.end()
    return a, b, c, tables
