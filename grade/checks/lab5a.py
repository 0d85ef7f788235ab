"""Lab 5A, exercise 5.1: nested tables that are filled by violation.

Witnessed: a fresh guest touches pages at random, and the tables that are left are read from the machine's memory.
"""

from zeno.guests.programs import Program

from .guests import module
from .lab4 import said
from .lab5 import ACCESS_WRITE, E_ACCESS, E_GPA, HOLE, LIMITS, Domain, agree, words

MIB = 32
PAGES = MIB << 8
NOWHERE = (0x2000, 0x7FFF0, 0x70000, 0xE0000, 0xFEDC0)
"""Frames beyond its RAM that a guest may try, without any device's."""


class Touching(Program):
    """Touches pages of its own, and some that nobody has."""

    def __init__(self, rng, count, nowhere=()):
        super().__init__(rng)
        self.pages = rng.sample(range(0x800, PAGES), count)
        """Guest frames that it reads or writes."""
        self.written = set(rng.sample(self.pages, count // 2))
        self.nowhere = list(nowhere)
        tries = [(page, page in self.written) for page in self.pages] + [(page, rng.random() < .5) for page in self.nowhere]
        rng.shuffle(tries)
        for page, write in tries:
            at = (page << 12) + rng.randrange(0, 0xFF8)
            self.op(f"mov [{at:#x}], ebx" if write else f"mov eax, [{at:#x}]")
        self.end(code=0)


class Ends:
    """A boot of one guest: its violations, and what there is when it has ended."""

    def __init__(self, t, elf, options, judge, **more):
        self.t, self.judge = t, judge
        self.violations, self.vcpu, self.looked = [], 0, False
        name = elf.stem
        cmdline = f"panic=off -- start {name} {options}; off"
        self.run, _ = t.witness(cmdline, {t.symbol("demand_fault"): self.violation, t.symbol("machine_off"): self.end},
                                modules=[module(elf)], limits=LIMITS, **more)
        if not self.looked:
            t.orderly(self.run)
        t.check(self.vcpu, "the guest ran without one violation, or never", "a violation", said(self.run, f"start {name} {options}"))

    def violation(self, client, regs):
        """At demand_fault()."""
        self.vcpu = regs["rdi"]
        gpa, = words(client, regs["rsi"] + E_GPA)
        self.violations.append((gpa >> 12, bool(client.read(regs["rsi"] + E_ACCESS, 1)[0] & ACCESS_WRITE)))
        return len(self.violations) > 2000

    def end(self, client, regs):
        """At the end of the machine: the guest that ended last is still there."""
        self.looked = True
        if self.vcpu:
            self.judge(Domain(self.t, client, self.vcpu), self, regs)
        return True


def touched(t, kind, options, pages, nowhere):
    """A guest of this kind of tables: all that it touched is mapped, what it did not touch is not."""
    guest = Touching(t.rng, pages, nowhere)
    elf = guest.assemble(t.directory, "touches")
    seen = {}

    def judge(domain, run, regs):
        p2m, tables = agree(t, domain, kind)
        mapped = tables.mapped()
        missing = [page for page in guest.pages if page not in mapped]
        t.check(not missing, "the guest has touched a page, went on, and no entry maps it: how did it reach its memory?",
                "an entry", ", ".join(f"{page:x}" for page in missing[:4]))
        met = {page for page, _ in run.violations}
        t.check(set(mapped) <= met, "pages are mapped that the guest has not touched", "as many as violations",
                ", ".join(f"{page:x}" for page in sorted(set(mapped) - met)[:4]))
        wild = [page for page in p2m if page >= domain.ram or page in HOLE and page in guest.nowhere]
        t.check(not wild, "memory was given where the guest has none", "no frame", ", ".join(f"{page:x}" for page in wild[:4]))
        filled = [page for page, _ in run.violations if page in mapped]
        twice = {page for page in filled if filled.count(page) > 1}
        t.check(not twice, "the same page is missed twice: its entry did not allow the first access", "one violation a page",
                ", ".join(f"{page:x}" for page in sorted(twice)[:4]))
        t.notes.append(f"{len(mapped)} frames mapped, {len(run.violations)} violations")

    ends = Ends(t, elf, options, judge)
    life = said(ends.run, f"start {elf.stem} {options}")
    t.check("exit code 0" in life, "the guest that only touches memory does not come to its end", "exit code 0", life)


def filled(t):
    """On AMD-V."""
    touched(t, "npt", f"mem={MIB}", 37, [t.rng.choice(HOLE[:0x18]), *t.rng.sample(NOWHERE, 3)])


def filled_vmx(t):
    """On VT-x."""
    touched(t, "ept", f"mem={MIB}", 12, t.rng.sample(NOWHERE, 1))
