"""A page walker of our own, written from the manual's tables; it shares nothing with the kernel's.

SDM = Intel SDM order no. 325462-080, June 2023.
"""

from dataclasses import dataclass, field

from . import headers

P, W, U, A, D, PS, NX = 1, 2, 4, 0x20, 0x40, 0x80, 1 << 63
RSVD = 8
ACCESS_WRITE, ACCESS_USER, ACCESS_FETCH = 1, 2, 4
DIRECT, = headers.numbers(("kern/map.h",), ("DIRECT_MAP",))
PAGE = 4096
FORMS = ("32-bit", "32-bit with 4 MiB pages", "PAE", "4-level")
LEVELS = {"32-bit": 2, "32-bit with 4 MiB pages": 2, "PAE": 3, "4-level": 4}
SHIFTS = {4: (12, 22), 8: (12, 21, 30, 39)}
SHADOW_DIRECT = 4
ANSWER = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
          "r13", "r14", "r15", "rip", "eflags")


def entry_size(form):
    """Bytes of an entry."""
    return 4 if form.startswith("32") else 8


def span(form, level):
    """The lowest bit of the index at this level (SDM 3A table 4-2)."""
    return SHIFTS[entry_size(form)][level - 1]


def index(form, level, va):
    """The entry's index."""
    bits = 10 if entry_size(form) == 4 else 2 if form == "PAE" and level == 3 else 9
    return va >> span(form, level) & (1 << bits) - 1


def maps(form, level, entry):
    """True if the entry maps a page."""
    large = {"32-bit": (), "32-bit with 4 MiB pages": (2,), "PAE": (2,), "4-level": (2, 3)}[form]
    return level == 1 or (level in large and bool(entry & PS))


def mask(low, high):
    """Bits low to high."""
    return (1 << high + 1) - (1 << low) if high >= low else 0


def reserved(form, level, entry, width, nx):
    """The bits of a present entry that must be 0 (SDM 3A 4.3, 4.4.2, 4.5.4)."""
    page = level > 1 and maps(form, level, entry)
    if entry_size(form) == 4:
        return mask(13 + min(width, 40) - 32, 21) if page else 0
    bits = mask(width, 62 if form == "PAE" else 51) | (0 if nx else NX)
    if page:
        bits |= mask(13, span(form, level) - 1)
    return bits | (PS if level == 4 else 0)


def target(form, level, entry):
    """Where the entry leads."""
    page = level > 1 and maps(form, level, entry)
    if entry_size(form) == 4:
        if page:
            return entry & 0xFFC00000 | (entry >> 13 & 0xFF) << 32
        return entry & 0xFFFFF000
    return entry & mask(span(form, level) if page else 12, 51)


@dataclass
class Answer:
    """What a walk gives: `state` is 0 or -EFAULT; error None means that it leads to gpa."""

    state: int
    last: int
    rights: int = 0
    gpa: int = 0
    error: int | None = None


@dataclass
class Case:
    """One walk."""

    form: str
    va: int
    how: int = 0
    wp: bool = False
    nx: bool = False
    width: int = 40
    root: int = 0
    pdpte: list = field(default_factory=lambda: [0, 0, 0, 0])

    def words(self):
        """What kind of access it is."""
        kinds = [word for bit, word in ((ACCESS_WRITE, "write"), (ACCESS_USER, "user"), (ACCESS_FETCH, "fetch"))
                 if self.how & bit]
        return f" ({', '.join(kinds) or 'supervisor read'}; CR0.WP={int(self.wp)}, " \
               f"NXE={int(self.nx)}, MAXPHYADDR={self.width})"


def walk(case, read):
    """SDM 3A 4.3 to 4.7, over read(gpa, size)."""
    form, table, rights = case.form, case.root, U | W
    size = entry_size(form)
    code = (2 if case.how & ACCESS_WRITE else 0) | (4 if case.how & ACCESS_USER else 0)
    code |= 16 if case.how & ACCESS_FETCH and case.nx else 0
    for level in range(LEVELS[form], 0, -1):
        number = index(form, level, case.va)
        if form == "PAE" and level == 3:
            entry = case.pdpte[number]
        else:
            entry = read(table + number * size, size)
            rights = rights & (entry | NX) | entry & NX
        if not entry & P:
            return Answer(-14, level, error=code)
        registers = form == "PAE" and level == 3
        if not registers and entry & reserved(form, level, entry, case.width, case.nx):
            return Answer(-14, level, error=code | P | RSVD)
        table = target(form, level, entry)
        if maps(form, level, entry):
            break
    if not allowed(rights, case.how, case.wp):
        return Answer(-14, level, error=code | P)
    return Answer(0, level, rights, table | case.va & (1 << span(form, level)) - 1)


def allowed(rights, how, wp):
    """SDM 3A 4.6.1, without SMEP and SMAP."""
    if how & ACCESS_USER and not rights & U:
        return False
    if how & ACCESS_WRITE and not rights & W and (how & ACCESS_USER or wp):
        return False
    return not (how & ACCESS_FETCH and rights & NX)
