"""What tests/boot.t boots, built in a folder, and how the probe's output is read."""

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools"))  # for what mkimage imports

spec = importlib.util.spec_from_file_location("mkimage", ROOT / "tools/mkimage.py")
mkimage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mkimage)

NASM = ("nasm", "-Wall", "-Werror")

# CFLAGS and LDFLAGS of the Makefile, as far as the way into the kernel depends on them.
CFLAGS = """-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fPIC -fvisibility=hidden
    -include kern/hidden.h -mno-red-zone -mgeneral-regs-only -fno-stack-protector
    -fcf-protection=none -fno-asynchronous-unwind-tables -fno-omit-frame-pointer -I.""".split()
LDFLAGS = """-m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack
    --orphan-handling=error --fatal-warnings --build-id=none -T kern/kernel.ld""".split()


def run(*words):
    """Runs a tool; its failure ends the whole test file."""
    subprocess.run([str(w) for w in words], check=True, cwd=ROOT)


class Parts:
    """Everything built once, in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.mbr = folder / "mbr.bin"
        run(*NASM, "-f", "bin", "-i", "boot/", "-o", self.mbr, "boot/mbr.asm")
        self.loader = self.assemble_loader("loader")
        self.probe = self.assemble_probe("probe", "-DPAD=65536")
        self.small = folder / "small"
        self.small.write_bytes(bytes(range(256)) * 5 + b"end")
        self.big = folder / "big"
        words = [i * 2654435761 % 2**32 for i in range(700001)]
        self.big.write_bytes(struct.pack(f"<{len(words)}I", *words))
        self.modules = [(self.small, "small with words"), (self.big, "big")]
        self.high = self.link_high()
        self.image = folder / "good.img"
        self.image.write_bytes(self.make())

    def assemble_loader(self, name, *options):
        """Assembles boot/loader.asm with these options."""
        out = self.folder / f"{name}.bin"
        run(*NASM, *options, "-f", "bin", "-i", "boot/", "-o", out, "boot/loader.asm")
        return out

    def assemble_probe(self, name, *options, base=0x100000):
        """Assembles tests/boot/probe.asm with these options and links it at `base`."""
        out = self.folder / name
        run(*NASM, *options, "-f", "elf32", "-o", f"{out}.o", "tests/boot/probe.asm")
        run("ld", "-n", "-m", "elf_i386", "-z", "noexecstack", "--no-warn-rwx-segments",
            f"-Ttext={base:#x}", "-o", out, f"{out}.o")
        return out

    def link_high(self):
        """Compiles and links the 64-bit probe, tests/boot/high.c, as the kernel is."""
        entry, high, elf, out = (self.folder / f"high{x}" for x in (".e.o", ".o", ".elf", ".mb"))
        run(*NASM, "-f", "elf64", "-I", ".", "-o", entry, "kern/boot/entry.asm")
        run("gcc", *CFLAGS, "-c", "-o", high, "tests/boot/high.c")
        run("ld", *LDFLAGS, "-o", elf, entry, high)
        run("objcopy", "-O", "elf32-i386", elf, out)
        return out

    def make(self, kernel=None, modules=None, loader=None):
        """The bytes of an image; the good one unless told otherwise."""
        modules = self.modules if modules is None else modules
        return mkimage.make(
            kernel or self.probe, "probe one=1 two", modules, self.mbr, loader or self.loader
        )

    def make_unchecked(self, folder, kernel_bytes):
        """An image whose kernel mkimage would refuse: does the loader refuse it too?"""
        path = folder / "bad-kernel"
        path.write_bytes(kernel_bytes)
        checks, mkimage.check_kernel = mkimage.check_kernel, lambda path, data: data
        try:
            return self.make(path)
        finally:
            mkimage.check_kernel = checks


def facts(text):
    """The probe's lines without the command lines, which QEMU's -kernel changes."""
    return [line for line in text.splitlines() if not line.startswith(("cmdline=", "module="))]


def fact(text, name):
    """The values of all lines NAME=."""
    return [line.split("=", 1)[1] for line in text.splitlines() if line.startswith(name + "=")]


def rolling_sum(data):
    """The sum that the probe prints for a module."""
    s = 0
    for byte in data:
        s = (s << 1 | s >> 31) & 0xFFFFFFFF
        s = (s + byte) & 0xFFFFFFFF
    return f"{s:08x}"


def expect_end(result, end):
    """What is wrong with how a run ended, or None."""
    if result.end != end:
        return f"the machine ended by {result.end}, not by {end}\n{result.serial}"
    return None


def expect_stop(result, message):
    """A message on a line of its own, after it nothing, and a dead halt."""
    lines = [line for line in result.serial.replace("\r", "").split("\n") if line]
    if len(lines) != 1 or message not in lines[0]:
        return f"expected one line with: {message}\ngot: {result.serial!r} ({result.end})"
    return expect_end(result, "halt")
