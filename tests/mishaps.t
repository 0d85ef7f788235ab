#!/usr/bin/env python3
"""No program ends its kernel: what guest/mishaps does in ring 3 and ring 0, bare, under te and under bt, on both machines;
under svm on QEMU, under vmx on Bochs.

guest/ways goes from ring to ring, and changes one of the values that make the way: bare and under bt, which remembers ways. (Under
te it would see that it is in ring 1.)

A line of the guest's that begins with ~ tells of something that an engine can't do for a program. It is not compared: there must be
one, and the guest goes on. Under svm and vmx (`hard=0`) these are more: what reaches for memory that is not there by an
instruction that Zeno does not emulate is a program's #GP, and left out in ring 0, where it ends the guest (handouts/limits.md).
"""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

GUESTS = {"mishaps": ("te", "bt"), "ways": ("bt",)}  # and under which engines
HOST = ROOT / "build/lab3-solution/zeno.mb"
HARDWARE = {"qemu": ("svm", "4s"), "bochs": ("vmx", "4")}  # the machine: its engine of the CPU's own, and the lab that has it
LIMIT = machine.Limits(instructions=1_000_000_000)
LEAST = 80  # lines
OWN = {
    "bochs": ("code across", "code vanishes"),  # it keeps an instruction on two pages whole, whatever becomes of the second
    "qemu": ("xbegin in ring 0", "xabort in ring 0"),  # it takes them for a mov; bt, which may copy no branch, for #UD
}
# #GP from ring 3, and not #UD: vmrun is looked at so by a CPU with AMD-V (handouts/limits.md#hardware), xsetbv by QEMU.
BY_CPL = {"qemu": ("vmrun in ring 3", "xsetbv in ring 3"), "bochs": ()}


def boot(where, kernel, cmdline="", modules=(), cpu="te"):
    """What a kernel prints on a machine."""
    return ran(where, kernel, cmdline, modules, cpu=cpu, limits=LIMIT).text


def told(where, text):
    """What the guest told, and whether it came to its end."""
    lines = re.findall(r"^(?:d1\| )?(.* in ring [03]: .*|that is all)$", text, re.M)
    lines = [line for line in lines if not line.startswith(OWN[where])]
    return [line for line in lines if not line.startswith("~")], sum(line.startswith("~") for line in lines)


def compare(where, name, engines):
    guest = ROOT / f"build/guest/{name}.elf"
    expected, limits = told(where, boot(where, guest))
    ok(len(expected) > LEAST and limits and expected[-1] == "that is all", f"{where}: {name} on the bare machine",
       got="\n".join(expected))
    for engine in engines:
        text = boot(where, HOST, f"panic=off -- start {name} engine={engine}; off", [guest])
        got, same_limits = told(where, text)
        ok(f"{name}: ended: exit code 0" in text and same_limits == limits, f"{where}: {name}: none ends the guest under {engine}",
           text=text[-1500:])
        different = [f"{a}   |   {b}" for a, b in zip(expected, got) if a != b]
        ok(got == expected, f"{where}: {name}: and each ends under {engine} as bare", different="\n".join(different))
    return expected


def on_hardware(where, bare):
    """In the CPU's own guest mode each of them ends as on the bare machine, or by the fault of a program that stays one."""
    engine, lab = HARDWARE[where]
    if not (ROOT / f"grade/labs/{lab}.toml").exists():
        skip(f"mishaps under {engine}", f"this tree has no Lab {lab}")
        return
    built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
    if not ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out):
        return
    text = boot(where, ROOT / f"build/lab{lab}-solution/zeno.mb", "panic=off -- start mishaps -- hard=0; off",
                [ROOT / "build/guest/mishaps.elf"], engine)
    got, _ = told(where, text)
    limits = list(dict.fromkeys(re.findall(r"^d1\| ~ (.*) in ring 3: ", text, re.M)))
    left = [line for line in bare if not line.startswith(tuple(f"{name} in ring " for name in limits) + BY_CPL[where])]
    got = [line for line in got if not line.startswith(BY_CPL[where])]
    ok("mishaps: ended: exit code 0" in text and len(left) > LEAST and 8 < len(limits) < 20,
       f"{where}: none ends the guest under {engine}", limits=limits, text=text[-1500:])
    different = [f"{a}   |   {b}" for a, b in zip(left, got) if a != b]
    ok(got == left, f"{where}: and each ends under {engine} as bare", different="\n".join(different))


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
        finish()
    for where in ("qemu", "bochs") if shutil.which("bochs") else ("qemu",):
        bare = {name: compare(where, name, engines) for name, engines in GUESTS.items()}
        on_hardware(where, bare["mishaps"])
    if not shutil.which("bochs"):
        skip("mishaps and ways on Bochs", "Bochs is not installed: make demo installs it")
    finish()


main()
