"""TAP version 14: the writer that every report goes through.

    out = Writer(sys.stdout)
    out.plan(2)
    sub = out.subtest("1.1 Enter ring 1")
    sub.plan(1)
    sub.result(True, "ring1 (4 of 4 points)")
    out.result(sub.passed, "1.1 Enter ring 1")

Whatever is printed is safe for a TAP reader: no text of a guest can end a line, start a result or
bail out, since every value is quoted or indented.
"""

import json
import re

VERSION = "TAP version 14"


def clean(text):
    """One line of printable text: control bytes shown, `#` and `\\` escaped as TAP 14 wants."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))
    return shown.replace("\\", "\\\\").replace("#", "\\#")


def _scalar(value):
    if value is None:
        return "~"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return json.dumps(str(value), ensure_ascii=True)


def _printable(line):
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line.replace("\t", "    "))


def _key(key):
    """A key as prove's reader takes it: without quotes it must be one word."""
    return key if re.fullmatch(r"\w+", key) else _scalar(key)


def _item(item):
    """An item of a list. One that begins `"word: ` would be the beginning of a table to prove's reader."""
    text = _scalar(item)
    while found := re.match(r"(\S+\s*):(?=\s|$)", text):
        text = found[1] + "\\x3a" + text[found.end():]
    return text


def yaml_lines(table):
    """A dict as YAML lines: scalars quoted, texts of several lines as blocks, lists as items.

    All of it is what the reader of Perl's TAP::Parser knows of YAML, too: it knows no digit behind
    a block's `|`, so a block may not begin with a space or an empty line.
    """
    lines = []
    for key, value in table.items():
        key = _key(key)
        if isinstance(value, (list, tuple)) and value:
            lines.append(f"{key}:")
            lines += [f"  - {_item(item)}" for item in value]
        elif isinstance(value, str) and re.match(r"\S.*\n", value.rstrip("\n") + " "):
            lines.append(f"{key}: |")
            lines += ["  " + _printable(line) for line in value.rstrip("\n").split("\n")]
        elif isinstance(value, str):
            lines.append(f"{key}: {_scalar(value.rstrip(chr(10)))}")
        else:
            lines.append(f"{key}: {_scalar(None if isinstance(value, (list, tuple)) else value)}")
    return lines


class Writer:
    """Writes one level of TAP; subtests are Writers with four more spaces."""

    def __init__(self, file, indent="", head=True):
        self.file = file
        self.indent = indent
        self.count = 0
        self.passed = True
        if head:
            self._line(VERSION)

    def _line(self, text):
        self.file.write(f"{self.indent}{text}\n")
        self.file.flush()

    def plan(self, count, reason=None):
        """`1..count`; a plan of 0 needs a reason, which skips the whole level."""
        self._line(f"1..{count}" + (f" # SKIP {clean(reason)}" if count == 0 else ""))

    def comment(self, text):
        """Lines that a harness ignores and a person reads."""
        for line in str(text).split("\n"):
            self._line(f"# {_printable(line)}".rstrip())

    def subtest(self, title):
        """A nested Writer; its result is reported by `result()` on this one afterwards."""
        self._line(f"# Subtest: {clean(title)}")
        return Writer(self.file, self.indent + "    ", head=False)

    def result(self, ok, title, skip=None, todo=None, diagnosis=None):
        """One test point. `skip` and `todo` are reasons; `diagnosis` is a dict for the YAML block.

        A skipped point is `ok` for TAP's readers, whatever `ok` says, and never counts as passed.
        """
        self.count += 1
        line = f"{'ok' if ok or skip else 'not ok'} {self.count} - {clean(title)}"
        if skip:
            line += f" # SKIP {clean(skip)}"
        elif todo:
            line += f" # TODO {clean(todo)}"
        self._line(line)
        if diagnosis:
            self._line("  ---")
            for text in yaml_lines(diagnosis):
                self._line("  " + text)
            self._line("  ...")
        if not ok and not skip and not todo:
            self.passed = False

    def bail_out(self, reason):
        """The harness has trouble: nothing that follows would mean anything."""
        self._line(f"Bail out! {clean(reason)}")
