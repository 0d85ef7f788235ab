#!/usr/bin/env python3
"""`save` and `restore`: a domain of ours is put away on a drive and in a file, and goes on where it was.

`pv-suspend` counts in its memory, on its disk and in its store, and looks at all that a CPU has; what is on the drive outside
of the machine must be what it says that it counted to. Images are then altered here, with right sums, too: each is refused in
one line, and leaves no domain and no frame; of others any part is another one (SEED=n ROUNDS=n), and what is not refused runs.
A boot takes a second of CPU.
"""

import os
import random
import re
import struct
import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from dom0 import ENDS, archive, config, shell, shown, start  # noqa: E402
from engine import BUILD, guest  # noqa: E402
from harness import ROOT, finish, folder, ok  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

KERNEL = BUILD / "lab8-solution/zeno.mb"
LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=60)
SECTOR, PAGE = 512, 4096
CYLINDERS, HEADS, TRACK = 6, 16, 63
DISK, SMALL = (64, 64), (130, 20)
ROOM = 700  # sectors of an image: it has some 400
FIRST = [(200 + n * ROOM, ROOM) for n in range(7)]
LEAVE = "\x14"
COUNTS = [("count> ", LEAVE)]


def drive(*partitions):
    """Of zeros, with these: (first, sectors)."""
    data = bytearray(CYLINDERS * HEADS * TRACK * SECTOR)
    data[510:512] = b"\x55\xaa"
    for n, (first, count) in enumerate(partitions):
        data[446 + 16 * n:462 + 16 * n] = struct.pack("<4xB3xII", 0x83, first, count)
    return data


def at(data, where, new=None):
    """What is in a partition; or something new."""
    first, count = where
    if new is not None:
        data[first * SECTOR:first * SECTOR + len(new)] = new
    return bytes(data[first * SECTOR:(first + count) * SECTOR])


def suspended(name="s", **keys):
    return config(name, kernel="pv-suspend", disk=["phy:hdb1,xvda,w"], **keys)


FILES = {"s.cfg": suspended(), **{f"{word}.cfg": suspended(extra=f"keep={word}") for word in ("page", "p2m")}, "alone.cfg": suspended(extra="alone"),
         "deaf.cfg": suspended(extra="deaf"), "machine.cfg": config("machine", kernel="pv-suspend", ioports=["1f0-1f7"], irqs=[14])}


def boot(where, sessions, drives):
    """The console of a boot in which dom0 is started so often, with these drives, which it may change: hdb, and hda, where Bochs boots from."""
    files, images, extra = archive(**{"pv-suspend": guest("pv-suspend").read_bytes()}, **FILES), [], []
    for n, data in enumerate(drives):
        images.append(folder() / f"drive{n}.img")
        images[-1].write_bytes(data)
        extra += (["-drive", f"file={images[-1]},format=raw,if=ide,index={1 - n}"] if where == "qemu" else
                  [f'ata0-slave: type=disk, mode=flat, path="{images[-1]}", cylinders={CYLINDERS}, heads={HEADS}, spt={TRACK}'])
    commands = ["start pv-hello", "frames", *(start(24, *steps) for steps in sessions), "audit", "start pv-hello", "frames"]
    result = machine.boot(**boot_from(where, KERNEL, f"panic=off -- {'; '.join(commands)}; off", [guest("dom0"), guest("pv-hello"), files]), cpu="pv",
                          mem=128, limits=LIMIT, extra=extra)
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    before, after = (re.findall(r"^  free +(\d+) frames", text, re.M) + [None, ""])[:2]
    ok("audit: 0 differences" in text and before == after, f"{where}: no frame is lost, and no page is more than it was", text=text)
    for image, data in zip(images, drives):
        data[:] = image.read_bytes()
    return text, shown(text)


def counted(where, data, text, lives):
    """What the last one of so many lives says that it counted to is on the disk, and each life begins where the last one ended."""
    told = re.findall(r"put away at (\d+)$(?:(?!nobody has put me away|put away at).)*?: back at (\d+)$", text, re.M | re.S)
    ok(len(told) == lives and all(a == b for a, b in told), f"{where}: it goes on where it was, {lives} times", text=text)
    end = re.search(r"^d\d+\| domain \d+: counted to (\d+); (\d+) wrong$", text, re.M)
    ok(end and end[2] == "0", f"{where}: it has all that it had", text=text)
    count = int(end[1]) if end else 0
    want = b"".join(struct.pack("<64Q", *(n * k for k in range(1, 65))) for n in
                    (max((n for n in range(1, count + 1) if n % 64 == slot), default=0) for slot in range(64)))
    ok(count > 16 and at(data, DISK) == want, f"{where}: its disk has each number that it counted", count=count)


def works(where):
    """There and back, by a drive, by a file, and by the drive for the next dom0. What it leaves is an image."""
    data = drive(DISK, FIRST[0], SMALL)
    kept = [[*shell(f"create {word}.cfg", "console s"), *COUNTS, *shell("save s no", "ls", "console s"), *COUNTS, *shell("destroy s"), ENDS, *shell("halt")] for word in ("page", "p2m")]
    text, said = boot(where, [
        [*shell("create alone.cfg", "console s"), *COUNTS, *shell("destroy s"), ENDS, *shell("halt")], *kept,
        [*shell("create s.cfg", "console s"), *COUNTS, *shell("save s phy:hdb3", "save s phy:hdb1", "sched-credit -d s -w 200", "save s phy:hdb2", "halt")],
        [*shell("restore phy:hdb2", "console s"), *COUNTS, *shell("save s a", "ls", "restore a", "rm a", "console s"), *COUNTS, *shell("save s phy:hdb2", "halt")],
        [*shell("restore phy:hdb2", "restore phy:hdb2", "sched-credit", "console s"), *COUNTS, *shell("shutdown s"), ENDS, *shell("halt")]], [data])
    counted(where, data, text.partition("create s.cfg")[2], 3)
    ok(said.count("s wants to be put away, which nobody has asked for: it goes on") == 1 and text.count("nobody has put me away") == 7,
       f"{where}: who was not put away is told so, and who asks for it himself says that once", text=text)
    ok("s is not saved: a page table of its leads to what is not its own" in said and "s is not saved: its p2m does not say what it has" in said
       and not re.search(r"^ +\d+ no, sparse", said, re.M), f"{where}: what can't be put away goes on, and leaves no file", text=text)
    ok("s is not saved: it can't be written, or there is no room" in said and "s is not saved: another one has what is there" in said,
       f"{where}: nor does it without room, or on a disk of somebody's", text=text)
    ok(said.count("phy:hdb2: there is a domain of its name") == 1 and re.findall(r"^s +2 +(\d+)$", said, re.M) == ["200"],
       f"{where}: it comes back once, with its weight", text=text)
    ok(re.search(r"^ +\d+ a, sparse, \d+ KiB", said, re.M) and said.count("s is saved in ") == 3 and said.count("s is back") == 3,
       f"{where}: a file has it, too", text=text)
    return data


# ---- images that are altered ----

HEAD = struct.Struct("<8sIIQIIQQQQQII24s64s")
FIELDS = "magic version crc data crc_tables crc_data frames console store info ns vcpus weight name file".split()
DATA, PINNED, TYPE = 16, 8, 7
NUMBER = 0x000FFFFFFFFFF000
RIP, CONTEXT = 512 + 8 + 16 * 8, 2 * PAGE


class Image:
    """Its parts, to be changed; bytes() has right sums."""

    def __init__(self, data):
        self.head = dict(zip(FIELDS, HEAD.unpack_from(data)))
        kinds = -(-self.head["frames"] // PAGE)
        tables = 1 + kinds + 1 + 2 * self.head["vcpus"]
        self.kinds = bytearray(data[PAGE:(1 + kinds) * PAGE])
        self.p2m = bytearray(data[(1 + kinds) * PAGE:(2 + kinds) * PAGE])
        self.contexts = bytearray(data[(2 + kinds) * PAGE:tables * PAGE])
        self.pages = {}
        for pfn in (pfn for pfn in range(self.head["frames"]) if self.kinds[pfn] & DATA):
            where = (tables + len(self.pages)) * PAGE
            self.pages[pfn] = bytearray(data[where:where + PAGE])

    def __bytes__(self):
        tables, data = bytes(self.kinds + self.p2m + self.contexts), b"".join(self.pages[pfn] for pfn in sorted(self.pages))
        self.head |= {"crc": 0, "data": len(self.pages), "crc_tables": zlib.crc32(tables), "crc_data": zlib.crc32(data)}
        self.head["crc"] = zlib.crc32(self.page())
        return self.page() + tables + data

    def page(self):
        return HEAD.pack(*(self.head[field] for field in FIELDS)).ljust(PAGE, b"\0")

    def tables(self, level):
        return [pfn for pfn in self.pages if self.kinds[pfn] & TYPE == level]

    def entry(self, level, change):
        """A present one of a table of this level becomes another one."""
        page = self.pages[random.choice(self.tables(level))]
        there = [n for n in range(512) if struct.unpack_from("<Q", page, 8 * n)[0] & 1]
        n = random.choice(there)
        struct.pack_into("<Q", page, 8 * n, change(struct.unpack_from("<Q", page, 8 * n)[0]))


def lead_to(pfn):
    return lambda entry: entry & ~NUMBER | pfn << 12


NO_TABLES, NO_CPU = "what it says are page tables are none", "what its vCPUs were doing none can do"


def a_byte(first, last):
    """A byte between these pages is another one."""
    def change(image):
        data = bytearray(bytes(image))
        data[random.randrange(first(image) * PAGE, last(image) * PAGE)] ^= random.randrange(1, 256)
        return bytes(data)
    return change


def changed(what):
    """A part of an image is another one, and its sums are right."""
    def change(image):
        what(image)
        return bytes(image)
    return change


def tables_end(image):
    return 1 + (len(image.kinds) + len(image.p2m) + len(image.contexts)) // PAGE


def cut(image):
    """It says that it has more pages than there is room for."""
    extra = [pfn for pfn in range(image.head["frames"]) if pfn not in image.pages][:ROOM // 8]
    for pfn in extra:
        image.pages[pfn] = bytearray(PAGE)
        image.kinds[pfn] |= DATA
    return bytes(image)[:ROOM * SECTOR]


def more(image, frames):
    """It has so many frames more, of zeros."""
    image.head["frames"] += frames
    image.kinds += bytes(-(-image.head["frames"] // PAGE) * PAGE - len(image.kinds))


def heavy(data):
    """It would have all of the CPU."""
    image = Image(data)
    image.head["weight"] = 65535
    return bytes(image)


ALTERED = {
    "a byte of its head": (a_byte(lambda i: 0, lambda i: 1), "altered: its head|there is no domain in it|another version"),
    "a byte of its tables": (a_byte(lambda i: 1, tables_end), "it has been altered: its tables have another sum"),
    "a byte of its memory": (a_byte(tables_end, lambda i: tables_end(i) + len(i.pages)),
                             f"altered: its memory has another sum|leads to memory that it has not|{NO_TABLES}"),
    "an end that is missing": (cut, "it has been cut short"),
    "a page beyond its memory": (changed(lambda i: i.entry(1, lead_to(i.head["frames"]))), "leads to memory that it has not"),
    "a page table that it may write": (changed(lambda i: i.entry(1, lambda e: lead_to(i.tables(2)[0])(e) | 2)), NO_TABLES),
    "a table that leads to itself": (changed(lambda i: i.entry(2, lead_to(i.tables(2)[0]))), NO_TABLES),
    "a large page": (changed(lambda i: i.entry(2, lambda e: e | 0x80)), NO_TABLES),
    "a p2m in a page table": (changed(lambda i: i.p2m.__setitem__(slice(0, 4), struct.pack("<I", i.tables(3)[0]))), NO_TABLES),
    "a p2m beyond its memory": (changed(lambda i: i.p2m.__setitem__(slice(0, 4), b"\xff" * 4)), "its p2m is in memory that it has not"),
    "a start_info in a page table": (changed(lambda i: i.head.__setitem__("info", i.tables(4)[0])), NO_TABLES),
    "a root that is memory": (changed(lambda i: [i.kinds.__setitem__(pfn, DATA) for pfn in i.tables(4)]), f"{NO_CPU}|{NO_TABLES}"),
    "an address that is none": (changed(lambda i: struct.pack_into("<Q", i.contexts, RIP, 1 << 47)), NO_CPU),
    "another one's file": (changed(lambda i: i.head.__setitem__("file", b"machine.cfg")), "its file is another domain's"),
    "a device of the machine's": (changed(lambda i: i.head.update(name=b"machine", file=b"machine.cfg")),
                                  "its file gives it a device of the machine's"),
    "memory that its file does not give": (changed(lambda i: more(i, 256)), "its file says another memory, or other CPUs"),
    "CPUs that its file does not give": (changed(lambda i: i.head.__setitem__("vcpus", 2) or i.contexts.extend(bytes(2 * PAGE))),
                                         "its file says another memory, or other CPUs"),
    "no weight": (changed(lambda i: i.head.__setitem__("weight", 0)), "its head says what no domain is like"),
    "devices that nobody knows": (changed(lambda i: i.head.__setitem__("file", b"none.cfg")), "its devices are not to be had"),
    "a name that a terminal obeys": (changed(lambda i: i.head.__setitem__("name", b"\x1b[2J")), "its head says what no domain is like"),
    "a file that a terminal obeys": (changed(lambda i: i.head.__setitem__("file", b"\x9b2J")), "its head says what no domain is like"),
    "a clock that soon wraps": (changed(lambda i: i.head.__setitem__("ns", 1 << 63)), "its head says what no domain is like"),
    "more vCPUs than there are": (changed(lambda i: i.head.__setitem__("vcpus", 5)), "its head says what no domain is like"),
}


def altered(where, left):
    """Images with one thing that is wrong, and behind them the one that they were made from."""
    good = heavy(at(left, FIRST[0]))
    places = ["hdb3", "hdb4"] + ["hda1", "hda2", "hda3", "hda4"] * (where == "qemu")
    names = random.sample(list(ALTERED), len(ALTERED) if os.environ.get("ZENO_ALL") and where == "qemu" else len(places))
    for some in (names[n:n + len(places)] for n in range(0, len(names), len(places))):
        drives = [drive(DISK, *FIRST[:3]), drive(*FIRST[3:7])][:len(places) // 2]
        at(drives[0], DISK, at(left, DISK))
        at(drives[0], FIRST[0], good)
        for n, name in enumerate(some):
            at(drives[n > 1], FIRST[n + 1], ALTERED[name][0](Image(good)))
        steps = [step for place in places[:len(some)] for step in shell(f"restore phy:{place}")]
        text, said = boot(where, [[*steps, *shell("list", "halt")],
                                  [*shell("restore phy:hdb2", "sched-credit", "console s"), *COUNTS, *shell("shutdown s"), ENDS, *shell("halt")]], drives)
        for place, name in zip(places, some):
            why = re.findall(rf"^phy:{place}: (.*)$", said, re.M)
            ok(len(why) == 1 and re.search(ALTERED[name][1], why[0]), f"{where}: {name} is refused in a line", why=why, text=text)
        ok(not re.search(r"^s +\d+ +\d+ +[a-z]", said, re.M) and said.count("s is back") == 1 and "; 0 wrong" in said,
           f"{where}: nothing is left of any, and a good one goes on", text=text)
        ok("its weight was 65535: sched-credit gives it more than 256" in said and re.findall(r"^s +2 +(\d+)$", said, re.M) == ["256"],
           f"{where}: with no weight of its own choice", text=text)


# ---- images of any kind ----

EDGES = [0, 1, 2, 3, 0x7ff, 0x800, 0xfff, 0x1000, 1 << 31, (1 << 32) - 1, 0x7fffffffffff, 1 << 47, 0xffff800000000000, 0xffff830000000000,
         0xffff87fffffffff8, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 9, (1 << 64) - 1, 0xe008, 0xe010, 0xe02b, 0xe033]


def any_word(rng, part, words):
    """A word of a part becomes a value at an edge, or has a bit more or less. `words`: how many of its first ones are more likely."""
    n = 8 * rng.randrange(min(words, len(part) // 8) if rng.random() < 0.7 else len(part) // 8)
    was, = struct.unpack_from("<Q", part, n)
    struct.pack_into("<Q", part, n, rng.choice(EDGES) if rng.random() < 0.5 else was ^ 1 << rng.randrange(64))


def any_entry(rng, image):
    """An entry of a page table leads elsewhere, or has another bit; one more is there."""
    page = image.pages[rng.choice([pfn for pfn in image.pages if image.kinds[pfn] & TYPE] or list(image.pages))]
    n = 8 * rng.choice([n for n in range(512) if page[8 * n] & 1 and rng.random() < 0.8] or range(512))
    was, = struct.unpack_from("<Q", page, n)
    entry = was ^ 1 << rng.randrange(64) if rng.random() < 0.5 else lead_to(rng.randrange(image.head["frames"]))(was or 7)
    struct.pack_into("<Q", page, n, entry)


def any_head(rng, image):
    """A number of its head is another one; most are refused, so that it is one of those that need not be."""
    image.head[rng.choice(["console", "store", "info", "ns", "weight"])] = rng.choice([*range(0, 2050, 41), *image.pages, *EDGES]) % (1 << 32)


def any_kind(rng, image):
    """A frame is a page table, or none; pinned, or not."""
    pfn = rng.choice(list(image.pages))
    image.kinds[pfn] = image.kinds[pfn] & DATA | rng.randrange(16)


OTHERS = re.compile(r"d2(?:\|| s:) [^\n]*\n(?:  exit [^\n]*\n)*")
CONTEXT_WORDS = 64 + 8 + 26  # fpu, flags, registers
ANY = [any_head, any_entry, any_kind, lambda rng, image: any_word(rng, image.p2m, 8), *2 * [lambda rng, image: any_word(rng, image.contexts, CONTEXT_WORDS)],
       lambda rng, image: any_word(rng, image.pages[rng.choice(list(image.pages))], 512)]


def fuzzed(left, rounds, seed):
    """Each has one to four things that are another one, and right sums. It is refused in a line, or is back and has its turns."""
    rng, lines, data = random.Random(seed), [], drive(DISK, *FIRST[:1])
    where, image, good = FIRST[0][0] * SECTOR, folder() / "fuzzed.img", at(left, FIRST[0])
    at(data, DISK, at(left, DISK))
    image.write_bytes(data)
    files = archive(**{"pv-suspend": guest("pv-suspend").read_bytes()}, **FILES)
    with open(image, "r+b", buffering=0) as disk, machine.start(
            **boot_from("qemu", KERNEL, "panic=off -- start pv-hello; frames; start dom0 mem=24 module=files; audit; start pv-hello; frames; off",
                        [guest("dom0"), guest("pv-hello"), files]),
            cpu="pv", mem=128, limits=machine.Limits(instructions=None, cpu_seconds=60 + rounds),
            extra=["-drive", f"file={image},format=raw,if=ide,index=1"], interactive=True) as live:
        def do(line, mark):
            """A command, and what is said until one behind it is answered; without lines of the monitor's and of others, which may come in the
            midst of dom0's."""
            if live.end is not None:
                return ""
            before, asked, said = len(live.console()), 0, ""
            live.send(f"{line}\r".encode())
            while live.end is None and f"/{mark}: the store has nothing there" not in said:
                if time.monotonic() > asked + 2:
                    asked = time.monotonic()
                    live.send(f"xenstore-ls /{mark}\r".encode())
                if live.pump(0.002):
                    said = OTHERS.sub("", live.console()[before:].decode("ascii", "replace").replace("\r", ""))
            return said

        live.wait_for(b"0# ")
        for n in range(rounds):
            now = Image(good)
            for _ in range(rng.randint(1, 4)):
                rng.choice(ANY)(rng, now)
            disk.seek(where)
            disk.write(bytes(now).ljust(ROOM * SECTOR, b"\0")[:ROOM * SECTOR])
            said = do("restore phy:hdb2", f"r{n}")
            lines += re.findall(r"^(?:phy:hdb2: .*|s is back)$", said, re.M)
            if "s is back" in said:
                time.sleep(0.01)  # in which it does what it does
            while "s is back" in said and live.end is None and not re.search(r"^s has ended|made no domain s", said, re.M):
                said += do("destroy s", f"d{n}")
        live.send(b"halt\r")
        done = live.wait()
    ok(done.end == machine.End.SHUTDOWN, "images of any kind: the host goes on", seed=seed, end=f"{done.end} {done.detail}", text=done.text()[-3000:])
    text, after = done.text().replace("\r", ""), len(lines)
    done.cleanup()
    back, free = lines.count("s is back"), re.findall(r"^  free +(\d+) frames", text, re.M)
    print(f"# {back} of {rounds} came back")
    ok(after == rounds and back > rounds // 10, "images of any kind: each is refused in a line, or comes back", seed=seed, lines=lines, text=text[-5000:])
    ok("audit: 0 differences" in text and free[:1] == free[1:], "... and no frame is lost by any", seed=seed, text=text[-3000:])


def deaf():
    """One that does not obey goes on."""
    text, said = boot("qemu", [[*shell("create deaf.cfg", "console s"), *COUNTS, *shell("save s away", "shutdown s"), ENDS, *shell("halt")]], [drive(DISK)])
    ok("s is not saved: it does not answer" in said and "; 0 wrong" in text, "who does not answer is not put away", text=text)


def main():
    wheres = ["qemu"]
    if os.environ.get("ZENO_ALL"):
        deaf()
        wheres += ["bochs"] if not machine.missing("bochs") else []
    for where in wheres:
        left = works(where)
        if ok(at(left, FIRST[0])[:8] == b"ZenoSave", f"{where}: there is an image"):
            altered(where, left)
            if where == "qemu":
                fuzzed(left, int(os.environ.get("ROUNDS", 1000 if os.environ.get("ZENO_ALL") else 100)), int(os.environ.get("SEED", 0)) or random.getrandbits(32))
    finish()


main()
