#!/usr/bin/env python3
"""Tests of the machine drivers, the plugin, the GDB client and the words for triple faults.

Small kernels (tests/machines/*.asm) end in every way that a kernel can; each must be told apart. The
same kernels run on QEMU by -kernel, and from a disk image on QEMU and on Bochs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

# pylint: disable=wrong-import-position
from zeno.machines import bochs, gdbremote, kvm, library, linked, machine, qemu, triplefault  # noqa: E402
from zeno.machines.machine import End, Limits  # noqa: E402
from zeno.machines.qmp import Qmp  # noqa: E402
from zeno.machines.symbols import Elf, Symbols  # noqa: E402

SOURCES = ROOT / "tests" / "machines"
SMALL = Limits(instructions=5_000_000, cpu_seconds=60)
TESTS = []
RUNS = []


class Skip(Exception):
    """The test can't run here, and why."""


def test(function):
    """Register a test; its docstring's first line is its title."""
    TESTS.append(function)
    return function


class Kernels:
    """Assembled when first asked for."""

    def __init__(self, directory):
        self.directory = Path(directory)

    def elf(self, name):
        """The multiboot ELF32 image of tests/machines/NAME.asm."""
        target = self.directory / f"{name}.elf"
        if not target.exists():
            obj = self.directory / f"{name}.o"
            run(["nasm", "-f", "elf32", "-g", "-F", "dwarf", "-I", f"{SOURCES}/", "-o", str(obj),
                 str(SOURCES / f"{name}.asm")])
            run([ld(), "-m", "elf_i386", "-N", "--no-warn-rwx-segments", "-Ttext", "0x100000",
                 "-e", "_start", "-o", str(target), str(obj)])
        return target

    def disk(self, name):
        """A disk image that boots it."""
        target = self.directory / f"{name}.img"
        if not target.exists():
            parts = []
            for part in ("mbr", "loader"):
                out = self.directory / f"{part}.bin"
                run(["nasm", "-f", "bin", "-I", f"{ROOT}/", "-I", f"{ROOT}/boot/", "-o", str(out),
                     str(ROOT / "boot" / f"{part}.asm")])
                parts += [f"--{part}", str(out)]
            run([sys.executable, str(ROOT / "tools" / "mkimage.py"), "-o", str(target), *parts,
                 "--kernel", str(self.elf(name)), "--cmdline", name])
        return target


KERNELS = None


def ld():
    """A linker for x86, on any build machine."""
    return shutil.which("x86_64-linux-gnu-ld") or "ld"


def run(argv):
    """A tool that must succeed."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.decode('utf-8', 'replace')}")


def where(name, **setup):
    """The keywords of machine.boot() that boot the kernel `name` on a machine."""
    kind = setup.pop("on", "qemu")
    emulator = "bochs" if kind == "bochs" else "qemu"
    reason = machine.missing(emulator)
    if reason:
        raise Skip(reason)
    if not shutil.which("nasm"):
        raise Skip("nasm is not here; install the package nasm")
    elf = KERNELS.elf(name)
    image = {"kernel": elf} if kind == "qemu" else {"disk": KERNELS.disk(name)}
    return {"machine": emulator, "elf": [elf], "limits": SMALL, **image, **setup}


def boot(name, **setup):
    """Run a kernel to its end."""
    result = machine.boot(**where(name, **setup))
    RUNS.append(result)
    return result


def equal(got, wanted, what="value"):
    """Fail unless equal."""
    if got != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, got {got!r}")


def ended(result, end, *words):
    """Fail unless the run ended so, with these words in the sentence about it."""
    if result.end is not end:
        raise AssertionError(f"wanted {end}, got {result.end}: {result.detail}; console "
                             f"{result.console[:200]!r}; {result.explanation or ''}")
    contains(result.detail, *words)


def contains(text, *words):
    """Fail unless every one of the words is in the text."""
    for word in words:
        if word not in (text or ""):
            raise AssertionError(f"no {word!r} in {text!r}")


ALL = ("qemu", "qemu disk", "bochs")


def on_all(function):
    """Register one test per machine."""
    for kind in ALL:
        def one(kind=kind):
            function(kind)
        one.__doc__ = f"{function.__doc__.splitlines()[0]} [{kind}]"
        TESTS.append(one)
    return function


@on_all
def hello(kind):
    """both channels, in order, then an orderly end"""
    result = boot("hello", on=kind)
    ended(result, End.SHUTDOWN)
    equal(result.console, b"hello from the machine\n", "console")
    equal(result.side, b"@Z log hello\n@Z end d1 off done\n", "side channel")
    equal(result.tagged("end"), [("end", "d1 off done")], "tagged")
    equal(result.code, None if kind == "bochs" else 0, "code")


@on_all
def early_exit(kind):
    """an early exit gives its code and an empty console"""
    result = boot("exit3", on=kind)
    ended(result, End.SHUTDOWN)
    equal(result.console, b"", "console")
    if kind != "bochs":
        equal(result.code, 3, "code")


@on_all
def no_idt(kind):
    """a triple fault with an empty IDT is explained"""
    result = boot("noidt", on=kind)
    ended(result, End.TRIPLE_FAULT, "bad_instruction")
    contains(result.explanation, "#UD invalid opcode", "bad_instruction+0x0", "noidt.asm:7",
             "IDT entry 0x6", "limit", "#DF double fault", "#GP general protection")


@on_all
def never_lidt(kind):
    """a divide error before any lidt is a triple fault with the divide error first"""
    result = boot("nolidt", on=kind)
    ended(result, End.TRIPLE_FAULT, "bad_divide")
    contains(result.explanation, "1. #DE divide error", "bad_divide+0x0")
    if kind == "qemu":
        contains(result.explanation, "lidt was never run")


@on_all
def bad_stack(kind):
    """a page fault on an unmapped stack is explained with CR2 and the error code's bits"""
    result = boot("badstack", on=kind)
    ended(result, End.TRIPLE_FAULT, "bad_push")
    contains(result.explanation, "1. #PF page fault, error code 0x2",
             "page not present, write, supervisor mode", "address (CR2) 0x3007f", "#DF double fault",
             "bad_push+0x0")
    contains(result.explanation, "the stack is not mapped")


@on_all
def absent_gate(kind):
    """gates that are not present: #BP, #NP, #DF"""
    result = boot("absentgate", on=kind)
    ended(result, End.TRIPLE_FAULT, "bad_breakpoint")
    contains(result.explanation, "#NP segment not present, error code", "IDT entry 0x3",
             "#DF double fault", "present")


@on_all
def long_mode(kind):
    """a triple fault in 64-bit code: the gate's size and the error code's index are right"""
    result = boot("longfault", on=kind)
    ended(result, End.TRIPLE_FAULT, "bad_far_instruction")
    contains(result.explanation, "1. #UD", "IDT entry 0x6", "bad_far_instruction+0x0")
    if kind != "bochs":
        contains(result.explanation, "its limit is 0x1f, a gate there needs 0x6f")


@test
def recursion():
    """a handler that raises its own exception is recognised"""
    result = boot("recursion")
    ended(result, End.TRIPLE_FAULT, "handler")
    contains(result.explanation, "its handler raises it again", "the stack is not mapped")


@on_all
def dead_halt(kind):
    """HLT with interrupts off is a dead halt"""
    result = boot("deadhalt", on=kind)
    ended(result, End.DEAD_HALT, "interrupts off")
    equal(result.console, b"good night\n", "console")
    if kind != "bochs":
        contains(result.detail, "last_halt")


@test
def dead_halt_of_a_host():
    """on Bochs' CPUs that run guests, too, where a HLT may be a guest's: tests/smp.t, the attack `messages`"""
    result = boot("deadhalt", on="bochs", cpu="vmx")
    ended(result, End.DEAD_HALT, "interrupts off")


@test
def dead_halt_icount():
    """with icount, too, where the emulator is never at rest: long before its CPU seconds are used up"""
    result = boot("deadhalt", icount=True, limits=Limits(instructions=5_000_000, cpu_seconds=60))
    ended(result, End.DEAD_HALT, "interrupts off", "last_halt")
    if result.cpu_seconds > 5:
        raise AssertionError(f"it took {result.cpu_seconds} CPU seconds")


@test
def idle_halt():
    """HLT with interrupts on where nothing comes ends as idle, not as dead"""
    ended(boot("idlehalt"), End.IDLE, "interrupts on")


@test
def idle_with_ticks():
    """a kernel that sleeps from tick to tick and prints nothing ends as idle"""
    ended(boot("ticks", limits=Limits(instructions=5_000_000, cpu_seconds=60, quiet_halts=9)),
          End.IDLE, "since anything was printed")


@test
def halt_limit():
    """timer ticks for ever: limited by the number of halts"""
    result = boot("ticks", limits=Limits(instructions=5_000_000, cpu_seconds=60, halts=7))
    ended(result, End.HALTS, "7 times")
    equal(result.counts.halts, 7, "halts")


@test
def icount_ticks():
    """with icount an idle machine's time flies: the instruction limit ends it"""
    ended(boot("ticks", icount=True, limits=Limits(instructions=20_000, cpu_seconds=60)),
          End.INSTRUCTIONS)


@on_all
def endless_loop(kind):
    """an endless loop ends by instructions, and its place is named"""
    result = boot("loop", on=kind)
    ended(result, End.INSTRUCTIONS, "5000000 instructions", "spin+")
    equal(result.console, b"round and round\n", "console")


@test
def long_runs_on_bochs():
    """Bochs' debugger counts in 32 bits: a longer run is stepped, and the stops don't show"""
    equal(sum(bochs.steps_of(10 ** 10 + 1)), 10 ** 10 + 1, "all steps")
    equal(max(bochs.steps_of(10 ** 10 + 1)) < 1 << 31, True, "each fits")
    with mock.patch.object(bochs, "STEP", 101):
        result = boot("hello", on="bochs")
    ended(result, End.SHUTDOWN)
    equal(result.side, b"@Z log hello\n@Z end d1 off done\n", "side channel")
    equal(len(re.findall(b"Next at", (result.directory / "stdout").read_bytes())) > 5, True, "stops in the middle")
    with mock.patch.object(bochs, "STEP", 1_000_003):
        ended(boot("loop", on="bochs"), End.INSTRUCTIONS, "5000000 instructions", "spin+")


@test
def counts_repeat():
    """the count of instructions is exact and repeats"""
    first, second = boot("count"), boot("count")
    ended(first, End.SHUTDOWN)
    equal(first.counts, second.counts, "counts")
    # uart_init 8 and its call, 3 before it, the mov; 3 per round; from `after` to the debug exit.
    if not 3000 < first.counts.total < 3040:
        raise AssertionError(f"{first.counts.total} instructions for 3000 in the loop")
    loops = [boot("loop", limits=Limits(instructions=123_457)) for _ in range(2)]
    equal(loops[0].counts, loops[1].counts, "counts of the loop")


@test
def watch_points():
    """watched addresses are counted, per instruction"""
    symbols = Symbols([KERNELS.elf("count")])
    body, after = symbols.address("body"), symbols.address("after")
    result = boot("count", watch=(body, after), exact=True)
    equal(result.counts.watches, {body: 1000, after: 1}, "watches")
    equal(result.counts.exact, True, "exact")


@test
def exact_equals_blocks():
    """without faults both ways of counting agree, but for the block that ends the run"""
    exact, blocks = boot("count", exact=True).counts, boot("count").counts
    more = blocks.total - exact.total
    if not 0 <= more < blocks.last[-1].instructions:
        raise AssertionError(f"exact {exact.total}, by blocks {blocks.total}")


@test
def high_half():
    """host instructions (high half) and guest ones (low) are counted apart"""
    result = boot("high", exact=True)
    ended(result, End.SHUTDOWN)
    equal(result.counts.high, 1 + 2 * 500 + 2, "high")
    equal(result.counts.low, 1 + 3 * 500 + 3, "low")
    equal(result.counts.total, result.counts.boot + result.counts.low + result.counts.high, "total")


@on_all
def flood(kind):
    """a flood on the console is stopped, and capped"""
    # Bochs sends no faster than the line, so a small flood must do there.
    cap = 1_000 if kind == "bochs" else 100_000
    result = boot("flood", on=kind, limits=Limits(instructions=None, cpu_seconds=60,
                                                  console_bytes=cap))
    ended(result, End.FLOOD, f"{cap} bytes")
    equal(len(result.console), cap, "bytes kept")


@on_all
def garbage(kind):
    """every byte value passes, and the side channel's garbage lines are harmless"""
    result = boot("garbage", on=kind)
    ended(result, End.SHUTDOWN)
    equal(result.console, bytes(range(256)), "console")
    contains(result.text(), "\\xff")
    if not result.side.startswith(bytes(range(256))):
        raise AssertionError(f"side channel: {result.side!r}")
    equal(result.tagged("log"), [("log", "\\xff\\xfe"), ("log", "unfinished")], "tagged")


def reset(name, kind):
    """A reset is an end of its own, seen once."""
    result = boot(name, on=kind)
    ended(result, End.RESET)
    # Bochs goes on after a reset until the log has reached us; QEMU stops at once.
    repeated = result.console.replace(b"once\n", b"") if kind == "bochs" else b""
    equal((result.console[:5], repeated), (b"once\n", b""), "console")
    equal(result.explanation, None, "explanation")


@on_all
def reset_by_keyboard(kind):
    """a reset through port 0x64 is an extra reboot, not a shutdown"""
    reset("reset64", kind)


@on_all
def reset_by_chipset(kind):
    """a reset through port 0xcf9 is an extra reboot, not a shutdown"""
    reset("resetcf9", kind)


@test
def end_while_nobody_listens():
    """a machine that ends as soon as it can, and a grader that says hello late: the end is heard of"""
    hello = Qmp.hello
    def late(self, then_run):
        time.sleep(0.5)
        hello(self, then_run)
    with mock.patch.object(Qmp, "hello", late):
        reset("resetcf9", "qemu")


@test
def command_lines():
    """command lines and module command lines arrive whole, commas included"""
    module = KERNELS.directory / "mod,ule.bin"
    module.write_bytes(b"module")
    result = boot("cmdline", cmdline="paranoid=1,2 -- start a; off",
                  modules=[(module, "one,two three"), (module, ["x=1", "y,,z"])])
    ended(result, End.SHUTDOWN)
    lines = result.console.decode().splitlines()
    equal(lines, [f"{KERNELS.elf('cmdline')} paranoid=1,2 -- start a; off",
                  f"{module} one,two three", f"{module} x=1 y,,z"], "lines")


@test
def typed_input():
    """typed bytes reach the guest"""
    with machine.start(**where("echo", interactive=True, limits=Limits(instructions=None))) as live:
        equal(live.wait_for(b">"), True, "prompt")
        live.send(b"abc")
        equal(live.wait_for(b"bcd"), True, "echo")
        live.send(b"q")
        result = live.wait()
    RUNS.append(result)
    ended(result, End.SHUTDOWN)
    equal(result.console, b">bcd", "console")


@test
def typed_to_the_deaf():
    """waiting for an answer of a sleeping kernel ends as idle, soon"""
    with machine.start(**where("idlehalt", interactive=True)) as live:
        live.send(b"anyone?")
        equal(live.wait_for(b"yes"), False, "answer")
        result = live.wait()
    RUNS.append(result)
    ended(result, End.IDLE)


@test
def until():
    """a run can end as soon as a text is printed"""
    ended(boot("loop", until=b"round", limits=Limits(instructions=None)), End.UNTIL, "round")


@test
def cpu_limit():
    """without a limit of instructions CPU seconds end the run, and the place is named"""
    ended(boot("loop", limits=Limits(instructions=None, cpu_seconds=0.5)), End.CPU, "spin+")


@test
def cpu_limit_bochs():
    """CPU seconds end a sleeping Bochs"""
    ended(boot("idlehalt", on="bochs", limits=Limits(instructions=None, cpu_seconds=2)), End.CPU)


@test
def killed():
    """an emulator that is killed is not the guest's end"""
    with machine.start(**where("loop", limits=Limits(instructions=None))) as live:
        live.wait_for(b"round and round\n")
        os.kill(live.child.pid, signal.SIGKILL)
        result = live.wait()
    RUNS.append(result)
    ended(result, End.KILLED, "signal 9")
    equal(result.console, b"round and round\n", "console")


@test
def stopped_by_harness():
    """leaving the with block ends the emulator"""
    with machine.start(**where("loop", limits=Limits(instructions=None))) as live:
        live.wait_for(b"round")
    equal(live.child.returncode(), -signal.SIGKILL, "status")
    RUNS.append(live.wait())


@test
def dies_with_harness():
    """the emulator dies when the harness is killed"""
    dies(1)


def dies(number):
    """Kill a harness in its run with this number."""
    keywords = where("loop")
    script = (f"import sys; sys.path.insert(0, {str(ROOT / 'grade')!r})\n"
              "from zeno.machines import machine\n"
              f"for run in range({number}):\n"
              f"    live = machine.start(kernel={str(keywords['kernel'])!r},\n"
              "        limits=machine.Limits(instructions=None, cpu_seconds=120))\n"
              "    live.wait_for(b'round')\n"
              f"    if run + 1 < {number}:\n"
              "        live.stop()\n"
              "print(live.child.pid, live.directory, flush=True)\n"
              "live.wait()\n")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as child:
        words = child.stdout.readline().split()
        pidfd = os.pidfd_open(int(words[0]))
        child.kill()
    import select
    gone, _, _ = select.select([pidfd], [], [], 120)
    os.close(pidfd)
    shutil.rmtree(words[1], ignore_errors=True)
    if not gone:
        raise AssertionError("QEMU lives on")


@test
def linked_once():
    """from the second run on QEMU is forked, not linked anew, and each run ends as its own"""
    with mock.patch.object(linked, "PROGRAMS", linked.Programs()) as programs:
        first = [boot("exit3"), boot("hello"), boot("exit3"), boot("hello", extra=["-no-such-option"])]
        program = next(iter(programs.known.values()))
        if not isinstance(program, linked.Linked):
            raise Skip("QEMU can't be linked once here: another C library, or no compiler")
        equal((first[0].end, first[0].code, first[0].console), (first[2].end, first[2].code, first[2].console), "the same kernel's run")
        ended(first[1], End.SHUTDOWN)
        ended(first[3], End.TROUBLE, "no-such-option")
        with mock.patch.object(linked.os, "killpg", side_effect=ProcessLookupError), \
                machine.start(**where("loop", limits=Limits(instructions=None))) as live:  # one that has no group yet
            live.wait_for(b"round")
            live.child.kill()
            equal(live.child.returncode(), -9, "a run that was killed")
        with machine.start(**where("loop", limits=Limits(instructions=None))) as live:
            live.wait_for(b"round")
            program.process.kill()
            ended(live.wait(), End.KILLED, "signal 9")
        RUNS.append(live.wait())
        ended(boot("exit3"), first[0].end)  # without it
        programs.close()


@test
def written_in_bunches():
    """a serial port's bytes go to their file many at a time, and none of them is lost at a counted end"""
    limits, talk = Limits(instructions=30_000), {}
    known = library.built
    for way, built in (("bunches", known), ("bytes", lambda name: known(name) if name != "written" else None)):
        with mock.patch.object(linked, "PROGRAMS", linked.Programs()) as programs, \
                mock.patch.object(library, "built", built):
            runs = [boot("flood", limits=limits) for _ in range(2)]  # one that is not linked, one that is
            for one in runs:
                ended(one, End.INSTRUCTIONS)
            talk[way] = [one.console for one in runs]
            programs.close()
    equal(*([len(text) for text in talk[way]] for way in ("bunches", "bytes")), "bytes printed")
    with machine.start(**where("flood", limits=Limits(instructions=None))) as live:
        while len(live.console()) < 50_000 and live.pump():
            pass
        words = Path(f"/proc/{live.child.pid}/io").read_text().split()
        calls, size = int(words[words.index("syscw:") + 1]), len(live.console())
    if calls > size // 10 and linked.preloaded():
        raise AssertionError(f"{calls} calls for {size} bytes")


@test
def forked_dies_with_harness():
    """a forked emulator dies when the harness is killed, too"""
    dies(2)


@test
def refused_arguments():
    """an emulator that refuses its arguments is trouble, with its words"""
    result = boot("hello", extra=["-no-such-option"])
    ended(result, End.TROUBLE, "no-such-option")


@test
def not_a_kernel():
    """a file that is no kernel is no shutdown"""
    junk = KERNELS.directory / "junk.elf"
    junk.write_bytes(b"\x7fELF" + bytes(range(200)))
    result = boot("hello", kernel=junk, elf=[junk])
    if result.end in (End.SHUTDOWN, End.UNTIL):
        raise AssertionError(f"{result.end}: {result.detail}")
    if machine.missing("bochs") is None:
        result = boot("hello", on="bochs", disk=junk, limits=Limits(cpu_seconds=20))
        if result.end in (End.SHUTDOWN, End.UNTIL):
            raise AssertionError(f"{result.end}: {result.detail}")


@test
def nothing_to_boot():
    """a kernel, module or disk that is not there is trouble, and no shutdown"""
    nowhere = KERNELS.directory / "nowhere"
    tries = [{"kernel": nowhere}, {"modules": [(nowhere, "")]}, {"kernel": None, "disk": nowhere}]
    if machine.missing("bochs") is None:
        tries.append({"on": "bochs", "disk": nowhere})
    for setup in tries:
        result = boot("hello", **setup)
        ended(result, End.TROUBLE, "nowhere")
        RUNS.append(result)


@test
def reproduce():
    """the command that a run gives for reproducing it does so"""
    result = boot("hello", cmdline="a 'quoted' word")
    done = subprocess.run(["sh", "-c", f"timeout 120 {result.command}"], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    equal(done.returncode, 1, "status of QEMU (debug exit code 0)")
    contains(done.stdout.decode(), "hello from the machine")


def on_witnesses(function):
    """Register one test per machine that shows its CPU: QEMU by its GDB stub, Bochs by its debugger."""
    for kind in ("qemu", "bochs"):
        def one(kind=kind):
            function(kind)
        one.__name__ = function.__name__
        one.__doc__ = f"{function.__doc__.splitlines()[0]} [{kind}]"
        TESTS.append(one)
    return function


@on_witnesses
def gdb_witness(kind):
    """a witness sees registers and memory at an address, and the guest runs on"""
    symbols = Symbols([KERNELS.elf("count")])
    body = symbols.address("body")
    seen = []

    def look(client, regs):
        seen.append((regs["rcx"], regs["cs"] & 3, regs["cr0"] & 1))
        equal(client.read(body, 3), b"\x90\x49\x75", "code at body")
        equal(client.read(body, 3, physical=True), b"\x90\x49\x75", "the same, by physical address")
        return len(seen) == 3

    with machine.start(**where("count", on=kind, paused=True)) as live:
        equal(gdbremote.witness(live, {body: look}), {body: 3}, "hits")
        result = live.wait()
    RUNS.append(result)
    ended(result, End.SHUTDOWN)
    equal(seen, [(1000, 0, 1), (999, 0, 1), (998, 0, 1)], "seen")


class LateStep(gdbremote.Client):
    """A stub that reports steps before the CPU took them, as QEMU now and then does."""

    def __init__(self, early):
        self.early, self.rip = early, 0x1000

    def regs(self):
        return {"rip": self.rip}

    def _send(self, text):
        equal(text, "s", "what is asked")
        self.early -= 1
        self.rip += 2 * (self.early < 0)

    def _stopped(self):
        return gdbremote.SIGTRAP


@test
def gdb_steps_not_taken():
    """a step that was reported and not taken is asked for again"""
    for early in (0, 1, 3):
        client = LateStep(early)
        equal(client.step(), gdbremote.SIGTRAP, "the stop")
        equal(client.rip, 0x1002, f"rip behind one step, {early} reported before")


@on_witnesses
def gdb_writes(kind):
    """the client writes registers and memory, steps, and is told what is not mapped"""
    symbols = Symbols([KERNELS.elf("high")])
    with machine.start(**where("high", on=kind, paused=True)) as live:
        gdb = live.gdb()
        gdb.insert(symbols.address("upstairs") + 0xffff828000000000)
        gdb.insert(symbols.address("downstairs"))
        equal(gdb.cont().signal, gdbremote.SIGTRAP, "signal")
        equal(gdb.regs()["rip"], symbols.address("upstairs") + 0xffff828000000000, "in the high half")
        gdb.cont()
        regs = gdb.regs()
        equal((regs["rip"], regs["cs"], gdb.cpl(), bool(regs["efer"] & 0x400)),
              (symbols.address("downstairs"), 8, 0, True), "long mode")
        if kind == "qemu":
            contains(gdb.monitor("info registers"), f"RIP={regs['rip']:016x}", "EFER=", "GDT=")
        gdb.set_reg("rax", 0x1122334455667788)
        gdb.step()
        equal(gdb.regs()["rax"], 0x1122334455667788, "rax")
        gdb.write(0x17fffe, b"a witness")
        equal(gdb.read(0xffff82800017fffe, 9), b"a witness", "memory through the other mapping, over a page's end")
        equal(gdb.read(0x180000, 7, physical=True), b"witness", "physical memory")
        for address, physical in ((0xffffffff80000000, False), *(((1 << 40, True),) if kind == "bochs" else ())):
            try:
                gdb.read(address, 4, physical=physical)
                raise AssertionError(f"{address:#x}, where nothing is, was read")
            except gdbremote.Refused:
                pass
        gdb.detach()
        result = live.wait()
    RUNS.append(result)
    ended(result, End.SHUTDOWN if kind == "qemu" else End.DEAD_HALT)


@on_witnesses
def gdb_gone(kind):
    """a machine that ends while the client waits raises Gone, and limits still work"""
    with machine.start(**where("loop", on=kind, paused=True)) as live:
        gdb = live.gdb()
        gdb.insert(0x200000)
        try:
            gdb.cont()
            raise AssertionError("a stop at an address that is never reached")
        except gdbremote.Gone:
            pass
        result = live.wait()
    RUNS.append(result)
    ended(result, End.INSTRUCTIONS, *(("spin+",) if kind == "qemu" else ()))
    with machine.start(**where("hello", on=kind, paused=True)) as live:
        gdb = live.gdb()
        try:
            gdb.cont()
            raise AssertionError("a stop without a breakpoint")
        except gdbremote.Gone:
            pass
        result = live.wait()
    RUNS.append(result)
    ended(result, End.SHUTDOWN)
    equal(result.console, b"hello from the machine\n", "console")


@on_witnesses
def gdb_watches(kind):
    """watchpoints: a write, a read, either; the accesses beside the cell stop nothing"""
    symbols = Symbols([KERNELS.elf("watched")])
    cell = symbols.address("cell")
    stops = {"write": ["written", "changed"], "read": ["was_read", "changed"],
             "access": ["written", "was_read", "changed"]}
    if kind == "bochs":
        stops["read"] = ["was_read"]  # its read watchpoints miss an instruction that reads and writes
    for wanted, names in stops.items():
        with machine.start(**where("watched", on=kind, paused=True)) as live:
            gdb, seen = live.gdb(), []
            gdb.insert(symbols.address("main"))
            gdb.cont()
            gdb.watch(cell, 4, wanted)
            for name in names:
                stop = gdb.cont()
                seen.append(gdb.regs()["rip"])
                equal(stop.kind in ("write", "read", "access"), True, f"a watchpoint: {stop.reply!r}")
                if name == "was_read":  # whoever reads again sees what was changed behind the first read
                    equal(gdb.regs()["rbx"], 0x1234, "what was read")
                    gdb.write(cell, b"\x99\0\0\0")
            equal(seen, [symbols.address(name) for name in names], f"{wanted}: where it stopped")
            gdb.unwatch()
            gdb.insert(symbols.address("changed"))
            if gdb.regs()["rip"] != symbols.address("changed"):
                gdb.cont()
            if wanted != "write":
                equal(gdb.read(cell, 1), b"\x9a", "the change, incremented")
            gdb.detach()
            result = live.wait()
        RUNS.append(result)
        ended(result, End.SHUTDOWN)


@test
def bochs_vmexits():
    """Bochs stops at every VM exit, and at breakpoints inside the guest"""
    symbols = Symbols([KERNELS.elf("svmexits")])
    with machine.start(**where("svmexits", on="bochs", cpu="svm", paused=True)) as live:
        gdb = live.gdb()
        gdb.insert(symbols.address("asks"))
        gdb.cont()
        regs = gdb.regs()
        equal((regs["rip"], regs["r8"]), (symbols.address("asks"), 0x5eed), "in the guest")
        gdb.remove(symbols.address("asks"))
        gdb.vmexits(True)
        for left in (3, 2, 1):
            stop, regs = gdb.cont(), gdb.regs()
            equal((stop.kind, regs["rip"], regs["rbx"]), ("vmexit", symbols.address("left"), left), "a VM exit")
        gdb.detach()
        result = live.wait()
    RUNS.append(result)
    ended(result, End.SHUTDOWN)


@test
def gdb_packets():
    """packets: run lengths, escapes, checksums"""
    equal(gdbremote.expand(b"0* x"), b"0000x", "run length")
    equal(gdbremote.expand(b"a}\x03b"), b"a#b", "escape")
    equal(gdbremote.checksum(b"OK"), b"9a", "checksum")


@test
def error_codes():
    """error codes in words"""
    equal(triplefault.error_words(14, 0x17), "protection violation, write, user mode, "
          "instruction fetch", "#PF 0x17")
    contains(triplefault.error_words(14, 9), "reserved bit")
    equal(triplefault.error_words(13, 0x10), "selector 0x10: GDT entry 2", "#GP 0x10")
    equal(triplefault.error_words(13, 0x1c), "selector 0x1c: LDT entry 3", "#GP 0x1c")
    equal(triplefault.error_words(11, 0x33),
          "IDT entry 0x6, while delivering an event (EXT)", "#NP 0x33")
    equal(triplefault.error_words(6, 0), "", "#UD")


@test
def hostile_logs():
    """logs that are cut, empty or garbage never raise"""
    symbols = Symbols([])
    for text in ("", "Triple fault", "0: v=zz\nTriple fault", "\x00\xff" * 100,
                 "     0: v=0e e=0000 i=0 cpl=0 IP=0008:00 pc=00 SP=0010:00 CR2=\nTriple fault"):
        triplefault.explain_qemu(text, symbols)
        triplefault.explain_bochs(text + "\n000p[CPU0  ] >>PANIC<< exception(): 3rd (13)", symbols)


@test
def elf_reader():
    """symbols: names, offsets, lines; garbage gives an empty table"""
    elf = Elf(KERNELS.elf("loop"))
    equal(elf.bits, 32, "bits")
    spin = elf.names["spin"]
    equal(elf.find(spin + 1), ("spin", 1), "find")
    if shutil.which("addr2line"):
        contains(Symbols([KERNELS.elf("loop")]).describe(spin), "spin+0x0", "loop.asm:9")
    raw = KERNELS.elf("loop").read_bytes()
    bad = KERNELS.directory / "bad.elf"
    for cut in (0, 3, 20, 60, 400, len(raw) // 2, len(raw) - 40):
        bad.write_bytes(raw[:cut])
        Elf(bad)
        bad.write_bytes(raw[:cut] + b"\xff" * 200)
        Elf(bad)
    equal(Elf(KERNELS.directory / "absent").names, {}, "a file that is not there")
    for name in ("loop", "count"):  # what is read once is read again when it has changed
        bad.write_bytes(KERNELS.elf(name).read_bytes())
        equal(Symbols([bad]).elves[0].names, Elf(KERNELS.elf(name)).names, f"the symbols of {name}")


def run_py(*words, status, **more):
    """tools/run.py; its whole output."""
    done = subprocess.run(["timeout", "300", sys.executable, str(ROOT / "tools" / "run.py"), *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **more)
    text = done.stdout.decode("utf-8", "backslashreplace")
    if done.returncode != status:
        raise AssertionError(f"run.py {words}: status {done.returncode}, not {status}: {text}")
    return text


@on_all
def by_hand(kind):
    """tools/run.py: console, orderly end, a triple fault in words and a non-zero status"""
    for name in ("hello", "badstack", "deadhalt"):
        where(name, on=kind)
    def words(name):
        image = ["--kernel", str(KERNELS.elf(name))] if kind == "qemu" \
            else ["--disk", str(KERNELS.disk(name))]
        return ["--machine", "bochs" if kind == "bochs" else "qemu", *image,
                "--elf", str(KERNELS.elf(name))]
    contains(run_py(*words("hello"), status=0), "hello from the machine", "shutdown")
    contains(run_py(*words("badstack"), status=1), "triple fault", "bad_push+0x0",
             "the stack is not mapped")
    contains(run_py(*words("resetcf9"), status=1), "once", "asked for a reset")


@test
def by_hand_gdb():
    """tools/run.py --gdb: a breakpoint by name; after a triple fault GDB sees the machine"""
    where("count")
    if not shutil.which("gdb"):
        raise Skip("gdb is not here; install the package gdb")
    script = KERNELS.directory / "walk.gdb"
    script.write_text("break body\ncontinue\np $ecx\ndelete\n", encoding="utf-8")
    elf = str(KERNELS.elf("count"))
    contains(run_py("--gdb", "--batch", str(script), "--kernel", elf, "--elf", elf, status=0),
             "Breakpoint 1, ", "body", "$1 = 1000")
    script.write_text("continue\nx/i $rip\n", encoding="utf-8")
    elf = str(KERNELS.elf("noidt"))
    contains(run_py("--gdb", "--batch", str(script), "--kernel", elf, "--elf", elf, status=1),
             "<bad_instruction>:\tud2", "A triple fault")


@test
def by_hand_wrong():
    """tools/run.py refuses what it can't run, in one line"""
    contains(run_py("--kernel", "/nonexistent/kernel", status=2), "there is no file")
    contains(run_py("--kernel", __file__, "--disk", __file__, status=2), "give --kernel or --disk")
    if shutil.which("gdb"):
        contains(run_py("--gdb", "--cpu", "vmx", "--kernel", __file__, status=2), "qemu has no CPU like 'vmx'",
                 "make gdb LAB=n STUB=zeno MACHINE=bochs", "make bochs LAB=n DEBUG=1")


@test
def by_hand_stopped():
    """A run on Bochs is repeated under GDB on QEMU, or where QEMU has no such CPU in Bochs' own debugger"""
    for cpu, word in (("te", "--gdb"), ("svm", "--gdb"), ("vmx", "--debugger")):
        line = bochs.shell_command_stopped(machine.Setup(machine="bochs", cpu=cpu, disk="disk.img"))
        contains(line, word, f"--cpu {cpu}", "--disk disk.img")
        lacks = {"--gdb", "--debugger", "--machine"} - {word}
        if any(one in line for one in lacks):
            raise AssertionError(f"{cpu}: {line}")


@test
def by_hand_kvm():
    """tools/run.py --machine kvm: the host's CPU and its VT-x, or one line that says why not"""
    root = KERNELS.directory / "root"
    nested = root / "sys/module/kvm_intel/parameters/nested"
    equal(kvm.refusal(root), "no /dev/kvm")
    (root / "dev").mkdir(parents=True)
    (root / "dev/kvm").touch()
    contains(kvm.refusal(root), "not by VT-x")
    nested.parent.mkdir(parents=True)
    for value, nests in (("N", False), ("0", False), ("Y", True), ("1", True)):
        nested.write_text(f"{value}\n", encoding="ascii")
        equal((value, kvm.refusal(root) is None), (value, nests))
    with mock.patch("os.access", return_value=False):
        contains(kvm.refusal(root), "/dev/kvm is here, but not for you")
    equal(kvm.missing(root), None)
    contains(kvm.missing(root / "dev"), "MACHINE=kvm: no /dev/kvm. ", "make bochs LAB=4")
    elf = str(KERNELS.elf("hello"))
    argv = " ".join(qemu.boot_argv(machine.Setup(machine="kvm", kernel=elf, cpu="vmx")))
    contains(argv, "-accel kvm -cpu host ")
    contains(" ".join(qemu.boot_argv(machine.Setup(kernel=elf))), "-accel tcg ")
    try:
        machine.boot(machine="kvm", kernel=elf, cpu="vmx")
        raise AssertionError("graded on KVM")
    except machine.MachineMissing as refused:
        contains(str(refused), "nothing is graded on KVM")
    if kvm.missing() is None:
        raise Skip("KVM nests VT-x here: nothing refuses")
    said = run_py("--machine", "kvm", "--kernel", elf, "--cpu", "vmx", status=2)
    contains(said, kvm.missing())
    equal(said.count("\n"), 1)


@test
def cpus():
    """machines.toml knows the CPUs of both machines"""
    for cpu in ("te", "te-umip", "te-intel", "pv", "svm"):
        for name in machine.machine_names():
            if not re.fullmatch(r"[\w=,+.\- ]+", machine.cpu_string(name, cpu)):
                raise AssertionError(f"{name} {cpu}")
    for cpu, words in (("vmx", ("'vmx'", "make bochs", "make qemu LAB=n MACHINE=kvm")), ("nosuch", ("'nosuch'", "svm-no-npt"))):
        try:
            machine.cpu_string("qemu", cpu)
            raise AssertionError(f"QEMU has no {cpu}")
        except machine.MachineMissing as missing:
            if not all(word in str(missing) for word in words):
                raise AssertionError(f"what there is instead: {missing}") from None


@test
def bios():
    """qboot.rom starts a kernel on QEMU where it is, and where the CPU's interrupts come without a local APIC"""
    found = {cpu: boot("exit3", cpu=cpu).command for cpu in ("te", "pv")}
    here = "SeaBIOS" not in machine.version("qemu")
    equal({cpu: "-bios qboot.rom" in line for cpu, line in found.items()}, {"te": here, "pv": False})
    elsewhere = KERNELS.directory / "elsewhere" / "bin" / "qemu-system-x86_64"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text(f'#!/bin/sh\nexec {shutil.which(elsewhere.name)} "$@"\n', encoding="ascii")
    elsewhere.chmod(0o755)
    with mock.patch.dict(os.environ, PATH=f"{elsewhere.parent}:{os.environ['PATH']}"):
        without = boot("exit3")
        ended(without, End.SHUTDOWN)
        equal(("-bios" in without.command, "with SeaBIOS" in machine.version("qemu")), (False, True))


def main():
    """Run all tests, or those whose function's name or title holds a word of the command line."""
    global KERNELS  # pylint: disable=global-statement
    wanted = [t for t in TESTS if not sys.argv[1:]
              or any(w in t.__name__ or w in t.__doc__ for w in sys.argv[1:])]
    print("TAP version 14")
    print(f"1..{len(wanted)}", flush=True)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="zeno-machines-") as directory:
        KERNELS = Kernels(directory)
        for number, function in enumerate(wanted, 1):
            title = function.__doc__.splitlines()[0].rstrip(".")
            try:
                function()
                print(f"ok {number} - {title}", flush=True)
            except (Skip, machine.MachineMissing) as reason:
                print(f"ok {number} - {title} # SKIP {reason}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failures += 1
                print(f"not ok {number} - {title}")
                for line in f"{type(error).__name__}: {error}".splitlines():
                    print(f"# {line}", flush=True)
            while RUNS:
                RUNS.pop().cleanup()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
