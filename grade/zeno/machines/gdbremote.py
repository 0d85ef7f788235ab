"""A client for the GDB stub inside QEMU: a witness that stands outside the guest.

    with machine.start(kernel=..., paused=True) as live:
        gdb = live.gdb()
        gdb.insert(0x101234)
        stop = gdb.cont()            # Stop, or raises Gone when the machine ended first
        gdb.regs()["cs"] & 3         # the privilege level in which the guest really ran
        gdb.read(0xb8000, 16, physical=True)
        gdb.detach()
        run = live.wait()

QEMU's breakpoints change no byte of the guest's memory, so a guest can't see them. Addresses are
linear. Every wait lets the machine's own limits work: a guest that hangs ends by its limit, and the
client then raises Gone.

Registers come in the order that the stub's own target description gives (registers of 64 bits even
while the CPU is in 32-bit mode; the upper half reads as zero then).
"""

import re
import select
import time
from dataclasses import dataclass

SIGTRAP, SIGINT = 5, 2
CHUNK = 1024
BROKEN = 1 << 20
PATIENCE = 200
"""CPU seconds of ours for one machine, and after how many commands we look: whoever follows what lies in its memory may be led on
without end, while it stands still and has no limit of its own."""
LOOKS = 1024
IDLE_STEPS = 8
WATCH = {"write": 2, "read": 3, "access": 4}
STILL = ("g", "m", "Z", "z", "Qqemu.PhyMemMode")
"""Commands that change no register."""
WATCHED = {"watch": "write", "rwatch": "read", "awatch": "access"}


class Gone(Exception):
    """The machine ended (see live.wait() for how), or closed the stub."""


class Refused(Exception):
    """The stub answered with an error."""


class Nowhere(Refused):
    """An address that is not mapped; or whoever follows what lies in memory is led on without end."""


@dataclass(frozen=True)
class Stop:
    """Why the machine stopped: `signal` 5 at a breakpoint or step, 2 when interrupted."""

    signal: int
    reply: str
    kind: str = "breakpoint"
    """What stopped it: breakpoint, write, read or access (a watchpoint), step, vmexit (Bochs)."""
    address: int = 0
    """What a watchpoint of QEMU's saw accessed."""


def checksum(data):
    """The two hex digits that end a packet."""
    return f"{sum(data) & 0xff:02x}".encode()


def expand(data):
    """Undo escapes and run lengths of a packet's body."""
    out, at = bytearray(), 0
    for found in re.finditer(rb"([}*])(.)", data, re.S):
        out += data[at:found.start()]
        at = found.end()
        if found[1] == b"}":
            out.append(found[2][0] ^ 0x20)
        else:
            out += out[-1:] * (found[2][0] - 29)
    return bytes(out + data[at:])


class Client:
    """A connection to the stub. `pump()` lets the machine run on and says False once it ended.

    A round trip wakes QEMU's main thread and ours, which costs more than most answers do. So a packet is acknowledged with
    the next one that goes out, and registers are asked for once a stop.
    """

    def __init__(self, sock, pump=lambda: True):
        self.sock = sock
        self.pump = pump
        self._buffer = b""
        self._acks = True
        self._owed = b""
        self._known = None
        self._points = set()
        self._watched = []
        self._layout = None
        self._running = False
        self._commands, self._since = 0, time.thread_time()
        sock.setblocking(False)
        self._ask("qSupported:xmlRegisters=i386")
        if self._ask("QStartNoAckMode") == "OK":
            self._acks = False
        self._learn_registers()

    # Packets.

    def _send(self, *texts):
        if not all(text.startswith(STILL) for text in texts):
            self._known = None
        data, self._owed = self._owed, b""
        for body in (text.encode("ascii") for text in texts):
            data += b"$" + body + b"#" + checksum(body)
        while data:
            try:
                data = data[self.sock.send(data):]
            except BlockingIOError:
                self._alive()
            except OSError:
                raise Gone("the stub is closed") from None

    def _alive(self):
        if not self.pump():
            raise Gone("the machine has ended")

    def _packet(self):
        """The next whole packet's body; bytes between packets are thrown away."""
        while True:
            start = self._buffer.find(b"$")
            end = self._buffer.find(b"#", start + 1)
            if start >= 0 and 0 <= end and len(self._buffer) >= end + 3:
                body, tail = self._buffer[start + 1:end], self._buffer[end + 1:end + 3]
                self._buffer = self._buffer[end + 3:]
                if tail.lower() != checksum(body):
                    continue
                if self._acks:
                    self._owed = b"+"
                return expand(body)
            if start < 0 or len(self._buffer) > BROKEN:
                self._buffer = b""
            self._receive()

    def _readable(self, seconds):
        try:
            return bool(select.select([self.sock], [], [], seconds)[0])
        except ValueError:  # the machine ended, and its driver closed our socket
            raise Gone("the machine has ended") from None

    def _receive(self):
        # pump() would not wake up for an answer of the stub: look here first, and for a short time.
        if not self._readable(0.02) and not self.pump() and not self._readable(0):
            raise Gone("the machine has ended")
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            raise Gone("the stub is closed") from None
        if not data:
            self.pump()
            raise Gone("the stub is closed")
        self._buffer += data

    def _ask(self, text, printed=None):
        self._send(text)
        while True:
            reply = self._packet().decode("latin-1")
            if not (reply.startswith("O") and reply != "OK"):
                return reply
            if printed is not None:
                printed.append(bytes.fromhex(reply[1:]))

    def _command(self, text):
        self._commands += 1
        if self._commands % LOOKS == 0 and time.thread_time() - self._since > PATIENCE:
            raise Nowhere(f"it has answered {self._commands} times, and is still asked: {text[:40]!r}")
        return self._held(text, self._ask(text))

    @staticmethod
    def _held(text, reply):
        if re.fullmatch(r"E[0-9a-f]{2}", reply):
            raise (Nowhere if text[:1] in "mM" else Refused)(f"the stub refuses {text[:40]!r}: {reply}")
        return reply

    def _then(self, texts, run):
        """Commands that are answered at once and, in one go with them, the one that lets the machine run."""
        self._send(*texts, run)
        for text in texts:
            self._held(text, self._packet().decode("latin-1"))

    # Registers.

    def _document(self, name):
        text, offset = "", 0
        while True:
            part = self._command(f"qXfer:features:read:{name}:{offset:x},{CHUNK:x}")
            text += part[1:]
            offset += len(part) - 1
            if part[:1] != "m":
                return text

    def _learn_registers(self):
        text = self._document("target.xml")
        for include in re.findall(r'<xi:include href="([^"]+)"', text):
            text += self._document(include)
        text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
        layout, offset = [], 0
        for tag in re.findall(r"<reg\s[^>]*>", text):
            name, size = re.search(r'name="([^"]+)"', tag), re.search(r'bitsize="(\d+)"', tag)
            if name and size:
                layout.append((name[1], offset, int(size[1]) // 8))
                offset += int(size[1]) // 8
        if not any(name == "rip" for name, _, _ in layout):
            raise Refused("the stub's target description has no rip")
        self._layout = layout

    def regs(self):
        """{name: value}: rax ... r15, rip, eflags, cs ... gs, fs_base, cr0 ... efer, and more."""
        if self._known is None:
            raw = bytes.fromhex(self._command("g").replace("x", "0"))
            self._known = {name: int.from_bytes(raw[at:at + size], "little")
                           for name, at, size in self._layout if at + size <= len(raw)}
        return dict(self._known)

    def set_reg(self, name, value):
        """Write one register."""
        for number, (known, _, size) in enumerate(self._layout):
            if known == name:
                self._command(f"P{number:x}={value.to_bytes(size, 'little').hex()}")
                return
        raise ValueError(f"there is no register {name!r}")

    def cs(self):
        """The code segment selector; its low two bits are the privilege level."""
        return self.regs()["cs"]

    def cpl(self):
        """The current privilege level (protected and long mode)."""
        return self.cs() & 3

    # Memory.

    def _physical(self, on):
        if self._ask(f"Qqemu.PhyMemMode:{int(on)}") != "OK":
            raise Refused("this QEMU can't read physical memory through its stub")

    def read(self, address, length, physical=False):
        """Bytes at a linear (or physical) address. Raises Refused where nothing is mapped."""
        if physical:
            self._physical(True)
        try:
            data = b""
            while len(data) < length:
                size = min(CHUNK, length - len(data))
                data += bytes.fromhex(self._command(f"m{address + len(data):x},{size:x}"))
            return data
        finally:
            if physical:
                self._physical(False)

    def write(self, address, data, physical=False):
        """Write bytes at a linear (or physical) address."""
        if physical:
            self._physical(True)
        try:
            for at in range(0, len(data), CHUNK):
                part = data[at:at + CHUNK]
                self._command(f"M{address + at:x},{len(part):x}:{part.hex()}")
        finally:
            if physical:
                self._physical(False)

    # Running.

    def insert(self, address, hardware=False):
        """Set a breakpoint at a linear address."""
        self._command(f"Z{int(hardware)},{address:x},1")
        self._points.add((address, hardware))

    def remove(self, address, hardware=False):
        """Remove it."""
        self._command(f"z{int(hardware)},{address:x},1")
        self._points.discard((address, hardware))

    def watch(self, address, length, kind="write"):
        """Stop behind an access to these bytes: "write", "read" or "access". The CPU must be in the
        address space that maps them when it runs on."""
        self._command(f"Z{WATCH[kind]},{address:x},{length:x}")
        self._watched.append((address, length, kind))

    def unwatch(self):
        """Remove all watchpoints."""
        for address, length, kind in self._watched:
            self._command(f"z{WATCH[kind]},{address:x},{length:x}")
        self._watched = []

    def _stopped(self):
        while True:
            reply = self._packet().decode("latin-1")
            if reply[:1] in "TS" and len(reply) >= 3:
                self._running = False
                seen = re.search(r"\b(watch|rwatch|awatch):([0-9a-f]+)", reply)
                if seen:
                    return Stop(int(reply[1:3], 16), reply, WATCHED[seen[1]], int(seen[2], 16))
                return Stop(int(reply[1:3], 16), reply)
            if reply[:1] in "WX":
                raise Gone("the machine has ended")

    def step(self):
        """One instruction, interrupts held off."""
        return self._stepped()[0]

    def _stepped(self, first=()):
        """... and the registers behind it. QEMU may report a step before the CPU took it, when its other threads want the CPU."""
        before = self.regs()
        for _ in range(1 + IDLE_STEPS):
            self._then(first, "s")
            first = ()
            stop, after = self._stopped(), self.regs()
            if after != before:
                break
        return stop, after

    def cont(self):
        """Run to the next breakpoint; steps off one that the CPU stands on."""
        here = self.regs()["rip"]
        under = [point for point in self._points if point[0] == here]
        again = [f"Z{int(hardware)},{address:x},1" for address, hardware in under]
        if under:
            stop, after = self._stepped([f"z{word[1:]}" for word in again])
            if after["rip"] in {address for address, _ in self._points}:
                for word in again:
                    self._command(word)
                return stop
        self._then(again, "c")
        self._running = True
        return self._stopped()

    def monitor(self, command):
        """What QEMU's own monitor, to which the stub passes it on, says to a command."""
        printed = []
        self._ask("qRcmd," + command.encode("ascii").hex(), printed)
        return b"".join(printed).decode("latin-1")

    def interrupt(self):
        """Stop a machine that runs."""
        self.sock.send(self._owed + b"\x03")
        self._owed = b""
        return self._stopped()

    def detach(self):
        """Drop all breakpoints and let the machine run on."""
        try:
            for address, hardware in list(self._points):
                self.remove(address, hardware)
            self.unwatch()
            self._ask("D")
        except Gone:
            pass


def witness(live, points, hits=10_000):
    """Run `live` (started with paused=True) and call `points[address](client, regs)` at each.

    A callback that returns something true ends the witnessing: the machine runs on alone. Returns
    how often each address was seen, {address: times}; live.wait() then gives the Run.
    """
    seen = dict.fromkeys(points, 0)
    client = live.gdb()
    try:
        for address in points:
            client.insert(address)
        for _ in range(hits):
            client.cont()
            regs = client.regs()
            callback = points.get(regs["rip"])
            if callback is None:
                continue
            seen[regs["rip"]] += 1
            if callback(client, regs):
                break
        client.detach()
    except Gone:
        pass
    return seen
