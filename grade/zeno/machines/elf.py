"""What stands in an ELF32 or ELF64 file, little endian: loaded segments, symbols. The one reader of the grader
and of the build (tools/ksyms.py)."""

import struct
from collections import namedtuple

PT_LOAD = 1
SHT_SYMTAB = 2
SHF_ALLOC = 2
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = range(5)


# Named tuples, of which a table of thousands costs little, and which import nothing that each build would have to read.
Segment = namedtuple("Segment", "va pa size flags data")  # one PT_LOAD
Symbol = namedtuple("Symbol", "name value size kind bind section loaded")
"""One entry of the symbol table that has a name and a place; `loaded`: it lies in memory that a section fills."""


class ElfFile:
    """A file's bytes, read. Raises ValueError or struct.error for what is no ELF file or ends in the middle."""

    def __init__(self, data):
        if data[:4] != b"\x7fELF" or data[5] != 1 or data[4] not in (1, 2):
            raise ValueError("no little-endian ELF file")
        self.data, self.wide = data, data[4] == 2
        if self.wide:
            self.entry, programs, sections = struct.unpack_from("<QQQ", data, 24)
            counts = struct.unpack_from("<HHHHH", data, 54)
        else:
            self.entry, programs, sections = struct.unpack_from("<III", data, 24)
            counts = struct.unpack_from("<HHHHH", data, 42)
        self.segments = [one for i in range(counts[1]) if (one := self._segment(programs + i * counts[0]))]
        self._sections = [self._section(sections + i * counts[2]) for i in range(counts[3])]
        self._names = counts[4]

    def _segment(self, at):
        if self.wide:
            kind, flags, offset, va, pa, filled, size = struct.unpack_from("<IIQQQQQ", self.data, at)
        else:
            kind, offset, va, pa, filled, size, flags = struct.unpack_from("<IIIIIII", self.data, at)
        return Segment(va, pa, size, flags, self.data[offset:offset + filled]) if kind == PT_LOAD else None

    def _section(self, at):
        """(name, type, flags, address, offset, size, link)"""
        return struct.unpack_from("<IIQQQQI" if self.wide else "<IIIIIII", self.data, at)

    def _string(self, table, at):
        """The string at an offset of this section."""
        names = self.data[table[4]:][:table[5]]
        return names[at:names.find(b"\0", at)].decode("utf-8", "replace")

    def section(self, name):
        """(index, address, size) of the section of this name; ValueError: there is none."""
        for index, one in enumerate(self._sections):
            if self._string(self._sections[self._names], one[0]) == name:
                return index, one[3], one[5]
        raise ValueError(f"no section {name}")

    def symbols(self):
        """Every Symbol, in the file's order."""
        ranges = [(addr, addr + size) for _, _, flags, addr, _, size, _ in self._sections if flags & SHF_ALLOC]
        form = "<IBBHQQ" if self.wide else "<IIIBBH"
        for _, kind, _, _, offset, size, link in self._sections:
            if kind != SHT_SYMTAB or link >= len(self._sections):
                continue
            names = self.data[self._sections[link][4]:][:self._sections[link][5]]
            table = self.data[offset:offset + size]
            for fields in struct.iter_unpack(form, table[:len(table) - len(table) % struct.calcsize(form)]):
                if self.wide:
                    name_at, info, _, section, value, length = fields
                else:
                    name_at, value, length, info, _, section = fields
                name = names[name_at:names.find(b"\0", name_at)].decode("utf-8", "replace")
                if section != SHN_UNDEF and name:
                    yield Symbol(name, value, length, info & 15, info >> 4, section,
                                 section != SHN_ABS and any(low <= value < high for low, high in ranges))
