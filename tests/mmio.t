#!/usr/bin/env python3
"""Devices' registers in memory: every instruction that has memory for an operand, bare and behind a violation.

The forms are those of exercise 5.2's programs (grade/zeno/guests/mmio.py), here all of them; no instruction that the emulator
does may be missing. Then what a violation is to the exit log, and what the emulator's accesses leave in the guest's page tables.
"""

import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, boot  # noqa: E402
from harness import ROOT, finish, folder, ok, run  # noqa: E402
from zeno.guests import mmio  # noqa: E402

NO_MEMORY = """ud lea bswap cbw/cwde/cdqe cwd/cdq/cqo jmp jcc jcxz loop loope loopne daa das aaa aas aam aad sahf lahf salc clc stc cmc
    cld std""".split()
SVM = Engine("5", "svm")


def covered():
    """Each of the emulator's instructions is there, or has no memory operand."""
    text = (ROOT / "vmm/x86/insn.h").read_text()
    general = text[text.index("#define INSN_GENERAL_LIST"):text.index("enum insn_op")]
    known = set(re.findall(r'X\(\w+, "([^"]+)"\)', general))
    used = {form[0] for form in [*mmio.FORMS, *mmio.STRINGS, *mmio.STACKS]}
    ok(used | set(NO_MEMORY) == known and not used & set(NO_MEMORY), "each instruction that the emulator does is tried",
       missing=sorted(known - used - set(NO_MEMORY)), unknown=sorted(used - known))


def same(name, program, mode):
    """A program bare, and on Zeno."""
    elf = program.assemble(folder(), name)
    bare = boot("qemu", "svm", elf).splitlines()
    text = SVM.host([f"start {name} platform=pc-apic mmu={mode}"], [elf])
    got = re.findall(r"^d1\| (.*)$", text, re.M)
    parted = [pair for pair in zip(bare, got) if pair[0] != pair[1]]
    ok(len(bare) > 40 and len(bare) == len(got) and not parted, f"{name}, mmu={mode}: as on the bare machine",
       parted=parted[:4], lines=(len(bare), len(got)), text=text[-600:])


def logged(rng):
    """The log says how wide an access was, whatever the instruction's operands are."""
    k = mmio.Mmio(rng)
    k.use_stack(k.base + 0x20000)
    lapic = k.page("lapic")
    k.begin()
    k.paging()
    at = lapic + mmio.TPR + 4
    for lines in ((f"mov esp, {at:#x}", "pusha"), (f"mov esp, {at:#x}", "push byte 1"), (f"movzx eax, word [{at - 4:#x}]",),
                  (f"mov esi, {at - 4:#x}", f"mov edi, {k.stack - 64:#x}", "movsb"), (f"cmpxchg8b [{at - 4:#x}]",)):
        k.op(*lines)
    k.use_stack(k.base + 0x20000)
    k.finish()
    elf = k.assemble(folder(), "logged")
    text = SVM.host(["start logged platform=pc-apic", "last d1"], [elf])
    found = re.findall(r"emulated a \w+ of (\d+) bytes at fee000", text)
    ok(found == ["4", "4", "2", "1", "8"], "the log says how many bytes", found=found, text=text)


def moved(rng):
    """A page's entry changes under the accesses to it: walks that Zeno has kept lead where the guest's tables lead."""
    k = mmio.Mmio(rng)
    k.use_stack(k.base + 0x20000)
    at = k.page("lapic")
    entry, other = k.directory + 0x4000, k.directory + 0x8000
    k.begin()
    k.paging()
    k.op(f"mov esi, {k.directory:#x}", f"mov edi, {other:#x}", "mov ecx, 1024", "rep movsd",
         f"mov dword [{other + 4 * (at >> 22):#x}], {other + 0x1007:#x}", f"mov dword [{other + 0x1000:#x}], {mmio.IOAPIC | 7:#x}")
    steps = [[f"mov dword [{entry:#x}], {to | bits:#x}"] for to in (mmio.LAPIC, mmio.IOAPIC) for bits in (7, 3, 1, 0x67, 0x27, 0)]
    steps += [["mov eax, cr0", f"xor eax, {mmio.CR0_WP:#x}", "mov cr0, eax"], [f"mov eax, {other:#x}", "mov cr3, eax"],
              [f"mov eax, {k.directory:#x}", "mov cr3, eax"]] * 3
    rng.shuffle(steps)
    for step in steps:
        k.op(*step, f"invlpg [{at:#x}]")
        for access in (f"mov eax, [{at + 0x10:#x}]", f"or dword [{at + 0x10:#x}], 0"):
            for _ in range(2):
                on = k.fresh()
                k.op("xor eax, eax", f"mov dword [resume], {on}", access)
                k.label(on)
                k.op("mov dword [resume], 0")
            k.op(f"mov ebx, [{entry:#x}]", "and ebx, 0xfff")
            k.say("eax", "read")
            k.say("ebx", "entry")
    k.finish()
    return k


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 5 builds", out=built.out):
        finish()
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"# SEED={seed}")
    covered()
    rng = random.Random(seed)
    same("sweep", mmio.sweep(rng), "nested")
    same("pages", mmio.pages(rng), "flat")
    same("moved", moved(rng), "nested")
    logged(rng)
    finish()


if __name__ == "__main__":
    main()
