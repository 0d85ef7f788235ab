#!/usr/bin/env python3
"""Make the kernel's own symbol table, for backtraces that name functions.

    ksyms.py zeno.stage1.elf > ksyms.asm     the functions of .text as a table for NASM
    ksyms.py --verify zeno.stage1.elf zeno.elf

The link has two stages:

    1. link all objects: kern/words/symbols.c brings an empty, weak table
    2. ksyms.py zeno.stage1.elf > ksyms.asm; nasm -f elf64 ksyms.asm -o ksyms.o
    3. link all objects and ksyms.o: its strong symbols take over
    4. ksyms.py --verify zeno.stage1.elf zeno.elf

The table is in a section of its own, .ksyms, which kern/kernel.ld puts behind all code and all
read-only data, so only .data and .bss move. --verify checks that: every function must have the same
address in both, or the names would be wrong. Exit status 0, 1 (differs), 2 (cannot read the file).

It needs no binutils for a foreign target.
"""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "grade"))
from zeno.machines.elf import STT_FUNC, STT_NOTYPE, ElfFile  # noqa: E402

KB = 0xFFFF828000000000


def functions(path):
    """[(address, name)] of the code in .text, sorted, one name per address."""
    with open(path, "rb") as file:
        elf, found = ElfFile(file.read()), {}
    text, start, length = elf.section(".text")
    for one in elf.symbols():
        # The linker counts a script's symbols to the section that is nearest.
        if one.section != text or not start <= one.value < start + length:
            continue
        # Labels within a function of an assembly file (high.halt) are not functions; gcc's own
        # foo.part.0 is one.
        if one.kind == STT_FUNC or (one.kind == STT_NOTYPE and "." not in one.name):
            # A global name is better than a local one, a function better than a label.
            rank = (one.kind == STT_FUNC, one.bind, one.name)
            found[one.value] = max(found.get(one.value, rank), rank)
    return sorted((value, rank[2]) for value, rank in found.items()
                  if not rank[2].startswith("__text_"))


def table_asm(symbols):
    """The table as NASM source; struct ksym of kern/words/symbols.c is its layout."""
    lines = ["; Made by tools/ksyms.py from the first link.",
             "section .ksyms progbits alloc noexec nowrite align=16",
             "global ksyms_count:data hidden, ksyms:data hidden, ksyms_names:data hidden",
             "ksyms_count:", f"\tdd {len(symbols)}", "ksyms:"]
    offset = 0
    for address, name in symbols:
        lines.append(f"\tdd {address - KB:#x}, {offset}")
        offset += len(name) + 1
    lines.append("ksyms_names:")
    lines += [f'\tdb "{name}", 0' for _, name in symbols]
    if not symbols:
        lines.append("\tdb 0")
    lines.append("section .note.GNU-stack noalloc noexec nowrite progbits")
    return "\n".join(lines) + "\n"


def verify(first, second):
    """None, or a sentence about the first function that has moved."""
    before, after = dict(functions(first)), dict(functions(second))
    for address, name in before.items():
        if after.get(address) != name:
            return f"{name} was at {address:#x} in {first}, but is not in {second}"
    if len(after) != len(before):
        return f"{second} has {len(after)} functions, {first} had {len(before)}"
    return None


def main(arguments):
    """The command line; see the module's docstring."""
    try:
        if len(arguments) == 3 and arguments[0] == "--verify":
            trouble = verify(arguments[1], arguments[2])
            if trouble:
                print(f"ksyms.py: {trouble}", file=sys.stderr)
            return 1 if trouble else 0
        if len(arguments) == 1 and not arguments[0].startswith("-"):
            sys.stdout.write(table_asm(functions(arguments[0])))
            return 0
    except (OSError, struct.error, ValueError, IndexError) as error:
        print(f"ksyms.py: {arguments[-1]}: {error}", file=sys.stderr)
        return 2
    asked = arguments in (["-h"], ["--help"])
    print(__doc__, file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
