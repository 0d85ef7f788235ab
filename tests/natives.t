#!/usr/bin/env python3
"""What dom0 has below others' disks and networks: drives by DMA, sparse files, a network card.

`pv-disk` writes on a partition, and reads another one; what is then in the drive's image outside of the machine is what it
says that it read last, and nothing else of the image has changed. QEMU's log of the drive's commands says that they went by
DMA, and that what was asked to be flushed was. Of the card the test is the other end of the cable. A boot takes half a
second of CPU.
"""

import contextlib
import os
import random
import re
import socket
import struct
import sys
import threading
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from dom0 import ENDS, archive, config, shell, start  # noqa: E402
from engine import BUILD, each, guest  # noqa: E402
from harness import ROOT, finish, folder, ok  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

KERNEL = BUILD / "lab8-solution/zeno.mb"
LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=60)
SECTOR = 512
READ_DMA, WRITE_DMA, FLUSH = 0xC8, 0xCA, 0xEA
BY_PIO = (0x20, 0x24, 0x29, 0x30, 0x34, 0x39)
ROUNDS = 12  # of what pv-disk does, with a flush behind each
LISTED = """hdb          0      1024
hdb1  {first:8} {sectors:9}
hdb2       700        90"""


def disk(name, *disks, extra=""):
    return config(name, kernel="pv-disk", disk=list(disks), extra=extra)


def drive(sectors, *partitions):
    """A drive of bytes that are drawn here, with these partitions, (first, sectors)."""
    data = bytearray(random.randbytes(sectors * SECTOR))
    data[446:512] = bytes(64) + b"\x55\xaa"
    for n, (first, count) in enumerate(partitions):
        data[446 + 16 * n:462 + 16 * n] = struct.pack("<8xII", first, count)
        data[450 + 16 * n] = 0x83
    return data


def boot(where, commands, guests, extra):
    """The console, and the emulator's own words."""
    guests = [guest("dom0"), *guests]
    result = machine.boot(**boot_from(where, KERNEL, f"panic=off -- {'; '.join(commands)}; off", guests), cpu="pv", mem=128, limits=LIMIT,
                          extra=extra)
    words = result.logs["log"].read_text(errors="replace") if "log" in result.logs else ""
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text, words


def image_of(data):
    to = folder() / "drive.img"
    to.write_bytes(data)
    return to


def part(data, where):
    first, count = where
    return bytes(data[first * SECTOR:(first + count) * SECTOR])


def disks(where):
    """Two domains at once on parts of a drive, one of which writes; then one more on the whole of it."""
    one, two = (64 + random.randrange(8), random.randrange(300, 500)), (700, 90)
    before = drive(1024, one, two)
    nonce = f"{random.getrandbits(48):x}"
    before[two[0] * SECTOR:(two[0] + 1) * SECTOR] = f"here is {nonce}\n".encode().ljust(SECTOR, b"\0")
    image = image_of(before)
    files = archive(**{"pv-disk": guest("pv-disk").read_bytes(), "w.cfg": disk("w", "phy:hdb1,xvda,w", extra=f"rounds={ROUNDS} seed={random.randrange(99)}"),
                       "r.cfg": disk("r", "/dev/hdb2, raw, xvdb, ro", extra=f"cat rounds={ROUNDS}"),
                       "hda.cfg": disk("hda", "phy:hdb,xvda,w"), "none.cfg": disk("none", "phy:hdb3,xvda,w")})
    steps = [*shell("disks", "create w.cfg", "create r.cfg", "create hda.cfg", "create none.cfg"), ENDS, ENDS, *shell("halt")]
    extra = (["-drive", f"file={image},format=raw,if=ide,index=1", "-trace", "ide_exec_cmd"] if where == "qemu" else
             [f'ata0-slave: type=disk, mode=flat, path="{image}", cylinders=2, heads=16, spt=32'])
    text, words = boot(where, [start(24, *steps), "audit"], [files], extra)
    after, said = image.read_bytes(), re.sub(r"^d1\| ", "", text, flags=re.M)
    ok(all(line in said for line in LISTED.format(first=one[0], sectors=one[1]).splitlines()), f"{where}: dom0 finds a drive's partitions", text=text)
    ok("hdb: another one has what is there, and one of them writes" in said and "hdb3: its drive has no such partition" in said,
       f"{where}: what another one writes nobody else gets, nor what is not there", text=text)
    writes, reads = ([line[4:] for line in said.splitlines() if line.startswith(f"d{n}| ")] for n in (2, 3))
    ok(reads == [f"vbd 51728: 4/4, {two[1]} sectors, to read", f"here is {nonce}", f"vbd 51728: crc32 {zlib.crc32(part(before, two)):x}",
                 "0 wrong; the end"], f"{where}: a domain reads its partition", text=text)
    crc = zlib.crc32(part(after, one))
    ok(writes[1:] == [f"vbd 51712: crc32 {crc:x}", "0 wrong; the end"] and crc != zlib.crc32(part(before, one)),
       f"{where}: what one writes on its own is in the image outside", text=text, crc=f"{crc:x}")
    whole = bytearray(after)
    whole[one[0] * SECTOR:sum(one) * SECTOR] = part(before, one)
    ok(bytes(whole) == bytes(before), f"{where}: ... and nothing else of the image has changed", text=text)
    ok("audit: 0 differences" in text, f"{where}: and no page is more than it was", text=text)
    if where == "qemu":
        commands = [int(n, 16) for n in re.findall(r"cmd (?:0x)?([0-9a-f]+)", words)]
        ok({READ_DMA, WRITE_DMA} <= set(commands) and commands.count(FLUSH) == 2 * ROUNDS and not set(commands) & set(BY_PIO),
           "the drive was told to move by DMA, and to flush as often as was asked", words=words[-3000:])


HARM = ("requests", "any", "jump", "shake", "store")
STEPS = range(1, 10)


def harmful():
    """Front ends that lie, or end at any step, on a part of a drive; a neighbour works on another part, and nothing else changes."""
    lies, works = (64, 128), (300, 200)
    before = drive(1024, lies, works)
    image = image_of(before)
    files = {"pv-disk": guest("pv-disk").read_bytes(), "other.cfg": disk("other", "phy:hda2,xvda", extra="times=99")}
    files |= {f"{word}.cfg": disk(word, "phy:hda1,xvda", extra=f"harm={word}") for word in HARM}
    files |= {f"{n}.cfg": disk(f"end{n}", "phy:hda1,xvda", extra=f"die={n}") for n in STEPS}

    def each_of(names):
        return [step for name in names for step in (*shell(f"create {name}.cfg"), ENDS)]

    starts = [start(24, *shell("create other.cfg"), *each_of(HARM[:3]), *shell("destroy other"), ENDS, *shell("halt")),
              *(start(24, *each_of(some), *shell("halt")) for some in (HARM[3:], STEPS[:5], STEPS[5:]))]
    text, _ = boot("qemu", [*starts, "audit"], [archive(**files)], ["-drive", f"file={image},format=raw,if=ide,index=0"])
    after = image.read_bytes()
    ok(text.count("0 wrong; nothing has come of it") == len(HARM) and all(f"end{n} has ended: " in text for n in STEPS)
       and all(text.count(f"{name}'s xvda is closed to it: ") == 1 for name in ("jump", "store")) and "other has ended: by dom0" in text,
       "front ends that lie about a drive, or end at any step, let dom0 go on", text=text)
    ok(all(after[n * SECTOR:(n + 1) * SECTOR] == before[n * SECTOR:(n + 1) * SECTOR] for n in range(1024)
           if not any(first <= n < first + count for first, count in (lies, works))), "... and write on nothing but their own part")
    ok("audit: 0 differences" in text, "and no page is more than it was", text=text)


def sparse():
    """A file that takes memory where it is written: a domain writes on one of 2 MiB, and dom0 has 1 GiB beside it."""
    seed = random.randrange(99)
    files = archive(**{"pv-disk": guest("pv-disk").read_bytes(), "w.cfg": disk("w", "sp,,xvda,w", extra=f"rounds={ROUNDS} seed={seed}"),
                       "again.cfg": disk("again", "sp,,xvda,r", extra="rounds=1")})
    steps = [*shell("truncate 2M sp", "truncate 1G huge", "truncate 3 sp", "create w.cfg", "rm sp"), ENDS,
             *shell("crc32 sp", "ls", "create again.cfg"), ENDS, *shell("rm sp", "truncate 1M sp", "crc32 sp", "halt")]
    text, _ = boot("qemu", [start(24, *steps), "audit"], [files], [])
    said = re.sub(r"^d1\| ", "", text, flags=re.M)
    crc = re.search(r"^d2\| vbd 51712: crc32 (\w+)$", said, re.M)
    ok(all(line in said for line in ("sp: there is a file of this name", "sp: a domain has it")),
       "a sparse file is made once, and stays while a domain has it", text=text)
    used = [int(n) for n in re.findall(r"^ 2097152 sp, sparse, (\d+) KiB of memory$", said, re.M)]
    ok("1073741824 huge, sparse, 0 KiB of memory" in said and len(used) == 1 and 0 < used[0] <= 256, "it takes memory where it is written",
       text=text)
    ok(crc and f"{crc[1]} sp\n" in said and said.count(f"d2| vbd 51712: crc32 {crc[1]}\n") == 2 and said.count("d2| 0 wrong; the end") == 2,
       "what is written there is read there", text=text)
    ok(f"{zlib.crc32(bytes(1 << 20)):x} sp\n" in said, "and a new one is of zeros", text=text)
    ok("audit: 0 differences" in text, "and no page is more than it was", text=text)


MAC, PEER = bytes.fromhex("52540012ab34"), bytes.fromhex("0250c0ffee01")


def frame(to=MAC, kind=0x9000, size=None):
    """One from the test's end of the cable, of bytes that are drawn."""
    size = size or random.randrange(60, 1515)
    return to + PEER + struct.pack(">H", kind) + random.randbytes(size - 14)


def cable():
    """A socket for each end of a cable between a test and a network card, and QEMU's words for it."""
    ours, theirs = folder() / "ours", folder() / "theirs"
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(str(ours))
    end.settimeout(20)
    return end, theirs, ["-netdev", f"dgram,id=n,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}",
                         "-device", f"e1000,netdev=n,mac={MAC.hex(':')}"]


def echoes(end, theirs, frames):
    """What comes back of these, as far as anything does, and what should."""
    for one in frames:
        end.sendto(one, str(theirs))
    want = [one[6:12] + one[:6] + one[12:] for one in frames if one[:6] == MAC and one[12:14] == b"\x90\0"]
    got = []
    try:
        while len(got) < len(want):
            got.append(end.recv(4096))
    except TimeoutError:
        pass
    return got, want


def network():
    """The test is the other end of the card's cable: what it sends to dom0's address comes back to the byte, else nothing does."""
    end, theirs, extra = cable()
    live = machine.start(**boot_from("qemu", KERNEL, "panic=off -- start dom0 mem=24; start dom0 mem=24; audit; off", [guest("dom0")]), cpu="pv", mem=128,
                         limits=LIMIT, interactive=True, extra=extra)

    def typed(line):
        live.send(line.encode() + b"\r")
        return live.wait_for(b"dom0# ")

    ok(live.wait_for(b"dom0# ") and typed("nic"), "dom0 has a network card")
    others = [frame(to=bytes.fromhex("52540012ab35")), frame(kind=0x0800), frame(to=b"\xff" * 6)]
    got, want = echoes(end, theirs, [frame(size=60), others[0], frame(size=1514), others[1], others[2], *(frame() for _ in range(40))])
    ok(got == want and len(want) == 42, "frames come back to the byte, those for others do not", got=[f.hex()[:80] for f in got],
       want=[f.hex()[:80] for f in want])
    for _ in range(4):
        got, want = echoes(end, theirs, [frame() for _ in range(50)])
        ok(got == want, "as many at once as there is room for", got=len(got))
    typed("nic")
    live.send(b"halt\r")
    ok(live.wait_for(b"dom0# "), "dom0 ends, and another one begins")
    end.sendto(frame(), str(theirs))  # nobody is there, and where it goes is nobody's affair
    typed("nic")
    asked = [frame() for _ in range(10)]
    got, want = echoes(end, theirs, asked)
    if got != want:
        got = (got + [end.recv(4096)])[-10:]
    ok(got == want, "the next dom0 has the card", got=len(got))
    live.send(b"halt\r")
    run = live.wait()
    text = run.text()
    run.cleanup()
    ok("audit: 0 differences" in text, "and no page is more than it was", text=text)


PEER_IP = bytes((10, 0, 2, 200))


def total(data):
    """The Internet's checksum of bytes that hold one is 0 (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    n = sum(struct.unpack(f">{len(data) // 2}H", data))
    while n >> 16:
        n = (n & 0xFFFF) + (n >> 16)
    return n ^ 0xFFFF


def summed(data, at, over=b""):
    """With a checksum at that place."""
    data = data[:at] + b"\0\0" + data[at + 2:]
    return data[:at] + struct.pack(">H", total(over + data)) + data[at + 2:]


def answer(one, wrong):
    """What somebody with PEER_IP answers: ARP, ping, UDP's echo; None: nothing. What is wrong with the frame is noted."""
    head = one[6:12] + PEER
    if one[12:14] == b"\x08\x06" and one[20:22] == b"\0\1" and one[38:42] == PEER_IP:
        return head + one[12:20] + b"\0\2" + PEER + PEER_IP + one[22:32]
    if one[12:14] != b"\x08\0" or one[30:34] != PEER_IP or one[:6] != PEER:
        return None
    ip, body = one[14:34], one[34:14 + struct.unpack(">H", one[16:18])[0]]
    back = summed(ip[:12] + ip[16:20] + ip[12:16], 10)
    pseudo = ip[12:20] + b"\0\x11" + struct.pack(">H", len(body))
    if total(ip) or total(body if ip[9] == 1 else pseudo + body):
        wrong.append(one)
    if ip[9] == 1 and body[0] == 8:
        return head + b"\x08\0" + back + summed(b"\0" + body[1:], 2)
    if ip[9] == 17 and body[2:4] == b"\0\7":
        return head + b"\x08\0" + back + summed(body[2:4] + body[:2] + body[4:], 6, pseudo)
    return None


def lies(inside):
    """What somebody outside sends who means harm: from addresses that are inside, to all; too long; with heads that can't be, and tags."""
    draw = random.Random()
    ip = b"\x45" + draw.randbytes(11) + PEER_IP + bytes((10, 0, 2, 1)) + draw.randbytes(draw.randrange(60))
    kinds = [PEER + draw.randbytes(draw.randrange(1509, 1513)), inside + draw.randbytes(50), b"\1" + PEER[1:] + draw.randbytes(50),
             PEER + b"\x08\x06" + draw.randbytes(draw.randrange(60)), PEER + b"\x81\0\0\0\x08\x06" + draw.randbytes(28), PEER + b"\x08\0" + ip,
             PEER + draw.randbytes(40), PEER + b"\x90\0" + draw.randbytes(60)]
    return [draw.choice((b"\xff" * 6, MAC, inside)) + one for one in kinds]


def outside():
    """A domain's card, the bridge, and dom0's card: what a domain pings is the test, which sees each frame on the cable."""
    end, theirs, extra = cable()
    wrong, seen, over = [], [], threading.Event()

    def peer():
        while not over.is_set():
            try:
                seen.append(end.recv(4096))
            except TimeoutError:
                continue
            back = answer(seen[-1], wrong)
            end.settimeout(0)  # of lies as many as the cable holds
            for one in lies(bytes((0, 0x16, 0x3E, 0, 2, 0))) if back else []:
                with contextlib.suppress(BlockingIOError):
                    end.sendto(one, str(theirs))
            end.settimeout(0.2)
            while back and not over.is_set():
                with contextlib.suppress(TimeoutError):
                    end.sendto(back, str(theirs))
                    back = None

    end.settimeout(0.2)
    thread = threading.Thread(target=peer)
    thread.start()
    seed = random.randrange(99)
    name, other = (f"10.0.2.{n}" for n in random.sample(range(2, 200), 2))
    net = "".join(f"{key} = {value!r}\n" for key, value in {"kernel": "pv-net", "memory": 8}.items())
    files = archive(**{"pv-net": guest("pv-net").read_bytes(),
                       "b.cfg": f"name = 'b'\n{net}vif = ['ip={other}']\nextra = 'serve'\n".encode(),
                       "a.cfg": f"name = 'a'\n{net}vif = ['ip={name}']\nextra = 'seed={seed} ping=10.0.2.200 and={other} count=20'\n".encode()})
    text, _ = boot("qemu", [start(24, *shell("create b.cfg", "create a.cfg"), ENDS, *shell("nic", "halt")), "stop d2", "audit"], [files], extra)
    over.set()
    thread.join()
    ok("10.0.2.200: of 20 pings 20 came back, and of 20 datagrams 20" in text, f"a domain reaches who is outside, among lies (seed={seed})", text=text)
    dropped = re.search(rf"^{MAC.hex(':')} .* (\d+)$", re.sub(r"^d1\| ", "", text, flags=re.M), re.M)
    ok(dropped and int(dropped[1]) > 10, "... of which dom0's card drops those that are none", text=text)
    ok(not wrong and len([one for one in seen if one[12:14] == b"\x08\0"]) == 40, "... by frames whose sums are right, and no other ones",
       wrong=[one.hex() for one in wrong], seen=len(seen))
    ok(f"{other}: of 20 pings 20 came back, and of 20 datagrams 20" in text, "... and who is inside without going out", text=text)
    ok("audit: 0 differences" in text, "and no page is more than it was", text=text)


def router():
    """Bochs' card, on the network that Bochs makes up: its router answers a ping."""
    settings = folder() / "slirp.conf"
    settings.write_text("# slirp config\nnet = 10.0.2.0\n")
    files = archive(**{"pv-net": guest("pv-net").read_bytes(), "a.cfg": b"name = 'a'\nkernel = 'pv-net'\nmemory = 8\nvif = ['ip=10.0.2.15']\n"
                       b"extra = 'ping=10.0.2.2 count=3'\n"})
    text, _ = boot("bochs", [start(24, *shell("create a.cfg"), ENDS, *shell("nic", "halt")), "audit"], [files],
                   [f"e1000: enabled=1, mac={MAC.hex(':')}, ethmod=slirp, script={settings}"])
    ok("10.0.2.2: of 3 pings 3 came back" in text and MAC.hex(":") in text and "audit: 0 differences" in text,
       "bochs: a domain reaches its router", text=text)


def main():
    disks("qemu")
    harmful()
    sparse()
    network()
    outside()
    if os.environ.get("ZENO_ALL") and not machine.missing("bochs"):
        disks("bochs")
        router()
    finish()


main()
