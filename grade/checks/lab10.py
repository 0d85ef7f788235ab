"""Lab 10: a network card that another domain has.

Witnessed: the student's functions by themselves, called in the guest that has them, where it stands at its first line: the grader is
the other end, who gives grants, and who makes copies. And the grader is the network: the machine's card is at a cable of which
the grader has the other end, and what comes there counts.
"""

import shutil
import socket
import struct
import tempfile
from pathlib import Path

from zeno.judging.tools import tool
from zeno.machines import machine

from . import lab9
from .lab4 import return_with

LIMITS = machine.Limits(instructions=20_000_000_000, console_bytes=1 << 20, side_bytes=16 << 20, cpu_seconds=60)
PAGE = 4096
MASK = 0xFFFFFFFF
LOOP = b"\x90\x00"
"""The type of a frame that goes back to whom it is from (guest/dom0/bridge.h)."""
AT_ONCE = 8
"""Frames that are on their way at a time: no queue on it is shorter."""
PLACES = {"pv-net": ("card", "stack_of_ours", 16384), "dom0": ("heap", "heap", 1 << 20)}
"""Where a guest has memory that nobody uses at its first line: what is looked at, and a stack, whose end is so far behind."""


# -- a guest's functions by themselves ---------------------------------------------------------------------


class Guest(lab9.Guest):
    """The student's functions in pv-net, or in dom0, that stands at its first line."""

    def __init__(self, t, client, symbols, name):  # pylint: disable=super-init-not-called
        self.t, self.client, self.symbols, self.points = t, client, symbols, set()
        room, stack, size = PLACES[name]
        self.back, self.room, self.stack = self.at("guest_main"), self.at(room), self.at(stack) + size - 64

    def changed(self, name, *args, instead, place, behind, data):
        """call(), where the bytes at that place become others behind so many accesses to them. What it gives back, and whether they
        have."""
        client, seen = self.client, 0
        stands_in = {self.at(other): done for other, done in instead.items()}
        client.write(self.stack - 8, struct.pack("<Q", self.back))
        for register, value in zip(("rsp", "rip", *lab9.REGISTERS), (self.stack - 8, self.at(name), *args)):
            client.set_reg(register, value & (1 << 64) - 1)
        for point in stands_in:
            client.insert(point)
        client.watch(place, len(data), "access")
        try:
            for _ in range(400):
                client.cont()
                regs = client.regs()
                if regs["rip"] in stands_in:
                    return_with(client, regs, (stands_in[regs["rip"]](regs) or 0) & (1 << 64) - 1)
                    regs = client.regs()
                if regs["rip"] == self.back:
                    break
                seen += regs["rip"] not in stands_in
                if seen == behind:
                    client.write(place, data)
        finally:
            client.unwatch()
            for point in stands_in:
                client.remove(point)
        self.t.check(regs["rip"] == self.back, f"{name}() does not come back: it gets no further", "it returns", f"rip {regs['rip']:x}")
        return regs["rax"], seen >= behind


def within(t, look, name):
    """look(guest) where a guest of the student's stands at its first line."""
    lab9.within(t, look, name, Guest)


# -- the network -------------------------------------------------------------------------------------------


def mac_of(rng):
    """An address of Xen's, as bytes."""
    return bytes.fromhex("00163e") + bytes((rng.randrange(1, 256), *rng.randbytes(2)))


def config(name, mac, ip, extra):
    """What a domain is to be: pv-net, with that card."""
    return (f"name = '{name}'\nkernel = 'pv-net'\nmemory = 8\nextra = '{extra}'\n"
            f"vif = ['mac={mac.hex(':')}, ip={ip}']\n").encode()


class Cable:
    """The machine with dom0, whose network card's cable has its other end here. `own`: which guests are the student's."""

    def __init__(self, t, own, files):
        self.t, self.place = t, Path(tempfile.mkdtemp(prefix="zeno-net-"))
        self.mac = b"\x02" + t.rng.randbytes(5)
        self.end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.end.bind(str(self.place / "ours"))
        self.end.settimeout(.05)
        ends = {name: (t.image.own if name in own else t.image.guests) / f"{name}.elf" for name in ("dom0", "pv-net")}
        archive = t.path("files.cpio")
        archive.write_bytes(tool("mkfiles").archive({"pv-net": ends["pv-net"].read_bytes(), **files}))
        self.live = t.start("panic=off -- start dom0 mem=24 module=files; off", modules=[(ends["dom0"], ""), (archive, "")], mem=256, limits=LIMITS,
                            interactive=True, extra=("-netdev", f"dgram,id=n,local.type=unix,local.path={self.place / 'theirs'},remote.type=unix,"
                                                     f"remote.path={self.place / 'ours'}", "-device", "e1000,netdev=n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.live.stop()
        self.run = self.t.finish(self.live)
        self.end.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def type(self, line, until):
        """A line at dom0's prompt, and what is to be printed behind it."""
        self.live.send(line.encode() + b"\r")
        self.t.check(self.live.wait_for(until), f"dom0 is told {line!r}, and it gets no further", until.decode(), self.said()[-400:])

    def said(self):
        """The console's text so far."""
        return self.live.console().decode("ascii", "replace")

    def begin(self):
        """dom0's first prompt; and it has a network card."""
        self.t.check(self.live.wait_for(b"dom0# "), "dom0 gets no further", "its prompt", self.said()[-400:])

    def frame(self, to, size=None, kind=LOOP):
        """One from here, of bytes that are drawn."""
        return to + self.mac + kind + self.t.rng.randbytes((size or self.t.rng.randrange(60, 1515)) - 14)

    def ask(self, frames, patience=400, until=None):
        """What comes back of these until as many have come, or nothing comes any more. `until`: all that comes, up to that frame."""
        got, todo, empty = [], list(frames), 0
        while (until not in got if until else len(got) < len(frames)) and empty < patience:
            try:
                if todo:  # its queue may be full
                    self.end.sendto(todo[0], socket.MSG_DONTWAIT, str(self.place / "theirs"))
                    todo.pop(0)
            except OSError:
                pass
            try:
                one = self.end.recv(4096, socket.MSG_DONTWAIT if todo else 0)
            except (BlockingIOError, TimeoutError):
                empty += not todo
                if not self.live.pump(.01 if todo else 0):
                    break
                continue
            if until or one[12:14] == LOOP:
                got.append(one)
        return got

    def answers(self, frames, last, patience=400):
        """What comes of these until the last one has come back, which goes through for certain; or nothing comes any more."""
        got = self.ask([*frames, last], patience, until=self.back(last))
        self.t.check(self.back(last) in got, "behind other frames one does not come back that no rule is for: the network has waited in vain", "it does", f"{len(got)} others do")
        return got

    def returned(self, frames, who):
        """All of these come back, to the byte, from whom they were to."""
        for at in range(0, len(frames), AT_ONCE):
            some = frames[at:at + AT_ONCE]
            want, got = [self.back(one) for one in some], self.ask(some)
            for n, one in enumerate(want):
                words = f"{who}, of {len(one)} bytes"
                self.t.check(n < len(got), f"{words}, does not come back: the network has waited in vain", f"{len(want)} frames", f"{len(got)} frames")
                self.t.equal(one, got[n], words)

    @staticmethod
    def back(one):
        """A frame as it is when it comes back."""
        return one[6:12] + one[:6] + one[12:]
