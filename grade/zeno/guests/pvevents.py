"""Fresh PV guests that open ports, send to them and close them; a model knows each port of theirs (pvports)."""

from .pv import SELF, Paravirtual
from .pvports import (ALLOC_UNBOUND, BIND_INTERDOMAIN, BIND_IPI, BIND_VIRQ, CLOSE, CLOSED, DEBUG, EINVAL, ENOSPC, NAMES, OUT, PORTS, SEND,
                      STATUS, TIMER, UNBOUND, UNMASK, VIRQS, Model, Port)

PENDING, MASK = 2048, 2560


def bit(port, words=PENDING):
    """Of a port, as bts and its like name it."""
    return f"qword [shared_page + {words} + {8 * (port // 64)}], {port % 64}"


def floor(port):
    """The bit that says that something pends in this port's word."""
    return f"qword [shared_page + 8], {port // 64}"


def taken(port):
    """Both cleared."""
    return f"btr {bit(port)}", f"btr {floor(port)}"


def callback(*lines):
    """An upcall that does this, and goes back to where the kernel was."""
    return ["        jmp begin", "upcall:", *(f"        {line}" for line in (
        *lines, "mov [kept_rax], rax", "pop rcx", "pop r11", "push 0", "push rcx", "push r11", "push qword [kept_rax]", "mov eax, 23", "syscall")),
            "begin:"]


COUNTED = callback("inc qword [came]", "mov byte [shared_page], 0")
"""Nothing else is looked at: the guest does that itself."""


class Eventful(Paravirtual):
    """A guest with its shared page mapped, a callback that counts, and a line for each operation."""

    def __init__(self, rng, number=1, upcall=COUNTED):
        super().__init__(rng)
        self.model = Model(number)
        self.lines += upcall
        self.map_shared_page()
        self.data += ["align 8", "operand: times 4 dq 0", "came: dq 0", "kept_rax: dq 0"]
        self.call(4, "upcall", 0, 0)

    def event(self, cmd, *words):
        """event_channel_op with these 32-bit words behind each other; the last of dom-first ones is 16 bits and its neighbour."""
        told = [words[0] & 0xFFFF, words[0] >> 16] if cmd == ALLOC_UNBOUND else words[1:] if cmd == STATUS else words
        self.doing = f"{NAMES[cmd]}({', '.join('self' if word == SELF else str(word) for word in told)})"
        self.op(*(f"mov dword [operand + {4 * i}], {word & 0xFFFFFFFF:#x}" for i, word in enumerate([*words, 0, 0, 0])))
        self.call(32, cmd, "operand")

    def done(self, err, port, cmd):
        """What it says, and the port that it names."""
        self.say("rax", err)
        if not err:
            self.op(f"mov eax, [operand + {OUT[cmd]}]")
            self.say("rax", port)

    def alloc(self, dom, remote):
        """alloc_unbound."""
        self.event(ALLOC_UNBOUND, dom | remote << 16)
        self.done(*self.model.alloc_unbound(dom, remote), ALLOC_UNBOUND)

    def ipi(self, vcpu=0):
        """bind_ipi."""
        self.event(BIND_IPI, vcpu)
        self.done(*self.model.bind_ipi(vcpu), BIND_IPI)

    def virq(self, virq):
        """bind_virq."""
        self.event(BIND_VIRQ, virq, 0)
        self.done(*self.model.bind_virq(virq), BIND_VIRQ)

    def bind_self(self, port):
        """bind_interdomain with a port of its own."""
        self.event(BIND_INTERDOMAIN, SELF, port)
        self.done(*self.model.bind_self(port), BIND_INTERDOMAIN)

    def of_port(self, cmd, port):
        """send, close or unmask."""
        self.event(cmd, port)
        self.say("rax", {SEND: self.model.send, CLOSE: self.model.close, UNMASK: self.model.unmask}[cmd](port))

    def status(self, port):
        """Which state it is in."""
        self.event(STATUS, SELF, port)
        self.say("rax", 0 if port < PORTS else EINVAL)
        if port < PORTS:
            self.op("mov eax, [operand + 8]")
            one = self.model.ports.get(port)
            self.say("rax", one.state if one else CLOSED)

    def closed(self, port):
        """Close it with its bit set; whoever opens it next finds it clear."""
        pends = port in self.model.ports
        if pends:
            self.op(f"bts {bit(port)}")
        self.of_port(CLOSE, port)
        if pends:
            self.op("xor eax, eax", f"bt {bit(port)}", "setc al")
            self.say("rax", 0)

    def look(self, *ports):
        """The words of bits that these ports are in, the floors, and whether an upcall waits."""
        for word in sorted({port // 64 for port in ports}):
            bits = sum(1 << port % 64 for port in self.model.pending if port // 64 == word)
            self.say(f"[shared_page + {PENDING} + {8 * word}]", bits)
        self.say("[shared_page + 8]", sum(1 << floor for floor in self.model.floors))
        self.op("movzx eax, byte [shared_page]")
        self.say("rax", self.model.upcall)


def ports(rng, count):
    """Ports of all kinds, opened, sent to and closed, with numbers that are none among them; then all that there are.

    What becomes of an event that was sent, and ports in pairs, are other exercises': here the guest does without.
    """
    p = Eventful(rng)
    m = p.model
    p.op("mov byte [shared_page + 1], 1")

    def some():
        kinds = [*m.ports, *m.ports, rng.randrange(3, 20), 0, 4095, 4096, 4096 + rng.randrange(4096), 1 << 31, 0xFFFFFFFF]
        return rng.choice([n for n in kinds if n not in (1, 2)] or [0])

    doing = [lambda: p.alloc(rng.choice((SELF, m.number, 9)), rng.choice((SELF, SELF, 5))), p.ipi, lambda: p.ipi(rng.choice((0, 1, 1 << 31))),
             lambda: p.virq(rng.choice((TIMER, DEBUG, VIRQS, 1 << 20))), lambda: p.of_port(SEND, some()),
             lambda: p.of_port(SEND, some()), lambda: p.closed(some()), lambda: p.closed(some()), lambda: p.status(some())]
    p.virq(TIMER)
    p.virq(TIMER)
    p.ipi()
    first = max(m.ports)
    p.of_port(SEND, first)
    p.closed(first)
    p.ipi()
    p.alloc(SELF, SELF)
    p.of_port(SEND, max(m.ports))
    p.virq(DEBUG)
    p.of_port(SEND, max(m.ports))
    p.of_port(CLOSE, max(m.ports))
    p.virq(DEBUG)
    for _ in range(count):
        rng.choice(doing)()
    # Zeno's own are the guest's to close, too.
    for port in rng.sample((1, 2), 2):
        p.closed(port)
        p.of_port(SEND, port)
    for _ in range(2):
        p.ipi()
    # All of them, and then those that are free again.
    p.op("mov dword [operand], 0x7ff07ff0", "xor ebx, ebx")
    p.label("more")
    p.call(32, ALLOC_UNBOUND, "operand")
    p.op("inc rbx", "test rax, rax", "jz more", "dec rbx")
    free = PORTS - 1 - len(m.ports)
    for _ in range(free):
        m.new(Port(UNBOUND, m.number))
    p.doing = "alloc_unbound, until it says no"
    p.say("rax", ENOSPC)
    p.say("rbx", free)
    for port in rng.sample(range(64, PORTS), 3) + [PORTS - 1]:
        p.closed(port)
    for _ in range(3):
        p.ipi()
    p.of_port(SEND, PORTS - 1)
    p.ipi()
    p.ipi()
    p.end()
    return p
