"""Exercise regions: the one parser that the generator, `update`, REF= and the grader share.

A region is a run of whole lines. In C:

        /*
         * EXERCISE 1.2: what to do; the manual's section.
         * until then: return STOP;
         */
        ... the body ...
        /* END EXERCISE 1.2 */

in NASM the same with `;` before each line of the comment, in text files with `#`. An id is N.k (4s.k in the AMD-V
flavour of Lab 4), and never changes its meaning. An exercise with several regions gives them letters (1.5a, 1.5b). N.0 is
the students' own space, one in each file.

The comment is the exercise's contract: four labelled lines, which may go on below, and up to three hints, which
`make hint` shows and the skeleton lacks (course.toml may say otherwise):

        /*
         * EXERCISE 1.2: its name
         * Holds: what is true afterwards.
         * Beware: for whom, and what may not be assumed.
         * Manual: sections by title.
         * Tools: names(), of Zeno's own, in alphabetical order; one of them is not needed.
         * Hint: a question.
         * Hint: the idea, with a smaller case.
         * Hint: another case, worked.
         * until then: return STOP;
         */

Labs 0A to 3 still have the older form, whose text follows `EXERCISE 1.2:` without labels.

`until then:` is for the skeleton: what must follow the call of exercise_todo() so that it compiles.
Several lines of it stand below a line that holds `until then:` alone, or each has its own (in NASM
always). It comes last in the comment.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

from course import EXERCISE, number_of

ID = re.compile(rf"{EXERCISE}([a-z]?)\Z")
WORD = re.compile(r"\bEXERCISE\b")
LABELS = ("Holds", "Beware", "Manual", "Tools")
HINT = "Hint"
HINTS_MAX = 3
LINE_COMMENT = {".asm": ";", ".inc": ";", ".txt": "#"}
"""Files whose comments are lines; in all others they are /* */."""


class RegionError(Exception):
    """A region that is not as it must be; the text starts with file:line."""


@dataclass
class Region:
    """One region. Line numbers count from 0; `lines[body_start:end]` of its file is the body."""

    id: str
    lab: int | str
    """The lab's number, as course.number_of() has it."""
    number: int
    letter: str
    start: int
    body_start: int
    end: int
    indent: str
    comment: list
    """The comment as the skeleton shows it: without `until then` and hints."""
    until: list
    """The lines for the skeleton, without indentation."""
    body: list
    contract: dict
    """{label: text} of the labelled lines; empty for the older form."""
    hints: list
    """The hints' texts, from the mildest on."""
    inline: list
    """The comment with its hints."""

    @property
    def exercise(self):
        """The exercise that it belongs to: 1.5 for 1.5a."""
        return f"{self.lab}.{self.number}"

    @property
    def free(self):
        """True for the students' own space."""
        return self.number == 0


def split(text):
    """Lines without their ends; CR LF counts as an end, as Windows editors write it."""
    return text.replace("\r\n", "\n").split("\n")


class _Parser:
    """Walks over the lines of one file."""

    def __init__(self, text, name):
        self.lines = split(text)
        self.name = name
        self.mark = LINE_COMMENT.get(PurePath(name).suffix)
        self.regions = []

    def fail(self, index, message):
        raise RegionError(f"{self.name}:{index + 1}: {message}")

    def parse(self):
        i = 0
        while i < len(self.lines):
            if not WORD.search(self.lines[i]):
                i += 1
            elif (region := self.begin(i)) is None:
                self.fail(i, "the word EXERCISE stands where no region starts")
            else:
                self.regions.append(region)
                i = region.end + 1
        self.check_ids()
        return self.regions

    def check_ids(self):
        seen = {}
        for region in self.regions:
            if region.id in seen:
                self.fail(region.start, f"EXERCISE {region.id} is in line {seen[region.id] + 1} too")
            seen[region.id] = region.start

    def comment_text(self, line):
        """What a comment's line says, or None if the line is no comment of its own."""
        text = line.strip()
        if self.mark:
            return text[1:].strip() if text.startswith(self.mark) else None
        if text.startswith("/*"):
            text = text[2:]
        elif text.startswith("*") and not text.startswith("*/"):
            text = text[1:]
        return text.removesuffix("*/").strip()

    def begin(self, i):
        """The region whose first EXERCISE line is line i, or None."""
        text = self.comment_text(self.lines[i])
        if text is None:
            return None
        if re.match(r"END\s+EXERCISE\b", text):
            self.fail(i, f"`{text}` ends a region that never started")
        found = re.match(r"EXERCISE\s+([^\s:]*)\s*:", text)
        if not found:
            return None
        ident = ID.match(found[1])
        if not ident:
            self.fail(i, f"{found[1]!r} is no id of an exercise: it looks like 1.2 or 1.2a")
        start, body = self.line_comment(i) if self.mark else self.block_comment(i)
        end = self.find_end(body, i, found[1])
        inline, until = self.split_until(start, body)
        labelled = self.labelled(inline, start)
        hints = [words for label, words, _ in labelled if label == HINT]
        if len(hints) > HINTS_MAX:
            self.fail(start, f"EXERCISE {found[1]} has more than {HINTS_MAX} hints")
        contract = {label: words for label, words, _ in labelled if label != HINT}
        if contract and tuple(contract) != LABELS:
            self.fail(start, f"a contract's lines are {', '.join(LABELS)}, in this order, then hints")
        first = next((at for label, _, at in labelled if label == HINT), None)
        comment = inline
        if first is not None:
            comment = inline[:first] if self.mark else self.close_comment(inline[:first])
        indent = re.match(r"[ \t]*", self.lines[start])[0]
        return Region(found[1], number_of(ident[1]), int(ident[2]), ident[3], start, body, end, indent,
                      comment, until, self.lines[body:end], contract, hints, inline)

    def labelled(self, comment, start):
        """[(label, text, line in the comment)] of a comment's labelled lines."""
        found = []
        for at, line in enumerate(comment):
            text = self.comment_text(line) or ""
            label = re.match(r"(\w+): (.*)", text)
            if label and label[1] in (*LABELS, HINT):
                if label[1] != HINT and any(label[1] == one[0] for one in found):
                    self.fail(start + at, f"`{label[1]}:` stands here twice")
                found.append((label[1], [label[2]], at))
            elif found and text:
                found[-1][1].append(text)
        return [(label, " ".join(words), at) for label, words, at in found]

    def line_comment(self, i):
        """The comment ends before the first other line, and after its last `until then`."""
        j = i + 1
        while j < len(self.lines) and self.comment_text(self.lines[j]) is not None:
            text = self.comment_text(self.lines[j])
            if re.match(r"END\s+EXERCISE\b", text) or (
                    self.until_text(j - 1) is not None and self.until_text(j) is None):
                break
            if WORD.search(text):
                self.fail(j, f"`{text}` inside of EXERCISE in line {i + 1}")
            j += 1
        return i, j

    def block_comment(self, i):
        start = i
        if "/*" not in self.lines[i]:
            start = i - 1
            if start < 0 or self.lines[start].strip() != "/*":
                self.fail(i, "EXERCISE must be the first words of its comment")
        elif not self.lines[i].strip().startswith("/*"):
            self.fail(i, "a region starts at a line of its own")
        j = i
        while "*/" not in self.lines[j]:
            j += 1
            if j == len(self.lines):
                self.fail(i, "this comment never ends")
            if WORD.search(self.lines[j]):
                self.fail(j, f"another EXERCISE in the comment that starts in line {start + 1}")
        if not self.lines[j].rstrip().endswith("*/"):
            self.fail(j, "nothing may follow the comment in its last line")
        return start, j + 1

    def find_end(self, body, i, ident):
        for j in range(body, len(self.lines)):
            if not WORD.search(self.lines[j]):
                continue
            line = self.lines[j].strip()
            text = self.comment_text(line) or ""
            whole = self.mark or (line.startswith("/*") and line.endswith("*/"))
            if not re.match(r"END\b", text):
                self.fail(j, f"EXERCISE {ident} of line {i + 1} has not ended yet")
            if not whole or not re.fullmatch(r"END\s+EXERCISE\s+\S+", text):
                self.fail(j, "the end of a region is a line of its own: END EXERCISE N.k")
            if text.split()[2] != ident:
                self.fail(j, f"`{text}` ends EXERCISE {ident} of line {i + 1}")
            return j
        return self.fail(i, f"EXERCISE {ident} never ends")

    def until_text(self, i):
        text = self.comment_text(self.lines[i])
        found = re.match(r"until then:(.*)", text or "")
        return found[1].strip() if found else None

    def split_until(self, start, body):
        """The comment's lines without `until then`, and the lines that those meant."""
        first = next((j for j in range(start, body) if self.until_text(j) is not None), None)
        if first is None:
            return self.lines[start:body], []
        comment = self.lines[start:first]
        if self.mark:
            return comment, [self.until_text(j) for j in range(first, body)]
        until = [self.until_text(first)] if self.until_text(first) else []
        for j in range(first + 1, body):
            text = re.sub(r"^\s*\*?(?!/) ?", "", self.lines[j].replace("*/", "").rstrip())
            text = re.sub(r"^until then: ?", "", text)
            if text.strip():
                until.append(text)
        if not until:
            self.fail(first, "`until then:` says nothing")
        until[-1] = until[-1].removesuffix("*/").rstrip()
        if len(until) == 1:
            until = statements(until[0].replace("*/", "").strip())
        return self.close_comment(comment), until

    def close_comment(self, comment):
        """End the comment, whose last line may have been an `until then`."""
        indent = re.match(r"[ \t]*", comment[0])[0]
        if comment[0].strip() != "/*" and len(comment) == 1:
            return [comment[0].rstrip() + " */"]
        return comment + [indent + " */"]


def statements(text):
    """C statements in one line as lines: cut after each `;` outside of brackets and strings."""
    found, depth, quoted, begin = [], 0, "", 0
    for i, c in enumerate(text):
        if quoted:
            quoted = "" if c == quoted and text[i - 1] != "\\" else quoted
        elif c in "\"'":
            quoted = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == ";" and depth == 0:
            found.append(text[begin:i + 1].strip())
            begin = i + 1
    return found + ([text[begin:].strip()] if text[begin:].strip() else [])


def parse(text, name):
    """The regions of a file, in order. RegionError names the place of what is wrong."""
    return _Parser(text, str(name)).parse()


def with_bodies(text, regions, bodies):
    """The file with other bodies: {id: lines}. Regions that are not named keep theirs."""
    lines = split(text)
    for region in reversed(regions):
        if region.id in bodies:
            lines[region.body_start:region.end] = bodies[region.id]
    return "\n".join(lines)


def scaffold(text, regions):
    """The file without its bodies: what is not the student's."""
    return with_bodies(text, regions, {region.id: [] for region in regions})


def todo_of(region, name, handout):
    """The line that says at run time that the region is still a hole."""
    where = f"{handout}#ex-{region.lab}-{region.number}"
    if PurePath(name).suffix == ".asm":
        return f'EXERCISE_TODO {region.lab}, {region.number}, "{where}"'
    return f'exercise_todo("{region.exercise}", "{where}");'


def is_open(region):
    """True while the region still says that it is not done: it holds its own todo."""
    text = "\n".join(region.body)
    return bool(re.search(rf'\bexercise_todo\s*\(\s*"{re.escape(region.exercise)}"', text)
                or re.search(rf"\bEXERCISE_TODO\s+{region.lab}\s*,\s*{region.number}\b", text))
