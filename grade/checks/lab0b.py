"""Lab 0B: an IDT gate with the frame of one trap, and a walk of page tables.

Witnessed through the GDB stub: the grader sets the registers in front of the int3 and reads the gate in the IDT; it reads
the kernel's tables from memory, or writes tables of its own there, and walks them itself.
"""

import re
import struct

from checks.lab0 import DIRECT_MAP, FREE_RAM, KB, MIB, PAGE, RAM_MIB, outputs, witness

GENERAL = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{n}" for n in range(8, 16))]
TARGETS, TARGET_BYTES = 128, 2
HOST_CS64 = 0xE008
VEC_BP = 3
VALUE = re.compile(r"\b(at|r[a-z0-9]{1,5}) +([0-9a-f]{16})\b")
FOUND = re.compile(r"([0-9a-f]{16}): physical ([0-9a-f]{16}) in a page of (\d+ .iB), ([WR]) ([US]) (X|NX)$")
HOLE = re.compile(r"([0-9a-f]{16}): a hole, in a table of level ([1-4])$")
OUTSIDE = re.compile(r"([0-9a-f]{16}): the table of level ([1-4]) is not in RAM$")
SIZES = {1: "4 KiB", 2: "2 MiB", 3: "1 GiB"}
P, W, U, A, D, PS = 1, 2, 4, 0x20, 0x40, 0x80
PAT = 0x1000
"""Of a large page: a bit of its caching where a 4 KiB page has its address."""
NX = 1 << 63
ADDRESS = 0x000FFFFFFFFFF000


# -- 0.5 ---------------------------------------------------------------------------------------------


def fire(t, command, look, arrive=None):
    """Run `int3`, with functions at its call and at a random target; the run, and the target's address."""
    targets = t.symbol("gate_targets")
    place = targets + TARGET_BYTES * t.rng.randrange(1, TARGETS)
    seen = []

    def aim(client, regs):
        if arrive:
            arrive(client, regs)
        client.set_reg("rdi", place)
        return False

    def there(client, regs):
        seen.append(look(client, regs))
        return True

    run, _ = witness(t, [command, "echo alive"], {t.symbol("gate_shot"): aim, place: there})
    t.check(seen or run.end.orderly is False, f"`{command}` executed no int3: did it find a gate that is present?",
            "one int3", "\n".join(run.text().splitlines()[-4:]))
    return run, place


def gate_live(t):
    """Random registers in front of a random int3: all of them are printed, and the kernel lives on."""
    for _ in range(2):
        values = {name: t.rng.getrandbits(64) for name in GENERAL}
        more = {}

        def load(client, regs, values=values, more=more):
            for name, value in values.items():
                client.set_reg(name, value)
            more.update(rsp=regs["rsp"], rflags=regs["eflags"])

        run, place = fire(t, "int3", load)
        lines = next((lines for name, lines in outputs(run) if name == "int3"), [])
        t.orderly(run)
        said = {name: int(value, 16) for line in lines for name, value in VALUE.findall(line)}
        expected = {"at": place, **values, **more}
        for name, value in expected.items():
            what = (f"the int3 lies at {value:#x}" if name == "at" else
                    f"{name} was {value:#x} when the CPU came to the int3")
            t.check(said.get(name) == value, f"{what}; reported: " + (f"{said[name]:#x}" if name in said else "nothing"),
                    "\n".join(f"{n} {v:016x}" for n, v in expected.items()), "\n".join(lines))
        t.check(any(name == "echo alive" and "alive" in lines for name, lines in outputs(run)),
                "the kernel did not go on behind the int3")


def gate_shape(t):
    """The gate as the CPU reads it, while it is in the IDT."""
    seen = {}

    def gate(client, _regs):
        seen.setdefault("gates", []).append(client.read(idt + 16 * VEC_BP, 16))
        return True

    idt = t.symbol("idt")
    run, _ = fire(t, "int3", gate)
    low, selector, ist, rights, middle, high, rest = struct.unpack("<HHBBHII", seen["gates"][0])
    handler = low | middle << 16 | high << 32
    right = {
        "its address": (handler, t.symbol("gate_entry")),
        "its code segment": (selector, HOST_CS64),
        "its stack (IST)": (ist & 7, 0),
        "its type": (rights & 0x1F, 0x0E),
        "its DPL": (rights >> 5 & 3, 0),
        "its present bit": (rights >> 7, 1),
        "its reserved bytes": (rest, 0),
    }
    for name, (got, expected) in right.items():
        t.check(got == expected, f"the gate of vector 3 in the IDT: {name} should be {expected:#x}",
                "\n".join(f"{n} {e:#x}" for n, (_, e) in right.items()),
                "\n".join(f"{n} {g:#x}" for n, (g, _) in right.items()))
    t.orderly(run)


# -- 0.6 ---------------------------------------------------------------------------------------------


def walk(read, root, va):
    """What a walk must find: ("page", physical, level, rights), ("hole", level), ("outside", level), ("wrong",)."""
    if va >> 47 not in (0, 0x1FFFF):
        return ("wrong",)
    table, rights = root, [True, True, True]
    for level in (4, 3, 2, 1):
        shift = 12 + 9 * (level - 1)
        if not 0x100000 <= table < RAM_MIB * MIB:
            return ("outside", level)
        entry, = struct.unpack("<Q", read(table + 8 * (va >> shift & 511)))
        if not entry & P:
            return ("hole", level)
        rights = [rights[0] and bool(entry & W), rights[1] and bool(entry & U), rights[2] and not entry & NX]
        table = entry & ADDRESS
        if level == 1 or (level < 4 and entry & PS):
            inside = (1 << shift) - 1
            return ("page", table & ~inside | va & inside, level, " ".join((
                "W" if rights[0] else "R", "U" if rights[1] else "S", "X" if rights[2] else "NX")))
    return None


def said(lines):
    """What `va` printed, in walk()'s terms."""
    for line in lines:
        if m := FOUND.match(line):
            level = next((k for k, v in SIZES.items() if v == m[3]), 0)
            return ("page", int(m[2], 16), level, f"{m[4]} {m[5]} {m[6]}")
        if m := HOLE.match(line):
            return ("hole", int(m[2]))
        if m := OUTSIDE.match(line):
            return ("outside", int(m[2]))
        if line.endswith(": not canonical"):
            return ("wrong",)
    return None


def in_words(found):
    """A result of walk() as `va` prints it."""
    if found is None:
        return "nothing that `va` prints"
    if found[0] == "page":
        return f"physical {found[1]:016x} in a page of {SIZES.get(found[2], '?')}, {found[3]}"
    return {"hole": f"a hole, in a table of level {found[-1]}", "wrong": "not canonical",
            "outside": f"the table of level {found[-1]} is not in RAM"}[found[0]]


def compare(t, run, wanted):
    """{command: what it must find} against the console."""
    answers = dict(outputs(run))
    for command, expected in wanted.items():
        t.check(command in answers, f"the monitor never came to `{command}`: what came before it ended the kernel",
                in_words(expected), "\n".join(run.text().splitlines()[-6:]))
        got = said(answers[command])
        t.check(got == expected, f"`{command}` should print: {in_words(expected)}; it prints: {in_words(got)}",
                in_words(expected), "\n".join(answers[command]))
    t.orderly(run)


def va_own(t):
    """Addresses all over the kernel's map; the grader walks the same tables in memory."""
    stack = KB + 0x6000000000
    places = [KB + t.rng.randrange(0x100000, 0x180000), KB + t.rng.randrange(0x40000000),
              DIRECT_MAP + t.rng.randrange(2 * MIB), DIRECT_MAP + t.rng.randrange(64 * MIB, 100 * MIB),
              KB + 0x4000000000 + t.rng.randrange(MIB), stack + t.rng.randrange(8 * PAGE),
              0xFFFF800000000000 + t.rng.randrange(PAGE), 0xFFFF820000000000 + t.rng.randrange(16 * PAGE),
              DIRECT_MAP + t.rng.randrange(1 << 40), t.rng.randrange(1 << 47), t.symbol("monitor_run")]
    t.rng.shuffle(places)
    wanted = {}

    def look(client, regs):
        def read(address):
            return client.read(address, 8, physical=True)
        for va in places:
            wanted[f"va {va:#x}"] = walk(read, regs["cr3"] & ADDRESS, va)
        return True

    run, _ = witness(t, [f"va {va:#x}" for va in places], {t.symbol("monitor_run"): look})
    compare(t, run, wanted)


class Made:
    """Tables in free RAM, written by the grader; `data` is {physical address of an entry: value}."""

    def __init__(self, rng):
        self.rng = rng
        self.frames = rng.sample(range(FREE_RAM.start, FREE_RAM.stop, PAGE), 60)
        self.root = self.frames.pop()
        self.data = {}

    def flags(self):
        """Rights and what else software finds in entries of any level, at random."""
        return self.rng.choice((0, W)) | self.rng.choice((0, U)) | self.rng.choice((0, NX)) | \
            self.rng.choice((0, A, D, A | D)) | self.rng.choice((0, 0x200, 0x400, 0x7 << 52))

    def map(self, level, kind):
        """A random address that ends at `level`, in a page, a hole, or a table outside of RAM; the address."""
        va = self.rng.randrange(1 << 47) | self.rng.choice((0, 0xFFFF8 << 44))
        table = self.root
        for at in (4, 3, 2, 1):
            slot = table + 8 * (va >> 12 + 9 * (at - 1) & 511)
            if at == level and kind == "hole":
                self.data[slot] = self.rng.getrandbits(64) & ~P
                break
            if at == level and kind == "page":
                shift = 12 + 9 * (at - 1)
                page = self.rng.getrandbits(52) >> shift << shift
                large = (PS | self.rng.choice((0, PAT))) if at > 1 else self.rng.choice((0, PS))
                self.data[slot] = page | large | self.flags() | P
                break
            if at == level + 1 and kind == "outside":
                beyond = self.rng.choice((RAM_MIB * MIB + PAGE, 0xA0000000, 1 << 51, ADDRESS))
                self.data[slot] = beyond | self.flags() | P
                break
            below = self.data.get(slot)
            if below is None or not below & P or at < 4 and below & PS:
                below = self.frames.pop() | self.flags() | P
                # No page is of level 4: there the bit is a reserved one, and counts as 0.
                below = self.data[slot] = below | (self.rng.choice((0, PS)) if at == 4 else 0)
            table = below & ADDRESS
        return va

    def read(self, address):
        """An entry, as the machine has it: what nobody has written is zero."""
        return struct.pack("<Q", self.data.get(address, 0))

    def write(self, client, _regs):
        """Into the machine."""
        for base in {address & ~(PAGE - 1) for address in self.data} | {self.root}:
            client.write(base, bytes(PAGE), physical=True)
        for address, value in self.data.items():
            client.write(address, struct.pack("<Q", value), physical=True)
        return True


def made(t, ends):
    """Run `va` on tables that the grader made, with one address for each way to end."""
    tables = Made(t.rng)
    places = [tables.map(level, kind) for level, kind in ends]
    wanted = {f"va {va:#x} {tables.root:#x}": walk(tables.read, tables.root, va) for va in places}
    commands = list(wanted)
    for at in range(0, len(commands), 8):
        part = commands[at:at + 8]
        run, _ = witness(t, part, {t.symbol("monitor_run"): tables.write})
        compare(t, run, {command: wanted[command] for command in part})


def va_made(t):
    """Pages of each size and holes at each level, with random rights along the way."""
    ends = [(level, "page") for level in (1, 2, 3)] * 4 + [(level, "hole") for level in (1, 2, 3, 4)]
    t.rng.shuffle(ends)
    made(t, ends)


def va_wild(t):
    """Tables that are not RAM, and addresses that no pointer can have."""
    made(t, [(level, "outside") for level in (1, 2, 3)] * 2)
    wanted = {f"va {va:#x}": ("wrong",)
              for va in (1 << 47, 0xFFFF7FFFFFFFFFFF, t.rng.randrange(1 << 47, 0xFFFF800000000000))}
    for root in (0xA0000000, RAM_MIB * MIB + PAGE * t.rng.randrange(1 << 20), (1 << 52) - PAGE):
        wanted[f"va {t.rng.randrange(1 << 47):#x} {root:#x}"] = ("outside", 4)
    run, _ = witness(t, list(wanted), {})
    compare(t, run, wanted)
