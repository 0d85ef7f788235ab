"""Known mistakes: matches a failure against the symptoms of the lab's mutants.

A mutant is a mistake that students make, kept as a patch in grade/mutants/ (tools/mutants.py has
the format) with lines of words above it:

    symptom: a regular expression that a failure's text matches
    hint:    what to look at, in one or two sentences

Where the mutants are not (a student's export), their symptoms and hints may stand in
grade/hints/labN.toml instead; the patches themselves would give the answers away.
"""

import re
import string
import tomllib
from pathlib import Path

from .tools import ROOT, tool


def load(lab, root=ROOT):
    """[{exercise, symptom, hint}] of a lab: from the mutants, or from the hints of an export."""
    data = Path(root) / "grade" / "hints" / f"lab{lab.number}.toml"
    if data.is_file():
        return tomllib.loads(data.read_text()).get("hints", [])
    if not (Path(root) / "tools" / "mutants.py").is_file() or not (Path(root) / "grade" / "mutants").is_dir():
        return []
    mutants = tool("mutants", root)
    return [{"name": one.name, "exercise": one.exercise, "symptom": one.symptom, "hint": one.hint}
            for one in mutants.load_all(Path(root), lab.number)]


GAPS, WHERE = 8, 100
"""How many other exercises are told of, and characters of where to read."""
LAST_WORDS = 3
"""Lines at a console's end: what stands there nothing came behind."""


def undone_words(exercise):
    """What a kernel prints, and a failure begins with, where an exercise is as it was handed out."""
    return f"exercise {exercise} is not done yet"


def undone_other(texts, exercise):
    """The other exercise of this one's lab that ended a kernel's guest, or its last words, because it is not done; or "".

    What a kernel says of other labs it says in any build of this one, and a gap that it goes on behind explains nothing.
    """
    lab, found = re.escape(exercise.rpartition(".")[0]), []
    for text in texts:
        lines = text.splitlines()
        found += re.findall(rf"exercise ({lab}\.\d+) is not done \[", "\n".join(line.partition("stopped: ")[2] for line in lines))
        found += re.findall(rf"exercise ({lab}\.\d+) is not done yet", "\n".join(lines[-LAST_WORDS:]))
    return "" if not found or exercise in found else found[0]


def gaps(texts, exercise):
    """What a kernel, or a guest of it, said of other exercises of the lab that it came to, and that are not done: what fails may be one of them."""
    lab = re.escape(exercise.rpartition(".")[0])
    found = {one for text in texts for one in re.findall(rf"^(?:[a-z][\w-]*\| )*exercise ({lab}\.\d+) is not done yet: (see \S+)", text, re.M)}
    return [f"on the way it came to exercise {other}, which is not done: what fails may be that ({where})"
            for other, where in sorted(found) if other != exercise and len(where) < WHERE][:GAPS]


def text_of(verdict):
    """All words of a failure, in one string for matching."""
    parts = [f"{verdict.test}:", verdict.reason, verdict.expected, verdict.got, verdict.console,
             verdict.explanation, *verdict.exits, *verdict.notes]
    return "\n".join(part for part in parts if part)


def matches(symptom, text):
    """True if the symptom, a regular expression or plain words, is in the text."""
    flat = " ".join(text.split())
    try:
        return re.search(symptom, flat, re.IGNORECASE) is not None
    except re.error:
        return " ".join(symptom.split()).lower() in flat.lower()


REFUSED = re.compile(r"the VMCS is refused \([^)]*\): ([^=:\n]+) = |the CPU refuses the VMCB: ([^=:\n]+) = |"
                     r"yours are not written \((exercise [^)]*)\)")
"""A guest's end by a rule of VM entries, or of VMRUN, and its field, or the exercise that has the rules."""


def broken_rule(text):
    """The command that tells what is likely behind a rule that was broken; or None."""
    found = REFUSED.search(text)
    return f'make hint RULE="{found[1] or found[2] or found[3]}"' if found else None


def explainer(lab, root=ROOT):
    """A function verdict -> {"known mistake": [...]} for the report."""
    known = load(lab, root)
    hints_of = tool("hint", root).of_lab(Path(root), lab)

    def hint(verdict):
        """The command that opens a hint of the verdict's exercise, or asks which of its pieces is meant; or None.

        A test sees what an exercise does, and not in which of its pieces the mistake is.
        """
        there = any(ident.rstrip(string.ascii_lowercase) == verdict.exercise for ident in hints_of)
        return f"make hint EX={verdict.exercise}" if there else None

    def explain(verdict):
        if verdict.reason.startswith(undone_words(verdict.exercise)):  # then it looks like nothing
            return {"where to begin": hint(verdict)} if hint(verdict) else {}
        text = text_of(verdict)
        hints = [one["hint"] for one in known
                 if one.get("exercise", verdict.exercise) == verdict.exercise
                 and matches(one["symptom"], text)]
        found = {"known mistakes that look like this": list(dict.fromkeys(hints))[:4]
                 or ["none of the known mistakes looks like this"]}
        if broken_rule(text):
            found["what may be behind the rule"] = broken_rule(text)
        if hint(verdict):
            found["and if that does not help"] = hint(verdict)
        return found

    return explain
