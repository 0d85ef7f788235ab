#!/usr/bin/env python3
"""The small OS (guest/os): the same transcripts from the bare machines and, under Zeno, from each engine.

tests/os/NAME.txt is what a script prints, on every machine and engine; the scripts are in SCRIPTS. An engine
joins by a line of ENGINES.
"""

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

sys.path.insert(0, str(TOOLS))
import mkramdisk  # noqa: E402

BUILD = ROOT / "build"
OS = BUILD / "guest" / "os.elf"
MACHINES = ["qemu"] + (["bochs"] if shutil.which("bochs") else [])
LIMIT = machine.Limits(instructions=8_000_000_000, cpu_seconds=400)

# Transcript: (words of the kernel's command line, exit code).
SCRIPTS = {
    "transcript": ("", 0),
    "large-pages": ("pse=1", 0),
    "files": ("script=mkdir_/tmp/d+cd_/tmp/d+cat_/etc/poem_>_p+wc_p+sort_<_p_|_grep_the+ls+rm_p+ls+exit_3", 3),
    "bad": ("script=badptr+echo_a_>_/etc+cat_<_/none+|_wc+echo_a_|+cd_/none+nonsense_|_wc+deep", 0),
    "bench": ("script=bench-compute+bench-fork+bench-files", 0),
    "poem": ("script=/etc/poem", 0),
    "flags": ("script=flags", 0),
}



@dataclass
class Engine:
    """An engine on the machines that have it."""

    name: str
    lab: str  # whose reference has it
    machines: tuple = tuple(MACHINES)
    cpu: str = "te"
    words: str = ""  # of `start`
    own_tables: float = 1.5  # times the instructions, if each process has kernel page tables of its own
    wrong: dict = field(default_factory=dict)  # {transcript that it gets wrong: what it prints there instead}

    @property
    def title(self):
        return f"{self.name} {self.words}".strip()

    @property
    def kernel(self):
        return BUILD / f"lab{self.lab}-solution" / "zeno.mb"

    @property
    def here(self):
        return self.lab == "all" or (ROOT / f"grade/labs/{self.lab}.toml").exists()


ENGINES = [
    Engine("te", "2", wrong={"flags": ("are on", "are off")}),
    Engine("bt", "3"),
    Engine("svm", "4s", ("qemu",), "svm"),
    Engine("svm", "all", ("qemu",), "svm", "mmu=shadow", own_tables=2),
    Engine("vmx", "4", tuple(set(MACHINES) & {"bochs"}), "vmx"),
    Engine("vmx", "all", tuple(set(MACHINES) & {"bochs"}), "vmx", "mmu=shadow"),
]

COUNTED = {}
"""Instructions of a boot on QEMU, by engine and the guest's words."""

# Under te and bt on Bochs each system call costs thousands of the emulator's instructions: the loads for measuring take
# minutes there, and are not run. On vmx they take twelve seconds each: check-all runs them.
SLOW = {("bochs", "bench"), ("bochs", "large-pages")}

# Sensitive and not privileged: what they show or do in ring 1 is the real machine's. popf_pair() has the only two.
HOLES = re.compile(r"\b(pushf\w?|popf\w?|sgdt\w?|sidt\w?|sldt\w?|smsw\w?|str|lar|lsl|verr|verw|lcall|lret)\b|"
                   r"\bpush\w?\s+%[cs]s|\bmov\w?\s+%[cs]s,")


def text_of(data):
    return data.decode("ascii", "replace").replace("\r", "")


def boot(where, kernel, cmdline, modules=(), mem=64, cpu="te"):
    """Boots a kernel; console, exit code (None on Bochs, which has none), how it ended, instructions if they are counted."""
    got = ran(where, kernel, cmdline, modules, cpu=cpu, mem=mem, limits=LIMIT)
    return got.text, got.code, got.end, got.counts and got.counts.total


def bare(where, words, mem):
    text, code, end, _ = boot(where, OS, f"os {words}", mem=mem)
    return text, end is machine.End.SHUTDOWN, code


def hosted(engine, where, words):
    """The guest's lines under Zeno, and its exit code."""
    cmdline = f"panic=off -- start os engine={engine.name} {engine.words} mem=32 -- {words}; off"
    text, _, end, count = boot(where, engine.kernel, cmdline, [OS], 128, engine.cpu)
    if where == "qemu":
        COUNTED[engine.title, words] = count
    guest = "".join(f"{line[4:]}\n" for line in text.split("\n") if line.startswith("d1| "))
    code = re.search(r"^d1 os: ended: exit code (\d+)", text, re.M)
    if not code:
        guest += text[-600:]  # why it did not end well
    return guest, end is machine.End.SHUTDOWN, int(code[1]) if code else None


def difference(expected, got):
    """The first line that differs, or None."""
    want, have = expected.split("\n"), got.split("\n")
    for i in range(max(len(want), len(have))):
        a = want[i] if i < len(want) else "(the end)"
        b = have[i] if i < len(have) else "(the end)"
        if a != b:
            return f"line {i + 1}: expected {a!r}, got {b!r}"
    return None


def compare(title, name, got, change=None):
    expected = (ROOT / "tests/os" / f"{name}.txt").read_text()
    if change:
        expected = expected.replace(*change)
    text, orderly, code = got
    wrong = difference(expected, text)
    right_code = code in (None, SCRIPTS[name][1])
    ok(not wrong and orderly and right_code, f"{title}: {name}", wrong=wrong, orderly=orderly, code=code,
       tail=text[-300:])


def bare_machines():
    for where in MACHINES:
        for name, (words, _) in SCRIPTS.items():
            compare(f"bare {where}", name, bare(where, words, 32))
        compare(f"bare {where} with 5,000 ticks in a second", "transcript", bare(where, "hz=5000", 32))
    compare("bare qemu with 16 MiB", "transcript", bare("qemu", "", 16))
    if "bochs" not in MACHINES:
        skip("the OS on Bochs", "Bochs is not installed: make demo installs it")


def engines():
    for engine in ENGINES:
        if not engine.here:
            skip(f"the OS on {engine.title}", f"this tree has no Lab {engine.lab}")
            continue
        done = run("make", "-s", "-C", ROOT, f"LAB={engine.lab}", "SOLUTION=1", "build")
        if not ok(done.status == 0, f"the reference of Lab {engine.lab} builds", out=done.out[-2000:]):
            continue
        for where in engine.machines:
            for name, (words, _) in SCRIPTS.items():
                if (where, name) in SLOW and not (engine.name == "vmx" and os.environ.get("ZENO_ALL")):
                    continue
                compare(f"{engine.title} on {where}", name, hosted(engine, where, words), engine.wrong.get(name))


def own_tables():
    """Each process with kernel page tables of its own, for the same frames: the same lines, and bt's cache survives."""
    compare("bare qemu, own=1", "transcript", bare("qemu", "own=1", 32))
    for engine in ENGINES:
        if not engine.here or "qemu" not in engine.machines:
            continue
        compare(f"{engine.title} on qemu, own=1", "transcript", hosted(engine, "qemu", "own=1"))
        took = {words: COUNTED.get((engine.title, words)) for words in ("", "own=1")}
        ok(all(took.values()) and took["own=1"] <= engine.own_tables * took[""],
           f"{engine.title}: it takes at most {engine.own_tables} times the instructions", took=took)


def pages_of_its_own():
    """What shares a page with descriptors is slow under an engine, so nothing does."""
    found = {m[2]: int(m[1], 16) for m in re.finditer(r"^([0-9a-f]+) \w (\w+)$", run("nm", OS).out, re.M)}
    gdt = found.get("gdt", 1)
    ok(gdt % 4096 == 0 and not [n for n, at in found.items() if gdt < at < gdt + 4096],
       "the GDT has a page of its own", gdt=hex(gdt))


def transcripts():
    """The two ways to map the kernel differ in the line that says so, and in nothing else."""
    small, large = ((ROOT / f"tests/os/{n}.txt").read_text() for n in ("transcript", "large-pages"))
    ok(small.replace("pages of 4 KiB", "pages of 4 MiB") == large,
       "large pages change nothing but the line about them")


def holes():
    """Trap-and-emulate can run it, since it uses none of the instructions that do not trap."""
    code = run("objdump", "-d", "-j", ".text", "--no-show-raw-insn", OS).out
    found = [line.strip() for line in code.split("\n")
             if HOLES.search(line.split("\t", 1)[1] if "\t" in line else "")]
    pair = run("objdump", "-d", "--disassemble=popf_pair", "--no-show-raw-insn", OS).out
    ok(len(code) > 10000 and len(found) == 2 and all(line.split(":")[0] in pair for line in found),
       "no sensitive instruction that does not trap, but for popf_pair's two", found=found)
    # What comes in behind sti comes sooner or later, as the machine likes; nobody may look then.
    code = run("objdump", "-d", "--disassemble=sys_popf", "--no-show-raw-insn", OS).out.partition("<sti>")
    behind = [line for line in code[2].split("\n") if re.search(r"\bcall|\b0x[0-9a-f]{6,},%|,0x[0-9a-f]{6,}$", line)]
    ok(code[1] and not behind, "sys_popf reads nothing that an interrupt changes behind its sti", found=behind)
    done = run("readelf", "-lW", OS)
    ok(done.status == 0 and "RWE" not in done.out, "no part of the image is both writable and code",
       out=done.out)


def typed():
    """The shell as a person uses it: a prompt, echo, a corrected word, the end of input."""
    live = machine.start(machine="qemu", kernel=str(OS), cmdline="os shell=1", cpu="te", mem=32,
                         interactive=True, limits=LIMIT)
    for line in (b"echo one\r", b"echo twx\x7fo\r", b"grep clock /etc/poem | wc\r"):
        live.wait_for(b"$ ")
        live.send(line)
    live.wait_for(b"$ ")
    live.send(b"\x04")
    result = live.wait()
    text = text_of(result.console)
    expected = "$ echo one\none\n$ echo twx\b \bo\ntwo\n$ grep clock /etc/poem | wc\n     1      7     35\n$ "
    ok(result.end is machine.End.SHUTDOWN and expected in text, "the shell can be typed at", text=text)
    result.cleanup()


def one_layout():
    """abi.h and mkramdisk.py say the same about the disk."""
    text = (ROOT / "guest/os/abi.h").read_text()
    c = {name: int(value, 0) for name, value in
         re.findall(r"#define (\w+) +(0x[0-9a-f]+|\d+)u?\b(?! \+)", text)}
    for name, their in (("DISK_MAGIC", "MAGIC"), ("BLOCK", "BLOCK"), ("DISK_BLOCKS", "BLOCKS"),
                        ("DISK_INODES", "INODES"), ("BITMAP_BLOCK", "BITMAP_BLOCK"),
                        ("INODE_BLOCK", "INODE_BLOCK"), ("ROOT_INUM", "ROOT"), ("DIRECT", "DIRECT"),
                        ("NAME_BYTES", "NAME_BYTES")):
        ok(name in c and c[name] == getattr(mkramdisk, their), f"{name} is one number", c=c.get(name))


def full_disk_image():
    """What does not fit on the RAM disk is refused in words, when it is built."""
    place = folder()
    (place / "root").mkdir()
    big = place / "big"
    for size, words in ((300 << 10, "too long"), (200 << 10, "blocks")):
        big.write_bytes(bytes(size))
        names = []
        for i in range(6):
            names.append(place / f"p{i}")
            shutil.copy(big, names[-1])
        done = run(sys.executable, TOOLS / "mkramdisk.py", "-o", place / "x", place / "root", *names)
        ok(done.status == 1 and words in done.out and "Traceback" not in done.out,
           f"the RAM disk is made, or not, in words: {words}", out=done.out)


def main():
    done = run("make", "-s", "-C", ROOT, "guests", "boot", "plugin")
    if not ok(done.status == 0, "the OS builds", out=done.out[-2000:]):
        finish()
    holes()
    pages_of_its_own()
    one_layout()
    full_disk_image()
    transcripts()
    bare_machines()
    typed()
    engines()
    own_tables()
    finish()


if __name__ == "__main__":
    main()
