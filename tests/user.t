#!/usr/bin/env python3
"""Programs in the host's ring 3: one that attacks the host, a device model that works, and those that do not."""

import contextlib
import os
import random
import re
import shutil
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import BUILD, LIMIT, Engine, assembled, boot, each, folder, guest  # noqa: E402
from harness import ROOT, finish, ok, run  # noqa: E402
from zeno.guests import mmio  # noqa: E402
from zeno.judging import headers  # noqa: E402
from zeno.machines import gdbremote, machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

SOURCE = ROOT / "tests/user"
FLAGS = ("-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-pic -mgeneral-regs-only -nostdlib -static "
         "-fcf-protection=none -Wl,--build-id=none -Wl,-z,noexecstack").split()
ATTACKS = re.findall(r'^\t(?:ATTACK|ONE|TOUCH|SELECT|FAR|V86|STEP)\t"([\w-]+)"', (SOURCE / "attack.asm").read_text(), re.M)
HARMLESS = ("step-int", "step-ss-int", "flags", "stack-wild", "stack-no-canonical", "segments", "rdtsc", "calls")
ENDLESS = ("spin", "yields")
SHARED = ("syscall", "step-ss-syscall", "sysenter", "int-callout", "gs-ldt", "sse")  # what engines set up for their guests
DM, MINI = BUILD / "user/dm.elf", BUILD / "user/mini.elf"
ENDS = {  # what a device model does, and what its guest's last line says of it
    "crash": "is over: killed by #PF page fault at 0: write by ring 3: no page there, rip 4",
    "kernel": "is over: killed by #PF page fault at ffff828000100000",
    "exits": "is over: ended, status 7",
    "hangs": "has not answered within 100 ms of the CPU, rip 4",
    "hangs-calling": "has not answered within 100 ms of the CPU, rip 4",
    "too-slow": "has not answered within 100 ms of the CPU, rip 4",
    "count": "answers for 2 elements of 1, asked for port 3f",
    "counts": "answers for 4294967295 elements of 1, asked for port 3f",
    "line": "moves interrupt line 16 to 1",
    "cascade": "moves interrupt line 2 to 1",
    "wild-line": "moves interrupt line 18446744073709551615 to 1",
    "level": "moves interrupt line 0 to 2",
    "stops": "enough?",
}
DEVICES, IN_RAM = (0xFEE00000, 0xFEC00000), (0x6200000, 0x6000000)  # where a program's registers are, and RAM of the bare machine's
ENGINES = (("te", "te", "", "forms pages parts"), ("bt", "te", "", "pages parts"), ("svm", "svm", "mmu=nested", "forms parts"),
           ("svm", "svm", "mmu=shadow", "pages parts"), ("vmx", "vmx", "mmu=nested", "pages parts"))  # the emulator is one
OWNERS = {  # what a program does with a guest of its own: what is said behind its start, then how it and its guest end
    "too-early": (None, "e1 own: ended, status 0"),
    "wild": (None, "e1 own: ended, status 0", "d1 own: stopped: its program own is over"),
    "late": (None, "e1 own: ended, status 0", "d1 own: ended: exit code 0"),
    "flood": (None, "e1 own: ended, status 0", "d1 own: ended: exit code 0"),
    "fault": (None, "e1 own: ended, status 0", "d1 own: stopped: triple fault"),
    "fill": (None, "e1 own: ended, status 0", "d1 own: stopped: its device model own is over: ended, status 0, asked for memory at 10000"),
    "crash": (None, "e1 own: killed by #PF", "d1 own: stopped: its device model own is over: killed by #PF"),
    "hang": (None, "e1 own: ended, status 0", "d1 own: stopped: its device model own has not answered within 100 ms"),
    "leave": (None, "e1 own: ended, status 0", "d1 own: stopped: its device model own is over: ended, status 0, asked for port 3f8"),
    "unborn": ("list", "e1 own: ended, status 0", "d1 own: stopped: its program own is over: ended"),
    "spin": ("kill e1", "e1 own: killed by", "d1 own: stopped: its program own is over: killed by"),
    "spins": ("stop d1", "e1 own: ended, status 0", "d1 own: stopped: by the monitor's stop command"),
    "waits": ("kill e1", "e1 own: killed by", "d1 own: stopped: its program own is over: killed by"),
    "stopped": ("stop d1", "e1 own: ended, status 0", "d1 own: stopped: by the monitor's stop command"),
    "keeps": ("stop d1", "e1 own: ended, status 0", "d1 own: stopped: by the monitor's stop command"),
    "outlives": ("start hello", "e1 own: ended, status 0", "d1 own: ended: exit code 0"),
}
YOUNG = ("movbe", "crc32", "popcnt", "tzcnt", "lzcnt")  # instructions that te's CPU does not have
READS = 100  # of the run page, behind each of which it is changed
LIVES = ("none", "page", "soon", "late", "lines", "pointers")


def built(title, *words):
    done = run(*words, cwd=ROOT)
    ok(done.status == 0, title, out=done.out)


def programs():
    """The attacks and the device models of tests/user."""
    at = folder()
    attack, model, own = at / "attack", at / "model", at / "own"
    words, = headers.numbers(("inc/user.h",), ("USER_RUN_PAGE + offsetof(struct run_page, words)",))
    built("the attacks are assembled", "sh", "-c", f"nasm -f elf64 -DWORDS={words} -o {attack}.o tests/user/attack.asm && "
          f"ld -m elf_x86_64 -z noexecstack -z max-page-size=4096 -T user/lib/user.ld -o {attack} {attack}.o")
    made = f"gcc {' '.join(FLAGS)} -I. -T user/lib/user.ld -Wl,-z,max-page-size=4096 user/lib/user.c {at}/start.o -o"
    built("the device models and programs with guests are built", "sh", "-c", "nasm -f elf64 -o "
          f"{at}/start.o user/lib/start.asm && {made} {model} tests/user/model.c && {made} {own} tests/user/own.c")
    return attack, model, own


def attacks(svm, attack):
    """Each ends itself, or nothing; the host goes on."""
    words = [name for name in ATTACKS if name not in ENDLESS]
    text = svm.host([f"run attack {name}" for name in words] + [svm.start("hello")], [attack, "hello"])
    parts = re.split(r"^K> ", text, flags=re.M)
    said = {part.split()[2]: part.split("\n", 1)[1] for part in parts if part.startswith("run attack ")}
    for name in words:
        end = r"ended, status 0" if name in HARMLESS else r"killed by .*, rip [0-9a-f]+"
        ok(re.search(rf"^e1 attack: {end}$", said.get(name, ""), re.M), f"a program that attacks by {name} ends itself", text=said.get(name))
    ok(len(words) > 70 and "hello: ended: exit code 0" in text, "and a guest behind them runs", text=text[-2000:])
    for engine, there, other in (("pv", "pv-hostile", "-- end=spin"), *((name, "spin", "") for name in ("te", "bt", "svm"))):
        beside_one(svm, attack, engine, f"start {there} engine={engine} & {other}")
    text = svm.host([f"run attack {name} &" for name in ENDLESS] + [svm.start("hello"), "threads", "kill 1", "kill e2", svm.start("hello"), "threads"],
                    [attack, "hello"])
    ok(text.count("hello: ended: exit code 0") == 2 and text.count("attack: killed by the monitor's command") == 2
       and text.count("e1 attack            env") == 1, "programs that never end leave others their turns, and are killed", text=text)


def beside_one(svm, attack, engine, start):
    """The same of those that an engine's way of running its guest has to do with, between that guest's turns."""
    there = [guest("pv-hostile") if engine == "pv" else assembled("user/spin.asm"), "hello", attack]
    text = svm.host([start, *(f"run attack {name}" for name in (*SHARED, "rdtsc")), "stop d1", svm.start("hello")], there)
    ok("e1 attack: ended, status 0" in text and len(re.findall(r"^e1 attack: killed by .*, rip 4[0-9a-f]+$", text, re.M)) == len(SHARED) and "hello: ended: exit code 0" in text,
       f"a program that attacks beside a guest of {engine} ends itself", text=text)


def same(name, guests):
    """What guests print with their devices in ring 3 is what they print on the bare machine, and with Zeno's."""
    engine = Engine("all", "svm" if name == "svm" else "te", f"engine={name}")
    text = engine.host([engine.start(one, words) for one in guests for words in ("", "devices=user")], [*guests, DM])
    parts = each(text)
    ok(len(parts) == 2 * len(guests), f"{name}: guests run with their devices in ring 3", text=text)
    for one, here, there in zip(guests, parts[::2], parts[1::2]):
        said = [re.findall(r"^d1\| (.*)$", part, re.M) for part in (here, there)]
        ok(said[0] and said[0] == said[1] == engine.bare("qemu", one) and "exit code 0" in there,
           f"{name}: {one} prints the same with its devices in ring 3", text=there)


def registers(model):
    """Registers in memory: what dm has there, in all widths; and models that end their guest when asked for one."""
    guest = assembled("user/registers.asm")
    svm = Engine("all", "svm", "engine=svm mmu=flat")
    text = svm.host([svm.start("registers", "devices=user")], [guest, DM])
    ok("\nd1| abcdefghijk\n" in text and "registers: ended: exit code 0" in text, "registers in memory are the device model's", text=text)
    ends = {"memory-count": "answers for 2 elements of 1, asked for memory at fed00", "memory-crash": "is over: killed by #PF",
            "memory-hangs": "has not answered within 100 ms of the CPU"}
    text = svm.host([word for name in ends for word in (f"model model {name}", svm.start("registers", "devices=user"))] + ["model", svm.start("hello")],
                    [guest, "hello", model])
    parts = each(text)
    for (name, words), part in zip(ends.items(), parts):
        ok(words in part and part.count("registers: stopped: its device model") == 1, f"a device model ends its guest: {name}", text=part)
    ok(len(parts) == len(ends) + 1 and "hello: ended: exit code 0" in parts[-1], "and nobody else", text=text[-2000:])


def forms(rng):
    """Each instruction that has memory for an operand, at any place of a page of registers."""
    k = mmio.Mmio(rng)
    k.use_stack(k.base + 0x20000)
    device, ram = k.page("lapic"), k.page("ram")
    k.begin()
    k.paging()
    for form in [*mmio.DRAWN, *mmio.STRINGS, *mmio.STACKS]:
        k.one(form, device + rng.randrange(0x200, 0xE00), ram + 4 * rng.randrange(900), device + rng.randrange(0x40, 0x100))
    k.finish()
    return k


def in_parts(at, size):
    """How an access goes over a bus of 32 bits: [(address, size)]."""
    while size:
        part = next(n for n in (4, 2, 1) if n <= size and not at % n)
        yield at, part
        at, size = at + part, size - part


def parts(rng):
    """Loads, stores, and both in one, some across the end of a page; and what the program hears of them, in this order."""
    k = mmio.Mmio(rng)
    k.use_stack(k.base + 0x20000)
    run = k.page("ioapic", "lapic", "ioapic")
    frames, memory, lines = (DEVICES[1], DEVICES[0], DEVICES[1]), {}, []
    k.begin()
    k.paging()
    for size, name in ((1, "cl"), (2, "cx"), (4, "ecx"), (8, None)) * 6:
        offset, value, how = rng.choice((0x1000, 0x2000, rng.randrange(8, 0x2FF0))) - rng.randrange(8), rng.getrandbits(8 * size), rng.choice("rwb")
        # Eight bytes are compared with what is not there: read, and written back as they are.
        where, line, how = f"[{run + offset:#x}]", {"r": "mov {1}, {0}", "w": "mov {0}, {1}", "b": "or {0}, {1}"}[how], "b" if size == 8 else how
        k.op(*(("mov eax, 0x5a5a5a5a", "mov edx, eax", f"cmpxchg8b {where}") if size == 8 else (f"mov ecx, {value:#x}", line.format(where, name))))
        first = min(size, 0x1000 - offset % 0x1000)
        places = [(frames[at >> 12] + at % 0x1000, n) for at, n in ((offset, first), (offset + first, size - first)) if n]
        spots = [at + n for at, length in places for n in range(length)]
        old = [memory.get(spot, 0) for spot in spots]
        new = [byte | before * (how == "b") for byte, before in zip(value.to_bytes(size, "little"), old)] if size < 8 else old
        for word, now in ((("reads", old),) if how != "w" else ()) + ((("writes", new),) if how != "r" else ()):
            memory |= dict(zip(spots, now))
            lines += [f"{word} {at:08x} {int.from_bytes(bytes(memory[at + i] if at + i in memory else 0 for i in range(n)), 'little'):0{2 * n}x}"
                      for place in places for at, n in in_parts(*place)]
    k.finish()
    return k, lines


KEPT = {"forms": "registers that a device model keeps are as good as memory to each instruction",
        "pages": "... to either ring, and across the ends of pages",
        "parts": "it hears of an access in aligned parts of at most four bytes, in the order of their addresses"}


def kept(model, seed):
    """A program bare, with memory, and on each engine, with registers of a device model's that are memory."""
    for name in ("DRAWN", "CALM", "LOADS"):
        setattr(mmio, name, [form for form in getattr(mmio, name) if form[0] not in YOUNG])
    elves = {}
    for mmio.LAPIC, mmio.IOAPIC in (IN_RAM, DEVICES):
        asks, lines = parts(random.Random(seed))
        kernels = {"forms": forms(random.Random(seed)), "pages": mmio.pages(random.Random(seed)), "parts": asks}
        bare = {name: boot("qemu", "svm", elf).splitlines() for name, elf in elves.items() if name != "parts"}
        elves = {name: kernel.assemble(folder(), name) for name, kernel in kernels.items()}
    for engine, cpu, words, programs in ENGINES:
        one, names = Engine("all", cpu, f"engine={engine} devices=user {words}"), programs.split()
        text = one.host([word for name in names for word in ("model model memory" + "-says" * (name == "parts"), one.start(name))],
                        [*map(elves.get, names), model], "bochs" if engine == "vmx" else "qemu")
        told = dict(zip(names, each(text)))
        ok(len(told) == len(names), f"{engine} {words}: each of them ran", text=text[-2000:])
        for name, part in told.items():
            got = re.findall(r"^model: (.*)$" if name == "parts" else r"^d1\| (.*)$", part, re.M)
            wanted = lines if name == "parts" else bare[name]
            parted = [pair for pair in zip(wanted, got) if pair[0] != pair[1]]
            ok(len(got) > 40 and len(got) == len(wanted) and not parted, f"{engine} {words}: {KEPT[name]}",
               parted=parted[:4], lines=(len(wanted), len(got)), text=part[-1000:])


def bell(model):
    """A doorbell: nobody waits, and all that has rung is heard; a device model that is wrong when it rings ends its guest."""
    guest = assembled("user/bell.asm")
    for name, words in (("svm", "engine=svm"), ("te", "engine=te")):
        one = Engine("all", name, words)
        text = one.host(["model model bell", one.start("bell", "devices=user")], [guest, model])
        end = re.search(r"bell: ended: exit code 0 after (\d+) exits", text)
        ok("\nd1| swo\n" in text and end, f"{name}: a doorbell wakes the device model while its guest sleeps and computes", text=text)
    ends = {"bell-count": "answers for 2 elements of 1, when its time came", "bell-crash": "is over: killed by #PF page fault at 0"}
    text = one.host([word for name in ends for word in (f"model model {name}", one.start("bell", "devices=user"))], [guest, model])
    parts = each(text)
    ok(len(parts) == len(ends) and all(words in part for words, part in zip(ends.values(), parts)), "and can end it then", text=text)


def keys(engine, where):
    """Keys of the keyboard, with Zeno's devices and with those of dm, by polls and by interrupts; none without keys=keyboard."""
    guest, words = assembled("user/keys.asm"), "keys=keyboard -- input=aZaZaZ"
    starts = [engine.start("keys", f"{more} {words}") for more in ("", "platform=pc-apic", "devices=user")]
    starts += [engine.start("keys", "devices=user & -- input=aZaZaZ"), engine.start("hello", "devices=user keys=keyboard"), "stop d1"]
    text = engine.host(starts, [guest, "hello", DM], where)
    first, second = "1E9E2A2CACAA", "1CF01C121AF01AF012"
    ok(re.findall(r"^d1\| (.*)$", text, re.M) == 3 * [f"{first} {second} FA{first}"] and text.count(": ended: exit code 0") == 4
       and "keys: stopped: by the monitor's stop" in text, f"{where}: a keyboard's keys are the same on each platform, and with devices "
       "in ring 3", text=text)


def wires(svm):
    """Anything at all for a keyboard and its controller: the same from both places, and no harm while somebody types."""
    ways, letters = ("", "devices=user"), random.sample("abcdefghijklmnopqrstuvwxyz", 3)
    starts = [svm.start("wires", f"{where} -- {letter}") for letter in letters for where in ways]
    starts += [svm.start("wires", f"{where} keys=keyboard -- input={'aZ_~' * 20} {letters[0]}") for where in ways]
    text = svm.host([*starts, svm.start("hello", "devices=user")], [assembled("user/wires.asm"), "hello", DM])
    sums = re.findall(r"^d1\| ([0-9A-F]{8})$", text, re.M)
    ok(len(sums) == len(starts) and all(sums[n] == sums[n + 1] for n in (0, 2, 4)) and len(set(sums[:6:2])) == 3
       and text.count("wires: ended: exit code 0") == len(starts) and "hello: ended: exit code 0" in text,
       "random accesses to a keyboard read the same with devices in ring 3, and do no harm", letters=letters, text=text)


def disk(model):
    """The IDE disk of dm, by its ports; a model that asks for sectors which are not there, or to where it has no memory."""
    guest, path = assembled("user/disk.asm"), folder() / "sectors"
    path.write_bytes(b"".join(struct.pack("<I", n).ljust(512, b"\0") for n in range(64)))
    for name in ("svm", "te"):
        one = Engine("all", name, f"engine={name} devices=user disk=sectors")
        text = one.host([one.start("disk"), "model model pointers", one.start("hello"), "model", one.start("disk")], [guest, "hello", path, model, DM])
        ok(re.findall(r"^d1\| (i.*)$", text, re.M) == ["irwe"] * 2 and text.count(": ended: exit code 0") == 3,
           f"{name}: a disk whose controller is a program in ring 3, and whose sectors no other memory gets", text=text)


def owners(own):
    """Programs with a guest of their own: one that works; others ask for what they may not, or end at the wrong time."""
    hello = r"^d1\| Hello from memory that is a program's\.\nd1 mini: ended: exit code 0 after \d+ exits\ne1 mini: ended, status 0$"
    for cpu, where in (("svm", "qemu"), ("vmx", "bochs"))[:2 if shutil.which("bochs") else 1]:
        one = Engine("all", cpu, f"engine={cpu}")
        commands = [word for name, (then, *_) in OWNERS.items() for word in
                    ([f"run own {name} &", "sleep 30", then, "sleep 30"] if then else [f"run own {name}"])]
        text = one.host([one.start("hello"), "frames", "run mini", *commands, "run mini one two", one.start("hello"), "frames", "threads"],
                        ["hello", own, MINI], where, **({"icount": True} if where == "qemu" else {}))  # `sleep` by instructions: whatever load
        ok(re.search(hello, text, re.M) and "\nd1| one two\n" in text, f"{where}: a program makes a guest, gives it memory, runs it",
           text=text)
        said = {part.split()[2]: part for part in re.split(r"^K> (?=run )", text, flags=re.M) if part.startswith("run own ")}
        for name, (_, *ends) in OWNERS.items():
            lines = re.findall(r"^[ed]1 own: .*$", said.get(name, ""), re.M)
            ok(len(lines) >= len(ends) and all(any(end in line for line in lines) for end in ends),
               f"{where}: a program with a guest of its own: {name}", text=said.get(name))
        kept = [re.sub(r"of d\d+ *", "", part.split("K> ")[0]) for part in text.split("K> frames\n")[1:]]
        ok(len(kept) == 2 and kept[0] == kept[1] and text.count("hello: ended: exit code 0") == 3 and "no threads: the host is idle" in text,
           f"{where}: they have given back all that they had, and others live", text=text)


def beside(svm):
    """Guests with devices in ring 3 and with Zeno's, each with turns of its own."""
    words = (("traps", "devices=user &"), ("traps", "&"), ("traps", "devices=user &"), ("sieve", "devices=user"), ("sieve", "devices=user"))
    text = svm.host([svm.start(*each) for each in words], ["traps", "sieve", DM])
    ok(re.findall(r"^d4\| (.*)$", text, re.M)[:1] == svm.bare("qemu", "sieve")[:1] and "sieve: ended: exit code 0" in text,
       "guests with devices in ring 3 run beside each other", text=text)


def models(svm, model):
    """Device models that end their guest in one line, and those that it lives with."""
    words = [*ENDS, *LIVES]
    text = svm.host([word for name in words for word in (f"model model {name}", svm.start("hello", "devices=user"))] +
                    ["model", svm.start("hello")], ["hello", model])
    parts = each(text)
    ok(len(parts) == len(words) + 1 and "hello: ended: exit code 0" in parts[-1], "the host outlives all device models", text=text[-3000:])
    for name, part in zip(words, parts):
        last = re.findall(r"^d1 hello: (?:stopped|ended): .*$", part, re.M)
        if name in LIVES:
            ok(len(last) == 1 and "exit code 0" in last[0] and re.findall(r"^d\d+\| (.*)$", part, re.M) == svm.bare("qemu", "hello"),
               f"a guest lives with a device model: {name}", text=part)
        else:
            ok(len(last) == 1 and ENDS[name] in last[0], f"a device model ends its guest, and one line says so: {name}", text=part)


def strings(model):
    """`rep outs` in one exit: whole, or as much of it as a device model takes; one that answers for too much ends its guest."""
    guest = assembled("user/outs.asm")
    bare = boot("qemu", "svm", guest).splitlines()
    for cpu, where in (("svm", "qemu"), ("vmx", "bochs"))[:2 if shutil.which("bochs") else 1]:
        one = Engine("all", cpu, f"engine={cpu}")
        text = one.host([one.start("outs"), "exits d1", one.start("outs", "devices=user"), "exits d1", "model model none",
                         one.start("outs", "devices=user"), "model model string-count", one.start("outs", "devices=user")], [guest, DM, model], where)
        parts = ["".join(re.findall(r"^d1\| (.*)$", part, re.M)) for part in each(text)]
        ok(len(bare) == 5 and len(parts) == 4 and parts[:3] == ["".join(bare)] * 3, f"{where}: a string is the same, handed over at once or not",
           text=text[-3000:])
        exits = [int(n) for n in re.findall(r"^ +(\d+)  port I/O$", text, re.M)]
        ok(len(exits) == 2 and 3 * exits[1] < 2 * exits[0], f"{where}: a program has few exits for many elements", exits=exits)
        ok(re.search(r"^d1 outs: stopped: its device model model answers for (\d+) elements of (?!\1)\d+, asked for port 3f8", text, re.M),
           f"{where}: and answers for no more than it was asked for", text=text[-3000:])


def asleep(svm, model):
    """The same while the guest sleeps: it ends, and so does its thread, whatever it was to be woken for."""
    ends = {"asleep-count": "answers for 2 elements of 1, when its time came", "asleep-hangs": "has not answered within", "asleep-crash": "is over: killed by #PF"}
    # Its thread has its last turn behind hello's, which may need one alone: `sleep` gives it its own.
    commands = [(f"model model {name}", svm.start("asleep", "devices=user"), svm.start("hello"), "sleep 20", "threads") for name in ends]
    text = svm.host([word for some in commands for word in some], [assembled("user/asleep.asm"), "hello", model])
    parts = [part for part in each(text) if part.startswith("start asleep")]
    for (name, words), part in zip(ends.items(), parts):
        ok(f"asleep: stopped: its device model model {words}" in part, f"a device model ends its sleeping guest: {name}", text=part)
    ok(len(parts) == len(ends) and text.count("no threads: the host is idle") == len(ends), "and nothing of it stays", text=text)


def slow(svm, model):
    """It has used nine tenths of its limit, and answers. By instructions: no other load of this machine counts."""
    text = svm.host(["model model slow", svm.start("hello", "devices=user"), "model", svm.start("hello")], ["hello", model], icount=True)
    exits = [int(n) for n in re.findall(r"hello: ended: exit code 0 after (\d+) exits", text)]
    ok(len(exits) == 2, "a device model that answers after nine tenths of its limit lives", text=text)
    text = svm.host(["model model slow", *(f"start string engine={name} devices=user" for name in ("svm", "te"))],
                    [assembled("user/string.asm"), model], icount=True)
    ok(text.count("d1| K\nd1 string: ended: exit code 0") == 2, "a string goes on where it was put off, and its fault comes later", text=text)
    ok(len(exits) == 2 and exits[0] > exits[1] + 4, "meanwhile the host's timer ends its guest's turns, and others have theirs", text=text)


def changed(svm, model):
    """What the program changes in the run page behind the kernel's first look at it comes too late."""
    at = headers.numbers(("inc/user.h", "kern/env/env.h"), ("offsetof(struct env, page)", "offsetof(struct run_page, done)",
                                                             "offsetof(struct run_page, data_in)"))
    seen = 0
    with machine.start(kernel=svm.kernel, paused=True, modules=[(BUILD / "guest/hello.elf", ""), (model, "none")], limits=LIMIT,
                       cpu="svm", cmdline=f"panic=off -- model model none; {svm.start('hello', 'devices=user')}; off") as live:
        gdb = live.gdb()
        run_once = Symbols([svm.kernel.with_name("zeno.elf")]).address("env_run")
        gdb.insert(run_once)
        gdb.cont()
        page, = struct.unpack("<Q", gdb.read(gdb.regs()["rdi"] + at[0], 8))
        gdb.remove(run_once)
        for field in at[1:]:
            gdb.watch(page + field, 4, "read")
        with contextlib.suppress(gdbremote.Gone):  # what is read twice ends the guest
            for _ in range(READS):
                gdb.write(gdb.cont().address, b"\x77\0\0\0")
                seen += 1
            gdb.detach()
        done = live.wait()
        text = done.text().replace("\r", "")
        done.cleanup()
    ok(seen == READS and re.findall(r"^d1\| (.*)$", text, re.M) == svm.bare("qemu", "hello"),
       "the run page changes behind each of the kernel's reads, and the guest has what was there before", seen=seen, text=text)


def main():
    built("all labs' reference is built", "make", "-s", "LAB=all", "SOLUTION=1", "REF=", "build")
    svm = Engine("all", "svm", "engine=svm")
    attack, model, own = programs()
    attacks(svm, attack)
    for name, guests in (("svm", ("hello", "traps", "pc")), ("te", ("hello", "traps")), ("bt", ("hello", "traps"))):
        same(name, guests)
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"# SEED={seed}")
    registers(model)
    kept(model, seed)
    bell(model)
    disk(model)
    keys(svm, "qemu")
    wires(svm)
    if shutil.which("bochs"):
        keys(Engine("all", "vmx", "engine=vmx"), "bochs")
    owners(own)
    strings(model)
    beside(svm)
    models(svm, model)
    asleep(svm, model)
    slow(svm, model)
    changed(svm, model)
    finish()


if __name__ == "__main__":
    main()
