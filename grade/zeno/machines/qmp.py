"""A small client for QEMU's monitor protocol (QMP) on a connected socket."""

import json
import re
import select
import time

CHUNK = 65536


class QmpGone(Exception):
    """QEMU closed the monitor: it has ended, or is about to."""


class Qmp:
    """Commands and events. `alive` is asked while waiting; when it says False we give up."""

    def __init__(self, sock, alive, patience=300.0):
        self.sock = sock
        self.alive = alive
        self.patience = patience
        self.events = []
        self._replies = []
        self._buffer = b""
        self._eof = False
        self.greeted = False
        sock.setblocking(False)

    def fileno(self):
        """For select()."""
        return self.sock.fileno()

    def pump(self):
        """Take in what has arrived, without waiting."""
        while not self._eof:
            try:
                data = self.sock.recv(CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._eof = True
            self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if "event" in message:
                self.events.append(message)
            elif "QMP" in message:
                self.greeted = True
            else:
                self._replies.append(message)

    def event(self, name):
        """The first event of that name so far, or None."""
        return next((event for event in self.events if event["event"] == name), None)

    def hello(self, then_run):
        """Wait for the greeting and leave negotiation mode; let the machine run, which waits (-S). Raises QmpGone.

        Before that QEMU tells nobody of an event: the end of a machine that ran already would never be heard of.
        """
        self._until(lambda: self.greeted)
        self.command("qmp_capabilities")
        if then_run:
            self.command("cont")

    def command(self, name, **arguments):
        """Run one command, give what it returns. Raises QmpGone; RuntimeError if QEMU refuses."""
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        self._replies.clear()
        try:
            self.sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            raise QmpGone("the monitor is closed") from None
        self._until(lambda: self._replies)
        reply = self._replies.pop(0)
        if "error" in reply:
            raise RuntimeError(f"QEMU refuses {name}: {reply['error'].get('desc')}")
        return reply.get("return")

    def human(self, line):
        """A command of the human monitor; its output as text."""
        return self.command("human-monitor-command", **{"command-line": line})

    def _until(self, done):
        end = time.monotonic() + self.patience
        while True:
            self.pump()
            if done():
                return
            if self._eof or time.monotonic() > end:
                raise QmpGone("the monitor is closed" if self._eof else "QEMU does not answer")
            select.select([self.sock], [], [], 0.2)
            if not self.alive():
                self.pump()
                if done():
                    return
                raise QmpGone("QEMU has ended")


_NUMBER = re.compile(r"\b([A-Z][A-Z0-9]{1,3}|EFER|EFL|RFL)\s*=\s*([0-9a-f]{8,16})\b")
_SEGMENT = re.compile(r"\b(ES|CS|SS|DS|FS|GS|LDT|TR)\s*=\s*([0-9a-f]{4}) ([0-9a-f]{8,16}) "
                      r"([0-9a-f]{8}) ([0-9a-f]{8})")
_TABLE = re.compile(r"\b(GDT|IDT)=\s*([0-9a-f]{8,16}) ([0-9a-f]{8})")
_FLAG = re.compile(r"\b(CPL|II|A20|SMM|HLT)=([0-9]+)")


def parse_registers(text):
    """QEMU's register dump (`info registers`, or the log's) as {lower-case name: value}.

    EAX and RAX both come out as `rax`, EFL and RFL as `rflags`. Segment registers give the
    selector, with `cs_base`, `cs_limit`, `cs_flags` beside it; tables give `gdt_base`, `gdt_limit`.
    """
    found = {}
    for match in _SEGMENT.finditer(text):
        name = match[1].lower()
        found[name] = int(match[2], 16)
        for key, value in zip(("base", "limit", "flags"), match.groups()[2:]):
            found[f"{name}_{key}"] = int(value, 16)
    for match in _TABLE.finditer(text):
        name = match[1].lower()
        found[f"{name}_base"] = int(match[2], 16)
        found[f"{name}_limit"] = int(match[3], 16)
    for match in _FLAG.finditer(text):
        found[match[1].lower()] = int(match[2])
    for match in _NUMBER.finditer(text):
        name = match[1].lower()
        if name in ("efl", "rfl"):
            name = "rflags"
        elif len(name) == 3 and name[0] == "e":
            name = "r" + name[1:]
        if name not in found and name not in ("ccs", "ccd", "gdt", "idt"):
            found[name] = int(match[2], 16)
    return found
