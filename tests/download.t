#!/usr/bin/env python3
"""A file comes to Debian's Linux over our network, from a server on this machine's loopback, and goes back there.

Between them are Linux' TCP and xen-netfront, dom0's back end, its bridge and its driver of a network card, and QEMU's user
network. What arrives is compared by its SHA-256: in the guest, on its disk behind our other back end, and here. Another
domain loads the same file meanwhile. In the middle of a second transfer the card's rules let nothing in for a while: TCP
has to come back from that. A boot takes 12 s of CPU.
"""

import base64
import hashlib
import http.server
import random
import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import ENDS, archive, config, ext2, shell, start  # noqa: E402
from engine import Engine, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

PV = Engine("8", "pv")
LIMIT = machine.Limits(instructions=120_000_000_000, cpu_seconds=120)
LINUX = linux_guest.LINUX_64
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=4"
SERVER, MINE, OTHER, MIB = "10.0.2.2", "10.0.2.15", "10.0.2.16", 1 << 20
CARD = {"ifconfig eth0 up; echo '[ $1 != bound ] || ifconfig $interface $ip netmask $subnet' > /bin/u; sed -i '1i#!/bin/sh' /bin/u; chmod 755 /bin/u": "",
        "udhcpc -q -n -f -i eth0 -s /bin/u 2> /tmp/u; grep -o 'lease of [0-9.]*' /tmp/u": "lease of {}"}


class Server(http.server.BaseHTTPRequestHandler):
    """Gives what `files` has, of /halves the second half while nothing gets through, and keeps what it is sent."""

    files, got, cut = {}, {}, threading.Event()

    def answer(self, data, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        half = len(data) // 2 if self.path == "/halves" else 0
        self.wfile.write(data[:half])
        if half:
            self.cut.wait(60)
            time.sleep(3)  # dom0 types the rule at once
        self.wfile.write(data[half:])

    def do_GET(self):  # noqa: N802
        data = self.files.get(self.path)
        self.answer(data or b"", 200 if data else 404)
        if self.path == "/cut":
            self.cut.set()

    def do_POST(self):  # noqa: N802
        self.got[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def log_message(self, *_):
        """Nobody reads it."""


def linux(name, session, ip, **keys):
    """A Linux domain's files: its configuration, and its RAM disk, which types this."""
    typed = "".join(f"{line}\n" for line in session).encode()
    initrd = linux_guest.make_initrd(LINUX, typed, folder() / f"{name}.rd", "xen", "xen-net")
    return {name: config(name, kernel="linux-pv", ramdisk=f"{name}.rd", memory=128, extra=WORDS, vif=[f"ip={ip}"], **keys),
            f"{name}.rd": initrd.read_bytes()}


def sessions(at):
    """What two domains type, and what each line says."""
    files = Server.files
    want = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    card = {line: answer.format(MINE) for line, answer in CARD.items()}
    other = {line: answer.format(OTHER) for line, answer in CARD.items()}
    return {linux_guest.INSERT: "", "mount -t devtmpfs d /dev; mkdir /mnt; mount -t ext2 /dev/xvda /mnt": "", **card,
            f"wget -q -O /mnt/f {at}/f; sha256sum < /mnt/f": want["/f"] + "  -",
            "umount /mnt; mount -t ext2 /dev/xvda /mnt; sha256sum /mnt/f": want["/f"] + "  /mnt/f",
            f"base64 /mnt/f > /tmp/b; wget -q -O /tmp/o --post-file=/tmp/b {at}/back; echo sent $?": "sent 0",
            f"wget -q -O /tmp/h {at}/halves & wget -q -O /tmp/o {at}/cut; cat /tmp/o; sleep 8; echo bac$((0))k; wait; sha256sum < /tmp/h":
            want["/halves"] + "  -", linux_guest.LOUD: ""}, {
            linux_guest.INSERT: "", **other, f"wget -q -O /tmp/f {at}/f; sha256sum < /tmp/f": want["/f"] + "  -", linux_guest.LOUD: ""}


def transfer(kernel, at):
    """One boot with both."""
    one, two = sessions(at)
    files = archive(**linux("l", one, MINE, disk=["fs,raw,xvda,rw"]), **linux("m", two, OTHER), fs=ext2("6M", empty=b""),
                    **{"linux-pv": kernel.read_bytes()})
    steps = start(96, *shell("create l", "create m"), ("now!", "vif-rule l 0 in drop tcp\n"), ("bac0k", "vif-rule l 0\n"),
                  *shell("vif-rule l 0 none"), ENDS, *shell("nic", "halt"))
    console = booted([steps], files)
    text = re.sub(r"^d1\| ", "", console, flags=re.M)
    for name, session in (("l", one), ("m", two)):
        mine = "".join(re.findall(rf"^(?:dom0# )?{name}\| (.*)\n", text, re.M))  # a line of the one may have one of the other's in it
        for line, answer in session.items():
            if answer:
                ok(f"zeno# {line}" in mine and f"{answer}zeno# " in mine, f"{name}: {line[:60]}", got=mine[-3000:], want=answer)
    ok(base64.b64decode(Server.got.get("/back", b"")) == Server.files["/f"], "what it sends back arrives")
    dropped = re.search(r"^ +(\d+) in drop tcp$", text, re.M)
    ok(dropped and int(dropped[1]) > 0, "the rule has had frames of the second transfer, which came through nevertheless", text=text[-4000:])
    ok(text.count("has ended: guest powered off") == 2 and "audit: 0 differences" in console, "and both halt", text=text[-2000:])


def by_hand(at):
    """What somebody types who has made the guest with LINUX=1: the file that dom0 has for it, and its RAM disk."""
    initrd = linux_guest.make_initrd(LINUX, xen_guest.DRIVERS.read_bytes(), folder() / "initrd64", "xen", "xen-net")
    files = archive(**{"linuxio.cfg": (ROOT / "guest/dom0/files/linuxio.cfg").read_bytes(), "initrd64": initrd.read_bytes(),
                       "linux-pv": xen_guest.linux_pv().read_bytes()})
    steps = start(96, *shell("truncate 16M lindisk", "create linuxio.cfg", "console linuxio"),
                  ("commands.", f"wget -qO /dev/xvda {at}/motd\n"), ("zeno# ", "exit\n"), *shell("cat lindisk", "halt"))
    text = booted([steps], files)
    ok("lease of 10.0.2.15 obtained" in text and "linuxio has ended: guest powered off" in text
       and re.search(rf"dom0# cat lindisk\n(d1\| )?{Server.files['/motd'].decode()}", text), "as it is done by hand: linuxio.cfg", text=text[-4000:])


def booted(starts, files):
    """The console of a machine whose card is on QEMU's user network."""
    result = machine.boot(kernel=PV.kernel, cpu="pv", mem=512, limits=LIMIT, modules=[(guest("dom0"), ""), (files, "")], idle=False,
                          extra=("-netdev", "user,id=n", "-device", "e1000,netdev=n"), cmdline=f"panic=off -- {'; '.join(starts)}; audit; off")
    console = result.text()
    result.cleanup()
    return console


def main():
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("a file comes to Debian's Linux", f"it could not be fetched: {why}")
        return finish()
    Server.files = {"/f": random.randbytes(4 * MIB), "/halves": random.randbytes(MIB // 2), "/cut": b"now!\n", "/motd": f"motd {random.getrandbits(64):x}\n".encode()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://{SERVER}:{server.server_address[1]}"
        transfer(kernel, at)
        by_hand(at)
        server.shutdown()
    return finish()


if __name__ == "__main__":
    main()
