"""Lab 0: a monitor command, and walks with debuggers; lab0backtrace.py and lab0frames.py have the rest.

All of it is witnessed through QEMU's GDB stub: the grader writes memory that the kernel must print, makes stack frames
that it must follow, and looks at each frame that the allocator gives out.
"""

import re
import struct
from bisect import bisect_right

from zeno.judging import headers
from zeno.judging.trial import Trouble
from zeno.machines import machine

KB, FRAME_TABLE, DIRECT_MAP = headers.numbers(("kern/map.h",), ("KB", "FRAME_TABLE", "DIRECT_MAP"))
MODULE_PADDR, MODULE_SIZE = headers.numbers(("kern/kern.h",), ("offsetof(struct module, paddr)", "offsetof(struct module, size)"))
PAGE = 4096
MIB = 1 << 20
RAM_MIB = 128
RAM_END = RAM_MIB * MIB
"""qboot.rom leaves all of it to the kernel; SeaBIOS, where that is missing, keeps the last 128 KiB for its tables."""
LOW_END = 0x9FC00
"""Both keep the last KiB of conventional memory."""
FREE_RAM = range(48 * MIB, 112 * MIB)
"""Far above the kernel and its modules, far below the end: nothing lives there at boot."""
FEW = machine.Limits(instructions=40_000_000, console_bytes=1 << 20, side_bytes=16 << 20)
"""Ten times what a boot and a few commands need. A command that loops around `pause` runs five million in a second."""

DUMP = re.compile(r"([0-9a-f]{16}):((?: [0-9a-f]{8}){1,4})$")


# -- what all of them share -------------------------------------------------------------------------


def outputs(run):
    """[(command, [lines])]: what the monitor printed after each `K> command`."""
    found = []
    for line in run.text().replace("\r", "").split("\n"):
        if line.startswith("K> "):
            found.append((line[3:].strip(), []))
        elif found:
            found[-1][1].append(line)
    return found


def witness(t, commands, points, keep=None, **more):
    """Boot stopped, with a function at each address; then run to the end. (Run, {address: hits}).

    `keep` is a list into which the running machine is put, for functions that need it.
    """
    return t.witness("-- " + "; ".join([*commands, "off"]), points, keep=keep, **more)


class Names:
    """Which names a code address may be given: the image's own symbols, read from outside."""

    def __init__(self, symbols):
        self.by_address = {}
        for name, places in symbols.by_name.items():
            for value, kind in places:
                if value >= KB and (kind == 2 or (kind == 0 and "." not in name)):
                    self.by_address.setdefault(value, set()).add(name)
        self.starts = sorted(self.by_address)

    def find(self, address, back):
        """(names, offset) for a place; `back` is 1 for a return address, which belongs to its call."""
        at = bisect_right(self.starts, address - back) - 1
        start = self.starts[at]
        return self.by_address[start], address - start


def free_address(t, align=4, size=PAGE):
    """A random physical address in RAM that nobody uses at boot."""
    return t.rng.randrange(FREE_RAM.start, FREE_RAM.stop - size, align)


def command_of(where, count):
    """`xp` with the address in one of the ways in which a person writes it."""
    return f"xp {where:#x} {count}" if where % 3 else f"xp {where} {count}"


def dumps(lines):
    """{address: word} of a dump's lines, and the lines that are none."""
    words, other = {}, []
    for line in lines:
        match = DUMP.match(line)
        if not match:
            other.append(line)
            continue
        for i, word in enumerate(match[2].split()):
            words[int(match[1], 16) + 4 * i] = int(word, 16)
    return words, [line for line in other if line.strip()]


def expected_dump(where, data):
    """The lines that xp must print for these bytes."""
    words = struct.unpack(f"<{len(data) // 4}I", data)
    return "\n".join(f"{where + 4 * i:016x}: " + " ".join(f"{w:08x}" for w in words[i:i + 4])
                     for i in range(0, len(words), 4))


# -- 0.1 ---------------------------------------------------------------------------------------------


def xp_words(t):
    """Random words are written into RAM from outside; xp must print them."""
    wanted = []
    for _ in range(5):
        count = t.rng.choice((1, 2, 3, 4, 5, 7, 8, t.rng.randrange(9, 60)))
        wanted.append((free_address(t), t.rng.randbytes(4 * count)))

    def write(client, _regs):
        for where, data in wanted:
            client.write(where, data, physical=True)
        return True

    commands = [command_of(where, len(data) // 4) for where, data in wanted]
    run, seen = witness(t, commands, {t.symbol("monitor_run"): write}, limits=FEW)
    t.orderly(run)
    if not any(seen.values()):
        raise Trouble("the breakpoint on monitor_run was never reached")
    compare_dumps(t, run, commands, wanted)


def compare_dumps(t, run, commands, wanted):
    """Each command must have printed exactly its bytes."""
    said = outputs(run)
    for command, (where, data) in zip(commands, wanted):
        lines = next((lines for name, lines in said if name == command), None)
        t.check(lines is not None, f"the monitor never ran `{command}`")
        got = "\n".join(line.rstrip() for line in lines if line.strip())
        words, _ = dumps(lines)
        expected = expected_dump(where, data)
        if got == expected:
            continue
        right = dict(zip(range(where, where + len(data), 4),
                         struct.unpack(f"<{len(data) // 4}I", data)))
        if not words:
            why = f"`{command}` printed no line that looks like `ADDRESS: WORD WORD WORD WORD`"
        elif words == right:
            why = f"`{command}` printed the right words, but not in the layout that is asked for"
        elif set(words) != set(right):
            why = (f"`{command}` printed {len(words)} words from {min(words):#x} on; "
                   f"{len(right)} from {where:#x} on were asked for")
        else:
            first = next(at for at in right if words[at] != right[at])
            why = (f"`{command}`: at physical address {first:#x} there is {right[first]:08x} in "
                   f"memory, but {words[first]:08x} was printed")
        t.fail(why, expected, got)


def xp_module(t):
    """A boot module of random bytes: xp must show them where the loader put them."""
    data = t.rng.randbytes(4 * t.rng.randrange(20, 200))
    path = t.path("random.bin")
    path.write_bytes(data)
    # Where a module lies depends on its size and words alone, so a first boot may look.
    modules = [(path, "random")]
    first = t.boot("-- off", modules=modules, until=None)
    t.orderly(first)
    places = []

    def look(client, _regs):
        where, size = (client.read(t.symbol("modules") + at, 8) for at in (MODULE_PADDR, MODULE_SIZE))
        places.append(struct.unpack("<QQ", where + size))
        return True

    witness(t, [], {t.symbol("monitor_run"): look}, modules=modules)
    t.check(places and places[0][1] == len(data), "the kernel does not know the boot module",
            f"a module of {len(data)} bytes", places)
    at, count = places[0][0], min(len(data) // 4, t.rng.randrange(5, 40))
    skip = 4 * t.rng.randrange(0, len(data) // 4 - count + 1)
    fresh = t.rng.randbytes(len(data))
    path.write_bytes(fresh)
    command = command_of(at + skip, count)
    run = t.boot(f"-- {command}; off", modules=modules, limits=FEW)
    t.orderly(run)
    compare_dumps(t, run, [command], [(at + skip, fresh[skip:skip + 4 * count])])


def xp_refuses(t):
    """What can't be done is refused without any output, and the next command still works."""
    where, data = free_address(t, size=64), t.rng.randbytes(16)
    bad = {
        f"xp {where + t.rng.randrange(1, 4):#x} 1": "the address is no multiple of 4",
        f"xp {where:#x} 0": "the count is 0",
        f"xp {where:#x} {t.rng.randrange(1025, 5000)}": "the count is above 1024",
        f"xp {where:#x}": "the count is missing",
        f"xp {where:#x} 1 2": "there is a word too many",
        "xp here 4": "`here` is no number",
        f"xp {where:#x} four": "`four` is no number",
        f"xp {RAM_MIB * MIB:#x} 1": "RAM has ended there",
        f"xp {RAM_END - 8:#x} {t.rng.randrange(3, 1025)}":
            "the last words lie beyond the end of RAM",
        f"xp {LOW_END - 4:#x} {t.rng.randrange(2, 200)}":
            "the last words are the firmware's, not RAM",
        "xp 0xfffffffffffffffc 4": "the end of the range overflows 64 bits",
        f"xp {t.rng.randrange(1 << 40, 1 << 51, 4):#x} 1": "there is no RAM there",
        "xp 0xa0000 1": "640 KiB is video memory, not RAM",
    }
    order = list(bad)
    t.rng.shuffle(order)
    good = f"xp {where:#x} 4"
    commands = [good]
    for command in order:
        commands += [command, good]

    def write(client, _regs):
        client.write(where, data, physical=True)
        return True

    # One boot for each few commands: a command line has room for some only.
    for at in range(0, len(commands) - 1, 8):
        part = commands[at:at + 9]
        run, _ = witness(t, part, {t.symbol("monitor_run"): write}, limits=FEW)
        for command, lines in outputs(run):
            if command in bad:
                words, _ = dumps(lines)
                t.check(not words, f"`{command}` printed memory although {bad[command]}",
                        "no dump, and -EINVAL", "\n".join(lines))
                t.check(any("error" in line or "usage" in line for line in lines),
                        f"`{command}` was taken without a word although {bad[command]}: the "
                        "function must return -EINVAL", "invalid argument", "\n".join(lines))
        t.orderly(run)
        for name in part:
            t.check(any(command == name for command, _ in outputs(run)),
                    f"the monitor never came to `{name}`: what came before it ended the kernel")
        good_ones = [lines for command, lines in outputs(run) if command == good]
        for lines in good_ones:
            t.equal(expected_dump(where, data), "\n".join(x for x in lines if x.strip()),
                    f"`{good}` after a refusal")


# -- 0.2 ---------------------------------------------------------------------------------------------


ANSWER = re.compile(r"\s*([a-z0-9]+)\s*:\s*(.*?)\s*$")
NAME = re.compile(r"[a-z0-9._-]{2,32}\Z")


def answers(t):
    """{key: value} of answers.txt; `name` must be one that the puzzle takes."""
    try:
        text = t.image.files["answers.txt"].decode("utf-8", "replace")
    except KeyError:
        t.fail("answers.txt is not there", "a file answers.txt in the lab's folder", "none")
    found = {}
    for line in text.splitlines():
        match = ANSWER.match(line)
        if match and not line.lstrip().startswith("#"):
            found[match[1]] = match[2]
    name = found.get("name", "")
    t.check(name, "answers.txt has no name behind `name:`", "name: something of your own", "nothing")
    t.check(NAME.match(name), "the name in answers.txt is none that the puzzle takes",
            "2 to 32 characters of a-z 0-9 . - _", name)
    return found


def puzzle(t):
    """What a debugger sees in `puzzle NAME`, seen by the grader itself: {key: value}."""
    name = answers(t)["name"]
    hits, cells, seen = [], [], {}
    cell = t.symbol("puzzle_cell")

    def target(client, regs):
        if hits:
            cells.append(struct.unpack("<I", client.read(cell, 4))[0])
        hits.append((regs["rdi"] & 0xFFFFFFFF,
                     struct.unpack("<Q", client.read(regs["rsp"], 8))[0]))
        return False

    def secret(client, regs):
        cells.append(struct.unpack("<I", client.read(cell, 4))[0])
        seen["secret"] = client.read(regs["rdi"], 8)
        return False

    def off(client, regs):
        words = live[0].console().decode("latin-1").split("the linear address is ")
        if len(words) > 1:
            linear = int(words[1].split()[0], 16)
            seen["physical"] = translate(client, regs["cr3"], linear)
            t.check(seen["physical"] is not None, "the kernel's page tables do not map what `puzzle` has mapped",
                    f"{linear:#x} mapped", "not mapped: who owns that frame now?")
        return True

    live = []
    run, _ = witness(t, [f"puzzle {name}"], {t.symbol("walk_target"): target,
                                             t.symbol("puzzle_secret"): secret,
                                             t.symbol("machine_off"): off}, keep=live)
    t.orderly(run)
    if len(hits) < 12 or "physical" not in seen:
        t.fail("`puzzle` did not come to its end in this kernel", "twelve calls of walk_target",
               f"{len(hits)} calls")
    names = Names(t.symbols)
    return seen | {"hit9": hits[8][0], "caller12": names.find(hits[11][1], 1)[0],
                   "cell": next((value for value in cells if value >> 31), 0)}


def translate(client, cr3, address):
    """The physical address of a linear one, by the tables as they are; None where nothing is mapped."""
    table = cr3 & ~0xFFF
    for level in (4, 3, 2, 1):
        shift = 12 + 9 * (level - 1)
        entry, = struct.unpack("<Q", client.read(table + 8 * (address >> shift & 511), 8,
                                                 physical=True))
        if not entry & 1:
            return None
        table = entry & 0x000FFFFFFFFFF000
        if level == 1 or (level < 4 and entry & 0x80):
            return (table & ~((1 << shift) - 1)) | address & ((1 << shift) - 1)
    return None


def number_answer(t, key, right):
    """A number from answers.txt. The key is not printed: it is for the student to find."""
    text = answers(t).get(key, "")
    t.check(text, f"answers.txt has no value behind `{key}:`", "a number", "nothing")
    try:
        value = int(text, 0)
    except ValueError:
        t.fail(f"the value behind `{key}:` is no number", "hexadecimal (0x1f) or decimal", text)
    t.check(value == right, f"the value behind `{key}:` is not what a debugger shows for this name "
            "(the right one is not printed here)", "what you see for `puzzle NAME`", text)


def answer_hit9(t):
    """EDI at the ninth hit."""
    number_answer(t, "hit9", puzzle(t)["hit9"])


def answer_caller12(t):
    """Who calls the twelfth time."""
    right, text = puzzle(t)["caller12"], answers(t).get("caller12", "")
    t.check(text in right, "the function behind `caller12:` is not the one that calls walk_target "
            "for the 12th time", "the name of a function: `up` or `backtrace` in GDB shows it",
            text or "nothing")


def answer_secret(t):
    """Eight bytes in memory."""
    right, text = puzzle(t)["secret"], answers(t).get("secret", "")
    digits = re.sub(r"0x|[\s,]", "", text.lower())
    if len(digits) == 16 and digits == right[::-1].hex():
        t.fail("the bytes behind `secret:` stand in the wrong order: the machine is little-endian, "
               "and a number of 8 bytes shows its highest byte first", "lowest address first", text)
    t.check(digits == right.hex(), "the bytes behind `secret:` are not those that RDI points to in "
            "puzzle_secret", "eight bytes, two hex digits each, lowest address first",
            text or "nothing")


def answer_cell(t):
    """A watchpoint's first hit with bit 31 set."""
    number_answer(t, "cell", puzzle(t)["cell"])


def answer_physical(t):
    """A walk through the page tables."""
    number_answer(t, "physical", puzzle(t)["physical"])


def answer_paging(t):
    """The instruction that sets CR0.PG, found by watching CR0."""
    boot = next((part for part in t.symbols.segments if part.va < KB and part.data), None)
    if boot is None:
        raise Trouble("the image has no boot segment")
    places = [boot.va + i for i in range(len(boot.data) - 2)
              if boot.data[i:i + 2] == b"\x0f\x22" and boot.data[i + 2] & 0xF8 == 0xC0]
    found = []

    def look(client, regs):
        if not regs["cr0"] >> 31 & 1:
            client.step()
            if client.regs()["cr0"] >> 31 & 1:
                found.append(regs["rip"])
                return True
        return False

    run, _ = witness(t, [], dict.fromkeys(places, look))
    t.orderly(run)
    if not found:
        raise Trouble("nobody was seen turning paging on")
    number_answer(t, "paging", found[0])
