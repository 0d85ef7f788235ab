"""Lab 9: a disk that another domain has.

Witnessed: the student's functions by themselves, called in the guest that has them, where it stands at its first line: the grader is
the store, the grants and the other end there. And guests with the student's ends beside the reference's other end, of which what
the reference's has seen counts: nobody believes what a guest says that has a line of the student's in it.
"""

import dataclasses
import re
import struct

from zeno.judging import evidence, headers
from zeno.judging.tools import tool
from zeno.machines import machine

from . import lab9made
from .lab4 import return_with
from .lab6a import Enough

LIMITS = machine.Limits(instructions=6_000_000_000, console_bytes=1 << 20, side_bytes=16 << 20, cpu_seconds=60)
NEAR = machine.Limits(instructions=800_000_000, console_bytes=1 << 20, side_bytes=16 << 20, cpu_seconds=40)
"""Of a guest whose functions are called at its first line: most of it is Zeno's boot."""
AWAKE = dataclasses.replace(LIMITS, halts=1500)
"""For a dom0 of the student's, at whose debugger nothing ends a machine that only waits: such a run sleeps 170 times at most."""
STATES = ("Unknown", "Initialising", "InitWait", "Initialised", "Connected", "Closing", "Closed", "Reconfiguring", "Reconfigured")
UNKNOWN, INITIALISING, INIT_WAIT, INITIALISED, CONNECTED, CLOSING, CLOSED = range(7)
(FRONT, BACK, WAIT, BEGIN, PUBLISH, CONNECT, CLOSE) = headers.numbers(("guest/pv/drivers/states.h",), (
    "FRONT", "BACK", "STEP_WAIT", "STEP_BEGIN", "STEP_PUBLISH", "STEP_CONNECT", "STEP_CLOSE"))
STEPS = {WAIT: "waits", BEGIN: "begins", PUBLISH: "publishes a ring", CONNECT: "connects", CLOSE: "closes"}
REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
KEPT = ("rbx", "rbp", "r12", "r13", "r14", "r15")
"""Whoever calls finds these as they were (System V ABI, AMD64 supplement, 3.2.1): they lie on the stack meanwhile."""
UNUSED = {"pv-disk": "kept", "dom0": "heap"}
"""What is large in a guest, and not in use at its first line."""
STAINED = 0x1000
"""Bytes of stack."""
STOPS = 4000
"""At what is done here, in one call: behind so many it is one that does not come back."""


# -- a guest's functions by themselves ---------------------------------------------------------------------


class Guest:
    """The student's functions in pv-disk, or in dom0, that stands at its first line. Nothing in it has run."""

    doing = ""
    """What a function is called with, in words, for one that does not come back."""

    def __init__(self, t, client, symbols, name):
        self.t, self.client, self.symbols = t, client, symbols
        self.back, room = self.at("guest_main"), self.at(UNUSED[name])
        self.stack, self.room = room + 0x8000, room + 0x8000
        """Memory of the guest's that is nobody's: the stack goes down from there, and other things go up."""
        self.points = set()

    def stain(self):
        """What a function of the student's leaves unwritten has these bytes, not zeros that nobody has put there."""
        self.client.write(self.stack - STAINED, self.t.rng.randbytes(STAINED - 8))

    def keep(self, *names):
        """Stop at these functions in all calls: they are always among `instead` then."""
        for point in map(self.at, names):
            self.client.insert(point)
            self.points.add(point)

    def at(self, name):
        """A symbol's address."""
        try:
            return self.symbols.address(name)
        except KeyError:
            self.t.fail(f"the guest has no function {name}(): is it still there, and not static?", f"a function {name}", "none")
        except evidence.Ambiguous as error:
            self.t.fail(str(error))

    def call(self, name, *args, instead=None, seen=None, keeps=False):
        """What it gives back, in rax. `instead`: {another function: what is done here at a call of it, by the registers: its result, or
        None for 0}. `seen`: is called where it has touched what is watched. `keeps`: its caller's registers are looked at, too."""
        client, stands_in = self.client, {self.at(other): done for other, done in (instead or {}).items()}
        client.write(self.stack - 8, struct.pack("<Q", self.back))
        for register, value in zip(("rsp", "rip", *REGISTERS), (self.stack - 8, self.at(name), *args)):
            client.set_reg(register, value & (1 << 64) - 1)
        kept = {register: self.t.rng.getrandbits(64) for register in KEPT if keeps}
        for register, value in kept.items():
            client.set_reg(register, value)
        new = [point for point in stands_in if point not in self.points]
        for point in new:
            client.insert(point)
        try:
            for _ in range(STOPS):
                client.cont()
                regs = client.regs()
                if regs["rip"] == self.back:
                    break
                if regs["rip"] not in stands_in:
                    if not seen:
                        break
                    seen()
                    continue
                return_with(client, regs, (stands_in[regs["rip"]](regs) or 0) & (1 << 64) - 1)
                regs = client.regs()
                if regs["rip"] == self.back:
                    break
        finally:
            for point in new:
                client.remove(point)
        what = f" ({self.doing})" * bool(self.doing)
        self.t.check(regs["rip"] == self.back, f"{name}(){what} does not come back: it gets no further, or returns to where nobody called it", "it returns", f"rip {regs['rip']:x}")
        other = [register for register, value in kept.items() if regs[register] != value]
        self.t.check(not other, f"{name}(){what} has written over its caller's registers, which lie on the stack: is something there longer than its room?",
                     "they are as they were", f"other ones in {', '.join(other)}")
        return regs["rax"]


def within(t, look, name="pv-disk", make=Guest):
    """look(guest), of that kind, where a guest of the student's stands at its first line."""
    elf, seen = t.image.own / f"{name}.elf", []
    symbols = evidence.Symbols(elf)

    def see(client, _regs):
        for port in (0x21, 0xA1):
            client.monitor(f"o /b {port:#x} 0xff")
        seen.append("begun")
        look(make(t, client, symbols, name))
        seen.append("done")
        raise Enough

    try:
        t.witness(f"panic=off -- start {name} mem=24; off", {symbols.address("guest_main"): see}, modules=[(elf, "")], elf=[elf], limits=NEAR)
    except Enough:
        pass
    t.check(seen, f"{name} does not start", "it comes to its first line", "it does not")
    t.check("done" in seen, f"a function of {name}'s does not come back: it gets no further", "it returns", "it runs on and on")


# -- 9.1: how two ends come together -----------------------------------------------------------------------


def pair(front, back):
    """Two states in words."""
    return f"{front}/{back} (front end {STATES[front]}, back end {STATES[back]})"


class Board:
    """What each end does in each state, as its function says, and what becomes of both then."""

    def __init__(self, t, guest):
        self.t = t
        self.step = {(end, mine, other): guest.call("state_step", end, mine, other) & 0xFFFFFFFF
                     for end in (FRONT, BACK) for mine in range(9) for other in range(9)}
        for (end, mine, other), step in self.step.items():
            t.check(step in STEPS, f"{self.words(end, mine, other)}: it does something that is no step", "one of states.h's steps", step)
        steps = {(end, step, mine) for (end, mine, _), step in self.step.items()}
        self.then = {key: guest.call("state_after", *key) & 0xFFFFFFFF for key in sorted(steps)}

    @staticmethod
    def words(end, mine, other):
        """Where one stands."""
        return f"a {'front' if end == FRONT else 'back'} end in {STATES[mine]}, whose other end is in {STATES[other]}"

    def moves(self, front, back):
        """Where the one, or the other one, goes from there."""
        f, b = self.step[FRONT, front, back], self.step[BACK, back, front]
        if f != WAIT:
            yield self.then[FRONT, f, front], back
        if b != WAIT:
            yield front, self.then[BACK, b, back]

    def reach(self, *starts, kills=False):
        """{a pair that is come to: by which way}, in any order of turns. `kills`: either may be another one, which has just begun."""
        found, todo = {start: [start] for start in starts}, list(starts)
        while todo:
            one = todo.pop(0)
            more = list(self.moves(*one)) + ([(INITIALISING, one[1]), (one[0], INITIALISING)] if kills else [])
            for then in more:
                if then not in found:
                    found[then] = [*found[one], then]
                    todo.append(then)
        return found

    def must(self, start, wanted, why):
        """Both come to rest, and in these states, whoever has his turn when."""
        way, found = " ", self.reach(start)
        for one, way in found.items():
            if list(self.moves(*one)):
                continue
            self.t.check(one in wanted, f"{why}: from {pair(*start)} two ends come to rest in another place, by the way "
                         + ", ".join(f"{f}/{b}" for f, b in way), " or ".join(pair(*w) for w in sorted(wanted)), pair(*one))
        for one, way in found.items():
            self.t.check(any(not list(self.moves(*then)) for then in self.reach(one)), f"{why}: from {pair(*one)} two ends never come to rest",
                         " or ".join(pair(*w) for w in sorted(wanted)), "by the way " + ", ".join(f"{f}/{b}" for f, b in way))

    def does(self, end, mine, other, steps, why):
        """One end, one pair."""
        step = self.step[end, mine, other]
        self.t.check(step in steps, f"{self.words(end, mine, other)}: {why}", "it " + " or ".join(STEPS[one] for one in steps), f"it {STEPS[step]}")


def played(t):
    """Both ends' function in all states, and what becomes of two ends that go by it, either of which dies at each step."""
    def look(guest):
        board = Board(t, guest)
        for other in range(9):
            board.does(FRONT, INITIALISING, other, [PUBLISH] if other == INIT_WAIT else [WAIT], "a ring is published to who waits for one, and only to it")
            board.does(BACK, INIT_WAIT, other, [CONNECT] if other == INITIALISED else [WAIT], "a ring is taken from who has published one, and only from it")
            for mine in (CONNECTED, INITIALISED, CLOSING, CLOSED):
                takes = mine == INITIALISED and other == CONNECTED
                board.does(FRONT, mine, other, [CONNECT] if takes else [WAIT, BEGIN, CLOSE], "it is connected when its back end is, and not before")
                board.does(BACK, mine, other, [WAIT, BEGIN, CLOSE], "it has been given no ring")
        for one in board.reach((INITIALISING, INITIALISING), kills=True):
            board.must(one, {(CONNECTED, CONNECTED)}, "two ends that want to come together, of which either may be another one at any time")
        for other in range(1, 7):
            board.must((INITIALISING, other), {(CONNECTED, CONNECTED)}, "a front end that begins anew")
            if other != CLOSING:
                board.must((other, INITIALISING), {(CONNECTED, CONNECTED)}, "a back end that begins anew")
        for end, mine in ((FRONT, INITIALISED), (FRONT, CONNECTED), (FRONT, CLOSING), (BACK, CONNECTED), (BACK, CLOSING)):
            steps = [CLOSE] if mine == CLOSING else [CLOSE, BEGIN]
            board.does(end, mine, UNKNOWN, steps, "its other end has gone, and nobody else lets go of what it has")
        for front, back in ((CLOSING, CONNECTED), (CONNECTED, CLOSING), (CLOSING, CLOSING)):
            board.must((front, back), {(CLOSED, CLOSED)}, "two ends of which one wants to part")
        for other in (CONNECTED, CLOSING):
            board.does(BACK, CLOSING, other, [WAIT], "its front end may have requests on the ring still")
        board.does(FRONT, CLOSING, CONNECTED, [WAIT], "its back end has the ring still")
        for end in (FRONT, BACK):
            for other in (UNKNOWN, CLOSING, CLOSED):
                board.does(end, CLOSED, other, [WAIT], "there is nobody to begin with")
            board.does(end, UNKNOWN, INITIALISING, [BEGIN], "it has not begun")

    within(t, look)


# -- two domains, of which one has the reference's end -----------------------------------------------------


PROMPT = "0# "
ENDS = (PROMPT, "")
"""Behind a command that makes a domain: the prompt that comes when it has ended."""


def typed(*steps):
    """dom0, and what is typed there: a line behind its prompt, or (behind which text, what)."""
    pairs = [step if isinstance(step, tuple) else (PROMPT, step + "\n") for step in steps]
    words = "|".join(f"{prompt}|{text}" for prompt, text in pairs)
    return "start dom0 mem=24 module=files -- input=" + words.replace(" ", "~").replace("\n", "_")


def config(name, disk, extra):
    """What a domain is to be: pv-disk, with that disk."""
    return f"name = '{name}'\nkernel = 'pv-disk'\nmemory = 8\nextra = '{extra}'\ndisk = ['{disk}']\n".encode()


def with_dom0(t, starts, files, own):
    """The machine, with dom0s that are started one after the other: its run, and what it says of each domain's life. `own`: which of
    the two ends is the student's."""
    ends = {name: (t.image.own if name == own else t.image.guests) / f"{name}.elf" for name in ("dom0", "pv-disk")}
    archive = t.path("files.cpio")
    archive.write_bytes(tool("mkfiles").archive({"pv-disk": ends["pv-disk"].read_bytes(), **files}))
    line, machine_of = "panic=off -- " + "; ".join([*starts, "off"]), {"modules": [(ends["dom0"], ""), (archive, "")], "mem": 256, "limits": LIMITS}
    if own != "dom0":
        run = t.boot(line, **machine_of)
        return run, evidence.lives(run)
    made = lab9made.Made(t, files, ends["pv-disk"].read_bytes())
    run, _ = t.witness(line, made.points, **machine_of | {"limits": AWAKE})
    lives = evidence.lives(run)
    made.are(lives)
    return run, lives


def life_of(t, run, lives, number):
    """What a dom0 has printed, by the number of its start."""
    dom0s = [life for life in lives if life.name == "dom0"]
    if number >= len(dom0s):
        t.orderly(run)
        t.fail("a domain is not started: whoever was before it gets no further", f"{number + 1} of them", f"{len(dom0s)}")
    return dom0s[number].output.decode("ascii", "replace")


HARM = ("jump",)
"""What the reference's front end does to its back end, and begins anew each time."""


def met(t):
    """Each end with the reference's other one, which goes and comes again."""
    image = t.rng.randbytes(64 * 512)
    meets_front(t, image)
    meets_back(t, image)


def meets_front(t, image):
    """The student's pv-disk: its back end is said to be in other states, lets go of the disk, and is another one."""
    def ready(line):
        """Behind its next connection."""
        return "y> ", line + "\n"

    to = "xenstore-write /local/domain/0/backend/vbd/2/51712/state"
    shows, a_while = ready("block-list again"), ("create while.cfg", ENDS)
    files = {"img": image, "other": image, "again.cfg": config("again", "img,,xvda", "times=99"), "while.cfg": config("while", "other,,xvda", "cat")}
    run, lives = with_dom0(t, [typed("create again.cfg", ready(f"{to} {INITIALISING}"), ready(f"{to} {INIT_WAIT}"), shows, "halt"),
                               typed(ready(f"{to} {UNKNOWN}"), *a_while, f"{to} {INITIALISING}", shows, "halt"),
                               typed(ready(f"{to} {CLOSING}"), *a_while, f"{to} {INIT_WAIT}", shows, "halt"),
                               typed(ready("block-detach again xvda"), ENDS, "block-attach again img,,xvda", shows, "destroy again", ENDS, "halt")],
                           files, "pv-disk")
    connected = re.compile(r"^51712 xvda +4 w ", re.M)
    what = "a front end of yours, with the reference's dom0"
    said = life_of(t, run, lives, 0)
    t.check(connected.search(said), f"{what}, finds its back end at the begin again, and is not connected to the disk behind that", "51712 xvda 4 w", said[-400:])
    said = life_of(t, run, lives, 1)
    t.check(connected.search(said), f"{what}, has not found the next dom0, when the first one has ended, or nobody in its place, and then one", "51712 xvda 4 w", said[-400:])
    said = life_of(t, run, lives, 2)
    t.check(connected.search(said), f"{what}, finds one who parts, and then one who waits for a ring, and is not connected to the disk behind that", "51712 xvda 4 w", said[-400:])
    said = life_of(t, run, lives, 3)
    t.check(re.search(r"^again has let go of xvda$", said, re.M), f"{what}, is asked to let go of its disk, and does not", "again has let go of xvda", said[-400:])
    t.check(connected.search(said), f"{what}, is not connected to the disk that it gets then", "51712 xvda 4 w", said[-400:])
    t.orderly(run)


def meets_back(t, image):
    """The student's dom0: front ends that end at each step, that break the rules and begin anew, and a good one."""
    steps = range(1, 10)
    files = {"img": image, "good.cfg": config("good", "img,,xvda", f"rounds=2 seed={t.rng.randrange(1, 1000)}")}
    files |= {f"{n}.cfg": config(f"end{n}", "img,,xvda", f"die={n}") for n in steps}
    files |= {f"{word}.cfg": config(word, "img,,xvda", f"harm={word}") for word in HARM}
    names = [*steps, *HARM, "good"]
    line = [step for n in names for step in (f"create {n}.cfg", ENDS)]
    starts = [typed(*line[at:at + 10], "halt") for at in range(0, len(line), 10)]  # a command has 255 characters at most
    run, lives = with_dom0(t, starts, files, "dom0")
    what = "a back end of yours, whose front ends have ended at each step,"
    said = [life.output.decode("ascii", "replace") for life in lives if life.name != "dom0"]
    t.check(len(said) == len(names), f"{what} gets no further", f"{len(names)} front ends", f"{len(said)}: {said[-1][-200:] if said else ''}")
    for word, text in zip(HARM, said[len(steps):]):
        t.check("0 wrong; nothing has come of it" in text, f"{what} does not come together with one that begins anew ({word})", "0 wrong", text[-400:])
    t.check("4/4" in said[-1], f"{what} does not come together with the reference's", "4/4", said[-1][-400:])
    t.check("0 wrong; the end" in said[-1], f"{what} does not serve the reference's", "0 wrong; the end", said[-1][-400:])
    t.orderly(run)
