#!/usr/bin/env python3
"""Turn a lab into make variables: which variant is built, from which sources.

`labinfo.py make --lab N ...` writes build/VARIANT/lab.mk and prints its path; `labinfo.py labs` says which
labs there are, and `labinfo.py remember --lab N` is `make lab`. What can't be is said
in one line on standard output with status 1 (the Makefile repeats it); what one should know, such as
an exercise that was taken from the reference, goes to standard error.
"""

import argparse
import os
import re
import sys
from pathlib import Path

import compiled
import flavour
import merge
import region
import trouble
from course import (
    NUMBER, ROOT, SAFE_NAME, SOURCE_SUFFIXES, CourseError, closure, in_order, lab_numbers, load_lab, number_of, parse_labs,
)

CHOICE = ".lab"
"""The file that `make lab` writes; the Makefile reads it, and git ignores it."""


READS_MAX = 1500
"""Lines that a half-lab may ask somebody to read before anything else."""

ROOMS = {
    # room: (folders, cap, aim) in non-blank lines of C and assembly; @N is Lab N's solutions, @NA its half's. No room grows
    # beyond its cap, which is at most 1 % above what it has. One that is above its aim is to shrink.
    "kern": ("kern @0A", 2645, 3800),
    "its way from the loader": ("kern/boot", 499, 500),
    "its console": ("kern/console", 277, 260),
    "words of the host about itself": ("kern/words", 418, 420),
    "its monitor": ("kern/monitor", 498, 500),
    "its scheduler": ("kern/sched", 423, 500),
    "its GDB stub": ("kern/gdb", 922, 900),
    "the bridge, Lab 0B": ("@0B", 289, 320),
    "vmm core and mem": ("vmm vmm/mem", 2200, 2400),
    "how domains come and go": ("vmm/create", 362, 360),
    "words about guests": ("vmm/words vmm/mmu/shadow/words", 843, 600),
    "handlers for any engine": ("vmm/exits", 906, 500),
    "x86": ("vmm/x86", 3388, 3000),
    "te and its lab": ("vmm/te @1", 3146, 3200),
    "what te does rarely": ("vmm/te/rare", 1252, 800),
    "bt and its lab": ("vmm/bt @3", 3854, 3200),
    "svm and its lab": ("vmm/svm @4s", 2490, 1300),
    "vmx and its lab": ("vmm/vmx @4", 3698, 1300),
    "pv and its lab": ("vmm/pv @6", 5137, 3200),
    "events of PV and their lab": ("vmm/pv/events @7", 2164, 1000),
    "domain control of PV": ("vmm/pv/control", 803, 600),
    "what puts PV domains away": ("vmm/pv/control/save", 263, 250),
    "the bus of dom0": ("vmm/pv/bus", 252, 250),
    "grants of PV and their lab": ("vmm/pv/grant @8", 1068, 800),
    "reservations of PV": ("vmm/pv/reservation", 493, 400),
    "PV for guests with a CPU of their own": ("vmm/pv/hvm", 875, 700),
    "nested and its lab": ("vmm/mmu/nested vmm/mmu/demand @5", 2012, 1200),
    "flat and window": ("vmm/mmu", 320, 300),
    "shadow and its lab": ("vmm/mmu/shadow @2", 1445, 1600),
    "devices": ("vmm/dev", 3271, 1500),
    "x2APIC": ("vmm/dev/x2apic", 170, 170),
    "platform": ("vmm/dev/apic", 2755, 2500),
    "envs": ("kern/env", 665, 500),
    "devices in ring 3": ("vmm/dev/user", 555, 300),
    "guests of programs": ("vmm/dev/vm", 261, 250),
    "domain control": ("vmm/control vmm/control/pause", 247, 250),
    "user": ("user/lib user/dm user/mini user/shell", 860, 1000),
    "firmware": ("vmm/dev/firmware", 282, 280),
    "PVH and flat": ("vmm/load/pvh", 250, 250),
    "load": ("vmm/load", 946, 900),
    "debug": ("vmm/debug", 1104, 1500),
    "trials": ("trials/audit trials/boot trials/diagnosis trials/diagnosis/broken trials/first trials/guests trials/nested trials/poison trials/pv trials/rules "
               "trials/shadow trials/svm trials/svm/broken trials/vmx trials/vmx/broken", 6042, 1000),
    "trials of grants": ("trials/grants", 192, 200),
    "trials of reservations": ("trials/reservation", 80, 80),
    "peers": ("trials/peers", 700, 700),
    "the block driver's lab, in guests": ("@9", 650, 600),
    "the network driver's lab, in guests": ("@10", 860, 860),
}
PATH_ROOMS = ("kern", "its scheduler", "vmm core and mem", "te and its lab", "shadow and its lab")
PATH_CAP = 9859
"""A path through the host: kernel, core, one engine, one MMU mode; the aim is 10,000. Who follows it needs no other room: those
join it by registered tables, or are asked one question. So the way from the loader, the console's devices, the making of domains and
all words for people are rooms beside it: no exit leads there but the one that ends its guest."""


def code_lines(paths):
    """Non-blank lines of these files."""
    return sum(1 for path in paths for line in path.read_text(errors="replace").split("\n") if line.strip())


def rooms():
    """{room: (folders, lines, cap, aim)}, the labs' solutions among them."""
    found = {}
    for name, (words, cap, aim) in ROOMS.items():
        places = [place_of(word) for word in words.split()]
        files = [p for _, some in places for p in some if p.suffix in (*SOURCE_SUFFIXES, ".h", ".inc")]
        found[name] = ([folder for folder, _ in places], code_lines(files), cap, aim)
    return found


def place_of(word):
    """(folder, its files) of one of a room's words."""
    if word[0] != "@":
        return ROOT / word, (ROOT / word).glob("*")
    lab, half = load_lab(number_of(word[1:].rstrip("AB"))), word[-1]
    names = lab.halves[half].files if half in lab.halves else [p.name for p in lab.solutions.glob("*")]
    return lab.solutions, [lab.solutions / name for name in names]


def homeless():
    """Folders of the host's code that no room has: those that labs name, and the labs' own."""
    labs = [load_lab(number) for number in lab_numbers()]
    named = {ROOT / place for lab in labs for place in lab.sources} | {lab.solutions for lab in labs if lab.files}
    return sorted(str(f.relative_to(ROOT)) for f in named - {f for one in rooms().values() for f in one[0]})


def reads():
    """[(half's name, its handout, files to read first, their lines)]"""
    return [(f"{number}{letter}", ROOT / half.handout, half.reads, code_lines([ROOT / name for name in half.reads]))
            for number in lab_numbers() for letter, half in load_lab(number).halves.items()]


def write_if_new(path, data):
    """Write `data` only where it changes something, so that make does not build again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def common_sources(parts):
    """Sources that are nobody's exercise: the directories that the labs name."""
    found = []
    whole = [part for part in parts if part.files or part.target or not part.inside]  # one may have no files of its own yet
    for place in dict.fromkeys(d for part in whole for d in part.lab.sources):
        files = sorted(os.listdir(ROOT / place)) if (ROOT / place).is_dir() else []
        found += [f"{place}/{name}" for name in files if name.endswith(SOURCE_SUFFIXES)]
    return found


class Chosen:
    """Where the files of one lab come from."""

    def __init__(self, part, wish, variant):
        self.part = part
        self.lab = part.lab
        self.wish = wish
        self.merged = Path("build") / variant / "merged" / self.lab.dir
        self.taken = set()
        self.open = set()
        names = [name for name in self.lab.source_names() if name in part.files or self.holds_wanted(name)]
        objects = {} if wish.whole(self.lab) else compiled.objects(ROOT, self.lab)
        self.compiled = [objects[name] for name in names if name in objects and not self.mine(name)]
        self.names = [name for name in names if name not in objects or self.mine(name)]

    def holds_wanted(self, name):
        """True if a file holds an exercise that another lab needs by itself."""
        return bool(self.part.inside & self.exercises_in(name))

    def compiled_mine(self):
        """The objects that stand in for the student's own files of the assignment."""
        return [path for path in self.compiled if Path(path).name.removesuffix(".o") in self.lab.handed_in]

    def exercises_in(self, name):
        """The exercises of a file, as the course has it or, where that is not here, the student."""
        path = self.lab.solutions / name
        path = path if path.is_file() else self.lab.labs / name
        try:
            return {one.exercise for one in region.parse(path.read_text(errors="replace"), name) if not one.free}
        except (OSError, region.RegionError):
            return set()

    def mine(self, name):
        """True for a file that the student works in: none that is needed only."""
        if not self.part.target or self.wish.alone and self.wish.alone not in self.exercises_in(name):
            return False
        return not self.lab.half or name in self.lab.handed_in or not self.part.needed

    def sources(self):
        """The lab's files that are compiled, as paths from the root."""
        if self.wish.whole(self.lab):
            return [str(self.reference(name).relative_to(ROOT)) for name in self.names]
        return [str(self.one(name)) for name in self.names]

    def reference(self, name):
        """The solution's file, which must be here."""
        path = self.lab.solutions / name
        if not self.lab.solutions.is_dir():
            raise CourseError(f"lab {self.lab.number}: the reference (solutions/) is not here")
        if not path.is_file():
            raise CourseError(f"{path.relative_to(ROOT)} is not there")
        return path

    def one(self, name):
        """The student's file, or a copy of it in which the wanted exercises are the reference's."""
        path = self.lab.labs / name
        if not path.is_file():
            if self.lab.labs.is_dir() and self.mine(name) or not self.lab.solutions.is_dir():
                raise CourseError(f"{path.relative_to(ROOT)} is not there")
            self.taken.add(name)
            return self.reference(name).relative_to(ROOT)
        text = path.read_text(errors="surrogateescape")
        try:
            regions = region.parse(text, path.relative_to(ROOT))
        except region.RegionError as error:
            print(f"note: {error}", file=sys.stderr)
            return path.relative_to(ROOT)
        wanted = self.wanted(regions)
        if not wanted:
            return path.relative_to(ROOT)
        self.taken |= wanted
        self.merge(name, text, wanted)
        return self.merged / name

    def wanted(self, regions):
        """The exercises of a file that come from the reference; notes those that nobody has."""
        mine = {one.exercise for one in regions}
        wanted = mine & self.wish.exercises
        if self.wish.alone and self.part.target and self.lab.solutions.is_dir():
            wanted |= {one.exercise for one in regions if not one.free} - {self.wish.alone}
        unfinished = {one.exercise for one in regions if region.is_open(one)} - wanted
        if "all" not in self.part.needed:
            unfinished &= self.part.needed
        if self.lab.solutions.is_dir():
            wanted |= unfinished
        else:
            self.open |= unfinished
        if wanted and not self.lab.solutions.is_dir():
            raise CourseError(f"REF={' '.join(sorted(wanted))}: the reference (solutions/) is not here")
        return wanted

    def merge(self, name, text, wanted):
        """Write the merged file."""
        try:
            text = merge.merged(text, self.reference(name).read_text(), name, wanted)
        except region.RegionError as error:
            raise CourseError(str(error)) from None
        data = text.encode("utf-8", "surrogateescape")
        write_if_new(ROOT / self.merged / name, data)

    def tell(self):
        """Say what is not the student's own."""
        number = self.lab.number
        if self.wish.alone and self.part.target and not self.lab.solutions.is_dir() and not self.compiled_mine():
            place = f"{compiled.PLACE}/{compiled.folder_of(self.lab, self.lab.half)}"
            print(f"note: lab {number}: ALONE={self.wish.alone}: neither the reference nor {place} is here: the other exercises of lab "
                  f"{self.lab.name} are your own, too", file=sys.stderr)
        for place in sorted({str(Path(name).parent) for name in self.compiled}):
            theirs = ", ".join(sorted(Path(name).stem for name in self.compiled if str(Path(name).parent) == place))
            own = f"; labs/{self.lab.dir} for {', '.join(sorted(self.names))}" if self.names else f", not labs/{self.lab.dir}"
            print(f"note: lab {number}: the compiled reference in {place} for {theirs}{own}", file=sys.stderr)
        if self.taken:
            print(f"note: lab {number}: taken from the reference: {', '.join(sorted(self.taken))}",
                  file=sys.stderr)
        if self.open:
            print(f"note: lab {number} is needed, and not done yet: {', '.join(sorted(self.open))}; its objects, if your course gave "
                  f"them out, go to {compiled.PLACE}/{self.lab.dir}", file=sys.stderr)


def left_out(chosen):
    """Labs that nobody has done, and that another one stands in for: they are not built, so none of them says so at each boot."""
    left = {one.lab.number: one.open for one in chosen}
    return [one for one in chosen if one.part.instead and not one.part.target
            and one.lab.number not in flavour.fewest({n: left[n] for n in left if n in one.part.instead | {one.lab.number}})]


class Wish:
    """What SOLUTION=, REF= and ALONE= ask for."""

    def __init__(self, solution, ref, parts, alone=""):
        self.solution = bool(solution)
        self.alone = alone
        known = {e for part in parts if part.target for e in part.lab.half_of or {alone}}
        if alone and alone not in known:
            raise CourseError(f"ALONE={alone} is no exercise of this lab; exercises look like 1.3")
        self.labs, self.exercises = set(), set()
        numbers = [part.lab.number for part in parts]
        for word in ref.replace(",", " ").split():
            found = re.fullmatch(rf"({NUMBER})(\.[0-9]{{1,3}})?", word)
            if not found or number_of(found[1]) not in numbers:
                raise CourseError(f"REF={ref}: {word!r} is no lab or exercise of this build; "
                                  f"labs: {' '.join(map(str, numbers))}, exercises like 1.3")
            if found[2]:
                self.exercises.add(word)
            else:
                self.labs.add(number_of(found[1]))

    def whole(self, lab):
        """True if the lab is the reference's altogether."""
        return self.solution or lab.number in self.labs

    def suffix(self):
        """What tells this variant's directory from others'."""
        words = [str(number) for number in sorted(self.labs, key=in_order)] + sorted(self.exercises)
        return ("-solution" if self.solution else "") + (f"-alone-{self.alone}" if self.alone else "") + (f"-ref-{'-'.join(words)}" if words else "")

    def check(self, chosen):
        """Fail on an exercise that nobody has."""
        missing = self.exercises - {e for one in chosen for e in one.taken}
        missing -= {e for e in self.exercises if number_of(e.split(".")[0]) in self.labs or self.solution}
        if missing:
            raise CourseError(f"REF: there is no exercise {sorted(missing)[0]}")


def make_variables(args):
    """Write lab.mk for what the arguments name; its path."""
    labs = parse_labs(args.lab)
    parts = closure(*labs)
    wish = Wish(args.solution, args.ref, parts, args.alone)
    name = labs[0].name if args.lab != "all" else "all"
    variant = args.variant or f"lab{name}{wish.suffix()}{args.suffix}"
    if not SAFE_NAME.match(variant):
        raise CourseError(f"VARIANT={variant}: no name for a directory")
    chosen = [Chosen(part, wish, variant) for part in parts]
    own = {one.lab.number: one.sources() for one in chosen}
    wish.check(chosen)
    kept = [one for one in chosen if one not in left_out(chosen)]
    sources = common_sources([one.part for one in kept])
    guests = [one for one in kept if one.lab.guests]
    for one in kept:
        sources += own[one.lab.number] * (one not in guests)
    in_guests = [name for one in guests for name in own[one.lab.number]]
    bad = [s for s in sources + in_guests if not all(SAFE_NAME.match(part) for part in s.split("/"))]
    if bad:
        raise CourseError(f"{bad[0]!r} is no name for a source file")
    for one in kept:
        one.tell()
    text = f"NAME := {name}\nVARIANT := {variant}\nSOURCES := {' '.join(sources)}\n"
    for where, word in (("qemu", "LAB_CPU"), ("bochs", "LAB_CPU_BOCHS")):
        text += f"{word} := {labs[0].cpu_on(where) if len(labs) == 1 else 'te'}\n"
    text += f"CATCHUP := {' '.join(name for one in kept if one not in guests for name in one.compiled)}\n"
    if guests:
        text += f"GUEST_LAB := {' '.join(one.lab.name for one in guests)}\nGUEST_SOURCES := {' '.join(in_guests)}\n"
        text += f"GUEST_CATCHUP := {' '.join(name for one in guests for name in one.compiled)}\n"
    path = Path("build") / variant / "lab.mk"
    write_if_new(ROOT / path, text.encode())
    return path


def chosen_lab():
    """What `make lab` remembers, or "" if nothing."""
    path = ROOT / CHOICE
    return path.read_text(errors="replace").strip() if path.is_file() else ""


def remember(text):
    """Write down the lab that LAB= means where none is named."""
    name = "all" if text == "all" else parse_labs(text)[0].name
    (ROOT / CHOICE).write_text(f"{name}\n")
    print(f"LAB={name} is meant now where no lab is named; `make lab LAB=n` changes it")


def print_labs():
    """Which labs there are, and which one is chosen."""
    chosen = chosen_lab()
    if chosen:
        print(f"LAB=n is {chosen} where you name none: `make lab` has remembered it.")
    else:
        print("LAB=n must be named; `make lab LAB=n` remembers it.")
    print("n is one of:")
    for number in lab_numbers():
        lab = load_lab(number)
        for letter, half in lab.halves.items():
            name = f"{number}{letter}"
            print(f"  {name:<5} {lab.title}: {half.title} ({half.handout})")
        if not lab.halves:
            print(f"  {number:<5} {lab.title} ({lab.handout})")
    print("A number alone is both halves; all is every lab in one kernel.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],  # a width spares it a look at the terminal
                                     formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100))
    parser.add_argument("command", choices=["make", "labs", "remember"])
    parser.add_argument("--lab", default="")
    parser.add_argument("--solution", default="")
    parser.add_argument("--ref", default="")
    parser.add_argument("--alone", default="")
    parser.add_argument("--suffix", default="")
    parser.add_argument("--variant", default="")
    args = parser.parse_args()
    try:
        {"make": lambda: print(make_variables(args)), "labs": print_labs,
         "remember": lambda: remember(args.lab)}[args.command]()
    except CourseError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main, sys.stdout))
