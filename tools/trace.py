#!/usr/bin/env python3
"""Exit traces for people: `make trace`, `make tracediff` and `make traces` are this.

    trace.py run TEST --lab N --kernel ZENO.MB --elf ZENO.ELF     stream the exits of a run
    trace.py diff TEST ...                                        and compare them with the reference's
    trace.py references [--check]                                 make grade/traces/ anew

TEST is a guest (hello, tables, ...), an attack of the hostile guest (hostile:call-gate), or a test of
the grader (out-forms; grade:tables, where a guest has the same name). Guests have a reference trace in
grade/traces/. A test of the grader makes a new program each time, from --seed: the reference is run
beside it, where solutions/ is here.

`run` writes build/trace/TEST.jsonl, one JSON object a line, and build/trace/TEST.html. The status is 0;
1 if `diff` found a difference or `references --check` an old file; 2 if something could not be done.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import mkimage
import trace_page
import trouble
from course import CourseError, closure, parse_lab

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

# pylint: disable=wrong-import-position
from zeno.judging import attempt, build, course  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.tracing import trace, tracediff  # noqa: E402
from zeno.judging.trial import Failed, Skipped, Trial, Trouble  # noqa: E402

TRACES = ROOT / "grade" / "traces"
OUT = ROOT / "build" / "trace"
REFERENCES = ["cli", "hello", "sieve", "tables", "crowded", "traps", "hostile:window-write",
              "hostile:call-gate", "hostile:task-gate", "hostile:jump-host-code",
              "hostile:iret-host-code", "hostile:load-host-data", "hostile:syscall",
              "hostile:ports", "hostile:flag-tf", "hostile:gdt-wild", "hostile:gdt-large"]
"""Guests with a reference trace. Their runs do not depend on time."""

LIMITS = machine.Limits(instructions=300_000_000, console_bytes=1 << 20, side_bytes=3 << 20)
REPEATS = 3
"""As many equal exits in a row are told; the others are counted."""


class Unusable(Exception):
    """It can't be done; the text is one line for a person."""


@dataclass
class Traced:
    """A run's trace and all that is known of the run."""

    test: str
    reader: trace.Reader
    elves: list
    remarks: list = field(default_factory=list)
    words: str = ""

    @property
    def life(self):
        """The guest that a comparison is about: the first one."""
        return self.reader.lives[0] if self.reader.lives else trace.Life(0, "?")


# -- what to run --------------------------------------------------------------------------------------


def guests():
    """Names of the guests that make builds."""
    return sorted(path.name for path in (ROOT / "guest").iterdir()
                  if path.name != "lib" and (any(path.glob("*.c")) or any(path.glob("*.asm"))))


def attacks():
    """Names of the hostile guest's attacks."""
    text = (ROOT / "guest" / "hostile" / "attacks.asm").read_text(encoding="utf-8")
    return re.findall(r'^\s*ATTACK\s+"([^"]+)"', text, re.M)


def resolve(test, lab):
    """("guest", name, words) or ("grade", test, "") for what a person typed."""
    kind, _, rest = test.partition(":")
    if kind == "hostile":
        if rest in attacks():
            return "guest", "hostile", f"attack={rest}"
        raise Unusable("say which attack: TEST=hostile:NAME; there are: " + " ".join(attacks()))
    if test in guests():
        return "guest", test, ""
    name = rest if kind == "grade" else test
    if lab is not None:
        try:
            course.load(lab).test(name)
            return "grade", name, ""
        except LookupError:
            pass
    wrong = f"{test!r} is no guest and no test" if test else "say what to trace: TEST=hello"
    lab_words = f", or a test of lab {lab} (grade/grade {lab} --list)" if lab is not None else ""
    raise Unusable(f"{wrong}; there are the guests {' '.join(guests())}, hostile:ATTACK{lab_words}")


def file_name(test):
    """The name that a trace's files have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", test)


# -- running it ---------------------------------------------------------------------------------------


class Printer:
    """Prints events as lines; many equal exits in a row become a few and a count."""

    def __init__(self, out=None):
        self.out = out or sys.stdout
        self.last, self.count = None, 0

    def event(self, event):
        """One event of a Reader."""
        domain, kind, what = event
        if kind == "exit":
            line = f"d{domain} {what.line()}"
            key = domain, what.place, what.line()[6:]
            self.count = self.count + 1 if key == self.last else 1
            if key == self.last and self.count > REPEATS:
                return
            if key != self.last:
                self.flush()
            self.last = key
            self.say(line)
            return
        self.flush()
        if kind == "start":
            self.say(f"d{domain} {what.name} starts")
        elif kind == "int":
            self.say(f"d{domain} {what.line()}")
        elif kind == "out":
            self.say(f"d{domain} prints {json.dumps(what.decode('latin-1'))}")
        else:
            self.say(f"d{domain} {what.name} {what.end[0]}: {what.end[1]}")

    def flush(self):
        """Tell of the equal exits that were not told."""
        if self.last and self.count > REPEATS:
            self.say(f"          ... the same {self.count - REPEATS} times more")
        self.last, self.count = None, 0

    def say(self, line):
        """One line."""
        print(line, file=self.out, flush=True)


class Follower(threading.Thread):
    """Reads the side channel's file while the machine runs."""

    def __init__(self, path, reader, printer):
        super().__init__(daemon=True)
        self.path, self.reader, self.printer = path, reader, printer
        self.over = threading.Event()

    def run(self):
        rest = b""
        with open(self.path, "rb") as file:
            while True:
                last = self.over.is_set()
                data = rest + file.read(1 << 16)
                *lines, rest = data.split(b"\n")
                for line in lines:
                    event = self.reader.feed(line)
                    if event:
                        self.show(event)
                if not lines and last:
                    return
                if not lines:
                    self.over.wait(0.05)

    def show(self, event):
        """Print an event, if anyone still reads that (`| head`)."""
        try:
            self.printer.event(event)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def finish(self):
        """The machine has ended: read to the end of the file."""
        self.over.set()
        self.join()


def undone(text):
    """Lines in which a kernel says that an exercise is not done yet."""
    return list(dict.fromkeys(re.findall(r"exercise \S+ is not done(?: yet)?: see \S+", text)))


def remarks_of(run):
    """What else one should know of a run: it explains more than any exit."""
    found = [f"the kernel says: {line}" for line in undone(run.text())]
    if run.end is not machine.End.SHUTDOWN:
        detail = run.detail.split("; of the last")[0]
        found.append(f"the run's end: {run.end.value}: {detail}")
    found += [f"the kernel says: {line.strip()}" for line in run.text().splitlines()
              if "panic" in line.lower()][:1]
    return found + ([run.explanation] if run.explanation else [])


def setup_of(lab, kernel, cmdline, images, folder):
    """Keywords of machine.start() for a kernel of the lab's, where its tests run and on its CPU."""
    data = course.load(lab)
    where = "qemu" if any("qemu" in one.machines for one in data.tests if one.points and one.exercise != "own-whole") else "bochs"
    if where == "qemu":
        return {"machine": where, "cpu": data.cpu_on(where), "kernel": kernel, "cmdline": cmdline, "icount": True,
                "modules": [(str(image), "") for image in images]}
    boot, disk = Path(folder).parent / "boot", Path(folder) / "trace.img"
    disk.write_bytes(mkimage.make(kernel, cmdline, [(image, image.stem) for image in images], boot / "mbr.bin", boot / "loader.bin"))
    return {"machine": where, "cpu": data.cpu_on(where), "disk": str(disk)}


def run_guest(test, name, words, kernel, elf, folder, printer, lab):
    """Boot the kernel with one guest: Traced."""
    image = Path(folder) / f"{name}.elf"
    for path in (kernel, elf, image):
        if not Path(path).is_file():
            raise Unusable(f"{path} is not there: build it first")
    places = trace.Places([image])
    reader = trace.Reader(places)
    start = f"start {name}" + (f" -- {words}" if words else "")
    live = machine.start(**setup_of(lab, kernel, f"trace=2 -- {start}; off", [image], folder),
                         elf=[elf, str(image)], limits=LIMITS)
    follower = Follower(live.path(live.side_name), reader, printer)
    follower.start()
    try:
        run = live.wait()
    finally:
        follower.finish()
        printer.flush()
    run.cleanup()
    if run.end is machine.End.TROUBLE:
        raise Unusable(f"{run.machine}: {run.detail}")
    return Traced(test, reader, [image], remarks_of(run), words)


class TracingTrial(Trial):
    """A test's Trial whose kernel tells all, and that remembers the guests that it was given."""

    def __init__(self, *words):
        super().__init__(*words)
        self.elves = []

    def setup(self, cmdline, modules=(), elf=(), kernel=None, **more):
        if kernel is None:
            cmdline = re.sub(r"^(trace=\d)?\s*", "trace=2 ", cmdline, count=1)
            more["limits"] = LIMITS
            self.elves = [path for path, _ in modules]
        return super().setup(cmdline, modules, elf, kernel, **more)


def run_test(test, name, lab, kernel, elf, folder, seed, printer):
    """Run a test of the grader: the trace of the last machine in which a guest was started."""
    data = course.load(lab)
    one = data.test(name)
    missing = attempt.pick_machine(one.machines)
    if missing[0] is None:
        raise Unusable(missing[1])
    image = build.Image(True, "", Path(elf), Path(kernel), Path(folder))
    with tempfile.TemporaryDirectory(prefix="zeno-trace-") as scratch:
        trial = TracingTrial(data, one, image, seed, missing[0], scratch)
        remarks = [f"the program is made from seed {seed}: SEED={seed} makes the same again"]
        try:
            attempt.find_check(one.check)(trial)
            remarks.append(f"the test {name} passes with this program")
        except Failed as failed:
            remarks.append(f"the test {name} fails with this program: {failed.why}")
        except (Skipped, Trouble) as reason:
            raise Unusable(str(reason)) from None
        reader = trace.Reader()
        for run in trial.runs:
            places = trace.Places(trial.elves)
            found = trace.read(run.side, places)
            if found.lives:
                reader, remarks = found, remarks + remarks_of(run)
            run.cleanup()
    for event in reader.events:
        printer.event(event)
    printer.flush()
    if not reader.lives:
        raise Unusable(f"the test {name} starts no guest: there is nothing to trace")
    return Traced(test, reader, [], list(dict.fromkeys(remarks)))


def check_options(options):
    """Refuse what can't be, before anything runs."""
    if not re.fullmatch(r"[0-9]{1,10}", options.seed):
        raise Unusable(f"SEED={options.seed}: a seed is a number")
    if not any("vmm" in one.lab.sources for one in closure(parse_lab(options.lab)) if one.files):
        raise Unusable(f"lab {options.lab} has no guests: its kernel is no hypervisor yet")


def run_any(options, printer):
    """Run what the person asked for."""
    check_options(options)
    kind, name, words = resolve(options.test, options.lab)
    if kind == "guest":
        return run_guest(options.test, name, words, options.kernel, options.elf, options.guests,
                         printer, options.lab)
    return run_test(options.test, name, options.lab, options.kernel, options.elf, options.guests,
                    int(options.seed), printer)


def write_files(traced, options, comparison=None, against=None):
    """build/trace/TEST.jsonl and .html; the paths."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    lines, page = (out / f"{file_name(options.test)}.{kind}" for kind in ("jsonl", "html"))
    events = [trace.event_data(event) for event in traced.reader.events]
    head = {"type": "trace", "test": options.test, "lab": options.lab, "remarks": traced.remarks}
    lines.write_text("".join(json.dumps(one) + "\n" for one in [head, *events]), encoding="utf-8")
    page.write_text(trace_page.page(head, events, comparison, against), encoding="utf-8")
    return [os.path.relpath(path) for path in (lines, page)]


# -- the three commands -------------------------------------------------------------------------------


def command_run(options):
    """`make trace`."""
    traced = run_any(options, Printer())
    for line in traced.remarks:
        print(f"# {line}")
    counts = ", ".join(f"d{life.domain} {life.name}: {len(life.exits)} exits"
                       for life in traced.reader.lives) or "no guest was started"
    print(f"# {counts}")
    print("# " + ", ".join(write_files(traced, options)))
    return 0


def reference_of(options):
    """(the reference's Life, exact) for what is compared."""
    kind, name, words = resolve(options.test, options.lab)
    path = TRACES / f"{file_name(options.test)}.trace"
    if kind == "guest" and path.is_file() and course.load(options.lab).cpu_on("qemu") == "te":  # it is te's
        try:
            found = trace.parse_reference(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise Unusable(f"{os.path.relpath(path)}: {error}") from None
        same = found.image == trace.image_hash(Path(options.guests) / f"{name}.elf")
        return found.life, same
    if not (ROOT / "solutions").is_dir():
        there = " ".join(sorted(REFERENCES))
        what = "makes a new program each time" if kind == "grade" else "has no reference trace"
        raise Unusable(f"{options.test} {what}, and the reference solution is not here to run "
                       f"beside yours; there are reference traces of: {there}")
    kernel, elf = build_reference(options.lab)
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        quiet = Printer(nowhere)
        asked = argparse.Namespace(**{**vars(options), "kernel": kernel, "elf": elf})
        return run_any(asked, quiet).life, True


def build_reference(lab):
    """Build the reference solution; (zeno.mb, zeno.elf)."""
    env = {key: value for key, value in os.environ.items()
           if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "REF", "SOLUTION", "VARIANT")}
    done = subprocess.run(["make", "--no-print-directory", f"LAB={lab}", "SOLUTION=1", "REF=",
                           "VARIANT=", "build"], cwd=ROOT, env=env, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise Unusable(f"the reference does not build: {done.stderr.strip()[-400:]}")
    place = ROOT / "build" / f"lab{lab}-solution"
    return str(place / "zeno.mb"), str(place / "zeno.elf")


def command_diff(options):
    """`make tracediff`."""
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        traced = run_any(options, Printer(nowhere))
    life, exact = reference_of(options)
    result = tracediff.compare(life, traced.life, exact)
    for line in tell(traced, result, exact):
        print(line)
    print("# " + ", ".join(write_files(traced, options, result, life)))
    return 1 if result.difference else 0


def tell(traced, result, exact):
    """A Comparison in lines."""
    if not exact:
        yield ("note: your guest's image is not the one of the reference trace (another compiler built "
               "it?): addresses, emulated memory accesses and what it prints are not compared")
    for line in result.notes:
        yield f"note: {line}"
    difference = result.difference
    if not difference:
        rest = "" if traced.life.interrupts else ", output and end" if exact else " and end"
        yield f"{traced.test}: the same {result.same} exits{rest} as the reference"
        if traced.life.interrupts:
            yield ("an interrupt came then: when one comes depends on time, so what is behind it is not "
                   "compared")
        return
    if result.same:
        yield f"{traced.test}: {result.same} of the reference's {result.total} exits are the same, then:"
    else:
        yield f"{traced.test}: the first of the reference's {result.total} exits is another one:"
    if difference.before:
        yield f"  both       {difference.before.line()}"
    if difference.theirs:
        yield f"  reference  {difference.theirs.line()}"
    if difference.mine:
        yield f"  yours      {difference.mine.line()}"
    yield difference.text
    yield from traced.remarks


def command_references(options):
    """`make traces`."""
    kernel, elf = build_reference(1)
    TRACES.mkdir(exist_ok=True)
    stale = []
    for test in options.tests or REFERENCES:
        _, name, words = resolve(test, None)
        with open(os.devnull, "w", encoding="ascii") as nowhere:
            traced = run_guest(test, name, words, kernel, elf, options.guests, Printer(nowhere), 1)
        if not traced.life.exits or not traced.life.end:
            raise Unusable(f"{test}: the reference solution told of no exits, or of no end")
        path = TRACES / f"{file_name(test)}.trace"
        fresh = trace.Reference(traced.life, words, trace.image_hash(traced.elves[0]))
        if options.check:
            stale += [f"{test}: {why}" for why in outdated(path, fresh)]
        elif not path.is_file() or path.read_text(encoding="utf-8") != fresh.text():
            path.write_text(fresh.text(), encoding="utf-8")
            print(f"{os.path.relpath(path)}: {len(traced.life.exits)} exits")
    for line in stale:
        print(line)
    return 1 if stale else 0


def outdated(path, fresh):
    """Why a reference trace is not what the reference does now; with another compiler: as far as can
    be said."""
    if not path.is_file():
        return [f"{os.path.relpath(path)} is not there; `make traces` writes it"]
    old = trace.parse_reference(path.read_text(encoding="utf-8"))
    if old.image == fresh.image:
        return [] if old.text() == fresh.text() else ["it is not what the reference does now; "
                                                      "`make traces` writes it anew"]
    result = tracediff.compare(old.life, fresh.life, exact=False)
    return [f"with another guest image: {result.difference.text}"] if result.difference else []


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "diff"):
        one = commands.add_parser(name)
        one.add_argument("test")
        one.add_argument("--lab", default="1")
        one.add_argument("--kernel", required=True)
        one.add_argument("--elf", required=True)
        one.add_argument("--guests", default=str(ROOT / "build" / "guest"))
        one.add_argument("--out", default=str(OUT))
        one.add_argument("--seed", default="1")
    one = commands.add_parser("references")
    one.add_argument("tests", nargs="*")
    one.add_argument("--check", action="store_true")
    one.add_argument("--guests", default=str(ROOT / "build" / "guest"))
    return parser.parse_args()


def main():
    """Do it."""
    options = parse()
    attempt.add_checks_to_path()
    command = {"run": command_run, "diff": command_diff, "references": command_references}
    try:
        return command[options.command](options)
    except (Unusable, machine.MachineMissing, course.CourseError, CourseError, Trouble) as error:
        print(f"trace: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
