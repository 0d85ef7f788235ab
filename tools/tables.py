"""The tables of the handouts that are made: from the labs' data files, from the mutants, from the tests."""

import re
import sys
import tomllib

import mutants
from course import NUMBER, ROOT, number_of

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import course  # noqa: E402


class Stale(Exception):
    """Something in a handout can't be made again; the text says why."""


def lab_data(words):
    """A lab's data file: `1`, or what one half has of it: `1B`."""
    number, half = re.fullmatch(rf"({NUMBER})([A-Z]?)", words).groups()
    data = tomllib.loads((ROOT / f"grade/labs/{number}.toml").read_text())
    if half:
        data["exercises"] = [one for one in data["exercises"] if one["half"] == half]
        here = {"", *(one["id"] for one in data["exercises"])}
        data["tests"] = [one for one in data["tests"] if one["exercise"] in here]
        data["rewards"] = [one for one in data.get("rewards", []) if one["half"] == half]
    return data


def row(*cells):
    """One row of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def rule(*widths):
    """The line below a table's head; pandoc takes the columns' widths from it."""
    return "|" + "|".join("-" * width for width in widths) + "|"


def anchor(exercise):
    """1.3 -> #ex-1-3"""
    return "#ex-" + exercise.replace(".", "-")


def points_of(data, exercise):
    """What an exercise's tests carry."""
    return sum(one["points"] for one in data["tests"] if one["exercise"] == exercise)


def made_exercises(words):
    """Hours, difficulty and points."""
    data = lab_data(words)
    lines = [row("exercise", "hours", "difficulty", "points", "it is about"), rule(34, 8, 13, 8, 22)]
    for one in data["exercises"]:
        lines.append(row(f"[{one['id']} {one['title']}]({anchor(one['id'])})", one["hours"],
                         one["difficulty"], points_of(data, one["id"]), one["property"]))
    total = sum(one["hours"] for one in data["exercises"])
    return lines + [row("all", total, "", sum(t["points"] for t in data["tests"]), "")]


def made_tests(words):
    """What the grader checks, by which evidence."""
    data = lab_data(words)
    lines = [row("test", "exercise", "points", "what it checks", "evidence"), rule(20, 9, 8, 42, 21)]
    for one in data["tests"]:
        evidence = one["evidence"] + (", hostile guest" if one.get("hostile") else "")
        evidence += "".join(f", {m} only" for m in one.get("machines", [])) + ", no points" * one.get("other", False)
        lines.append(row(f"`{one['name']}`", one["exercise"] or "-", one["points"], one["title"], evidence))
    points = sum(one["points"] for one in data["tests"])
    lines.append(row(f"`{course.WHOLE}`", "all", course.whole_points(points), course.WHOLE_TITLE, "witnessed"))
    return lines + [row(f"`{one['name']}`", "all", f"{one['points']} more", one["title"], f"{one['evidence']}, a reward")
                    for one in data.get("rewards", [])]


def symptom_words(pattern):
    """A mutant's regular expression as words for a person."""
    return ", ".join(re.sub(r"\.\*", " ... ", re.sub(r"[\\^$]", "", word)) for word in pattern.split("|"))


def made_symptoms(words):
    """The mistakes that the mutants make, by exercise: `4A`, or `4A lab4a.md` on a page beside the handout."""
    words, _, page = words.partition(" ")
    lines = [row("exercise", "what you see speaks of", "what it often means"), rule(9, 31, 60)]
    told = {one["id"] for one in lab_data(words)["exercises"]}
    for one in mutants.load_all(ROOT, number_of(re.match(NUMBER, words)[0])):
        if one.exercise not in told:
            continue
        lines.append(row(f"[{one.exercise}]({page}{anchor(one.exercise)})", symptom_words(one.symptom), one.hint))
    return lines


def made_attacks(_):
    """What becomes of each attack of guest/hostile."""
    data = tomllib.loads((ROOT / "tests/te/attacks.toml").read_text())
    lines = [row("`attack=`", "what becomes of it"), rule(24, 76)]
    for name, one in data.items():
        fate = "no effect; the guest goes on" if one.get("harmless") else f"stopped: `{one['stopped']}`"
        if one.get("qemu"):
            fate += f"; on QEMU: `{one['qemu']}`"
        if one.get("qemu_gap"):
            fate += f"; **not contained on QEMU**: {one['qemu_gap']}"
        lines.append(row(f"`{name}`", fate))
    return lines


def made_cheats(_):
    """The cheats that are known to succeed, from the tests that show it."""
    lines = [row("cheat", "what it does", "lab", "what it earns"), rule(22, 40, 6, 32)]
    for path in sorted((ROOT / "tests/cheats").glob("known-*/cheat.toml")):
        one = tomllib.loads(path.read_text())
        earns = f"{one['earns']} points of " + ", ".join(f"`{test}`" for test in one["tests"])
        lines.append(row(f"`{path.parent.name}`", one["what"], one["lab"], earns))
    return lines


def ends_in_words(places):
    """[(fault, words)]: what ends a kernel in these words, and gives a program that fault: the calls of exit_limit()."""
    call = re.compile(r'\bexit_limit\(\s*v, e, VEC_(\w+),\s*[^"]*?"(?:[^"]*",\s*(?:/\*.*?\*/\s*)?")?([^"]+)"', re.S)
    found = []
    for path in (path for place in places for path in sorted((ROOT / place).rglob("*.c"))):
        text = path.read_text()
        found += (there := call.findall(text))
        if len(there) != len(re.findall(r"\breturn exit_limit\(", text)):
            raise Stale(f"{path.relative_to(ROOT)}: a call of exit_limit() whose fault or words are not to be seen")
    return list(dict.fromkeys((fault, re.sub(r"%[0-9l]*[sxu]", "...", words)) for fault, words in found))


def made_limits(which):
    """What a guest is refused, or has without effect: the lists of vmm/words/limits.h; and what ends a kernel, but no program."""
    if which.startswith("ends "):
        lines = [row("the line that ends a kernel", "what a program gets"), rule(80, 20)]
        return lines + [row(f"`{words}`", f"#{fault}") for fault, words in ends_in_words(which.split()[1:])]
    text = (ROOT / "vmm/words/limits.h").read_text().replace("\\\n", " ")
    if which == "refused":
        lines = [row("the guest", "the line that ends it"), rule(40, 60)]
        return lines + [row(does, f"`{words}`") for _, does, words in
                        re.findall(r'\bLIMIT\((\w+),\s*"([^"]*)",\s*"([^"]*)"\)', text)]
    lines = [row("bit", "why nothing comes of it"), rule(12, 60)]
    return lines + [row(name.replace("_", "."), why) for name, why in
                    re.findall(r'\bNO_EFFECT\((\w+),\s*"([^"]*)"\)', text)]


MAKERS = {"limits": made_limits, "exercises": made_exercises, "tests": made_tests, "symptoms": made_symptoms,
          "attacks": made_attacks, "cheats": made_cheats}


def make_table(words):
    """The lines of a made table."""
    kind, _, argument = words.partition(" ")
    if kind not in MAKERS:
        raise Stale(f"made: {kind}: there are {', '.join(MAKERS)}")
    return MAKERS[kind](argument)
