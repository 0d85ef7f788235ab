"""Fresh PV guests that open ports, send to them and close them, and what event_channel.h says of that.

A model in Python knows each port of the guest's; it shares nothing with what it judges.
"""

from .pv import SELF, Paravirtual

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


# Its upcalls are counted, and nothing else is looked at: the guest does that itself.
CALLBACK = """\
        jmp begin
upcall: inc qword [came]
        mov byte [shared_page], 0
        mov [kept_rax], rax
        pop rcx
        pop r11
        push 0
        push rcx
        push r11
        push qword [kept_rax]
        mov eax, 23
        syscall
begin:
"""


class Eventful(Paravirtual):
    """A guest with its shared page mapped, a callback that counts, and a line for each operation."""

    def __init__(self, rng, number=1, callback=CALLBACK):
        super().__init__(rng)
        self.model = Model(number)
        self.data += ["align 4096", "shared_page: times 4096 db 0", "align 8", "operand: times 4 dq 0", "came: dq 0", "kept_rax: dq 0",
                      "kept_rcx: dq 0"]
        self.lines += callback.split("\n")
        self.op("mov rbx, [info]", "mov rsi, [rbx + 40]", "or rsi, 7", "mov rdi, shared_page", "mov eax, 14", "mov edx, 2", "syscall")
        self.say("rax", 0)
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
        bit = f"qword [shared_page + 2048 + {8 * (port // 64)}], {port % 64}"
        pends = port in self.model.ports
        if pends:
            self.op(f"bts {bit}")
        self.of_port(CLOSE, port)
        if pends:
            self.op("xor eax, eax", f"bt {bit}", "setc al")
            self.say("rax", 0)

    def look(self, *ports):
        """The words of bits that these ports are in, the floors, and whether an upcall waits."""
        for word in sorted({port // 64 for port in ports}):
            bits = sum(1 << port % 64 for port in self.model.pending if port // 64 == word)
            self.say(f"[shared_page + 2048 + {8 * word}]", bits)
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


def upcalls(rng, count):
    """Ports far apart, masks of both kinds, events: each bit, and how often the callback ran."""
    p = Eventful(rng)
    m, called = p.model, 0
    p.op("mov byte [shared_page + 1], 1", "mov dword [operand], 0x7ff07ff0", "mov ebx, 200")
    p.label("fill")
    p.call(32, ALLOC_UNBOUND, "operand")
    p.op("dec ebx", "jnz fill")
    for _ in range(200):
        m.new(Port(UNBOUND, m.number))
    for port in rng.sample(range(3, 200), 5):
        p.of_port(CLOSE, port)
    mine = []
    for _ in range(6):
        p.ipi()
        mine.append(max(n for n, one in m.ports.items() if one.state == IPI and n not in mine))
    p.look(*mine)

    def runs():
        nonlocal called
        if m.upcall and not m.masked:
            m.upcall, called = 0, called + 1

    def mask(port):
        p.op(f"bts qword [shared_page + 2560 + {8 * (port // 64)}], {port % 64}")
        m.mask.add(port)

    def take(port):
        p.op(f"btr qword [shared_page + 2048 + {8 * (port // 64)}], {port % 64}")
        m.pending.discard(port)

    def floor(port):
        p.op(f"btr qword [shared_page + 8], {port // 64}")
        m.floors.discard(port // 64)

    def all_masked(on):
        p.op(f"mov byte [shared_page + 1], {on}")
        m.masked = on
        p.call(17, 0)  # an event that waits comes behind this
        runs()

    def tried(port, *steps):
        for step in steps:
            step(port)
            runs()
            p.look(port)
        p.say("[came]", called)

    # What has been told is not told again, though its floor is dark: neither by an event more nor by an unmask.
    def send(port):
        p.of_port(SEND, port)

    for port in mine[:3]:
        tried(port, take, floor, send, floor, send, lambda port: p.of_port(UNMASK, port), mask, lambda port: p.of_port(UNMASK, port), floor, take)
    for i in range(count):
        port = rng.choice(mine)
        if i % 2:
            p.of_port(SEND, port)
        else:
            rng.choice((lambda: mask(port), lambda: (mask(port), p.of_port(SEND, port)), lambda: take(port), lambda: floor(port), lambda: (take(port), floor(port)),
                        lambda: p.of_port(UNMASK, port), lambda: (mask(port), take(port), floor(port), p.of_port(SEND, port), p.of_port(UNMASK, port)),
                        lambda: p.of_port(UNMASK, rng.choice((PORTS, PORTS + port, PORTS + 64 * 20, 0xFFFFFFFF))),
                        lambda: all_masked(0), lambda: all_masked(1)))()
        runs()
        p.look(port)
        p.say("[came]", called)
    p.end()
    return p


# Its upcalls take what is pending at this port, and count it.
TAKES = """\
        jmp begin
upcall: mov byte [shared_page], 0
        btr qword [shared_page + 8], 0
        btr qword [shared_page + 2048], 3
        jnc .none
        inc qword [came]
.none:  mov [kept_rax], rax
        pop rcx
        pop r11
        push 0
        push rcx
        push r11
        push qword [kept_rax]
        mov eax, 23
        syscall
begin:
"""
WAYS = {
    "unmasks its upcalls": ("mov byte [shared_page + 1], 1", "mov byte [shared_page + 1], 0", "cmp byte [shared_page], 0", "je {over}",
                            "mov eax, 17", "xor edi, edi", "syscall"),
    "unmasks a port": ("bts qword [shared_page + 2560], 3", "mov dword [operand], 3", "mov eax, 32", "mov edi, 9", "mov rsi, operand",
                       "syscall"),
    "unmasks a port with its upcalls masked": ("mov byte [shared_page + 1], 1", "bts qword [shared_page + 2560], 3", "mov dword [operand], 3",
                                               "mov eax, 32", "mov edi, 9", "mov rsi, operand", "syscall", "mov byte [shared_page + 1], 0",
                                               "cmp byte [shared_page], 0", "je {over}", "mov eax, 17", "xor edi, edi", "syscall"),
    "blocks": ("mov byte [shared_page + 1], 1", "cmp qword [shared_page + 8], 0", "jne {over}", "mov eax, 29", "mov edi, 1", "syscall"),
}
"""What a kernel does to hear of events again: an event at any of these instructions, up to the last one."""

SENDER = """\
send_here:
        pushfq
        push rax
        push rcx
        push rdx
        push rsi
        push rdi
        push r11
        mov dword [event], 3
        mov eax, 32
        mov edi, 4
        mov rsi, event
        syscall
        pop r11
        pop rdi
        pop rsi
        pop rdx
        pop rcx
        pop rax
        popfq
        ret
"""


def ways(rng):
    """A kernel that waits to be sent on one of its WAYS: label `way{i}_{n}` is instruction n, and `over{i}` is behind it."""
    p = Eventful(rng, callback=TAKES)
    p.data += ["event: dq 0"]
    p.ipi()
    p.lines += ["idle:   mov eax, 17", "        xor edi, edi", "        syscall", "        jmp idle"]
    for i, (_, lines) in enumerate(WAYS.items()):
        for n, line in enumerate(lines):
            p.label(f"way{i}_{n}")
            p.op(line.format(over=f"last{i}"))
        p.label(f"last{i}")
        p.op("mov byte [shared_page + 1], 0", "mov eax, 17", "xor edi, edi", "syscall")
        p.label(f"over{i}")
        p.op("jmp idle")
    p.lines += SENDER.split("\n")
    return p


# -- two domains -------------------------------------------------------------------------------------

STATUS_OF, STATUS_DOM, STATUS_PORT = 8, 16, 20
LISTENER, CALLER, NOBODY = 1, 2, 9


class Peer(Eventful):
    """One that waits for another by giving up its turn."""

    def until(self, name, *lines):
        """Again and again, up to when the last of these lines jumps to `{out}`."""
        self.label(f"{name}_again")
        self.op(*(line.format(out=f"{name}_out") for line in lines))
        self.call(29, 0)
        self.op(f"jmp {name}_again")
        self.label(f"{name}_out")

    def until_rung(self, name, port):
        """The port is pending; which is taken."""
        self.until(name, f"btr qword [shared_page + 2048 + {8 * (port // 64)}], {port % 64}", "jc {out}")
        self.op(f"btr qword [shared_page + 8], {port // 64}")
        self.doing = f"an event at port {port}"

    def until_bound(self, name, dom, port):
        """The other one has opened that port."""
        self.op(f"mov dword [operand], {dom}", f"mov dword [operand + 4], {port}")
        self.until(name, "mov eax, 32", f"mov edi, {BIND_INTERDOMAIN}", "mov rsi, operand", "syscall", f"cmp rax, {EINVAL}", "jne {out}")
        err, n = self.model.new(Port(INTERDOMAIN, dom, port))
        self.doing = f"{NAMES[BIND_INTERDOMAIN]}({dom}, {port})"
        self.done(err, n, BIND_INTERDOMAIN)
        self.say(f"[shared_page + 2048 + {8 * (n // 64)}]", 1 << n % 64)
        self.op(f"btr qword [shared_page + 2048 + {8 * (n // 64)}], {n % 64}", f"btr qword [shared_page + 8], {n // 64}")
        return n

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


def peers(rng):
    """(listener, caller, the one behind it, [tables]): the listener's and the caller's at the caller's end; the listener's at the third's."""
    a, b, c = Peer(rng, LISTENER), Peer(rng, CALLER), Peer(rng, CALLER)
    for one in (a, b, c):
        one.op("mov byte [shared_page + 1], 1")
    for _ in range(rng.randrange(1, 5)):
        a.alloc(SELF, rng.choice((5, 7, 8)))
        b.alloc(SELF, rng.choice((5, 7, 8)))
    foreign = max(a.model.ports)
    a.ipi()
    ipi = max(a.model.ports)
    # The caller's port has the number that the other end of the listener's door has later: there the domain alone differs.
    for _ in range(2):
        b.ipi()
    a.alloc(SELF, CALLER)
    door = max(a.model.ports)
    # The caller: in by its door, and by no other.
    mine = b.until_bound("bound", LISTENER, door)
    for dom, port, error in ((LISTENER, door, EINVAL), (LISTENER, foreign, EINVAL), (LISTENER, ipi, EINVAL), (LISTENER, 1, EINVAL),
                             (LISTENER, 4095, EINVAL), (LISTENER, PORTS + door, EINVAL), (LISTENER, 1 << 31, EINVAL),
                             (NOBODY, door, ESRCH), (SELF, mine, EINVAL)):
        b.refused(dom, port, error)
    b.of_port(SEND, mine)
    b.until_rung("answered", mine)
    # Out, while the listener lives, and in again by the same door.
    b.of_port(CLOSE, mine)
    b.until_bound("rebound", LISTENER, door)
    b.of_port(SEND, mine)
    b.until_rung("answered2", mine)
    b.end()
    # The listener: rung, answers, and sees the other one's end.
    a.until_rung("rung", door)
    a.ends(door, INTERDOMAIN, CALLER, mine)
    a.model.ports[door] = Port(INTERDOMAIN, CALLER, mine)
    a.of_port(SEND, door)
    a.until_rung("rung2", door)
    a.ends(door, INTERDOMAIN, CALLER, mine)
    a.of_port(SEND, door)
    tables = [dict(a.model.ports), dict(b.model.ports)]
    a.op(f"mov dword [operand], {SELF}", f"mov dword [operand + 4], {door}")
    # It goes on ringing: whoever is there no longer is none to ring.
    a.until("alone", "mov dword [ring], " + str(door), "mov eax, 32", f"mov edi, {SEND}", "mov rsi, ring", "syscall", "mov eax, 32", f"mov edi, {STATUS}", "mov rsi, operand", "syscall", f"cmp dword [operand + {STATUS_OF}], {UNBOUND}",
            "je {out}")
    a.data.append("ring: dq 0")
    a.model.ports[door] = Port(UNBOUND, CALLER)
    a.ends(door, UNBOUND, CALLER)
    a.of_port(SEND, door)
    a.of_port(CLOSE, door)
    # The same number is another port now, and the dead one's is not that one's end.
    a.alloc(SELF, SELF)
    a.bind_self(door)
    loop = max(a.model.ports)
    a.alloc(SELF, CALLER)
    second = max(a.model.ports)
    a.until_rung("again", second)
    a.ends(door, INTERDOMAIN, LISTENER, loop)
    a.op(f"btr qword [shared_page + 2048 + {8 * (loop // 64)}], {loop % 64}", f"btr qword [shared_page + 8], {loop // 64}")
    a.of_port(SEND, door)
    a.say(f"[shared_page + 2048 + {8 * (loop // 64)}]", 1 << loop % 64)
    # A pair of its own: either end is closed, which rings nobody, and the other one waits for the next.
    a.op(f"btr qword [shared_page + 2048 + {8 * (loop // 64)}], {loop % 64}")
    for this, that in ((loop, door), (door, loop)):
        a.of_port(CLOSE, this)
        a.say(f"[shared_page + 2048 + {8 * (door // 64)}]", 0)
        a.ends(that, UNBOUND, LISTENER)
        a.bind_self(that)
        a.ends(that, INTERDOMAIN, LISTENER, this)
        a.op(f"btr qword [shared_page + 2048 + {8 * (this // 64)}], {this % 64}", f"btr qword [shared_page + 8], {this // 64}")
    theirs = c.until_bound("bound", LISTENER, second)
    c.of_port(SEND, theirs)
    c.end()
    a.model.ports[second] = Port(INTERDOMAIN, CALLER, theirs)
    tables.append(dict(a.model.ports))
    a.end()
    return a, b, c, tables
