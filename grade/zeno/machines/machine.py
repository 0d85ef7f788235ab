"""Machines that a kernel can be booted on, behind one interface.

What the rest of the harness uses:

    run = boot(machine="qemu", kernel="build/zeno.mb", cmdline="paranoid=1 -- start hello; off",
               modules=[("build/guest/hello.elf", "nonce=17")], cpu="te",
               elf=["build/zeno.elf", "build/guest/hello.elf"])
    run.end        an End: how the machine stopped
    run.code       the code written to the debug exit port, for End.SHUTDOWN
    run.detail     one sentence about the end, for a person
    run.console    bytes that left COM1
    run.side       bytes that left port 0xE9
    run.counts     instructions (Counts), where the machine can count
    run.explanation  words for a triple fault, or None
    run.command, run.command_gdb   shell commands that reproduce the run, without and with GDB

`start()` gives the machine while it runs (a Live): type into it, attach the GDB client, watch the
console, then `wait()` for the Run. `boot()` is `start()` and `wait()` and nothing else.

Nothing here looks at a wall clock to judge a guest. A run is bounded by instructions (counted by
our TCG plugin on QEMU, by the debugger on Bochs) and by CPU seconds of the emulator's process. The
wall limit is a generous backstop whose only possible meaning is End.TROUBLE, "the harness has
trouble", never the guest's failure.

A machine that is not installed raises MachineMissing, whose text says what to install. Whatever
goes wrong on our side of the fence (no temp space, an emulator that refuses its arguments) ends as
End.TROUBLE with the emulator's own words in `detail`, so that a grader can bail out.

Every run lives in a directory of its own (`run.directory`, below $TMPDIR), with unix sockets only;
`run.cleanup()` removes it. The emulator is a process group of its own that dies with the harness.
A Live must be waited for in the thread that started it: the kernel ends the emulator when the
thread that created it goes away.
"""

import enum
import functools
import os
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

MACHINES_TOML = Path(__file__).resolve().parent.parent.parent / "machines.toml"


class End(enum.Enum):
    """How a machine stopped. The value is the phrase that reports use."""

    SHUTDOWN = "shutdown"
    """The guest wrote to the debug exit port (QEMU 0xf4, `code`) or "Shutdown" to 0x8900 (Bochs)."""
    RESET = "reset"
    """The guest asked for a reset (port 0x64 or 0xcf9, ...): an extra reboot."""
    TRIPLE_FAULT = "triple fault"
    """Three faults in a row; `explanation` has the chain in words."""
    DEAD_HALT = "dead halt"
    """HLT with interrupts off: nothing can wake the CPU any more."""
    IDLE = "idle halt"
    """HLT with interrupts on, and nothing happens any more but timer ticks. Only with idle=True."""
    UNTIL = "until"
    """The awaited text was printed (`until=`), or the caller said that it has seen enough."""
    INSTRUCTIONS = "limit: instructions"
    HALTS = "limit: halts"
    CPU = "limit: cpu"
    FLOOD = "flood"
    """More console or side channel output than Limits allows."""
    KILLED = "killed"
    """The emulator died of a signal that we did not send, or the caller killed it."""
    TROUBLE = "harness trouble"
    """Not the guest's doing, as far as can be told: bail out, do not judge."""

    @property
    def orderly(self):
        """True where the guest itself ended the run, the way a finished guest does."""
        return self is End.SHUTDOWN


@dataclass(frozen=True)
class Limits:
    """What a run may use. None means no limit of that kind (wall_seconds can't be None)."""

    instructions: int | None = 2_000_000_000
    halts: int | None = None
    """QEMU: the run ends when the CPU has gone to sleep this many times (timer ticks wake it)."""
    quiet_halts: int = 500
    """QEMU, with idle=True: the run ends as idle when the CPU has gone to sleep this many times since
    anything was last printed. A kernel that waits at its prompt ends so; at 100 ticks a second this
    is five seconds of the guest's time, however busy the harness's machine is."""
    cpu_seconds: float | None = 60.0
    console_bytes: int = 8 << 20
    side_bytes: int = 64 << 20
    wall_seconds: float = 900.0
    """Harness trouble, never a verdict on the guest."""


@dataclass(frozen=True)
class Block:
    """A translated block that ran, as the plugin saw it."""

    address: int
    instructions: int


@dataclass(frozen=True)
class Counts:
    """Instructions that ran. `exact` tells whether a faulting block was counted to the fault.

    `low` and `high` split by linear address once the host kernel has entered its own, which are Xen's, too
    (0xffff800000000000 to 0xffff87ffffffffff): low, on both sides of them, is guest code. `boot` is what ran before.
    On a machine whose kernel never goes high (a bare guest), everything is `boot`.
    """

    total: int
    boot: int = 0
    low: int = 0
    high: int = 0
    halts: int = 0
    exact: bool = False
    watches: dict = field(default_factory=dict)
    """{address: times executed} for `watch=`."""
    last: tuple = ()
    """The last Blocks, oldest first."""
    longest: int = 0
    """The longest stretch of high instructions between two preemption points (`points=`) or low ones."""
    longest_at: tuple = (0, 0)
    """Its first block and its last one."""
    known: int = 0
    """Blocks of `known=` that the CPU came to."""


@dataclass
class Run:
    """What is left of a machine after it stopped."""

    machine: str
    end: End
    detail: str
    console: bytes
    side: bytes
    code: int | None = None
    counts: Counts | None = None
    explanation: str | None = None
    registers: dict = field(default_factory=dict)
    """{name: value} at the end (rip, cs, eflags, cr3, ...) where the machine could still tell."""
    cpu_seconds: float = 0.0
    logs: dict = field(default_factory=dict)
    """{name: Path}: console, side, log (the emulator's), stderr."""
    command: str = ""
    command_gdb: str = ""
    directory: Path | None = None

    def text(self):
        """The console as text that is safe to print; undecodable bytes show as \\xNN."""
        return self.console.decode("utf-8", "backslashreplace")

    def tagged(self, kind=None):
        """Side channel lines `@Z kind args` as [(kind, args)]; garbage lines are left out."""
        found = []
        for line in self.side.split(b"\n"):
            words = line.decode("utf-8", "backslashreplace").rstrip("\r").split(" ", 2)
            if words[0] == "@Z" and len(words) >= 2 and (kind is None or words[1] == kind):
                found.append((words[1], words[2] if len(words) > 2 else ""))
        return found

    def cleanup(self):
        """Remove the run's directory, logs included."""
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)


class MachineMissing(Exception):
    """The emulator (or a part of it that was asked for) is not here: SKIP, with this text."""


@dataclass
class Setup:
    """Everything that describes a boot; `boot()` and `start()` take these as keywords.

    kernel    a multiboot 1 ELF32 image; QEMU only
    disk      a raw disk image; either machine. Exactly one of kernel and disk
    cmdline   the kernel's command line; with `disk` it is in the image already, so leave it empty
    modules   [(path, words)]: the module's command line is `path words`; kernel= only
    cpu       a name in machines.toml ("te", "svm", "vmx", ...)
    mem       MiB
    icount    QEMU: -icount shift=0,sleep=off: one instruction is one ns, runs repeat exactly,
              sleep takes no time. Never type into such a machine
    shift     ... or 2**shift ns: a longer time in as many instructions
    exact     count per instruction, not per block (about twice as slow)
    watch     linear addresses whose executions are counted
    known     (file, linear address): `watch` counts inside of a guest by VMRUN alone, and Counts.known says how many of that guest's
              blocks are this file's bytes, which are at that address
    points    linear addresses of the host's preemption points, for Counts.longest
    counted_from  the linear address from whose first execution on instructions are counted; else the kernel's entry
    until     bytes, or a list of bytes: stop (End.UNTIL) when one of them is on the console
    idle      stop (End.IDLE) when the CPU sleeps with interrupts on and nothing happens any more
              (see Limits.quiet_halts); wait_for() then gives False. Bochs executes time while
              the CPU sleeps: there CPU seconds end such a run (End.CPU)
    interactive  COM1 becomes a two-way channel (Live.send); typing counts as an event for idle
    gdb       open the GDB stub's socket, or on Bochs its debugger (Live.gdb())
    paused    do not run before Live.gdb() says so (implies gdb)
    elf       ELF files (host kernel first, then guests) for symbols in explanations
    explain   "rerun": after a triple fault, run once more with the interrupt log on;
              "live": log from the start; "no"
    extra     further emulator arguments (QEMU) or bochsrc lines (Bochs)
    """

    machine: str = "qemu"
    kernel: str | Path | None = None
    disk: str | Path | None = None
    cmdline: str = ""
    modules: tuple = ()
    cpu: str = "te"
    mem: int = 128
    limits: Limits = field(default_factory=Limits)
    icount: bool = False
    shift: int = 0
    exact: bool = False
    watch: tuple = ()
    known: tuple | None = None
    points: tuple = ()
    counted_from: int | None = None
    until: bytes | list | None = None
    idle: bool = True
    interactive: bool = False
    gdb: bool = False
    paused: bool = False
    elf: tuple = ()
    explain: str = "rerun"
    extra: tuple = ()

    def __post_init__(self):
        if (self.kernel is None) == (self.disk is None):
            raise ValueError("give exactly one of kernel= and disk=")
        if self.disk is not None and (self.modules or self.cmdline):
            raise ValueError("a disk image holds its own command line and modules")
        if self.machine == "bochs" and self.kernel is not None:
            raise ValueError("Bochs boots disk images only: make one with tools/mkimage.py")
        if isinstance(self.until, bytes):
            self.until = [self.until]
        if self.paused:
            self.gdb = True


class Live:
    """A machine that runs. Both drivers give these methods; see Setup for what needs an option.

    send(data)            type bytes into COM1 (interactive=True)
    console()             bytes printed so far
    wait_for(text)        run until `text` (bytes) is on the console after all earlier matches;
                          True, or False if the machine stopped first
    gdb()                 a connected gdbremote.Client (gdb=True), or on Bochs bochsdebug.Client (paused=True)
    stop(end, detail)     end the run now, with this verdict (End.UNTIL if none is given)
    wait()                wait for the end, give the Run
    """


BY_HAND = {"kvm": "make qemu LAB=n MACHINE=kvm, where KVM nests VT-x"}
"""Machines that a person may boot on and nothing is graded on, and how."""


def machine_names():
    """The machines that this harness can drive, best first."""
    return ["qemu", "bochs"]


def driver(name):
    """The module that drives the machine `name`."""
    if name == "qemu":
        from . import qemu
        return qemu
    if name == "bochs":
        from . import bochs
        return bochs
    if name == "kvm":
        from . import kvm
        return kvm
    raise ValueError(f"no machine is called {name!r}; there are: {', '.join(machine_names())}")


def missing(name):
    """None if the machine is here, else one line that says what to install."""
    return driver(name).missing()


def version(name):
    """The emulator's name and version in a few words, for reports."""
    return _version(name, os.environ.get("PATH"))


@functools.cache
def _version(name, _path):
    """Asked once: it costs a third of what a boot does."""
    return driver(name).version()


@functools.cache
def _cpus():
    """Read once: that costs five milliseconds, and a boot asks twice."""
    with open(MACHINES_TOML, "rb") as file:
        return tomllib.load(file)["cpu"]


def has_cpu(machine, cpu):
    """Whether the emulator has a CPU of machines.toml."""
    return machine in _cpus().get(cpu, ())


def cpu_string(machine, cpu):
    """The emulator's own string for a CPU of machines.toml."""
    cpus = _cpus()
    if cpu not in cpus:
        raise MachineMissing(f"no CPU is called {cpu!r}; grade/machines.toml has {', '.join(cpus)}")
    if machine not in cpus[cpu]:
        others = " or ".join(BY_HAND.get(name) or f"make {name} LAB=n" for name in cpus[cpu])
        raise MachineMissing(f"{machine} has no CPU like {cpu!r} (grade/machines.toml says why): {others}")
    return cpus[cpu][machine]


def start(**setup):
    """Start a machine; the keywords are Setup's fields. Raises MachineMissing."""
    wanted = Setup(**setup)
    return driver(wanted.machine).start(wanted)


def boot(**setup):
    """Start a machine and wait for its end: a Run."""
    return start(**setup).wait()
