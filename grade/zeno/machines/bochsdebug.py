"""A client for Bochs' own debugger: the witness that gdbremote.Client is on QEMU.

    with machine.start(machine="bochs", disk=..., paused=True) as live:
        gdb = live.gdb()             # the machine stands at the boot sector's first instruction
        gdb.insert(0x101234)         # a linear address, in whatever space the CPU is in
        stop = gdb.cont()            # Stop, or raises Gone when the machine ended first
        gdb.regs()["cs"] & 3
        gdb.read(0xb8000, 16, physical=True)
        gdb.vmexits(True)            # from now on every VM exit stops the machine, too
        gdb.detach()
        run = live.wait()

Its commands come to the debugger as its first file of commands, a pipe: what comes by standard input it reads and repeats
byte by byte, six system calls for each. Answers come by standard output, which nobody else writes to: such a run has no
side channel. A file has no prompts, so behind each command stands a question whose answer is known. A guest sees none
of it: no byte of its memory changes for a breakpoint.
Watchpoints are Bochs' own, at physical addresses: a linear one is looked up when it is set. Unlike QEMU's, one
for reads misses an instruction that reads and writes: ask for "access".

The run's limit of instructions is a breakpoint in time. Where a guest hangs asleep, CPU seconds end
it as ever; either way the client raises Gone.
"""

import re
import select

from .gdbremote import SIGTRAP, Gone, Nowhere, Refused, Stop

SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
BOOT_SECTOR = 0x7c00
CHUNK = 4096
FIRST = 0x5a5a0000
"""The questions' numbers begin here: nothing else that the debugger says looks like the answers."""
UNITS = {8: "g", 1: "b"}
AT_ONCE = 64
"""So many commands are sent before the first answer is read: with their answers they fit into the pipes."""
AHEAD = 8192
"""So many commands without an answer of their own are ahead of the machine."""
LIMIT = "Caught time breakpoint"
WHY = (("vmexit", "vmexit"), ("VMEXIT", "vmexit"), ("read watch", "read"), ("write watch", "write"),
       ("Breakpoint", "breakpoint"))
"""Words of a stop's message, and what they are called here."""


def hex64(text):
    """A number as the debugger prints it: 00000000_0000aa55, 0x10."""
    return int(text.replace("_", "").removeprefix("0x"), 16)


class Client:
    """The debugger of one Bochs. `live` is its driver; `ask` and `answers` are pipes to and from it."""

    def __init__(self, live, ask, answers):
        self.live, self.ask, self.answers = live, ask, answers
        self._buffer = b""
        self._searched = 0
        self._number = FIRST
        self._points = {}
        self._vmexits = False
        self._detached = False
        self.pages = None
        """{page: its frame}, once somebody who knows that no table changes any more has put an empty one here."""
        self.said = ""
        """What the debugger said at the last stop."""
        self._command(f"lb {BOOT_SECTOR:#x}")
        self.said = self._command("c")
        self._command("d 1")
        self._count = 1
        limit = live.setup.limits.instructions
        if limit:
            self._command(f"sb {limit}")

    # Commands.

    def _receive(self):
        """What the debugger wrote; the machine's limits work meanwhile."""
        while not select.select([self.answers], [], [], 0.02)[0]:
            if not self.live.pump():
                raise Gone("the machine has ended")
        data = self.answers.read1(1 << 16)
        if not data:
            while self.live.pump():
                pass
            raise Gone("the machine has ended")
        self._buffer += data

    def _said(self, number):
        """What was said until the question with this number was answered."""
        answer = f"{number:#010x} {number}\n".encode()
        while (at := self._buffer.find(answer, self._searched)) < 0:
            self._searched = max(0, len(self._buffer) - len(answer))
            self._receive()
        text, self._buffer = self._buffer[:at].decode("latin-1"), self._buffer[at + len(answer):]
        self._searched = 0
        return text

    def _command(self, text):
        return self._commands([text])[0]

    def _commands(self, texts):
        """What is said to each of these, of which none lets the machine run: all are sent before the first is waited for."""
        if self._detached:
            raise Gone("the client has let the machine go")
        numbers = range(self._number + 1, self._number + len(texts) + 1)
        self._number += len(texts)
        try:
            self.ask.write("".join(f"{text}\ncalc {number}\n" for text, number in zip(texts, numbers)).encode("ascii"))
            self.ask.flush()
        except (BrokenPipeError, ValueError):
            while self.live.pump():
                pass
            raise Gone("the machine has ended") from None
        said = [self._said(number) for number in numbers]
        for text, words in zip(texts, said):
            if "syntax error" in words or "rror: " in words:
                raise Refused(f"Bochs refuses {text[:60]!r}: {words.strip()}")
        return said

    # Registers.

    def regs(self):
        """{name: value}: rax ... r15, rip, eflags, cs ... tr, gdtr_base, cr0, cr2, cr3, cr4, efer, dr0 ... dr7."""
        text, segments, control, debug = self._commands(["r", "sreg", "creg", "dreg"])
        found = {name: hex64(value) for name, value in
                 re.findall(r"^(r\w+) ?: ([0-9a-f]{8}_[0-9a-f]{8})", text, re.M)}
        found["eflags"] = int(re.search(r"eflags 0x([0-9a-f]+)", text)[1], 16)
        found |= {name: int(value, 16) for name, value in re.findall(r"^(\w+):0x([0-9a-f]+),", segments, re.M)}
        for name, base, limit in re.findall(r"^(gdtr|idtr):base=0x([0-9a-f]+), limit=0x([0-9a-f]+)", segments, re.M):
            found[f"{name}_base"], found[f"{name}_limit"] = int(base, 16), int(limit, 16)
        found |= {name.lower(): int(value, 16) for name, value in
                  re.findall(r"^(CR[034]|EFER)=0x([0-9a-f]+)", control, re.M)}
        found["cr2"] = int(re.search(r"CR2=.*?=0x([0-9a-f]+)", control)[1], 16)
        return found | {name.lower(): int(value, 16) for name, value in re.findall(r"^(DR[0-7])=0x([0-9a-f]+)", debug, re.M)}

    def set_reg(self, name, value):
        """Write one general register, rip included."""
        self._command(f"set {name} = {value:#x}")

    def cs(self):
        """The code segment selector; its low two bits are the privilege level."""
        return self.regs()["cs"]

    def cpl(self):
        """The current privilege level (protected and long mode)."""
        return self.cs() & 3

    def param(self, name):
        """{"base": number}: all numbers that a part of Bochs' own account of itself has, as `cpu0.CS` or `cpu0.VMX`."""
        found, path = {}, []
        for line in self._command(f'show "{name}"').splitlines()[1:]:
            word, _, value = line.strip().partition(" = ")
            if value == "{":
                path.append(word)
            elif word == "}":
                path.pop()
            elif value in ("true", "false") or re.fullmatch(r"0x[0-9a-f]+|\d+", value):
                found[".".join([*path[1:], word])] = value == "true" if value[0] in "tf" else int(value, 0)
        return found

    # Memory.

    def physical(self, address):
        """The physical address of a linear one, through the CPU's tables now."""
        page = address & ~0xfff
        if self.pages and page in self.pages:
            return self.pages[page] | address & 0xfff
        said = self._command(f"page {address:#x}")
        found = re.search(r"maps to physical page 0x([0-9a-f]+)", said)
        if not found:
            raise Nowhere(f"nothing is mapped at {address:#x}")
        if self.pages is not None:
            self.pages[page] = int(found[1], 16)
        return int(found[1], 16) | address & 0xfff

    def _pieces(self, address, length, physical):
        """(physical address, length) of the pieces of a range, none of which crosses a page."""
        size = self.live.setup.mem << 20
        while length:
            part = min(length, CHUNK - address % CHUNK)
            where = address if physical else self.physical(address)
            if where + part > size:  # Bochs itself would die of it
                raise Nowhere(f"{where:#x} is not in the machine's {size >> 20} MiB")
            yield where, part
            address, length = address + part, length - part

    def read(self, address, length, physical=False):
        """Bytes at a linear (or physical) address. Raises Refused where nothing is mapped."""
        data = b""
        for where, part in self._pieces(address, length, physical):
            for size, unit in ((part & ~7, 8), (part & 7, 1)):  # each word of the answer costs the same
                said = self._command(f"xp /{size // unit}{UNITS[unit]}x {where:#x}") if size else ""
                lines = [line.partition(">:")[2] for line in said.partition("[bochs]:")[2].splitlines()]
                data += b"".join(int(word, 16).to_bytes(unit, "little") for line in lines for word in line.split())
                where += size
        if len(data) != length:
            raise Refused(f"Bochs gave {len(data)} of {length} bytes at {address:#x}")
        return data

    def write(self, address, data, physical=False):
        """Write bytes at a linear (or physical) address."""
        at, commands = 0, []
        for where, part in self._pieces(address, len(data), physical):
            end = at + part
            while at < end:
                size = 4 if end - at >= 4 and not where % 4 else 1
                commands.append(f"setpmem {where:#x} {size} {int.from_bytes(data[at:at + size], 'little'):#x}")
                at, where = at + size, where + size
        for first in range(0, len(commands), AT_ONCE):
            self._commands(commands[first:first + AT_ONCE])

    # Running.

    def insert(self, address, hardware=False):
        """Set a breakpoint at a linear address. Bochs has one kind. Its number, which a Stop's reply has."""
        self._command(f"lb {address:#x}")
        self._count += 1
        self._points[address] = self._count
        return self._count

    def remove(self, address, hardware=False):
        """Remove it."""
        self._command(f"d {self._points.pop(address)}")

    def watch(self, address, length, kind="write"):
        """Stop at an access to these bytes: "write", "read" or "access"."""
        for where, part in self._pieces(address, length, False):
            for one in ("read", "write") if kind == "access" else (kind,):
                self._command(f"watch {one[0]} {where:#x} {part}")

    def unwatch(self):
        """Remove all watchpoints."""
        self._command("unwatch")

    def ticks(self):
        """Instructions since the machine was switched on, the time that it slept with them."""
        return int(re.search(r"ptime: (\d+)", self._command("ptime"))[1])

    def vmexits(self, on):
        """Stop at every VM exit, or no longer: at the host's first instruction behind it."""
        if on != self._vmexits:
            self._command("vmexitbp")
            self._vmexits = on

    def _stopped(self, said):
        self.said = said
        if LIMIT in said:
            self.live.over_limit()
            raise Gone("the machine has ended")
        return Stop(SIGTRAP, said, next((name for word, name in WHY if word in said), "step"))

    def step(self, count=1):
        """One instruction, or so many."""
        return self._stopped(self._command(f"s {count}"))

    def cont(self):
        """Run to the next breakpoint."""
        return self._stopped(self._command("c"))

    def stops(self):
        """[(instructions of the machine's life before it, linear address)] of all stops until the machine ends.

        Nothing is asked between them, so thousands take a second; nothing but this is to be done with the client then.
        """
        mark, seen, sent, searched = b"Next at t=", 0, 0, 0
        try:
            while True:
                if sent < seen + AHEAD:  # never more than the pipe takes: who waits for one end does not read the other
                    self.ask.write(b"c\n" * AHEAD)
                    self.ask.flush()
                    sent += AHEAD
                self._receive()
                seen += self._buffer.count(mark, searched)
                searched = max(0, len(self._buffer) - len(mark) + 1)
        except (Gone, OSError):
            pass
        while select.select([self.answers], [], [], 0)[0] and (data := self.answers.read1(1 << 16)):
            self._buffer += data
        text = self._buffer.decode("latin-1")
        return [(int(tick), int(at, 16)) for tick, at in
                re.findall(r"^Next at t=(\d+)\n\(\d\) \[0x[0-9a-f]+\] [0-9a-f]{4}:([0-9a-f]{8,16}) ", text, re.M)]

    def interrupt(self):
        """Bochs' debugger reads no command while the machine runs."""
        raise Refused("a running Bochs can't be stopped from outside: set a breakpoint")

    def detach(self):
        """Drop all breakpoints and let the machine run on, to its end or its limit."""
        try:
            for address in list(self._points):
                self.remove(address)
            self.unwatch()
            self.vmexits(False)
            self.ask.write(b"c\nr\nq\n")
            self.ask.close()
        except (Gone, OSError):
            return
        self._detached = True
