"""Guests on a hardware engine beside the bare machine: what the tests of svm and vmx have in common."""

import re
import sys
from pathlib import Path

from booting import boot_from, ran
from harness import ROOT, folder, ok, run

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=120)
ATTACKS = re.findall(r'ATTACK\s+"([^"]+)"', "".join(p.read_text() for p in sorted((ROOT / "guest/hostile").glob("*.asm"))))
SPINS = ("spin", "v86-spin", "fault-forever", "irq-storm", "user-v86-spin")
RUNAWAY = ("idt-task-gate", "retf-ring3", "tss-down-stack", "gate-ring1", "iret-v86")  # go on in whatever memory holds: runs_away()
ENDING = [name for name in ATTACKS if name not in SPINS + RUNAWAY]
PER_BOOT = 16


def guest(name):
    return BUILD / "guest" / f"{name}.elf"


def assembled(source):
    """The guest of one file of assembly below tests/."""
    elf = folder() / f"{Path(source).stem}.elf"
    made = run("sh", "-c", f"nasm -f elf32 -I {ROOT}/tests/ -o {elf}.o {ROOT}/tests/{source} && "
               f"ld -m elf_i386 -T {ROOT}/guest/lib/guest.ld -o {elf} {elf}.o")
    if made.status:
        raise RuntimeError(made.out)
    return elf


def boot(where, cpu, kernel, cmdline="", guests=(), **setup):
    """A machine's console."""
    return ran(where, kernel, cmdline, guests, cpu=cpu, limits=LIMIT, mem=128, **setup).text


def each(text):
    """The console from each `start` to the next prompt, by what was typed."""
    return [part for part in re.split(r"^K> ", text, flags=re.M) if part.startswith("start ")]


def alike(lines):
    """Without what CPUID says: a vCPU has no local APIC, say."""
    return [line for line in lines if not line.startswith("cpuid.")]


class Engine:
    """An engine in a build of a lab, on a machine; `words` stand behind each `start GUEST`."""

    bare_lines = {}  # what each guest prints on each bare machine

    def __init__(self, lab, cpu, words=""):
        self.kernel = BUILD / f"lab{lab}-solution/zeno.mb"
        self.cpu = cpu
        self.words = words

    def host(self, commands, guests, where="qemu", options="", cpu=None, **setup):
        """What Zeno says to these commands; guests are names, or ELF files."""
        cmdline = f"panic=off {options} -- {'; '.join(commands)}; off"
        elves = [guest(one) if isinstance(one, str) else one for one in guests]
        return boot(where, cpu or self.cpu, self.kernel, cmdline, elves, **setup)

    def start(self, name, words=""):
        return " ".join(filter(None, ("start", name, self.words, words)))

    def bare(self, where, name):
        key = where, self.cpu, name
        if key not in self.bare_lines:
            self.bare_lines[key] = alike(boot(where, self.cpu, guest(name)).splitlines())
        return self.bare_lines[key]

    def same(self, where, names, options="", then=()):
        """Each guest prints what it prints on the bare machine, and comes to its end; the parts of the console."""
        commands = [word for name in names for word in (self.start(name), *then)]
        text = self.host(commands, names, where, options)
        parts = each(text)
        title = ", ".join(filter(None, (where, options)))
        ok(len(parts) == len(names), f"{title}: each of them ran", text=text[-3000:])
        for name, part in zip(names, parts):
            bare = self.bare(where, name)
            got = alike(re.findall(r"^d\d+\| (.*)$", part, re.M))
            ok(bare and got == bare and f"{name}: ended: exit code 0" in part, f"{title}: {name} is the bare machine's",
               bare="\n".join(bare), got=part)
        return text

    def contains(self, where, names):
        """Attacks end their guest, or nothing; never the host, nor the guest behind them."""
        for first in range(0, len(names), PER_BOOT):
            some = names[first:first + PER_BOOT]
            text = self.host([self.start("hostile", f"-- attack={name}") for name in some] + [self.start("hello")],
                             ["hostile", "hello"], where)
            parts = each(text)
            for name, part in zip(some, parts):
                ok(re.search(r"^d\d+ hostile: (ended|stopped): ", part, re.M) and "refuses" not in part,
                   f"{where}: {name} is contained", text=part)
            ok(len(parts) == len(some) + 1 and "hello: ended: exit code 0" in parts[-1],
               f"{where}: and a guest behind them runs", text=text[-3000:])

    def spins(self, where, names):
        """Guests that never end leave the others their turns. fault-forever ends where an interrupt finds its way in."""
        text = self.beside(where, [(self.start("hostile", f"& -- attack={name}"), f"| {name}: begins") for name in names],
                           [self.start("hello"), *(f"stop d{n + 1}" for n in range(len(names)))], ["hostile", "hello"])
        over = text.count("hostile: stopped: by the monitor's stop command")
        over += "fault-forever" in names and text.count("hostile: ended: exit")
        ok("hello: ended: exit code 0" in text and all(f"| {name}: begins" in text for name in names) and over == len(names),
           f"{where}: {', '.join(names)} leave others their turns, and are stopped", text=text)

    def beside(self, where, starts, behind, guests):
        """The console of guests that go on, [(command, what it says first)], and of the commands behind them.

        How much of a guest runs in a turn is the clock's to say, on QEMU; so there each is waited for.
        """
        if where != "qemu":
            return self.host([command for command, _ in starts] + behind, guests, where)
        elves = [guest(one) if isinstance(one, str) else one for one in guests]
        live = machine.start(**boot_from(where, self.kernel, "panic=off", elves), cpu=self.cpu, limits=LIMIT, mem=128, interactive=True)
        live.wait_for(b"K> ")
        for command, says in starts + [(command, "K> ") for command in behind]:
            live.send(f"{command}\r".encode())
            live.wait_for(says.encode())
        live.send(b"off\r")
        result = live.wait()
        text = result.console.decode("ascii", "replace").replace("\r", "")
        result.cleanup()
        return text

    def runs_away(self, where):
        """Attacks that go on in whatever memory holds, all at once: each comes to an end in a line, or is stopped.

        Not on Bochs' ryzen, where a guest's triple fault, one end of these, is the machine's (handouts/emulators.md).
        """
        text = self.beside(where, [(self.start("hostile", f"& -- attack={name}"), f"| {name}: begins") for name in RUNAWAY],
                           [self.start("hello"), *(f"stop d{n + 1}" for n in range(len(RUNAWAY))), self.start("hello")],
                           ["hostile", "hello"])
        ends = re.findall(r"d\d+ hostile: (?:ended|stopped): (?!.*refuses)", text)  # behind what is typed meanwhile, too
        ok(len(ends) == len(RUNAWAY) and all(f"| {name}: begins" in text for name in RUNAWAY)
           and text.count("hello: ended: exit code 0") == 2,
           f"{where}: {', '.join(RUNAWAY)} do not reach the host, nor the guests beside them", text=text)

    def forever(self, where, letters="pPhHciwsj", ways=()):
        """Guests that do one instruction again and again, all at once: hello has its turns among them, and each is stopped."""
        starts = [(f"start forever {way} & -- {letter}", f"| {letter}") for way in ways or (self.words,) for letter in letters]
        text = self.beside(where, starts, [self.start("hello"), "list", *(f"stop d{n + 1}" for n in range(len(starts)))],
                           [assembled("hardware/forever.asm"), "hello"])
        each_way = len(ways) or 1
        ok("hello: ended: exit code 0" in text and all(text.count(f"| {letter}\n") == each_way for letter in letters)
           and text.count("forever: stopped: dead halt: hlt with interrupts off") == each_way
           and text.count("forever: stopped: by the monitor's stop command") == len(starts) - each_way,
           f"{where}: {' '.join(ways)} pause, hlt, cpuid, in, wbinvd, rep stosb, jmp without end leave others their turns, and are stopped",
           text=text)

    def watches(self, where):
        """Breakpoints on data: one on the frame of its own #DB never ends, and leaves the others their turns. QEMU dies of
        it (handouts/emulators.md), so it is Bochs'."""
        elves = [assembled("hardware/watch.asm"), "hello"]
        if where == "bochs":
            hello = self.start("hello")
            text = self.host([self.start("watch", "& -- l"), hello, "exits d1", hello, "exits d1", "stop d1"], elves, where)
            counts = [int(n) for n in re.findall(r"^ +(\d+)  the guest's own exception", text, re.M)]
            ok(text.count("hello: ended: exit code 0") == 2 and "watch: stopped: by the monitor's stop command" in text
               and len(counts) == 2 and 0 < counts[0] < counts[1],  # how many fit into a turn is the tick's to say
               f"{where}: a debug exception that makes the next one leaves others their turn, and is stopped", text=text)
            return
        text = self.host([self.start("watch", "-- p"), self.start("hello")], elves, where)
        ok("d1| pK" in text and "watch: ended: exit code 0" in text and "hello: ended: exit code 0" in text,
           f"{where}: a breakpoint met by an instruction that exits for another reason is not the host's", text=text)

    def bits(self, where):
        """The bits of CR0 and CR4 do what they do on the bare machine."""
        guest_of_bits = assembled("hardware/bits.asm")
        bare = boot(where, self.cpu, guest_of_bits).strip()
        text = self.host([self.start("bits")], [guest_of_bits], where)
        ok(len(bare) > 20 and f"d1| {bare}\nd1 bits: ended: exit code 0" in text,
           f"{where}: bits of CR0 and CR4 have the bare machine's effect {self.words}".rstrip(), bare=bare, text=text)

    def operands(self, where):
        """What the host does with memory for an instruction, it does or refuses as the bare machine."""
        elves = [assembled(f"hardware/{name}.asm") for name in ("operand", "pointers")]
        bare = [boot(where, self.cpu, elf).strip() for elf in elves]
        text = self.host([self.start(elf.stem) for elf in elves], elves, where)
        ok(len(bare[0]) > 70 and len(bare[1]) > 5 and all(
            f"d1| {line}\nd1 {elf.stem}: ended: exit code 0" in text for line, elf in zip(bare, elves)),
           f"{where}: operands in memory are refused, or not, as on the bare machine", bare=bare, text=text)

    def small_guests(self, where):
        """Each asks for one thing: an interrupt that comes with a fault, what any CPU refuses, what a neighbour leaves."""
        names = ("queued", "refuse", "absent", "detect", "far16", "left", "named")
        starts = [self.start(name) for name in names[:5]] + [self.start("steps", "-- die=port")] + [
            self.start("left", words) for words in ("& -- w", "-- r", "-- w", "-- r")] + [
            self.start("named"), self.start("named", "platform=pc-apic")]
        text = self.host(starts, [assembled(f"hardware/{name}.asm") for name in names] + ["steps"], where)
        ok("d1| GgIE\nd1 queued: ended: exit code 0" in text,
           f"{where}: an interrupt waits for the end of a fault's handler, whose IF is 0", text=text)
        ok("d1| NNNNNNNNNNNN NNGG GGGGGGGG GGGGGGGGGGGGGGGGG\nd1 refuse: ended: exit code 0" in text,
           f"{where}: values that no register has are #GP, VT-x's and AMD-V's instructions #UD", text=text)
        ok("absent: stopped: Zeno cannot emulate an x87 or vector instruction on memory at d0000000" in text,
           f"{where}: movaps on memory that is not there ends its guest in words", text=text)
        ok("d1| BCFBCFBCFBCFRbCF\nd1 detect: ended: exit code 0" in text,
           f"{where}: general detect is #DB in front of each move, and its handler finds it off", text=text)
        ok("d1| K\nd1 far16: ended: exit code 0" in text, f"{where}: EIP is not cut in 16-bit code beyond 64 KiB", text=text)
        ok(f"steps: stopped: {self.cpu} has no breakpoints on ports [" in text,
           f"{where}: a breakpoint on a port is refused in words", text=text)
        # The first writer may still be at it when the machine is turned off.
        ok(text.count("| " + 22 * "w") in (1, 2) and text.count("| " + 22 * ".") == 2,
           f"{where}: a guest has its own registers still after others' turns, and none of a neighbour's", text=text)
        lines = re.findall(r"^d\d+\| ([.+!]{60,})$", text, re.M)
        ok(len(lines) == 2 and all("!" not in line and line.count("+") > 12 for line in lines),
           f"{where}: no MSR and no bit of CR4 is missing that CPUID names", text=text)
