"""Lab 0, exercise 0.3: the backtrace, on the kernel's own stack and on stacks that the grader makes up."""

import re
import struct

from checks.lab0 import DIRECT_MAP, KB, MIB, Names, PAGE, free_address, outputs, witness
from zeno.machines import gdbremote, machine

BACKTRACE_MAX = 48
PLACE = re.compile(r"\s*([0-9a-f]{16}) (\S+?)\+0x([0-9a-f]+)$")


def walk(read, rip, rbp):
    """The addresses that a backtrace must print: `read(address)` gives 8 bytes or None."""
    found = [rip]
    while rbp and len(found) < BACKTRACE_MAX:
        above, back = read(rbp), read(rbp + 8)
        if rbp % 8 or above is None or back is None:
            break
        found.append(back)
        if above <= rbp:
            break
        rbp = above
    return found


def reader(client):
    """Reads 8 bytes of the kernel's memory through the stub; None where nothing is mapped."""
    def read(address):
        if address < DIRECT_MAP - (6 << 39) or address > (1 << 64) - 16:
            return None
        try:
            return int.from_bytes(client.read(address, 8), "little")
        except gdbremote.Refused:
            return None
    return read


def printed_places(run, command):
    """[(address, name, offset)] that a command printed."""
    lines = next((lines for name, lines in outputs(run) if name == command), [])
    return [(int(m[1], 16), m[2], int(m[3], 16)) for line in lines if (m := PLACE.match(line))]


def compare_places(t, expected, got, what):
    """The printed addresses, one by one, with words for the usual mistakes."""
    addresses = [place[0] for place in got]
    shown = "\n".join(f"{address:016x}" for address in expected)
    seen = "\n".join(f"{a:016x} {name}+{offset:#x}" for a, name, offset in got) or "no such line"
    if addresses == expected:
        return
    if not addresses:
        why = f"{what}: no line like `  ffff828000101234 function+0x24` was printed"
    elif addresses == expected[:1]:
        why = (f"{what}: only the first line was printed; the frames above it are to be followed "
               f"({len(expected) - 1} return addresses)")
    elif addresses == expected[:len(addresses)]:
        why = (f"{what}: the backtrace stops after {len(addresses)} of {len(expected)} lines; the "
               f"next return address is {expected[len(addresses)]:#x}")
    elif addresses[:len(expected)] == expected:
        why = (f"{what}: {len(addresses) - len(expected)} lines too many; the chain has ended "
               f"before {addresses[len(expected)]:#x}")
    else:
        at = next(i for i, (a, b) in enumerate(zip(expected, addresses)) if a != b)
        why = (f"{what}: line {at + 1} should be {expected[at]:#x}, the return address at rbp + 8, "
               f"but is {addresses[at]:#x}")
    t.fail(why, shown, seen)


def bt_walk(t):
    """The grader walks the stack itself at the entry of backtrace() and compares."""
    names = Names(t.symbols)
    for _ in range(2):
        seed = t.rng.getrandbits(60)
        chain = []

        def look(client, regs, chain=chain):
            if not chain:
                chain.extend(walk(reader(client), regs["rdi"], regs["rsi"]))
            return True

        run, _ = witness(t, [f"bt-trial {seed}"], {t.symbol("backtrace"): look})
        t.check(chain, "backtrace() was never called by `bt-trial`")
        got = printed_places(run, f"bt-trial {seed}")
        compare_places(t, chain, got, f"bt-trial {seed}")
        for i, (address, name, offset) in enumerate(got):
            right, distance = names.find(address, 1 if i else 0)
            t.check(name in right and offset == distance,
                    f"line {i + 1} names {address:#x} wrongly",
                    f"{'/'.join(sorted(right))}+{distance:#x}", f"{name}+{offset:#x}")
        t.orderly(run)


FAKES = ("long", "round", "unmapped", "crooked", "down", "end")
FAKE_WORDS = {
    "long": "a chain of more than 48 frames",
    "round": "a frame that points back to an earlier one",
    "unmapped": "a frame pointer to memory that is not there",
    "crooked": "a frame pointer that is no multiple of 8",
    "down": "a frame pointer that leads downwards",
    "end": "a chain that ends by rbp = 0",
}


def fake_chain(t, kind, text):
    """(bytes, first rbp) of a made-up stack; it lies at a random place of the direct map."""
    length = t.rng.randrange(60, 90) if kind == "long" else t.rng.randrange(4, 12)
    base = DIRECT_MAP + free_address(t, 16, 64 * PAGE)
    frames = [base]
    for _ in range(length):
        frames.append(frames[-1] + 16 + 8 * t.rng.randrange(0, 12))
    data = bytearray(t.rng.randbytes(frames[-1] - base + 16))
    last = {"long": 0, "end": 0, "round": frames[t.rng.randrange(len(frames) - 1)],
            "unmapped": t.rng.choice((0x1000, 0xFFFF8B0000000000, 0x7FFFFFFFFFF8,
                                      0xFFFFFFFFFFFFFFF8, 0x8000000000000000)),
            "crooked": frames[-1] + 16 + t.rng.randrange(1, 8), "down": base - 64}[kind]
    for here, above in zip(frames, [*frames[1:], last]):
        struct.pack_into("<QQ", data, here - base, above, t.rng.choice(text))
    return base, bytes(data)


def bt_limits(t):
    """Made-up stacks: backtrace() may be called when nothing can be trusted any more."""
    names = Names(t.symbols)
    text = [start + 1 for start in names.starts if start > KB + MIB]
    for kind in t.rng.sample(FAKES, len(FAKES)):
        chain = []

        def forge(client, regs, kind=kind, chain=chain):
            if chain:
                return True
            base, data = fake_chain(t, kind, text)
            client.write(base - DIRECT_MAP, data, physical=True)
            client.set_reg("rsi", base)
            chain.extend(walk(reader(client), regs["rdi"], base))
            return True

        command = f"bt-trial {t.rng.getrandbits(60)}"
        run, _ = witness(t, [command], {t.symbol("backtrace"): forge},
                         limits=machine.Limits(instructions=300_000_000))
        t.check(chain, "backtrace() was never called by `bt-trial`")
        got = printed_places(run, command)
        if run.end is not machine.End.SHUTDOWN:
            t.notes.append(f"backtrace() was given {FAKE_WORDS[kind]}")
        t.orderly(run)
        compare_places(t, chain, got, f"backtrace() was given {FAKE_WORDS[kind]}")
