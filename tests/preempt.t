#!/usr/bin/env python3
"""The host never works long with interrupts off: instructions between preemption points, counted by the plugin.

On Bochs, which has VT-x and no plugin, its debugger tells the time at each point, in instructions.
"""

import os
import re
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import disk_of  # noqa: E402
from engine import assembled  # noqa: E402
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab3-solution"
SYMBOLS = Symbols([HOST / "zeno.elf"])
POINTS = ("preempt_point", "sched_idle")
NESTED = BUILD / "lab5-solution"
MOST = 2_000_000  # instructions; a tick comes every 10 ms
LIMIT = machine.Limits(instructions=2_000_000_000, cpu_seconds=60)
COUNT, PHOFF = 65535, 0x2000


def greedy(path):
    """An ELF of 65,535 segments that all hold the whole file: 128 GiB to copy."""
    size = PHOFF + COUNT * 32
    head = bytearray(PHOFF)
    head[0:7] = b"\x7fELF\x01\x01\x01"
    struct.pack_into("<HHIIIIIHHHHHH", head, 16, 2, 3, 1, 0x100000, PHOFF, 0, 0, 52, 32, COUNT, 0, 0, 0)
    struct.pack_into("<III", head, 0x100, 0x1badb002, 0, -0x1badb002 & 0xffffffff)
    segment = struct.pack("<IIIIIIII", 1, 0, 0x100000, 0x100000, size - 4096, size - 4096, 7, 4096)
    path.write_bytes(bytes(head) + segment * COUNT)
    return path


def empty(path):
    """As many program headers, of which only the last is to be loaded: a byte, and that is hlt."""
    data = bytearray(greedy(path).read_bytes())
    for i in range(COUNT - 1):
        data[PHOFF + 32 * i] = 0
    data[0x200] = 0xf4
    struct.pack_into("<IIIIII", data, len(data) - 32, 1, 0x200, 0x100000, 0x100000, 1, 1)
    path.write_bytes(data)
    return path


def host(commands, modules, points=POINTS, mem=128, kernel=HOST, cpu="te", symbols=SYMBOLS):
    """The console and the counts of a host that runs these commands."""
    result = machine.boot(machine="qemu", kernel=str(kernel / "zeno.mb"), cpu=cpu, mem=mem, limits=LIMIT,
                          cmdline=f"panic=off -- {'; '.join(commands)}; off",
                          modules=[(str(m), "") for m in modules],
                          points=[symbols.address(name) for name in points])
    text = result.console.decode("ascii", "replace").replace("\r", "")
    ok(result.end is machine.End.SHUTDOWN, f"the host ends in order after {commands[0]!r}",
       end=result.end, detail=result.detail, text=text[-2000:])
    result.cleanup()
    return text, result.counts


def short(counts, what, symbols=SYMBOLS):
    """No stretch of this run is too long."""
    first, last = (symbols.describe(address) for address in counts.longest_at)
    ok(0 < counts.longest <= MOST, f"{what}: at most {MOST:,} instructions with interrupts off",
       longest=f"{counts.longest:,} instructions, from {first} to {last}")
    print(f"# {what}: {counts.longest:,}, from {first} to {last}")


def large():
    """A domain of 1 GiB is made and freed."""
    hello = BUILD / "guest/hello.elf"
    commands = [f"start hello engine={e} mem=1024" for e in ("te", "bt")] + ["frames"]
    text, counts = host(commands, [hello], mem=1200)
    ok(text.count("hello: ended: exit code 0") == 2, "two guests with 1 GiB run", text=text)
    short(counts, "1 GiB")
    _, counts = host(["start hello mem=64"], [hello], points=("domain_create",))
    ok(counts.longest > MOST, "from a domain's creation to its first instruction it is more",
       longest=counts.longest)


def large_on_hardware():
    """The same on AMD-V and VT-x, whose tables are filled when the domain is made (flat), or by its first touches (nested: AMD-V)."""
    hello, symbols = BUILD / "guest/hello.elf", Symbols([NESTED / "zeno.elf"])
    commands = [f"start hello mmu={mode} mem=1024" for mode in ("flat", "nested")]
    text, counts = host([*commands, "frames"], [hello], (*POINTS, "svm_enter"), mem=1200, kernel=NESTED, cpu="svm", symbols=symbols)
    ok(text.count("hello: ended: exit code 0") == 2, "two guests with 1 GiB run on svm", text=text)
    short(counts, "1 GiB on svm", symbols)
    if machine.missing("bochs"):
        skip("1 GiB on VT-x", machine.missing("bochs"))
        return
    mib = 1024 if os.environ.get("ZENO_ALL") else 128  # 10 s of CPU, or 3: 1 GiB is make check-all's
    disk = disk_of(NESTED / "zeno.mb", f"panic=off -- start hello mmu=flat mem={mib}; off", [hello])
    with machine.start(machine="bochs", disk=str(disk), cpu="vmx", mem=mib + 176, paused=True,
                       limits=machine.Limits(instructions=None, cpu_seconds=60)) as live:
        client, longest, was = live.gdb(), (0, "", ""), None
        points = {client.insert(symbols.address(name)): name for name in (*POINTS, "vmx_enter", "machine_off")}
        while (at := re.search(r"Breakpoint (\d+)", client.cont().reply)) and (name := points[int(at[1])]) != "machine_off":
            now = client.ticks()
            longest = max(longest, (now - was[0], was[1], name)) if was else longest
            was = now, name
        client.detach()
        run_ = live.wait()
        text = run_.text()
        run_.cleanup()
    ok(text.count("hello: ended: exit code 0") == 1, "one runs on vmx", text=text)
    ok(0 < longest[0] <= MOST, f"{mib} MiB on vmx: at most {MOST:,} instructions with interrupts off", longest=longest)
    print(f"# {mib} MiB on vmx: {longest[0]:,}, from {longest[1]} to {longest[2]}")


def images():
    """Images that ask for endless work."""
    here = folder()
    text, counts = host(["start greedy", "start empty", "start greedy -- boot=coreboot", "start hello"],
                        [greedy(here / "greedy.elf"), empty(here / "empty.elf"), BUILD / "guest/hello.elf"])
    ok(text.count("its segments together are larger than its memory") == 2,
       "segments that hold the whole file each are refused", text=text)
    ok("hello: ended: exit code 0" in text, "a guest after them runs as ever", text=text)
    short(counts, "many segments")


def nested():
    """Hardware: a transfer of tiny pieces while a string reads a port; a first touch that asks for 1 GiB, and there is none."""
    symbols = Symbols([NESTED / "zeno.elf"])
    disk = folder() / "sectors"
    disk.write_bytes(bytes(4096 * 512))
    commands = [f"start pieces platform=pc-apic disk=sectors -- {letter}" for letter in "pw"]
    text, counts = host([*commands, "start writes mmu=nested mem=2048 page=1g -- g"],
                        [assembled("disk/pieces.asm"), assembled("nested/writes.asm"), disk],
                        (*POINTS, "svm_enter"), kernel=NESTED, cpu="svm", symbols=symbols)
    ok(text.count("ended: exit code 0") == 3, "guests that ask for much in one exit come to their end", text=text)
    short(counts, "much in one exit", symbols)


def pv():
    """A PV guest's calls, each of which asks for all that there is to ask for."""
    built = run("make", "-s", "-C", ROOT, "LAB=7", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of Lab 7 builds", out=built.out)
    kernel = BUILD / "lab7-solution"
    symbols = Symbols([kernel / "zeno.elf"])
    text, counts = host(["start pv-tables mem=100 -- long", "start pv-events -- harm=lines", "start pv-siege -- ports stay"],
                        [BUILD / f"guest/pv-{name}.elf" for name in ("tables", "events", "siege")],
                        (*POINTS, "pv_enter", "pv_syscall.answered", "pv_spot_end.entered"), kernel=kernel, cpu="pv", symbols=symbols)
    ok(all(f"{words}: 0 wrong; the end" in text for words in ("long calls", "lines", "ports")), "a PV guest's long calls come to their end", text=text)
    short(counts, "a PV guest's calls", symbols)


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    large()
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    if ok(built.status == 0, "the reference of Lab 5 builds", out=built.out):
        large_on_hardware()
        nested()
    images()
    pv()
    finish()


main()
