"""What was seen from outside, in a form that a check can compare and a person can read."""

import bisect
import re
from dataclasses import dataclass

from ..machines.elf import STT_FUNC, STT_NOTYPE, STT_OBJECT, ElfFile

EXITS_SHOWN = 10
"""How many of a guest's last exits a failure report tells."""


class Ambiguous(Exception):
    """A symbol stands in the image more than once: none of them can be trusted."""


class Symbols:
    """The symbols of an image, and what of it is loaded."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            read = ElfFile(file.read())
        self.wide, self.segments = read.wide, read.segments
        self.by_name = {}
        for one in read.symbols():
            if one.kind in (STT_NOTYPE, STT_OBJECT, STT_FUNC):
                places = self.by_name.setdefault(one.name, [])
                if (one.value, one.kind) not in places:
                    places.append((one.value, one.kind))
        self._sorted = sorted((value, name) for name, places in self.by_name.items()
                              for value, kind in places if kind == STT_FUNC)

    def has(self, name):
        """True if the image defines this symbol."""
        return name in self.by_name

    def address(self, name):
        """Where `name` is. KeyError if nowhere; Ambiguous if in several places."""
        places = {value for value, _ in self.by_name[name]}
        if len(places) > 1:
            raise Ambiguous(f"the symbol {name} stands in the kernel {len(places)} times: call "
                            "your own function something else")
        return places.pop()

    def function(self, address):
        """(name, offset) of the function that holds `address`, or None."""
        at = bisect.bisect_right(self._sorted, (address, "\uffff")) - 1
        if at < 0:
            return None
        value, _ = self._sorted[at]
        # Aliases share an address; the first in the alphabet is as good as any, so take all.
        names = [name for found, name in self._sorted if found == value]
        return names, address - value


@dataclass
class Life:
    """One guest from its start to its end, as the side channel tells it. Numbers are used again."""

    domain: int
    name: str
    output: bytes = b""
    end: tuple | None = None
    """(verdict, text), or None while nothing was said of an end."""

    def said(self):
        """What the kernel says of its end, in words."""
        return f"{self.end[0]}: {self.end[1]}" if self.end else "its end is not reported"


NUMBER = re.compile(r"[0-9]{1,9}\Z")
"""A domain's."""


def lives(run):
    """The guests of a run in the order of their starts. `out` lines hold bytes in hex.

    Anybody can write such lines, and millions of them.
    """
    found, current, parts = [], {}, []

    def begin(domain, name):
        parts.append([])
        current[domain] = Life(int(domain), name), parts[-1]
        found.append(current[domain][0])

    for kind, args in run.tagged():
        words = args.split(" ")
        domain = words[0][1:]
        if words[0][:1] != "d" or not NUMBER.match(domain):
            continue
        if kind == "start":
            begin(domain, " ".join(words[1:2]))
        elif kind == "out":
            if domain not in current:
                begin(domain, "?")
            try:
                current[domain][1].append(bytes.fromhex("".join(words[1:])))
            except ValueError:
                current[domain][1].append(b"<bytes that are no hex>")
        elif kind == "end" and domain in current and current[domain][0].end is None:
            current[domain][0].end = (words[1] if len(words) > 1 else "", " ".join(words[2:]))
    for life, said in zip(found, parts):
        life.output = b"".join(said)
    return found


EXIT_LINE = re.compile(r"d(\d+) (\d+) (.*?) ([0-9a-f]+) (\d+)(?: exit \d+: (.*))?$")
"""`@Z exit d1 7 port I/O 00100010 2 exit 7: #GP at 00100010, out: port 3f8 <- 41`."""


def exits_in_words(run, count=EXITS_SHOWN):
    """The last exits of all guests of a run, one sentence each."""
    lines = []
    for _, args in run.tagged("exit"):
        match = EXIT_LINE.match(args)
        if match:
            words = match[6] or f"{match[3]} at {match[4]}"
            lines.append(f"guest {match[1]}, exit {match[2]}: {words}")
    return lines[-count:]


def show(data, limit=1200):
    """Bytes or text for a report: printable, and cut in the middle if it is long."""
    if data is None:
        return "(nothing)"
    if isinstance(data, (bytes, bytearray)):
        data = data.decode("utf-8", "backslashreplace")
    data = str(data).replace("\r\n", "\n")
    if not data:
        return "(nothing at all)"
    if len(data) > limit:
        cut = len(data) - limit
        data = f"{data[:limit // 2]}\n[... {cut} characters left out ...]\n{data[-limit // 2:]}"
    return data


def around_difference(expected, got):
    """Where two byte strings part, in one sentence, with both lines shown."""
    where = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b),
                 min(len(expected), len(got)))
    line = expected.count(b"\n", 0, where) + 1

    def at(data):
        start = data.rfind(b"\n", 0, where) + 1
        stop = data.find(b"\n", where)
        text = data[start:stop if stop >= 0 else len(data)]
        return show(text, 160)

    if where == len(got):
        return (f"the output stops after {where} bytes, in line {line}; "
                f"the next line should be: {at(expected)}")
    if where == len(expected):
        return f"there are {len(got) - where} bytes too many at the end: {show(got[where:], 160)}"
    return (f"they part at byte {where}, in line {line}: "
            f"expected \"{at(expected)}\", got \"{at(got)}\"")
