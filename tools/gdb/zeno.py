"""GDB commands for guests of Zeno, for `source` in GDB 13 (tools/run.py does it).

They talk to the kernel's own stub (make gdb STUB=zeno), where each domain is an inferior and each vCPU
a thread of it, and build on its `monitor` commands. `help zeno` lists them.
"""

import os
import re

import gdb  # pylint: disable=import-error
import gdb.disassembler  # pylint: disable=import-error

FRAMES_MAX = 32
SHARED = ("the guest's IF", "its IOPL", "nonzero: an interrupt waits", "popf of these calls out", "saved", "saved",
          "target", "where its translation is", "ES", "CS", "SS", "DS", "FS", "GS", "minus GS")
TC_ENTRY = re.compile(r"^  ([0-9a-f]{8}) (.*?) *([0-9a-f]{8}) [0-9a-f]+(?:\+\d+)?(?:  (.*))?$")
ACCESSED, WRITABLE, EXPANDS, CODE, SEGMENT = (1 << bit for bit in range(40, 45))
PRESENT, LONG, BIG, PAGES = (1 << bit for bit in (47, 53, 54, 55))
SYSTEM = {1: "16-bit TSS", 2: "LDT", 3: "busy 16-bit TSS", 4: "16-bit call gate", 5: "task gate",
          6: "16-bit interrupt gate", 7: "16-bit trap gate", 9: "TSS", 11: "busy TSS",
          12: "call gate", 14: "interrupt gate", 15: "trap gate"}

SYMBOLS = {}


def monitor(words):
    """What the stub answers to a monitor command, as text."""
    return gdb.execute(f"monitor {words}", to_string=True)


def width():
    """Bytes of an address: what the stub has said of the CPU, i386 or amd64."""
    return 8 if "x86-64" in gdb.selected_inferior().architecture().name() else 4


def number(text):
    """The value of a GDB expression, as an address."""
    try:
        return int(gdb.parse_and_eval(text)) & (1 << 8 * width()) - 1
    except gdb.error as error:
        raise gdb.GdbError(str(error)) from error


def place(address):
    """An address with its symbol and line, where they are known."""
    words = gdb.execute(f"info symbol {address:#x}", to_string=True).strip()
    symbol = "" if words.startswith("No symbol") else words.split(" in section")[0]
    line = gdb.find_pc_line(address)
    at = f" at {os.path.relpath(line.symtab.filename)}:{line.line}" \
        if line.symtab and line.symtab.filename.startswith("/") else \
        f" at {line.symtab.filename}:{line.line}" if line.symtab else ""
    return f"{address:08x}{f' {symbol}' if symbol else ''}{at}"


def domains():
    """{number: (name, words)} of the domains, in the stub's words."""
    found = re.findall(r"^d(\d+) +(\S+) (.*)$", monitor("list"), re.M)
    return {int(pid): (name, rest) for pid, name, rest in found}


class Command(gdb.Command):
    """A command whose help is its docstring; errors of the connection are said in one line."""

    def __init__(self, name):
        super().__init__(name, gdb.COMMAND_RUNNING)

    def invoke(self, argument, from_tty):  # pylint: disable=unused-argument
        """GDB's entry."""
        self.run(argument.strip())

    def run(self, argument):
        """The command's work."""
        raise NotImplementedError


class ZenoSymbols(Command):
    """Say which ELF files are guests, for `guests`: zeno-symbols FILE..."""

    def run(self, argument):
        for path in gdb.string_to_argv(argument):
            SYMBOLS[os.path.splitext(os.path.basename(path))[0]] = path


class Guests(Command):
    """Attach to each domain that is not attached yet, as an inferior of its own, with its symbols.

A guest that has not run yet is held until this, or until something is let run."""

    def run(self, argument):
        before = gdb.selected_inferior().num
        known = {inferior.pid: inferior for inferior in gdb.inferiors() if inferior.pid}
        for pid, (name, rest) in sorted(domains().items()):
            path = SYMBOLS.get(name)
            if pid not in known and "running" not in rest and "held" not in rest:
                continue
            if pid in known:
                gdb.execute(f"inferior {known[pid].num}", to_string=True)
                if path and not known[pid].progspace.filename:
                    gdb.execute("unset tdesc filename", to_string=True)  # GDB has asked before there was a guest
                    gdb.execute(f"file {path}", to_string=True)
            else:
                gdb.execute("add-inferior", to_string=True)
                gdb.execute(f"inferior {gdb.inferiors()[-1].num}", to_string=True)
                if path:
                    gdb.execute(f"file {path}", to_string=True)
                gdb.execute(f"attach {pid}", to_string=True)
            print(f"inferior {gdb.selected_inferior().num} is d{pid}, {name}")
        gdb.execute(f"inferior {before}", to_string=True)


class Vmexit(Command):
    """Run to the next exit, and say what it was and what was done: vmexit [REASON|INSTRUCTION]

The guest stops when its exit has been handled; REASON is one of those that `monitor stop-on-exit ?`
lists, an instruction's name such as out, or any (the default)."""

    def run(self, argument):
        said = monitor(f"stop-on-exit {argument or 'any'}")
        if said.startswith("no exit"):
            raise gdb.GdbError(said.strip())
        try:
            text = gdb.execute("continue", to_string=True)
        finally:
            if any(inferior.pid for inferior in gdb.inferiors()):
                monitor("stop-on-exit off")
        words = re.findall(r"^d\d+ .*$", text, re.M)
        print("\n".join(words) if words else text.strip())
        if gdb.selected_inferior().pid:
            print(f"  now at {place(number('$pc'))}")


class Mode(Command):
    """Ask Zeno anew whether the guest's CPU runs 16, 32 or 64-bit code, for GDB asks only when it attaches.

GDB then has RAX to R15, or an i386's registers again; symbols and breakpoints stay."""

    def run(self, argument):
        gdb.execute("exec-file", to_string=True)  # the image's own kind would go before Zeno's word
        gdb.execute("unset tdesc filename", to_string=True)
        bits = 16 if gdb.selected_frame().architecture().name() == "i8086" else 8 * width()
        print(f"the guest's code is {bits}-bit: registers of an {'amd64' if width() == 8 else 'i386'}")


class Vmcb(Command):
    """What the CPU has of a guest of svm: vmcb [FIELD]; `*` marks what the last exit changed.

Without a field only those that changed; `vmcb all` shows all, `vmcb cs` those whose names begin so."""

    def run(self, argument):
        show_changed("vmcb", argument)


class Vmcs(Command):
    """What the CPU has of a guest of vmx: vmcs [FIELD]; `*` marks what the last exit changed.

Without a field only those that changed; `vmcs all` shows all, `vmcs cs` those whose names begin so."""

    def run(self, argument):
        show_changed("vmcs", argument)


def show_changed(command, argument):
    """vmcb and vmcs: without a field those that the last exit changed."""
    text = monitor(command if argument == "all" else f"{command} {argument}")
    changed = [line for line in text.splitlines(keepends=True) if line.startswith("*")]
    print("".join(changed) if changed and not argument else text, end="")


class Vcpu(Command):
    """All that the guest would see of its CPU, with the hidden parts of its segment registers."""

    def run(self, argument):
        print(monitor("vcpu"), end="")


class Walk(Command):
    """Follow a guest's address to the machine's memory: walk ADDR"""

    def run(self, argument):
        if not argument:
            raise gdb.GdbError("walk takes an address")
        print(monitor(f"gwalk {number(argument):#x}"), end="")


class Exits(Command):
    """The guest's exits by reason, and the last of them in words: exits [N]"""

    def run(self, argument):
        last = monitor("last").splitlines(keepends=True)
        print(monitor("exits") + "".join(last[-number(argument or "10"):]), end="")


class GuestBacktrace(Command):
    """The guest's stack by its frame pointers (guests are built with them)."""

    def run(self, argument):
        inferior = gdb.selected_inferior()
        size = width()
        pc, frame = number("$pc"), number("$rbp" if size == 8 else "$ebp")
        for level in range(FRAMES_MAX):
            print(f"#{level} {place(pc)}")
            try:
                raw = bytes(inferior.read_memory(frame, 2 * size)) if frame else b""
            except gdb.MemoryError:
                print(f"   the frame pointer, {frame:08x}, leads nowhere")
                return
            if not raw:
                return
            above = int.from_bytes(raw[:size], "little")
            pc = int.from_bytes(raw[size:], "little")
            if above and above <= frame:
                print(f"#{level + 1} {place(pc)}")
                print(f"   the frame above, {above:08x}, is not above {frame:08x}")
                return
            frame = above


def descriptor(value):
    """A segment descriptor in words (SDM 3A 3.4.5)."""
    if not value:
        return "-"
    if not value & SEGMENT:
        kind = SYSTEM.get(value >> 40 & 15, "reserved")
        return f"{kind}, DPL {value >> 45 & 3}{'' if value & PRESENT else ', not present'}"
    base = value >> 16 & 0xffffff | value >> 56 << 24
    limit = value & 0xffff | value >> 32 & 0xf0000
    limit = limit << 12 | 0xfff if value & PAGES else limit
    if value & CODE:
        kind = ("conforming " if value & EXPANDS else "") + \
            ("64-bit code" if value & LONG else "code" if value & BIG else "16-bit code")
    else:
        kind = ("expand-down " if value & EXPANDS else "") + ("data" if value & WRITABLE else "rodata")
    return (f"{kind} {base:08x}+{limit:08x} DPL {value >> 45 & 3}"
            f"{'' if value & PRESENT else ', not present'}")


class Gdt(Command):
    """The guest's GDT beside the shadow that the CPU uses instead.

Entries marked `cached` hold a segment register whose descriptor the guest no longer has."""

    def run(self, argument):
        print(f"{'sel':4}  {'the guest has':44}  the CPU has")
        for line in monitor("gdt").splitlines():
            sel, own, shadow, *mark = line.split()
            own, shadow = int(own, 16), int(shadow, 16)
            note = " (cached)" if mark else ""
            print(f"{sel}  {descriptor(own):44}  {descriptor(shadow)}{note}")


class Cached(gdb.disassembler.DisassembleInfo):
    """An instruction in the translation cache, which is no memory of the guest's."""

    def __init__(self, info, cache):
        super().__init__(info)
        self.cache = cache

    def read_memory(self, length, offset=0):
        """GDB's disassembler asks for bytes."""
        at = self.address + offset - self.cache.start
        if at < 0 or at + length > len(self.cache.data):
            raise gdb.MemoryError("no code of this block")
        return self.cache.data[at:at + length]


class Cache(gdb.disassembler.Disassembler):
    """Disassembles the code of the block that `tc` shows; all else is GDB's affair."""

    def __init__(self):
        super().__init__("zeno-tc")
        self.start, self.data = 0, b""

    def __call__(self, info):
        if not self.start <= info.address < self.start + len(self.data):
            return None
        return gdb.disassembler.builtin_disassemble(Cached(info, self))

    def is_filler(self, start, end):
        """Blocks are filled up with zeros."""
        return not any(self.data[start - self.start:end - self.start])

    def load(self, start, length):
        """Take these bytes of the cache."""
        self.start, self.data = start, bytes.fromhex(monitor(f"tc-bytes {start:#x} {length}").strip())


CACHE = Cache()
gdb.disassembler.register_disassembler(CACHE)


def instruction(address):
    """(text, length) of the instruction there, the guest's or one of the block that `tc` shows."""
    one, = gdb.selected_inferior().architecture().disassemble(address, count=1)
    return re.sub(r"\s+", " ", one["asm"]).strip(), one["length"]


def shared(text):
    """What an operand on the page that translated code shares with the host is for."""
    found = re.search(r"\bgs:\[?(0x[0-9a-f]+)\b", text)
    slot = int(found[1], 16) // 4 if found else len(SHARED)
    return f" <{SHARED[slot]}>" if slot < len(SHARED) else ""


class Tc(Command):
    """The translation cache of the engine bt in numbers, or a block beside its translation: tc [ADDR]

`<...>` says what a word of the page behind GS is for."""

    def run(self, argument):
        text = monitor(f"tc {number(argument):#x}" if argument else "tc")
        head = re.match(r"([0-9a-f]{8}): \d+ bytes, (\d+) of translation at ([0-9a-f]{8})(.*)", text)
        if not argument or not head:
            print(text, end="")
            return
        start, end = int(head[3], 16), int(head[3], 16) + int(head[2])
        CACHE.load(start, end - start)
        print(f"block {place(int(head[1], 16))}{head[4]}")
        entries = [TC_ENTRY.match(line) for line in text.splitlines()[1:]]
        for entry, after in zip(entries, entries[1:] + [None]):
            self.show(entry, int(after[3], 16) if after else end)

    @staticmethod
    def show(entry, end):
        """One guest instruction, or a part of Zeno's own, beside what stands for it."""
        eip, guest, at, words = entry.groups()
        at = int(at, 16)
        left = f"{eip}  {instruction(int(eip, 16))[0]}" if guest else ""
        if words and (words == "call-out" or words.startswith("to ")):
            end = at + 1  # one instruction; behind it lies the target, or nothing
        while at < end and not CACHE.is_filler(at, end):
            text, length = instruction(at)
            print(f"{left:40} {at:08x}  {text}{shared(text)}{f'  ; {words}' if words else ''}")
            left, words = "", None
            at += length


class Zeno(Command):
    """Zeno's own commands: guests, mode, vmexit, vcpu, vmcb, walk, tc, exits, guest-bt, gdt; and monitor help."""

    def run(self, argument):
        gdb.execute("help zeno")


for command, name in ((ZenoSymbols, "zeno-symbols"), (Guests, "guests"), (Vmexit, "vmexit"),
                      (Vcpu, "vcpu"), (Mode, "mode"), (Vmcb, "vmcb"), (Vmcs, "vmcs"), (Walk, "walk"),
                      (Exits, "exits"), (GuestBacktrace, "guest-bt"), (Gdt, "gdt"), (Tc, "tc"), (Zeno, "zeno")):
    command(name)
