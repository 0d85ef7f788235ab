"""ELF symbols: from an address to `name+offset (file:line)`, without any tool but addr2line.

Reads ELF32 and ELF64, little endian. Garbage gives an empty table, never an exception: the file
may come from a student's build.
"""

import bisect
import shutil
import struct
import subprocess
from pathlib import Path

SHT_SYMTAB = 2
SHN_UNDEF = 0
SHN_ABS = 0xFFF1
STT_OBJECT, STT_SECTION, STT_FILE = 1, 3, 4


class Elf:
    """One ELF file's symbol table, sorted by address."""

    def __init__(self, path):
        self.path = Path(path)
        self.bits = 0
        self.entry = 0
        self.names = {}
        self._table = []
        try:
            self._parse(self.path.read_bytes())
        except (OSError, struct.error, IndexError, ValueError):
            pass
        self._table.sort()
        self._starts = [entry[0] for entry in self._table]

    def _parse(self, raw):
        if raw[:4] != b"\x7fELF" or raw[5] != 1:
            return
        self.bits = {1: 32, 2: 64}[raw[4]] if raw[4] in (1, 2) else 0
        if self.bits == 64:
            self.entry, sections = struct.unpack_from("<Q8xQ", raw, 24)
            size, count = struct.unpack_from("<HH", raw, 58)
        elif self.bits == 32:
            self.entry, sections = struct.unpack_from("<I4xI", raw, 24)
            size, count = struct.unpack_from("<HH", raw, 46)
        else:
            return
        headers = [self._section(raw, sections + i * size) for i in range(count)]
        ranges = [(addr, addr + length) for _, flags, addr, _, length, _ in headers if flags & 2]
        for kind, _, _, offset, length, link in headers:
            if kind == SHT_SYMTAB and link < len(headers):
                strings = headers[link]
                self._symbols(raw[offset:offset + length],
                              raw[strings[3]:strings[3] + strings[4]], ranges)

    def _section(self, raw, at):
        if self.bits == 64:
            kind, flags, addr, offset, size, link = struct.unpack_from("<4xIQQQQI", raw, at)
        else:
            kind, flags, addr, offset, size, link = struct.unpack_from("<4xIIIIII", raw, at)
        return kind, flags, addr, offset, size, link

    def _symbols(self, table, strings, ranges):
        form = "<IBBHQQ" if self.bits == 64 else "<IIIBBH"
        for fields in struct.iter_unpack(form, table[:len(table) - len(table)
                                                     % struct.calcsize(form)]):
            if self.bits == 64:
                name_at, info, _, section, value, size = fields
            else:
                name_at, value, size, info, _, section = fields
            if section == SHN_UNDEF or info & 15 in (STT_SECTION, STT_FILE):
                continue
            name = strings[name_at:strings.find(b"\0", name_at)].decode("utf-8", "replace")
            if not name:
                continue
            self.names.setdefault(name, value)
            if section != SHN_ABS and any(low <= value < high for low, high in ranges):
                self._table.append((value, size, info & 15, name))

    def find(self, address):
        """(name, offset) of the symbol that holds `address`, or None."""
        at = bisect.bisect_right(self._starts, address) - 1
        best = None
        # Of several names at one place prefer one that has a size, then a function.
        while at >= 0 and (best is None or self._table[at][0] == best[0]):
            value, size, kind, name = self._table[at]
            inside = address < value + size if size else address - value < 0x10000
            if inside and (best is None or (size > 0, kind != STT_OBJECT) > best[2]):
                best = (value, name, (size > 0, kind != STT_OBJECT))
            elif best is None and size:
                break
            at -= 1
        return (best[1], address - best[0]) if best else None

    def line(self, address):
        """`file:line` from the debug information, or None."""
        tool = shutil.which("addr2line")
        if not tool:
            return None
        try:
            done = subprocess.run([tool, "-e", str(self.path), hex(address)], timeout=60,
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        text = done.stdout.decode("utf-8", "replace").split(" (")[0].strip()
        return None if not text or text.startswith("??") or text.endswith((":?", ":0")) else text


class Symbols:
    """Several ELF files: the first one that knows an address names it."""

    def __init__(self, paths=()):
        self.elves = [Elf(path) for path in paths]

    def address(self, name):
        """The address of a symbol; KeyError with the files' names if there is none."""
        for elf in self.elves:
            if name in elf.names:
                return elf.names[name]
        files = ", ".join(str(elf.path) for elf in self.elves) or "no file"
        raise KeyError(f"{files}: no symbol {name!r}")

    def find(self, address):
        """(elf, name, offset), or None."""
        for elf in self.elves:
            found = elf.find(address)
            if found:
                return elf, *found
        return None

    def name(self, address):
        """`name+0x12`, or None."""
        found = self.find(address)
        return f"{found[1]}+{found[2]:#x}" if found else None

    def describe(self, address):
        """`0x100013 = boot+0x7 (boot.asm:12)`, or as much of that as is known."""
        found = self.find(address)
        if not found:
            return f"{address:#x}"
        elf, name, offset = found
        line = elf.line(address)
        if line:
            # The build's directory is of no interest; the last three parts say enough.
            line = "/".join(line.split("/")[-3:])
        where = f" ({line})" if line else ""
        return f"{address:#x} = {name}+{offset:#x}{where}"
