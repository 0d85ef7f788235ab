#!/usr/bin/env python3
"""Keep the handouts true: what they show is what really happens.

    transcripts.py [--write] [--tables] [--part K/N [--all-of FILE]...] [FILE...]

Two kinds of blocks in handouts/*.md are made, not written:

A *transcript* is a fenced block below a line `<!-- transcript: REF="1.1" -->` (or SOLUTION=1, or nothing:
the skeletons). Its lines `$ command`, `(gdb) command`, `<bochs:1> command`
are what a reader types. This program types
them, too, on a build of that kind, and compares what comes out. `make qemu`, `make bochs` and `make gdb`
are driven by their APPEND= alone; what make says before the boot, and the way out of the emulator, are
left away. A line `[...]` stands for any lines. Addresses and numbers that change with the compiler or
with the machine's speed are masked when lines are compared.

A *table* stands between `<!-- made: KIND ARGUMENT -->` and `<!-- end -->`, and is made from the labs' data
files, from the mutants or from the tests.

Without --write it prints what differs, and fails. With --write it puts it right. --tables leaves the
transcripts alone. --part 0/3 takes every third transcript from the first on, and all of those of FILE.
"""

import argparse
import difflib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mkimage
import mutants
import trouble
from course import ROOT, parse_labs
from tables import Stale, make_table

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

HANDOUTS = ROOT / "handouts"
TRANSCRIPT = re.compile(r"<!-- transcript:(.*)-->\s*\Z")
MADE = re.compile(r"<!-- made: (.*?) *-->\s*\Z")
END = "<!-- end -->"
ELLIPSIS = "[...]"
BOOTS = ("qemu", "bochs", "gdb")
LIMITS = machine.Limits(instructions=None)
"""CPU seconds alone: guests that spin for 140 ms of real time run as many instructions as this machine is fast."""

MASKS = [
    (re.compile(r"[0-9a-f]{16}-[0-9a-f]{16} +\d+ KiB  (kernel|module)"), r"FROM-TO \1"),
    (re.compile(r"^\(0\) \[0x.*"), "(0) WHERE"),
    (re.compile(r"^r(\w+ +[0-9a-f]{16}.*|flags [0-9a-f]{8}.*|ip [0-9a-f]{4}:.*)"), "REGISTERS"),
    (re.compile(r"\bat (0008:)?[0-9a-f]{8}\b"), r"at \1ADDRESS"),
    (re.compile(r"\b[0-9a-f]{16} (\w+)\+0x[0-9a-f]+"), r"ADDRESS \1+OFFSET"),
    (re.compile(r"^[0-9a-f]{16}:(?: [0-9a-f]{8})+$"), lambda m: re.sub("[0-9a-f]{8}", "WORD", m[0][16:])),
    (re.compile(r"\b(0x)?0*ffff8[0-9a-f]{11}\b"), "ADDRESS"),
    (re.compile(r"\b0x0*10[0-9a-f]{4}\b|^ *0010[0-9a-f]{4}\b|(?<=^#\d )0010[0-9a-f]{4}\b"
                r"|(?<= to )0010[0-9a-f]{4}\b|(?<=^block )0010[0-9a-f]{4}\b"), "GUEST"),
    (re.compile(r"\b0xffffffff8[0-9a-f]{7}\b"), "GUEST"),
    (re.compile(r"\bffff8[0-9a-f]{3}_[0-9a-f]{8}\b"), "ADDRESS"),
    (re.compile(r"\bffd[0-9a-f]{5} (68|e8|e9|cde0|658f|658b|9c65)?[0-9a-f+]+"), "TRANSLATION"),
    (re.compile(r" -\d{12,}"), "DECIMAL"),
    (re.compile(r"\b10[45]\d{4}\b"), "DECIMAL"),
    (re.compile(r"(\.(?:[ch]|asm)(?::|, line ))\d+"), r"\1LINE"),
    (re.compile(r"^\d+\t"), "LINE\t"),
    (re.compile(r"^\d+ of \d+ frames|\b\d+ MiB free of \d+ MiB"), "FREE"),
    (re.compile(r"^(  \w+ +)\d+ frames +\d+ KiB"), r"\1FRAMES"),
    (re.compile(r"^(tr:0xe040, dh=0x[0-9a-f]{6})[0-9a-f]{2}, dl=0x[0-9a-f]{8}"),
     r"\1BASE"),  # the kernel's data move with its size
    (re.compile(r"\b(IOPM_BASE_PA = )[0-9a-f]+"), r"\1ADDRESS"),
    (re.compile(r"\b\d+ exits, held by"), "N exits, held by"),  # the scheduler's affair
    (re.compile(r"^(d\d (?:pv-bell|pv-events|dom0|disk|net|walled): ended: guest powered off after |d1\| (?:disk|net|walled) has ended: guest powered off after )\d+"),
     r"\1N"),  # ... for those that give up turns, or sleep
    (re.compile(r"\b(\d+ frames in )\d+ ms"), r"\1N ms"),  # of a real machine's time
    (re.compile(r"cr3 [0-9a-f]{8}"), "cr3 ROOT"),
    (re.compile(r"\b\d+ modules"), "MODULES"),
    (re.compile(r"^(  d\d.* \d+ +\d+ %) +\d+ % +-?\d+ us .*"), r"\1 TIMES"),  # what each has had of a real machine's time
    (re.compile(r"^the host itself: .*"), "the host itself: TIMES"),
    (re.compile(r"host save area at [0-9a-f]+"), "host save area at ADDRESS"),
    (re.compile(r"\bframe [0-9a-f]+ is free"), "frame MFN is free"),
    (re.compile(r"\bmachine frame [0-9a-f]+; ours: not"), "machine frame MFN; ours: not"),  # where the kernel's image ends
    (re.compile(r"^frames-drain: .*"), lambda m: re.sub(r"\d+", "N", m[0])),
    (re.compile(r"^CR3=0x[0-9a-f]+"), "CR3=ROOT"),
    (re.compile(r"^(rsi|cr3) +0x[0-9a-f]{6,} +.*"), r"\1 FRAME"),
    (re.compile(r"^(0x[0-9a-f]{16} <bogus\+ +\d+>:).*"), r"\1 WORDS"),
    (re.compile(r"^Makefile:\d+"), "Makefile:LINE"),
    (re.compile(r"there are: [\w ]+ \("), "there are: LABS ("),  # an export has others
    (re.compile(r"\b0x00000000002000[0-9a-f]{2}\b"), "RFLAGS"),  # arithmetic flags of whatever ran before
    (re.compile(r"^Next at t=\d+"), "Next at t=T"),
    (re.compile(r"^(PML4|PDPE| *PDE): 0x[0-9a-f]+"), r"\1: ENTRY"),
    (re.compile(r"^(\$\d+ = 0x)[0-9a-f]+(067)$"), r"\1FRAME\2"),
    (re.compile(r"\[ *\d+\] [0-9a-f]{16} -> [0-9a-f]{13}|CR3 +[0-9a-f]{16}"), "ENTRY"),
    (re.compile(r"insn = \"[^\"]*\""), "INSN"),
    (re.compile(r"guest [0-9a-f]{8}: [0-9a-f]{16} ([P-][W-][U-])"), r"guest AT: ENTRY \1"),
    (re.compile(r"ours [0-9a-f]{16} ([P-][W-][U-])"), r"ours ENTRY \1"),
    (re.compile(r"^  guest-physical [0-9a-f]{8}: machine frame ([0-9a-f]+); ours: \1$"),
     "guest-physical AT: machine frame and ours: MFN"),
    (re.compile(r" +"), " "),
]


def masked(line):
    """A line without what may change though nothing changed."""
    line = line.expandtabs(1).rstrip() if not re.match(r"\d+\t", line) else line.rstrip()
    for pattern, instead in MASKS:
        line = pattern.sub(instead, line)
    return line


# ---- transcripts ---------------------------------------------------------------------------------


class Build:
    """One variant of one lab, built once."""

    made = {}

    def __init__(self, lab, words):
        wish = dict(word.split("=", 1) for word in words)
        if set(wish) - {"REF", "SOLUTION"}:
            raise Stale(f"transcript: {' '.join(words)}: only REF= and SOLUTION= are known")
        self.make = ["make", "-s", "-j2", f"LAB={lab}", *words, "build"]
        suffix = "-solution" if wish.get("SOLUTION") else ""
        if wish.get("REF"):
            suffix += "-ref-" + "-".join(sorted(wish["REF"].split()))
        self.path = ROOT / "build" / f"lab{lab}{suffix}"

    @classmethod
    def of(cls, lab, words):
        """The build, made if it has not been yet."""
        key = (lab, *words)
        if key not in cls.made:
            one = cls(lab, words)
            run(one.make, must=True)
            cls.made[key] = one
        return cls.made[key]


def environment():
    """Without what an outer make says."""
    words = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "LAB", "REF", "SOLUTION", "VARIANT",
             "WERROR", "CC")
    return {k: v for k, v in os.environ.items() if k not in words} | {"LC_ALL": "C.UTF-8"}


def run(command, must=False):
    """A program's output, both streams."""
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    if must and done.returncode:
        raise Stale(f"{shlex.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def guests(build):
    """The guests that the Makefile makes modules of, in its order; those of pv where the kernel can run them, with the lab's own files."""
    known = {path.name for path in (ROOT / "guest").iterdir()}
    if "vmm/pv/" in (build.path / "lab.mk").read_text():
        known |= {f"pv-{path.name}" for path in (ROOT / "guest/pv").iterdir()}
    paths = {path.name: path for place in (ROOT / "build/guest", build.path / "guest") for path in place.glob("*.elf")}
    return [path for _, path in sorted(paths.items()) if path.stem in known]


def modules(build, dom0=""):
    """... and behind them programs of ring 3, where the kernel can run them. `dom0`: another kernel under that name."""
    here = "kern/env/" in (build.path / "lab.mk").read_text()
    if dom0:
        run(["make", "-s", dom0], must=True)
    files = build.path / "guest/files.cpio"
    return [ROOT / dom0 if dom0 and path.stem == "dom0" else path for path in guests(build)] + [
        ROOT / f"build/user/{name}.elf" for name in ("dm", "mini") if here] + [files] * files.is_file()


def words_of(build, path, dom0=""):
    """What stands behind a module's name: dom0 that is a lab's own has its files."""
    if path.stem != "dom0" or not dom0 and build.path not in path.parents:
        return ""
    return "mem=32 --" if dom0 else "mem=32 module=files --"


def tidy(text):
    """What a person sees: sources have the names that a student knows."""
    text = text.replace("\r", "")
    text = re.sub(r"build/[\w.-]+/merged/|solutions/", "labs/", text)
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def disk(folder, build, cmdline):
    """A disk image, for Bochs."""
    image = Path(folder) / "zeno.img"
    image.write_bytes(mkimage.make(build.path / "zeno.mb", cmdline, [(path, path.stem) for path in modules(build)],
                                   mkimage.BOOT / "mbr.bin", mkimage.BOOT / "loader.bin"))
    return str(image)


def boot(where, build, append, cpu="te", dom0=""):
    """The console, from the greeting to the prompt that follows the last command."""
    cmdline = f"panic=off {append}{';' if ' -- ' in f' {append}' else ' --'} off"
    with tempfile.TemporaryDirectory(prefix="zeno-transcript-") as folder:
        if where == "bochs":
            result = machine.boot(machine="bochs", disk=disk(folder, build, cmdline), cpu=cpu, limits=LIMITS)
        else:
            result = machine.boot(machine="qemu", kernel=str(build.path / "zeno.mb"), cmdline=cmdline,
                                  cpu=cpu, modules=[(str(path), words_of(build, path, dom0)) for path in modules(build, dom0)],
                              limits=LIMITS)
    text, how = result.text(), result.end
    result.cleanup()
    if how is not machine.End.SHUTDOWN:
        raise Stale(f"{build.path.name}: {append}: ended by {how.value}\n{text}")
    return tidy(re.sub(r"K> of?f?\s*\Z", "K>", text))


def debug(build, append, commands, more=()):
    """[[command, output lines]] of a GDB session."""
    with tempfile.TemporaryDirectory(prefix="zeno-transcript-") as folder:
        script = Path(folder) / "script"
        script.write_text("".join(f"echo \\n@@{i}\\n\n{c}\n" for i, c in enumerate(commands))
                          + "echo \\n@@end\\n\nkill\n")
        command = [sys.executable, "tools/run.py", "--gdb", "--no-explain", *more, "--batch", str(script),
                   "--console", str(Path(folder) / "console"),
                   "--kernel", str(build.path / "zeno.mb"), "--elf", str(build.path / "zeno.elf"),
                   "--append", append]
        for path in modules(build):
            command += ["--elf", str(path)] * (path in guests(build)) + ["--module", f"{path} {words_of(build, path)}".rstrip()]
        text = run(command)
    parts = re.split(r"^@@(?:\d+|end)\n", text, flags=re.M)
    if len(parts) != len(commands) + 2:
        raise Stale(f"make gdb: after {commands[max(0, len(parts) - 2)]!r}:\n{text}")
    return [[c, tidy(part.strip("\n")) if part.strip() else []] for c, part in zip(commands, parts[1:])]


def bochs_debug(build, append, commands, cpu):
    """The lines of a session with Bochs' debugger. A command ^C stops the machine at its prompt."""
    with tempfile.TemporaryDirectory(prefix="zeno-transcript-") as folder:
        console = Path(folder) / "console"
        command = [sys.executable, "tools/run.py", "--debugger", "--console", str(console),
                   "--kernel", str(build.path / "zeno.mb"), "--append", append, "--cpu", cpu]
        for path in guests(build):
            command += ["--module", str(path)]
        with subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
                              start_new_session=True) as process:
            for one in commands:
                if one != "^C":
                    process.stdin.write(one.encode() + b"\n")
                    continue
                for _ in range(1200):
                    if process.poll() is not None or (console.is_file()
                                                      and console.read_bytes().endswith(b"K> ")):
                        break
                    time.sleep(0.1)
                os.killpg(process.pid, signal.SIGINT)
            try:
                out = process.communicate(timeout=120)[0].decode("ascii", "replace")
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    text = out[max(0, out.find("<bochs:1>")):]
    text = re.sub(r"^(\d{11}[ip]\[|@Z|\(0\)\.).*\n?", "", text, flags=re.M)
    if "^C" in commands:
        text = re.sub(r"^(<bochs:\d+> c\n)", r"\1^C\n", text, flags=re.M)
    return tidy(text)


def shown_make(line):
    """(goal, {variable: value}) of a typed `make`, or None for another command."""
    words = shlex.split(line)
    if words[0] != "make":
        return None
    goals = [word for word in words[1:] if "=" not in word]
    variables = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    return (goals[0], variables) if goals in [[x] for x in BOOTS] and "APPEND" in variables else None


def cpu_of(variables, where="qemu"):
    """The CPU that make takes for these: the lab's own, unless CPU= says another."""
    labs = parse_labs(variables["LAB"])
    return variables.get("CPU") or (labs[0].cpu_on(where) if len(labs) == 1 else "te")


def replay(lines, wish):
    """The block's lines as they are today."""
    new, at = [], 0
    while at < len(lines):
        if not lines[at].startswith("$ "):
            raise Stale(f"a transcript starts with a line `$ command`, not with {lines[at]!r}")
        command = lines[at][2:]
        end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("$ ")), len(lines))
        new.append(lines[at])
        boots = shown_make(command)
        if not boots:
            out = run(["sh", "-c", command])
            new += [x for x in tidy(out) if not x.startswith("[zeno] ")] if out else []
        elif boots[0] == "bochs" and boots[1].get("DEBUG"):
            typed = [re.sub(r"^<bochs:\d+> ", "", x) for x in lines[at + 1:end]
                     if x.startswith("<bochs:") or x == "^C"]
            new += bochs_debug(Build.of(boots[1]["LAB"], wish), boots[1].get("APPEND", ""), typed,
                               cpu_of(boots[1], "bochs"))
        elif boots[0] == "gdb":
            typed = [x[6:] for x in lines[at + 1:end] if x.startswith("(gdb) ")]
            more = [word for name in ("STUB", "MACHINE") if name in boots[1]
                    for word in (f"--{name.lower()}", boots[1][name])] + ["--cpu", cpu_of(boots[1], boots[1].get("MACHINE", "qemu"))]
            session = debug(Build.of(boots[1]["LAB"], wish), boots[1].get("APPEND", ""), typed, more)
            for one, output in session:
                new += [f"(gdb) {one}", *output]
        else:
            new += boot(boots[0], Build.of(boots[1]["LAB"], wish), boots[1].get("APPEND", ""),
                        cpu_of(boots[1], boots[0]), boots[1].get("DOM0", ""))
        at = end
    return new


def without_chance(lines):
    """Without the count of the host's interrupts: a fast machine has none, and no such line."""
    return [line for line in lines if not re.match(r" *\d+  host interrupt", line)]


def same(old, new):
    """Do the handout's lines say what really comes out?"""
    if not old:
        return not new
    if old[0].strip() == ELLIPSIS:
        return any(same(old[1:], new[i:]) for i in range(len(new) + 1))
    return bool(new) and masked(old[0]) == masked(new[0]) and same(old[1:], new[1:])


def refreshed(old, new):
    """The new lines, but the old ones where they say the same: a rebuild alone changes no handout."""
    matcher = difflib.SequenceMatcher(None, [masked(x) for x in old], [masked(x) for x in new], False)
    lines = []
    for tag, i, j, k, m in matcher.get_opcodes():
        lines += old[i:j] if tag == "equal" else new[k:m]
    return lines


# ---- a handout -----------------------------------------------------------------------------------


class Block:
    """Lines [first, last) of a handout that are made."""

    def __init__(self, path, lines, first, last, maker, exact):
        self.path, self.first, self.last, self.maker, self.exact = path, first, last, maker, exact
        self.old = lines[first:last]
        self.new, self.error = None, None

    def work(self):
        """Make it again."""
        try:
            self.new = self.maker()
            if not self.exact:
                self.new = refreshed(self.old, self.new)
        except (Stale, mkimage.ImageError, mutants.MutantError, OSError, KeyError, ValueError) as error:
            self.error = f"{type(error).__name__}: {error}"

    def fits(self):
        """Is the handout true?"""
        return self.old == self.new if self.exact else same(without_chance(self.old), without_chance(self.new))


def blocks(path, lines, tables_only):
    """All made blocks of a handout."""
    found = []
    for i, line in enumerate(lines):
        transcript, made = TRANSCRIPT.match(line), MADE.match(line)
        if transcript and not tables_only:
            if i + 1 >= len(lines) or not lines[i + 1].startswith("```"):
                raise Stale(f"{path.name}:{i + 1}: a fenced block must follow")
            end = lines.index("```", i + 2)
            wish = shlex.split(transcript[1])
            body = lines[i + 2:end]
            found.append(Block(path, lines, i + 2, end, lambda b=body, w=wish: replay(b, w), False))
        elif made:
            end = lines.index(END, i + 1)
            found.append(Block(path, lines, i + 1, end, lambda w=made[1]: make_table(w), True))
    return found


def in_part(found, part, whole):
    """Tables, the transcripts of this part, and those of the handouts of which all are wanted."""
    number, of = map(int, part.split("/"))
    chosen, count = [], -1
    for block in found:
        count += not block.exact
        if block.exact or block.path in whole or count % of == number:
            chosen.append(block)
    return chosen


def difference(block):
    """Old against new, for a person."""
    where = f"{block.path.name}:{block.first + 1}"
    if block.error:
        return f"{where}: {block.error}"
    return "\n".join(difflib.unified_diff(block.old, block.new, where, "today",
                                          lineterm="", n=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the handouts right")
    parser.add_argument("--tables", action="store_true", help="the tables only: boots nothing")
    parser.add_argument("--part", metavar="K/N", default="0/1", help="every Nth transcript, from the Kth on")
    parser.add_argument("--all-of", metavar="FILE", type=Path, action="append", default=[], help="with --part: all of this one's")
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args()
    texts, found = {}, []
    for path in [p.resolve() for p in args.files] or sorted(HANDOUTS.glob("*.md")):
        texts[path] = path.read_text().split("\n")
        found += blocks(path, texts[path], args.tables)
    found = in_part(found, args.part, [path.resolve() for path in args.all_of])
    wishes = sorted({(m[1]["LAB"], tuple(shlex.split(TRANSCRIPT.match(texts[b.path][b.first - 2])[1])))
                     for b in found if not b.exact for line in texts[b.path][b.first:b.last]
                     if line.startswith("$ ") and (m := shown_make(line[2:]))})
    try:
        for lab, wish in wishes:
            Build.of(lab, list(wish))
    except Stale as error:
        print(error)
        return 1
    with ThreadPoolExecutor(2) as pool:  # a block waits for its own emulator
        list(pool.map(Block.work, found))
    bad = [b for b in found if b.error or not b.fits()]
    for block in bad:
        print(difference(block))
    if not args.write:
        return 1 if bad else 0
    for block in reversed(bad):
        if not block.error:
            texts[block.path][block.first:block.last] = block.new
    for path in {b.path for b in bad}:
        path.write_text("\n".join(texts[path]))
    return 1 if any(b.error for b in bad) else 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
