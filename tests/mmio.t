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
    logged(rng)
    finish()


if __name__ == "__main__":
    main()
