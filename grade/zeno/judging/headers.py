"""Numbers that the kernel's headers say, asked from the compiler: addresses, offsets, values of enums.

The headers are the tree's own, not the submission's: no manifest names one.
"""

import os
import re
import shutil
import subprocess

from .tools import ROOT

KNOWN = {}


def compiler():
    """A compiler for x86-64."""
    names = (os.environ.get("CROSS", "") + "gcc", "x86_64-linux-gnu-gcc", "clang")
    return next((path for name in names if (path := shutil.which(name))), "gcc")


def numbers(includes, words, root=ROOT):
    """What these constant expressions are, in order: numbers(("kern/map.h",), ("KB", "sizeof(struct frame)"))."""
    key = str(root), tuple(includes), tuple(words)
    if key not in KNOWN:
        lines = [f"#include <{name}>\n" for name in ("stddef.h", *includes)] + ["void f(void);\nvoid f(void)\n{\n"]
        # In halves: as an operand of 64 bits a compiler may refuse one.
        lines += [f'__asm__ volatile("@@%c0@%c1@@" : : "i"((int)((unsigned long)({word}) >> 32)), "i"((int)({word})));\n'
                  for word in words]
        done = subprocess.run([compiler(), "-std=gnu11", "-ffreestanding", f"-I{root}", "-w", "-S", "-o", "-", "-xc", "-"],
                              input="".join(lines) + "}\n", capture_output=True, text=True, check=False)
        half = (1 << 32) - 1
        found = [(int(high) & half) << 32 | int(low) & half
                 for high, low in re.findall(r"@@(-?\d+)@(-?\d+)@@", done.stdout)]
        if len(found) != len(words):
            raise RuntimeError(f"{compiler()} does not tell what is {', '.join(words)}: {done.stderr.strip()[:500]}")
        KNOWN[key] = found
    return KNOWN[key]


def offset_of(root, header, struct_name, field):
    """The offset of a field of a kernel structure."""
    return numbers((header,), (f"offsetof({struct_name}, {field})",), root)[0]
