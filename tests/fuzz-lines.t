#!/usr/bin/env python3
"""Random lines for the monitor and random packets for the GDB stub, in a host that runs: it answers its prompt afterwards.

Both are seeded: SEED=N LINES=N PACKETS=N for more. What a failure prints last is what the host got last.
"""

import os
import random
import re
import select
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok  # noqa: E402
from gdb_line import Line  # noqa: E402
from gdb_session import guest  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import gdbremote, machine  # noqa: E402

HOST = ROOT / "build/lab3-solution"
SEED = int(os.environ.get("SEED") or 1)
LINES = int(os.environ.get("LINES") or 600)
PACKETS = int(os.environ.get("PACKETS") or 2000)
LIMIT = machine.Limits(instructions=None, cpu_seconds=600, wall_seconds=3000)
BY_DESIGN = {"off", "crash", "free-twice", "frames-drain", "damage"}
"""Commands that end the host, or take what it lives on: that is what they are for."""
GUESTS = ("hello", "brief", "sieve", "fuzz")


def commands():
    """The names of all commands, those for tests included, from the sources."""
    places = [ROOT / place for place in ("kern", "vmm", "trials", "solutions")]
    text = "".join(p.read_text() for place in places for p in sorted(place.rglob("*.c")))
    return sorted(set(re.findall(r'MONITOR_COMMAND\(\s*\w+,\s*"([^"]+)"', text)) - BY_DESIGN)


def word(dice):
    """An argument: a number of some size, a name, or rubbish."""
    kind = dice.randrange(8)
    if kind == 0:
        return str(dice.randrange(20))
    if kind == 1:
        return f"{dice.getrandbits(dice.randrange(1, 72)):#x}"
    if kind == 2:
        return dice.choice((f"d{dice.randrange(20)}", "-1", "0x", "0x100000", "0xffffffffffffffff"))
    if kind == 3:
        return dice.choice(GUESTS)
    if kind == 4:
        return dice.choice(("engine=te", "engine=bt", "engine=", "mem=2", "mem=64", "mem=99999", "seed=3", "--", "&", "|",
                            "boot=linux", "boot=coreboot", "initrd=hello", "input=x_", "end=spin", "end=sleep"))
    return bytes(dice.choice(b" ;|&=-%\\\"'ABCabc019\t~`{}<>") for _ in range(dice.randrange(12))).decode()


def line(dice, names):
    """A line that somebody types, control keys and all."""
    text = dice.choice(names) if dice.randrange(8) else word(dice)
    for _ in range(dice.randrange(5)):
        text += " " + word(dice)
    if not dice.randrange(20):
        text += "x" * dice.randrange(400)
    data = text.encode()
    if not dice.randrange(6):
        noise = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 8)))
        data += dice.choice((b"\x1b[A", b"\x1b[B", b"\x15", b"\x08\x08", b"\x10", b"\x0e", b"\x1b[3~", noise))
    return data.replace(b"\r", b"").replace(b"\n", b"")


def monitor():
    """Lines on COM1. Behind each one Ctrl-C, for it may have started something that goes on, and a line that is known."""
    dice, names = random.Random(SEED), commands()
    ok(len(names) > 20, "the commands are known", names=names)
    live = machine.start(machine="qemu", kernel=str(HOST / "zeno.mb"), cpu="te", limits=LIMIT, idle=False,
                         interactive=True, cmdline="panic=off",
                         modules=[(guest(g), "") for g in GUESTS])
    alive, data = live.wait_for(b"K> "), b""
    for n in range(LINES):
        if not alive:
            break
        data = line(dice, names)
        live.send(data + b"\r\x03\x15echo is-" + b"alive-%d\r" % n)
        alive = live.wait_for(b"\nis-alive-%d" % n)
    ok(alive, f"the monitor answers after {LINES} random lines from seed {SEED}", line=data,
       text=live.console()[-3000:].decode("ascii", "replace"))
    live.send(b"stop\rstart hello\roff\r")
    run = live.wait()
    ok(run.end is machine.End.SHUTDOWN and run.console.count(b"hello: ended: exit code 0"), "and a guest runs as ever",
       end=run.end, detail=run.detail, text=run.text()[-1500:])
    run.cleanup()


STARTS = (b"g", b"G", b"p", b"P", b"m", b"M", b"X", b"Z0,", b"z0,", b"Z2,", b"H", b"T", b"s", b"c", b"vCont;s:p1.1",
          b"vCont;c", b"vCont", b"vAttach;", b"vKill;", b"D;", b"k", b"?", b"qXfer:features:read:target.xml:", b"qRcmd,",
          b"qThreadExtraInfo,", b"qSupported", b"qfThreadInfo", b"qsThreadInfo", b"q", b"v", b"\x00", b"\xff", b"!")


def packet(dice):
    """A packet, good or bad, or an interrupt."""
    noise = dice.random() < .3
    body = dice.choice(STARTS) + bytes(dice.randrange(256) if noise else dice.choice(b"0123456789abf,;:p.-")
                                       for _ in range(dice.randrange(40)))
    body = body.replace(b"#", b"").replace(b"$", b"")
    tail = gdbremote.checksum(body) if dice.random() < .9 else b"zz"
    return b"$" * dice.randrange(1, 3) + body + b"#" + tail + dice.choice((b"", b"+", b"\x03", b"-"))


def stub(engine):
    """Packets on COM2 while guests come and go; in the end nobody holds a guest, and the prompt answers."""
    dice = random.Random(f"{SEED}/{engine}")
    com2 = Line(HOST, "gdb=com2", f"start sieve & engine={engine}", ["sieve", "hello"], interactive=True)
    com2.live.wait_for(b"sieve: started")
    sent = b""
    for n in range(PACKETS):
        sent = packet(dice)
        com2.raw(sent)
        if n % 64 == 0:
            com2.live.send(b"start sieve & engine=%s mem=2\r" % engine.encode())
        select.select([com2.sock], [], [], 0)
        com2.take_in()
        com2.data = b""
        if not com2.live.pump(0):
            break
    com2.sock.close()
    com2.live.send(b"\r\x03\x15stop 1\r" + b"".join(b"stop %d\r" % n for n in range(1, 17)) + b"echo is-" + b"alive\r")
    alive = com2.live.wait_for(b"\nis-alive")
    ok(alive, f"{engine}: the host answers after {PACKETS} random packets from seed {SEED}", sent=sent,
       text=com2.live.console()[-3000:].decode("ascii", "replace"))
    com2.live.send(b"off\r")
    run = com2.live.wait()
    ok(run.end is machine.End.SHUTDOWN, f"{engine}: and ends in order", end=run.end, detail=run.detail,
       text=run.text()[-1500:])
    run.cleanup()


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    monitor()
    for engine in ("te", "bt"):
        stub(engine)
    finish()


main()
