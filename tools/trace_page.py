"""The page that `make trace` writes: one HTML file that needs nothing but a browser.

tools/trace_page.html is the page; its data are put where it says DATA.
"""

import html
import json
from dataclasses import asdict
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent / "trace_page.html"
MOST = 20_000
"""A run that goes on for ever has more exits than anyone will look at."""


def script_data(value):
    """JSON that can stand inside of <script>, whatever a guest printed."""
    text = json.dumps(value, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def kept(events):
    """The events up to the last exit that is shown, then only starts and ends; and how many exits."""
    count, chosen = 0, []
    for event in events:
        if event["type"] == "exit":
            count += 1
            if count > MOST:
                continue
        elif event["type"] in ("out", "int") and count > MOST:
            continue
        chosen.append(event)
    return chosen, count


def page(head, events, comparison=None, against=None):
    """The page's text. `comparison` and `against` (the reference's Life) mark where traces part."""
    chosen, count = kept(events)
    data = {"head": head, "events": chosen, "exits": count, "diff": None}
    if comparison is not None:
        data["diff"] = {"same": comparison.same, "total": comparison.total,
                        "notes": comparison.notes, **difference(comparison.difference, against)}
    text = TEMPLATE.read_text(encoding="utf-8")
    return (text.replace("<title>TITLE<", f"<title>{html.escape('Exits of ' + head['test'])}<")
            .replace(">DATA<", f">{script_data(data)}<"))


def difference(found, against):
    """A Difference as data: the words, the exit of this run that it is about, the reference's record."""
    if not found:
        return {"text": "", "exit": None, "theirs": None}
    mine = found.mine or found.before
    theirs = found.theirs and {**asdict(found.theirs), "trap": found.theirs.trap,
                               "done": found.theirs.done}
    return {"text": found.text, "exit": mine.seq if mine else None, "theirs": theirs,
            "guest": against.name if against else ""}
