#!/usr/bin/env python3
"""`migrate`: a domain goes from one Zeno to another, by a cable that is this test.

`pv-suspend` counts in its memory and in its store, and looks at all that a CPU has; on the other machine it goes on where it
was. The cable loses frames, doubles them, changes their order and their bytes, or breaks at any moment: then the domain is on
one of both machines, never on two. Two machines
take 5 s of CPU, and half a minute, most of it to wait for who says nothing. With ZENO_ALL=1 Debian's Linux goes, too.
"""

import hashlib
import os
import random
import re
import select
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
import xenlinux  # noqa: E402
from booting import boot_from  # noqa: E402
from dom0 import archive, config  # noqa: E402
from engine import BUILD, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

KERNEL = BUILD / "lab8-solution/zeno.mb"
LIMIT = machine.Limits(instructions=None, cpu_seconds=60)
MACS = "52:54:00:12:34:56", "52:54:00:12:34:57"
KEPT = 64  # frames that the host keeps for the next domains, having had so many at once
TYPE = b"\x88\xb5"


class Cable:
    """Between two cards: each frame goes through `fault`, (end, frame) -> frames for the other end."""

    def __init__(self):
        self.fault, self.ends, self.paths = (lambda _end, frame: [frame]), [], []
        for n in range(2):
            ours, theirs = folder() / f"ours{n}", folder() / f"theirs{n}"
            for path in (ours, theirs):
                path.unlink(missing_ok=True)
            end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            end.bind(str(ours))
            self.ends.append(end)
            self.paths.append((ours, theirs))
        self.on = True
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def words(self, n):
        """QEMU's."""
        ours, theirs = self.paths[n]
        return ["-netdev", f"dgram,id=n,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}",
                "-device", f"e1000,netdev=n,mac={MACS[n]}"]

    def carry(self):
        """Until the end."""
        while self.on:
            for end in select.select(self.ends, [], [], .1)[0]:
                n = self.ends.index(end)
                for frame in self.fault(n, end.recv(4096)):
                    try:
                        self.ends[1 - n].sendto(frame, socket.MSG_DONTWAIT, str(self.paths[1 - n][1]))
                    except OSError:
                        pass  # nobody is there any more, or has room

    def close(self):
        self.on = False
        self.thread.join()
        for end in self.ends:
            end.close()


class Zeno:
    """A machine, and who types at its dom0."""

    def __init__(self, cable, n, more=None, mem=128):
        files = archive(**(more or {}), **{"pv-suspend": guest("pv-suspend").read_bytes(), "s.cfg": config("s", kernel="pv-suspend", extra="diskless"),
                           "large.cfg": config("large", kernel="pv-suspend", extra="diskless", memory=60)})
        own = 160 if more else (24, 70)[n]
        commands = f"panic=off -- start pv-hello; frames; start dom0 mem={own} module=files; audit; start pv-hello; frames; off"
        self.live = machine.start(**boot_from("qemu", KERNEL, commands, [guest("dom0"), guest("pv-hello"), files]), cpu="pv", mem=mem, limits=LIMIT,
                                  interactive=True, idle=False, extra=cable.words(n))
        self.mac, self.text, self.stays = MACS[n], "", 0
        self.hears("dom0# ")

    def hears(self, words):
        """Up to these words, behind what has been heard; what was said before them."""
        if not self.live.wait_for(words.encode()):
            ok(False, f"{self.mac}: {words}", text=self.live.console().decode("ascii", "replace")[-3000:])
            sys.exit(1)
        said = self.live.console().decode("ascii", "replace").replace("\r", "")
        new, self.text = said[len(self.text):], said
        return new

    def types(self, line, until="dom0# "):
        self.live.send(line.encode() + (b"" if line.endswith("\x14") else b"\r"))
        return self.hears(until)

    def begins(self, name="s"):
        """A domain, which has counted."""
        self.types(f"create {name}.cfg")
        self.types(f"console {name}", "count> ")
        self.types("\x14")

    def goes_on(self, name="s"):
        """It does what it did: that it was not put away it has said, before or behind `console`."""
        self.stays += 1
        self.types(f"console {name}", "count> ")
        self.types("\x14")
        ok(self.text.count("nobody has put me away") == self.stays, f"{self.mac}: {name} goes on", text=self.text[-500:])

    def ends(self):
        """All that was said, and what is lost."""
        self.live.send(b"halt\r")
        run = self.live.wait()
        text = run.text()
        run.cleanup()
        host, guests = ([int(n) for n in re.findall(rf"^  {name} +(\d+) frames", text, re.M)] for name in ("host", "guest"))
        ok("audit: 0 differences" in text and len(guests) == 2 and guests[0] == guests[1] and host[1] - host[0] < KEPT, f"{self.mac}: no frame is lost",
           text=text[-3000:])
        return text


def goes(here, there, what, name="s"):
    """From one to the other."""
    there.types(f"migrate-receive {here.mac}", "ends that")
    said = here.types(f"migrate {name} {there.mac}")
    there.hears(f"{name} is here")
    if name == "s":
        there.hears("back at ")
    down = re.search(rf"^{name} stood still for (\d+) ms\n{name} is at " + there.mac + r": (\d+) KiB$", said, re.M)
    ok(down, f"{what}: it is put away here", said=said)
    print(f"# down for {down[1]} ms, {down[2]} KiB" if down else "#")


def noisy(rng):
    """A cable on which one frame in eight is lost, another one altered, one doubled, one late."""
    late = []

    def fault(_end, frame):
        chance = rng.random()
        out, late[:] = late[:], []
        if chance < 1 / 8:
            return out
        if chance < 2 / 8:
            at = rng.randrange(14, len(frame))
            return [*out, frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1:]]
        if chance < 3 / 8:
            return [*out, frame, frame]
        if chance < 4 / 8:
            late.append(frame)
            return out
        return [*out, frame]

    return fault


def there_and_back(cable, here, there):
    """It goes on where it was: by a good cable, and by a bad one."""
    here.begins()
    goes(here, there, "a good cable")
    cable.fault = noisy(random.Random())
    goes(there, here, "a bad one, and back")
    cable.fault = lambda _end, frame: [frame]
    here.types("shutdown s", "s has ended")
    here.hears("dom0# ")
    told = re.findall(r"put away at (\d+)$", here.text + there.text, re.M), re.findall(r": back at (\d+)$", here.text + there.text, re.M)
    ok(sorted(told[0]) == sorted(told[1]) and len(told[0]) == 2, "it goes on where it was", told=told)
    ok(re.search(r"counted to \d+; 0 wrong", here.text), "and has all that it had", text=here.text[-2000:])


def refused(here, there):
    """What the other machine says no to goes on where it was."""
    here.begins()
    there.begins()
    for name, why in (("s", "there is a domain of its name"), ("large", "there is no memory for it, or no number")):
        if name == "large":
            here.begins(name)
        there.types(f"migrate-receive {here.mac}", "ends that")
        said = here.types(f"migrate {name} {there.mac}")
        there.hears("dom0# ")
        ok(f"{name} is not migrated: {why}" in said, f"refused, and told: {why}", said=said)
        here.goes_on(name)
    said = here.types(f"migrate s {there.mac}")
    ok("s is not migrated: nobody answers there" in said and "put away" not in said, "nobody waits there: it is not disturbed", said=said)
    there.types(f"migrate-receive {here.mac}", "ends that")
    there.types("\x14")
    for wrong, why in (("migrate s 1:2", "that is no card's address"), ("migrate x 52:54:00:12:34:57", "has made no domain x"), ("migrate-receive 01:54:00:12:34:57", "no card's")):
        ok(why in here.types(wrong), f"{wrong}: {why}", text=here.text[-500:])
    here.types("destroy large", "large has ended")
    here.hears("dom0# ")
    there.types("destroy s", "s has ended")
    there.hears("dom0# ")


class Cut:
    """A cable that breaks, one way or both, behind so many frames of the sender's from which on `there` says that it is ready."""

    def __init__(self, here, ways, behind=None, ready=False):
        self.here, self.ways, self.behind, self.ready, self.seen = here, ways, behind, ready, 0

    def __call__(self, end, frame):
        if frame[12:14] != TYPE:
            return [frame]
        self.seen += end == self.here
        if self.ready and end != self.here and int.from_bytes(frame[14:16], "little") == 4 and frame[40] == READY:
            self.behind = self.behind or self.seen
            if self.ready == "told":  # this one goes through
                self.ready = False
                return [frame]
        broken = self.behind is not None and self.seen >= self.behind
        return [] if broken and end in self.ways else [frame]


READY = 4


def breaks(cable, here, there):
    """At no moment are there two of it, and one is always left."""
    cable.fault = Cut(0, (0, 1), behind=random.randrange(20, 120))
    there.types(f"migrate-receive {here.mac}", "ends that")
    said = here.types(f"migrate s {there.mac}")
    ok("s is not migrated: nobody answers there" in said, "it breaks on the way: it goes on here", said=said)
    ok("no domain has come" in there.hears("dom0# "), "... and has not come there", text=there.text[-500:])
    here.goes_on()
    cable.fault = Cut(0, (1,), ready=True)
    there.types(f"migrate-receive {here.mac}", "ends that")
    said = here.types(f"migrate s {there.mac}")
    ok("s is not migrated: nobody answers there" in said, "it breaks before the answer: it goes on here", said=said)
    here.goes_on()
    ok("s is here, and stands still" in there.hears("dom0# "), "... and stands still there", text=there.text[-500:])
    ok(re.search(r"^s +\d+ +8 +paused", there.types("list"), re.M) and "back at" not in there.text.rpartition("migrate-receive")[2], "... and has not begun",
       text=there.text[-500:])
    there.types("destroy s", "s has ended")
    there.hears("dom0# ")
    cable.fault = Cut(0, (0, 1), ready="told")
    there.types(f"migrate-receive {here.mac}", "ends that")
    said = here.types(f"migrate s {there.mac}")
    ok("s is there, but nobody says that it runs; it stands still here, too" in said and re.search(r"^s +\d+ +8 +paused", here.types("list"), re.M),
       "it breaks behind the answer: it stands still here", said=said)
    ok("s is here, and stands still" in there.hears("dom0# "), "... and there", text=there.text[-500:])
    there.types("unpause s", "back at ")
    here.types("destroy s", "s has ended")
    here.hears("dom0# ")
    there.types("shutdown s", "; 0 wrong")
    there.hears("s has ended")
    there.hears("dom0# ")
    cable.fault = lambda _end, frame: [frame]


def linux():
    """Debian's Linux: what its shell knows it knows there, and the program that it has begun ends."""
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux goes", f"it could not be fetched: {why}")
        return
    number = random.randrange(1000, 9000)
    initrd = linux_guest.make_initrd(linux_guest.LINUX_64, b"", folder() / "initrd64", "xen")
    files = {"l.cfg": config("l", kernel="linux-pv", ramdisk="initrd64", memory=96, extra=xenlinux.WORDS), "linux-pv": kernel.read_bytes(),
             "initrd64": initrd.read_bytes()}
    cable = Cable()
    here, there = (Zeno(cable, n, files, 512) for n in range(2))
    here.types("create l.cfg")
    here.types("console l", "zeno# ")
    here.types(f"x={number}; seq 1 {number} > /tmp/n; (sleep 3; md5sum < /tmp/n > /tmp/sum) & echo r$((0))ady", "r0ady")
    here.types("\x14")
    goes(here, there, "Linux", "l")
    there.types("console l\r", "zeno# ")
    want = hashlib.md5("".join(f"{n}\n" for n in range(1, number + 1)).encode()).hexdigest()
    said = there.types("wait; cat /tmp/sum; echo x is $((x)), $(uname -s)", f"x is {number}, Linux")
    ok(want in said, "Linux goes on, and a program of its ends what it had begun", said=said[-1000:])
    there.types("exit", "l has ended")
    there.hears("dom0# ")
    for one in (here, there):
        one.ends()
    cable.close()


def main():
    if os.environ.get("ZENO_ALL"):
        linux()
    cable = Cable()
    here, there = Zeno(cable, 0), Zeno(cable, 1)
    there_and_back(cable, here, there)
    refused(here, there)
    breaks(cable, here, there)
    for one in (here, there):
        one.ends()
    cable.close()
    finish()


if __name__ == "__main__":
    main()
