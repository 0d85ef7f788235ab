"""Lab 4, half A, in both flavours: what the checks of VT-x and of AMD-V share.

The kernel's debugger is Bochs' own there and QEMU's GDB stub here: the client is the same.
"""

import re
import struct

from checks.lab0 import KB, PAGE, outputs
from zeno.judging import headers

from .guests import LIMITS

GPRS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
KEPT = ("rbx", "rbp", "r12", "r13", "r14", "r15")
"""Those that a C function finds as they were."""
CPUID, RDMSR, WRMSR = b"\x0f\xa2", b"\x0f\x32", b"\x0f\x30"
CODE_AT, CPUID_AT = 0x200000, 0x200007
"""Where the guest of `launch` and of `first` begins, and its cpuid."""
FLAG_IF = 1 << 9
STEPS, STOPS = 3000, 20
"""When the debugger gives up."""
RAM = 128 << 20
FRAME_HOST, FRAME_SIZE, FRAME_REFS, FRAME_TYPE = headers.numbers(("kern/frame.h",), (
    "FRAME_HOST", "sizeof(struct frame)", "offsetof(struct frame, refs)", "offsetof(struct frame, type)"))


# -- the kernel, seen by the debugger ----------------------------------------------------------------


def witness(t, commands, points, **more):
    """Boot stopped, with a function at each address; then run to the end. (Run, {address: hits})."""
    return t.witness("-- " + "; ".join([*commands, "off"]), points, limits=LIMITS, **more)


def said(run, command, number=0):
    """The lines that a command printed."""
    found = [lines for name, lines in outputs(run) if name == command]
    return "\n".join(found[number]).strip() if number < len(found) else ""


def word(client, address):
    """Eight bytes of the kernel's."""
    return struct.unpack("<Q", client.read(address, 8))[0]


def line_at(client, address):
    """The text that a pointer of the kernel's leads to."""
    raw = client.read(address, 200) if address >= KB else b""
    return raw.split(b"\0")[0].decode("latin-1") if b"\0" in raw else ""


def to_return(client, regs, stopped=None):
    """At a function's first instruction: run it, to where it returns. False: it never does. `stopped` sees other stops."""
    back = word(client, regs["rsp"])
    client.insert(back)
    for _ in range(STOPS):
        client.cont()
        if client.regs()["rip"] == back:
            break
        if stopped:
            stopped(client)
    client.remove(back)
    return client.regs()["rip"] == back


def return_with(client, regs, value):
    """At a function's first instruction: it returns this, and does nothing."""
    client.set_reg("rax", value)
    client.set_reg("rip", word(client, regs["rsp"]))
    client.set_reg("rsp", regs["rsp"] + 8)


def frame_of(t, client, page):
    """(type, references) of the frame of a page of RAM."""
    record = client.read(word(client, t.symbol("frames")) + page // PAGE * FRAME_SIZE, FRAME_SIZE)
    return record[FRAME_TYPE], struct.unpack_from("<I", record, FRAME_REFS)[0]


def find_code(t, code, low):
    """Where an instruction stands in the 1024 bytes from an address of the kernel's on."""
    found = []
    for one in t.symbols.segments:
        start = low - one.va
        if 0 <= start < len(one.data):
            found += [one.va + m.start() for m in re.finditer(re.escape(code), one.data[:start + 0x400]) if m.start() >= start]
    return found


STOP = re.compile(r"^\(0\) \[0x[0-9a-f]+\] [0-9a-f]+:([0-9a-f]+) .*; ([0-9a-f]+)$", re.M)
"""What Bochs' debugger says where it stops: the address, the instruction's bytes."""


def _vmcs_move(code):
    """VMREAD or VMWRITE of a register: (0x78 or 0x79, where the field's number is, the register); None: neither of them."""
    rex, code = (code[0], code[1:]) if 0x40 <= code[0] <= 0x4F else (0, code)
    if code[:2] not in (b"\x0f\x78", b"\x0f\x79") or code[2] >> 6 != 3:
        return None
    return code[1], GPRS[code[2] >> 3 & 7 | (rex & 4) << 1], GPRS[code[2] & 7 | (rex & 1) << 3]


def answer_vmreads(client, regs, answers, written=None, instead=None):
    """At a function's first instruction: run it to its end, instruction by instruction; its VMREADs say this. {field: value}

    What its VMWRITEs write comes into `written`; of a field in `instead` the CPU gets another value.
    """
    back, stack = word(client, regs["rsp"]), regs["rsp"]
    client.step()
    for _ in range(STEPS):
        at, code = STOP.search(client.said).groups()
        if int(at, 16) == back and client.regs()["rsp"] > stack:
            return True
        move = _vmcs_move(bytes.fromhex(code))
        if not move:
            client.step()
            continue
        kind, number, name = move
        now = client.regs()
        vmcs_field = now[number]
        if kind == 0x78:
            client.step()
            if vmcs_field in answers:
                client.set_reg(name, answers[vmcs_field])
            continue
        if written is not None:
            written[vmcs_field] = now[name]
        if vmcs_field in (instead or {}):
            client.set_reg(name, instead[vmcs_field])
        client.step()
        client.set_reg(name, now[name])
    return False


# -- verdicts ----------------------------------------------------------------------------------------


def lines_of_their_own(t, answers, function, what, either=None):
    """Of made-up CPUs: one that lacks nothing gets NULL, each other one a line that says what.

    `answers` has (why, line), why None: it lacks nothing. `either` has {why: others whose line is right, too}.
    """
    lines, either = {}, either or {}
    for why, line in answers:
        if why is None:
            t.check(line is None, f"on a CPU that has all, {function}() says that it has not: {line}", "NULL", line)
            continue
        t.check(line is not None, f"a CPU that has {why} is taken for a good one" if why != "locked"
                else f"a CPU whose firmware has locked {what} is taken for a good one", "a line", "NULL")
        t.check(line.isprintable() and 8 <= len(line) <= 160, f"what {function}() says of a CPU that has {why} is no "
                "line for a person", "one printable line", repr(line))
        lines.setdefault(why, set()).add(line)
    for why, some in lines.items():
        others = [other for other, told in lines.items() if other not in (why, *either.get(why, ())) and told & some]
        t.check(not others, f"a CPU with {why} and one with {', '.join(others)} get the same line", "different lines",
                "\n".join(sorted(some)))


def host_kept(t, before, after, function):
    """What C wants back of a function of assembly: registers as at its first instruction, behind its return."""
    t.check(after["rsp"] == before["rsp"] + 8, f"the host's rsp is another one behind {function}()",
            f"{before['rsp'] + 8:#x}", f"{after['rsp']:#x}")
    for name in KEPT:
        t.check(after[name] == before[name], f"the host's {name} is another one behind {function}()", f"{before[name]:#x}",
                f"{after[name]:#x}")
    t.check(not after["eflags"] & FLAG_IF, f"interrupts are on behind {function}()", "IF=0, as it was", "IF=1")


def same_registers(t, names, wanted, got, words, mask=(1 << 64) - 1):
    """Registers by name; `words` has `{}` for the name."""
    for name in names:
        w, g = wanted[name] & mask, got[name] & mask
        t.check(w == g, words.format(name), f"{w:#x}", f"{g:#x}")
