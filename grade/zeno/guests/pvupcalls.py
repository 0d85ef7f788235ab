"""Fresh PV guests to which events come: at ports far apart, and at each instruction with which a kernel unmasks."""

from .pv import subroutine
from .pvevents import MASK, Eventful, bit, callback, floor, taken
from .pvports import ALLOC_UNBOUND, CLOSE, IPI, PORTS, SEND, UNBOUND, UNMASK, Port


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
        p.op(f"bts {bit(port, MASK)}")
        m.mask.add(port)

    def take(port):
        p.op(f"btr {bit(port)}")
        m.pending.discard(port)

    def darken(port):
        p.op(f"btr {floor(port)}")
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
        tried(port, take, darken, send, darken, send, lambda port: p.of_port(UNMASK, port), mask, lambda port: p.of_port(UNMASK, port), darken, take)
    for i in range(count):
        port = rng.choice(mine)
        if i % 2:
            p.of_port(SEND, port)
        else:
            rng.choice((lambda: mask(port), lambda: (mask(port), p.of_port(SEND, port)), lambda: take(port), lambda: darken(port), lambda: (take(port), darken(port)),
                        lambda: p.of_port(UNMASK, port), lambda: (mask(port), take(port), darken(port), p.of_port(SEND, port), p.of_port(UNMASK, port)),
                        lambda: p.of_port(UNMASK, rng.choice((PORTS, PORTS + port, PORTS + 64 * 20, 0xFFFFFFFF))),
                        lambda: all_masked(0), lambda: all_masked(1)))()
        runs()
        p.look(port)
        p.say("[came]", called)
    p.end()
    return p


TAKEN = callback("mov byte [shared_page], 0", *reversed(taken(3)), "jnc .none", "inc qword [came]", ".none:")
"""What is pending at this port is counted, too."""
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

SENDER = subroutine("send_here", ("rax", "rcx", "rdx", "rsi", "rdi", "r11"), "mov dword [event], 3", "mov eax, 32", "mov edi, 4",
                    "mov rsi, event", "syscall")


def ways(rng):
    """A kernel that waits to be sent on one of its WAYS: label `way{i}_{n}` is instruction n, and `over{i}` is behind it."""
    p = Eventful(rng, upcall=TAKEN)
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
