"""COM2 of a host, for tests that speak GDB's protocol without GDB."""

import re
import select
import socket
import sys

from harness import ROOT, folder

from gdb_session import LIMIT, guest

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import gdbremote, machine  # noqa: E402


class Line:
    """COM2 of a machine on QEMU, as bytes."""

    def __init__(self, host, options, commands, guests, interactive=False):
        self.path = folder() / "com2"
        self.live = machine.start(
            machine="qemu", kernel=str(host / "zeno.mb"), cpu="te", limits=LIMIT, idle=False, interactive=interactive,
            cmdline=f"{options} panic=off -- {commands}", modules=[(guest(g), "") for g in guests],
            extra=("-chardev", f"socket,id=com2,path={self.path},server=on,wait=off",
                   "-device", "isa-serial,index=1,chardev=com2"))
        self.connect()

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(str(self.path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.live.pump():
                    raise
        self.sock.setblocking(False)
        self.data = b""

    def raw(self, data):
        """All of these bytes, as fast as the machine takes them."""
        while data and self.live.pump(0):
            try:
                data = data[self.sock.send(data):]
            except BlockingIOError:
                self.live.pump()

    def take_in(self):
        try:
            self.data += self.sock.recv(65536)
        except BlockingIOError:
            pass

    def reply(self):
        """The next packet's body; None: the machine ended."""
        while True:
            select.select([self.sock], [], [], 0.05)
            self.take_in()
            found = re.search(rb"\$([^#]*)#([0-9a-f]{2})", self.data)
            if found:
                self.data = self.data[found.end():]
                good = gdbremote.checksum(found[1]) == found[2]
                self.raw(b"+" if good else b"-")
                if good:
                    return found[1]
            elif not self.live.pump(0):
                return None

    def ask(self, body):
        self.raw(b"$" + body + b"#" + gdbremote.checksum(body))
        return self.reply()
