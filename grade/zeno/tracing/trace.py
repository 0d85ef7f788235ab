"""Exit traces: what a kernel tells of its guests' exits, as records, and reference traces as files.

A kernel that is booted with trace=2 writes one line to port 0xE9 for each exit (vmm/words/exitlog.c):

    @Z exit d1 7 IO 00100390 1 exit 7: #GP at ..., out: ... | vec=d err=0 ring=0 effect=OUT a=3f8
    b=41 next=00100391 if=0 shadow=0 insn=out

All of it is the kernel's own word. Traces explain, they decide nothing.

A reference trace (grade/traces/NAME.trace) is what the reference solution told of a guest whose run
is the same every time. It names places as symbol+offset, and it knows a hash of the guest's image:
a guest that another compiler built has other addresses, and perhaps other exits.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..judging import evidence
from ..machines.symbols import Elf

TRAPS = ("#DE #DB NMI #BP #OF #BR #UD #NM #DF #9 #TS #NP #SS #GP #PF #15 #MF #AC #MC #XM #20 #CP"
         .split())
HEAD = re.compile(r"d(\d+) (\d+) ([A-Z]+) ([0-9a-f]+) (\d+) (.*?)(?: \| (.*))?$")
DETAIL = re.compile(r"vec=([0-9a-f]+) err=([0-9a-f]+) ring=(\d) effect=(\S+) a=([0-9a-f]+) "
                    r"b=([0-9a-f]+) next=([0-9a-f]+) if=(\d) shadow=(\d) insn=(.*)$")
INTERRUPT = re.compile(r"(\d+) ([0-9a-f]+) ([0-9a-f]+)$")
FIELDS = 13


def trap_name(vector):
    """#GP for 13: the trap that was the way out of the guest."""
    if vector < len(TRAPS):
        return TRAPS[vector]
    return "no trap" if vector >= 0xff else f"vector {vector:#x}"


@dataclass
class Exit:
    """One exit. `next`, `flag` (the guest's IF) and `shadow` (of sti) are the state behind it."""

    seq: int
    reason: str
    rip: int | None
    place: str
    length: int
    vector: int
    error: int
    ring: int
    effect: str
    a: int
    b: int
    next: int | None
    after: str
    """Where the guest goes on: "+" behind the instruction, "=" at the same one, else a place."""
    flag: int
    shadow: int
    insn: str
    words: str = ""

    @property
    def trap(self):
        """The trap's name."""
        return trap_name(self.vector)

    @property
    def done(self):
        """The effect in words, "" if there is none."""
        return EFFECTS.get(self.effect, lambda a, b: f"{self.effect} {a:x} {b:x}")(self.a, self.b)

    def name(self):
        """The instruction, or what else it was."""
        return f"`{self.insn}`" if self.insn != "-" else self.trap

    def where(self):
        """The place, with the address if it is known."""
        if self.rip is None or self.place.startswith("0x"):
            return self.place
        return f"{self.place} ({self.rip:08x})"

    def sentence(self):
        """`#GP at put+0xa (00100390), out: port 3f8 <- 41`."""
        what = self.insn if self.insn != "-" else self.reason
        return f"{self.trap} at {self.where()}, {what}" + (f": {self.done}" if self.done else "")

    def line(self):
        """A line for a person who reads the whole trace."""
        then = ""
        if self.effect not in ("STOP", "HALT") and self.after != "+":
            then = "; the same again" if self.after == "=" else f"; goes on at {self.after}"
        what = self.insn if self.insn != "-" else self.reason
        address = " " * 8 if self.rip is None else f"{self.rip:08x}"
        return (f"{self.seq:6}  {self.trap:4} {address} {self.place:24} {what:14} "
                f"{self.done}{then}").rstrip()


EFFECTS = {
    "-": lambda a, b: "",
    "OUT": lambda a, b: f"port {a:x} <- {b:x}",
    "IN": lambda a, b: f"port {a:x} -> {b:x}",
    "IF": lambda a, b: f"IF={a}",
    "HALT": lambda a, b: "halts",
    "CR_READ": lambda a, b: f"cr{a} -> {b:08x}",
    "CR_WRITE": lambda a, b: f"cr{a} <- {b:08x}",
    "DR_READ": lambda a, b: f"dr{a} -> {b:08x}",
    "DR_WRITE": lambda a, b: f"dr{a} <- {b:08x}",
    "TABLE": lambda a, b: f"table at {a:08x}, limit {b:04x}",
    "SEGMENT": lambda a, b: f"{SEGMENTS[a] if a < 6 else f'segment register {a}'} <- {b:04x}",
    "STOP": lambda a, b: "the guest is stopped",
    "WRITE": lambda a, b: f"a write of {a} bytes at {b:08x}, emulated",
    "READ": lambda a, b: f"a read of {a} bytes at {b:08x}, emulated",
    "FAR": lambda a, b: f"to {a:04x}:{b:08x}",
    "DELIVER": lambda a, b: f"vector {a:02x} to its handler at {b:08x}",
    "IRET": lambda a, b: f"back to {a:04x}:{b:08x}",
}
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")


@dataclass
class Interrupt:
    """An interrupt that came to the guest's handler, behind the exit with this number (0: before all)."""

    seq: int
    vector: int
    place: str

    def line(self):
        """A line for a person who reads the whole trace."""
        return f"        interrupt, vector {self.vector:02x}: to its handler at {self.place}"


@dataclass
class Life:
    """One guest from its start to its end."""

    domain: int
    name: str
    exits: list = field(default_factory=list)
    output: bytes = b""
    end: tuple | None = None
    """(verdict, text)"""
    interrupts: list = field(default_factory=list)
    """Interrupts that were brought to the guest's handlers."""

    def said(self):
        """Its end in words."""
        return f"{self.end[0]}: {self.end[1]}" if self.end else "nothing was said of its end"


class Places:
    """Addresses of guests as symbol+offset, by the guest's name."""

    def __init__(self, elves=()):
        self.elves = {Path(path).stem: Elf(path) for path in elves}
        self.known = {}

    def of(self, guest, address):
        """put+0xa, or the bare address where no symbol is near."""
        key = guest, address
        if key not in self.known:
            found = self.elves[guest].find(address) if guest in self.elves else None
            self.known[key] = f"{found[0]}+{found[1]:#x}" if found else f"{address:#x}"
        return self.known[key]


class Reader:
    """Turns side channel lines into events, one by one; what is no line of ours is left out.

    An event is (domain, kind, what): "start" a Life, "exit" an Exit, "int" an Interrupt, "out" bytes,
    "end" a Life.
    """

    def __init__(self, places=None):
        self.places = places or Places()
        self.lives = []
        self.events = []
        self.current = {}

    def feed(self, line):
        """The event of a line (bytes), or None."""
        words = line.decode("utf-8", "backslashreplace").rstrip("\r\n").split(" ", 2)
        if len(words) < 3 or words[0] != "@Z":
            return None
        domain, _, rest = words[2].partition(" ")
        if domain[:1] != "d" or not domain[1:].isdigit():
            return None
        event = self._event(int(domain[1:]), words[1], rest, words[2])
        if event:
            self.events.append(event)
        return event

    def _event(self, domain, kind, rest, whole):
        if kind == "start":
            life = self.current[domain] = Life(domain, rest.split(" ")[0])
            self.lives.append(life)
            return domain, kind, life
        life = self.current.get(domain)
        if not life:
            return None
        if kind == "exit":
            record = self._exit(life.name, whole)
            if record:
                life.exits.append(record)
            return record and (domain, kind, record)
        if kind == "int" and (found := INTERRUPT.match(rest)):
            life.interrupts.append(Interrupt(int(found[1]), int(found[2], 16),
                                             self.places.of(life.name, int(found[3], 16))))
            return domain, kind, life.interrupts[-1]
        if kind == "out":
            try:
                data = bytes.fromhex("".join(rest.split()))
            except ValueError:
                return None
            life.output += data
            return domain, kind, data
        if kind == "end" and not life.end:
            verdict, _, text = rest.partition(" ")
            life.end = verdict, text
            return domain, kind, life
        return None

    def _exit(self, guest, text):
        head = HEAD.match(text)
        detail = head and head[7] and DETAIL.match(head[7])
        if not detail:
            return None
        rip, length, onward = int(head[4], 16), int(head[5]), int(detail[7], 16)
        after = ("=" if onward == rip else "+" if length and onward == rip + length
                 else self.places.of(guest, onward))
        return Exit(seq=int(head[2]), reason=head[3], rip=rip, place=self.places.of(guest, rip),
                    length=length, vector=int(detail[1], 16), error=int(detail[2], 16),
                    ring=int(detail[3]), effect=detail[4], a=int(detail[5], 16),
                    b=int(detail[6], 16), next=onward, after=after, flag=int(detail[8]),
                    shadow=int(detail[9]), insn=detail[10], words=head[6])


def read(side, places=None):
    """A Reader that has read all of a run's side channel."""
    reader = Reader(places)
    for line in side.split(b"\n"):
        reader.feed(line)
    return reader


def event_data(event):
    """An event as plain data: a line of build/trace/NAME.jsonl."""
    domain, kind, what = event
    if kind == "exit":
        return {"type": "exit", "domain": domain, **asdict(what), "trap": what.trap,
                "done": what.done}
    if kind == "int":
        return {"type": "int", "domain": domain, **asdict(what)}
    if kind == "out":
        return {"type": "out", "domain": domain, "text": what.decode("utf-8", "backslashreplace")}
    if kind == "end":
        return {"type": "end", "domain": domain, "verdict": what.end[0], "text": what.end[1]}
    return {"type": "start", "domain": domain, "guest": what.name}


# -- reference traces -------------------------------------------------------------------------------


def image_hash(path):
    """A hash of what of an ELF file is loaded, and where: all that a run can depend on."""
    digest = hashlib.sha256()
    for segment in evidence.Symbols(path).segments:
        digest.update(f"{segment.va:x} {segment.pa:x} {segment.size:x} ".encode())
        digest.update(segment.data)
    return digest.hexdigest()[:32]


@dataclass
class Reference:
    """A reference trace: the guest's life under the reference solution.

    When an interrupt comes depends on time. With the first one the trace ends: it is `cut`, and the
    interrupt is told.
    """

    life: Life
    words: str
    image: str

    def __post_init__(self):
        if self.life.interrupts:
            del self.life.interrupts[1:]
            del self.life.exits[self.life.interrupts[0].seq:]
            verdict, text = self.life.end
            self.life.end = verdict, text.split(" after ")[0]

    def text(self):
        """The file's text."""
        lines = ["# A reference trace, made by `make traces`: reason, place, length, vector, error,"
                 " ring, effect, a, b,", "# where it goes on (+ behind it, = the same again), IF,"
                 " sti's shadow, instruction; numbers in hex.", "# *N is exit N once more.",
                 f"guest {self.life.name}", f"words {self.words}".rstrip(), f"image {self.image}",
                 f"output {json.dumps(self.life.output.decode('latin-1'))}",
                 f"end {self.life.end[0]} {self.life.end[1]}"]
        lines += [f"interrupt {one.seq} {one.vector:x} {one.place}" for one in self.life.interrupts]
        lines.append("")
        known = {}
        for number, one in enumerate(self.life.exits, 1):
            line = (f"{one.reason} {one.place} {one.length} {one.vector:x} {one.error:x} "
                    f"{one.ring} {one.effect} {one.a:x} {one.b:x} {one.after} {one.flag} "
                    f"{one.shadow} {one.insn.replace(' ', '_')}")
            lines.append(f"*{known[line]}" if line in known else line)
            known.setdefault(line, number)
        return "\n".join(lines) + "\n"


def parse_reference(text):
    """The Reference in a file's text. ValueError: it is none."""
    head, _, body = text.partition("\n\n")
    keys = {}
    for line in head.split("\n"):
        if not line.startswith("#"):
            key, _, value = line.partition(" ")
            keys[key] = value
    try:
        verdict, _, said = keys["end"].partition(" ")
        life = Life(1, keys["guest"], output=json.loads(keys["output"]).encode("latin-1"),
                    end=(verdict, said))
        if "interrupt" in keys:
            seq, vector, place = keys["interrupt"].split(" ")
            life.interrupts.append(Interrupt(int(seq), int(vector, 16), place))
        for seq, line in enumerate(body.split("\n"), 1):
            if re.fullmatch(r"\*\d+", line) and 0 < int(line[1:]) < seq:
                life.exits.append(replace(life.exits[int(line[1:]) - 1], seq=seq))
            elif line:
                life.exits.append(_reference_exit(seq, line.split(" ")))
        return Reference(life, keys["words"], keys["image"])
    except KeyError as missing:
        raise ValueError(f"this reference trace has no line {missing}") from None


def _reference_exit(seq, words):
    if len(words) != FIELDS:
        raise ValueError(f"exit {seq} of the reference trace has {len(words)} fields, not {FIELDS}")
    reason, place, length, vector, error, ring, effect, a, b, after, flag, shadow, insn = words
    return Exit(seq=seq, reason=reason, rip=None, place=place, length=int(length),
                vector=int(vector, 16), error=int(error, 16), ring=int(ring), effect=effect,
                a=int(a, 16), b=int(b, 16), next=None, after=after, flag=int(flag),
                shadow=int(shadow), insn=insn.replace("_", " "))
