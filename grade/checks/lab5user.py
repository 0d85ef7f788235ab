"""Lab 5B, exercise 5.6: the kernel's side of the run page.

Equivalent: a device model that was made for this run, in ring 3, and its guest, which prints what the device does in Python.
Witnessed: the grader stands in for the program. Whenever the kernel would enter ring 3, the debugger does instead what a program
could have done, to the page, too, and behind each of the kernel's reads. Of the line by which a guest ends it looks for what the
contract says that it has, in whatever words.
"""

import re
import struct

from zeno.guests import models
from zeno.judging import evidence, headers
from zeno.machines import gdbremote

from .guests import module
from .lab4 import GPRS, said
from .lab5 import LIMITS, Calls, words

HEADERS = ("vmm/dev/user/user.h", "vmm/vcpu.h", "inc/user.h", "kern/thread.h")


def offsets(of, *names):
    """Of these fields."""
    return headers.numbers(HEADERS, tuple(f"offsetof({of}, {name})" for name in names))


U_DOMAIN, U_ENV, U_NOW, U_DEADLINE, U_USED, U_DATA, U_DONE, U_ASKS, U_MAY, U_OFF, U_GPR, U_ASKED = offsets(
    "struct user_pc", "domain", "env", "now", "deadline", "used", "data", "done", "asks", "may_wait", "put_off", "gpr", "asked")
E_PAGE, E_END, E_RAX, E_RDI, E_RSI = offsets("struct env", "page", "end", "regs[ENV_RAX]", "regs[ENV_RDI]", "regs[ENV_RSI]")
D_STATE, D_REASON, D_SILENT, D_VCPU = offsets("struct domain", "state", "end_reason", "silent", "vcpu")
V_GPR, = offsets("struct vcpu", "state.gpr")
P = dict(zip(("reason", "port", "size", "data_out", "count", "now", "ram", "data_in", "done", "deadline", "words"), offsets(
    "struct run_page", "reason", "port", "size", "data_out", "count", "now", "ram", "data_in", "done", "deadline", "words")))
U_SIZE, D_SIZE, Q_SIZE, GPR_BYTES, ENDED, CALL, IRQ, DIED, WRITE, READ, TIME, RUN, END, CPU, LIMIT_MS, SOON, NEVER, MOST = headers.numbers(
    HEADERS, ("sizeof(struct user_pc)", "sizeof(struct domain)", "sizeof(struct question)", "8 * GPR_COUNT", "DOMAIN_ENDED", "ENV_CALL",
              "ENV_IRQ", "ENV_ENDED", "RUN_PORT_WRITE", "RUN_PORT_READ", "RUN_TIME", "USER_RUN", "USER_END", "USER_CPU", "MODEL_LIMIT_MS",
              "DEADLINE_MIN", "RUN_NEVER", "RUN_STRING"))
OPTIONS = "devices=user"
ANSWER = object()
"""What a step gives when the program has answered."""
OVER = "killed by the grader"
"""What `end` of its env says of a program that has died."""


# -- a guest and its model ---------------------------------------------------------------------------


def guest(t):
    """Both made for this run."""
    model = models.Model(t.rng)
    program = models.Asking(t.rng, model, 14, 3, 3)
    there, elf = model.assemble(t.directory, "model"), program.assemble(t.directory, "asks")
    result = t.boot(f"panic=off -- model model; start asks {OPTIONS}; off", modules=[module(elf), module(there)], elf=[elf], limits=LIMITS)
    found, life = evidence.lives(result), said(result, f"start asks {OPTIONS}")
    t.check(found, "a guest whose devices are a program in ring 3 does not start", "it starts", life)
    got = found[0].output.decode("ascii", "replace").split()
    for i, line in enumerate(program.expected):
        t.check(i < len(got), "a guest whose devices are a program in ring 3 gets no further", line, "\n".join(got[-3:] + [life]))
        t.check(got[i] == line, f"a guest whose devices are a program in ring 3: line {i + 1} of what it prints is another one", line,
                got[i])
    t.check(f"exit code {program.code} " in life, "a guest whose devices are a program in ring 3 does not come to its own end",
            f"exit code {program.code}", life)
    t.orderly(result)


# -- the grader as the program -----------------------------------------------------------------------


class Played:
    """At model_ask(): questions of our own, and what a program could do to them."""

    def __init__(self, t, client, regs):
        self.t, self.client, self.u, self.rng = t, client, regs["rdi"], t.rng
        self.domain, = words(client, self.u + U_DOMAIN)
        self.env, = words(client, self.u + U_ENV)
        self.page, = words(client, self.env + E_PAGE)
        self.vcpu, = words(client, self.domain + D_VCPU)
        self.resched, self.back, self.enter = t.symbol("need_resched"), t.symbol("monitor_run"), t.symbol("env_run")
        self.call = Calls(t, client, regs)
        self.limit = self.call("clock_tsc_hz") * LIMIT_MS // 1000
        client.write(self.domain + D_SILENT, b"\1")
        self.was = client.read(self.u, U_SIZE), client.read(self.domain, D_SIZE)
        self.what = ""
        self.q = None

    def put(self, at, value, size=4):
        """A number of the kernel's."""
        self.client.write(at, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def get(self, at, size=4):
        """... and one to look at."""
        return int.from_bytes(self.client.read(at, size), "little")

    def ended(self):
        """Why the domain has ended; None: it has not."""
        if self.get(self.domain + D_STATE) != ENDED:
            return None
        return self.client.read(self.domain + D_REASON, 200).split(b"\0")[0].decode("ascii", "replace")

    def again(self, may_wait=False):
        """All as before the first question."""
        for at, data in zip((self.u, self.domain), self.was):
            self.client.write(at, data)
        self.put(self.u + U_MAY, may_wait, 1)
        self.put(self.u + U_USED, self.rng.randrange(self.limit), 8)
        self.put(self.resched, 0, 1)
        self.put(self.env + E_END, 0, 1)
        self.client.write(self.page + P["data_in"], bytes(P["words"] - P["data_in"]))

    def question(self, reason=None):
        """One that nobody asked. What is written may be a string of several elements."""
        reason = self.rng.choice((WRITE, READ)) if reason is None else reason
        size = self.rng.choice((1, 2, 4))
        count = self.rng.choice((1, self.rng.randrange(2, MOST // size + 1))) if reason == WRITE else 1
        return reason, self.rng.getrandbits(16), size, self.rng.getrandbits(32), count

    def string(self):
        """... one of several."""
        return (*self.question(WRITE)[:2], 1, self.rng.getrandbits(32), self.rng.randrange(4, MOST + 1))

    def answer(self, data=0, done=1, deadline=NEVER):
        """Into the page; the step's result."""
        self.put(self.page + P["data_in"], data)
        self.put(self.page + P["done"], done)
        self.put(self.page + P["deadline"], deadline, 8)
        return ANSWER

    def event(self, event, number=CPU):
        """The program has come back in this way."""
        self.put(self.env + E_RAX, number, 8)
        return event

    def ask(self, what, q, *steps, seen=None):
        """Put a question; at each entry into ring 3 the next step is done. What model_ask() gives. `seen` is called at a watchpoint."""
        self.what, self.q = what, q
        client, steps = self.client, list(steps)
        client.write(self.call.stack - 8, struct.pack("<Q", self.back))
        client.set_reg("rdi", self.u)
        client.set_reg("rsi", q[0] | q[1] << 32 | q[2] << 48)
        client.set_reg("rdx", q[3] | q[4] << 32)
        client.set_reg("rsp", self.call.stack - 8)
        client.set_reg("rip", self.t.symbol("model_ask"))
        for point in (self.back, self.enter):
            client.insert(point)
        while True:
            client.cont()
            regs = client.regs()
            if regs["rip"] == self.back:
                break
            if regs["rip"] != self.enter:
                seen()
                continue
            self.check(steps, "the program goes on, and nothing more is to come of it now", "a return", "env_run()")
            done = steps.pop(0)()
            client.set_reg("rax", self.event(CALL, RUN) if done is ANSWER else done)
            client.set_reg("rip", words(client, regs["rsp"])[0])
            client.set_reg("rsp", regs["rsp"] + 8)
        for point in (self.back, self.enter):
            client.remove(point)
        client.unwatch()
        self.check(not steps, "model_ask() has returned, and the program could go on", "env_run()", "a return")
        return bool(regs["rax"] & 0xFF)

    def check(self, holds, why, expected=None, got=None):
        """... said with what was played."""
        self.t.check(holds, f"{self.what}: {why}", expected, got)

    def answered(self, took):
        """It was one."""
        self.check(took and self.ended() is None, "it is an answer, and the guest could go on", "true", self.ended() or "false")
        self.check(not self.get(self.u + U_ASKS, 1), "the question has been answered, and is open still", "asks: false", "true")

    def failed(self, took, what="", pattern=""):
        """The guest has ended for it, by a line that has this."""
        end = self.ended()
        self.check(end is not None, "the guest goes on", f"its end, and a line{' with ' if what else ''}{what}", "it goes on")
        self.check(not took, "the guest has ended, and model_ask() says that it has an answer", "false", "true")
        self.check(end and re.search(pattern, end, re.IGNORECASE), "the line that says why the guest ended does not say what was wrong",
                   f"{what or 'a line'}, among your own words", end)

    def miscounted(self, took, done):
        """... for that many elements."""
        self.failed(took, f"the number of elements, {done} or {done:#x}", rf"\b({done}|0*{done:x}|0x0*{done:x})\b")

    def over(self, took):
        """... since the program is dead."""
        self.failed(took, f"how the program ended, which is {OVER!r} this time", re.escape(OVER))

    def kept(self, data, done, deadline):
        """What Zeno has of the answer."""
        for name, at, size, wanted in (("data", U_DATA, 4, data), ("done", U_DONE, 4, done), ("deadline", U_DEADLINE, 8, deadline)):
            got = self.get(self.u + at, size)
            self.check(got == wanted, f"what Zeno has kept of the answer is not what stood there: {name}", f"{wanted:x}", f"{got:x}")


def played(t, *parts):
    """A guest's first access, and these parts of the play there."""
    program = models.Asking(t.rng, models.Model(t.rng), 1, 0, 0)
    model = models.Model(t.rng)
    there, elf = model.assemble(t.directory, "model"), program.assemble(t.directory, "asks")
    done = []

    def here(client, regs):
        play = Played(t, client, regs)
        try:
            for part in parts:
                part(play)
            play.again()
            done.append(True)
            play.put(play.domain + D_SILENT, 0, 1)
        except gdbremote.Gone:
            t.fail(f"{play.what}: the machine has ended", "a return", "its end")
        finally:
            if done:
                for name in (*GPRS, "rip"):
                    client.set_reg(name, regs[name])
        return True

    run, _ = t.witness(f"panic=off -- model model; start asks {OPTIONS}; off", {t.symbol("model_ask"): here},
                       modules=[module(elf), module(there)], limits=LIMITS)
    if not done:
        t.orderly(run)
    t.check(done, "no question ever came", "model_ask()", said(run, f"start asks {OPTIONS}"))


def questions(play):
    """What stands in the page, and what Zeno remembers."""
    for what, reason in (("a write to a port", WRITE), ("a string to a port", None), ("a read from a port", READ), ("its time", TIME)):
        q = play.string() if reason is None else play.question(reason)
        play.again()
        ram, after = play.get(play.page + P["ram"], 8), play.call("domain_now", play.domain)
        play.client.write(play.page, bytes(play.rng.getrandbits(8) for _ in range(P["ram"])))

        def look(q=q, after=after):
            got = tuple(play.get(play.page + P[name], size) for name, size in (("reason", 4), ("port", 2), ("size", 1), ("data_out", 4)))
            play.check(got == q[:4], "what the program finds in the page is another question: reason, port, size, data",
                       " ".join(f"{n:x}" for n in q[:4]), " ".join(f"{n:x}" for n in got))
            count, now = play.get(play.page + P["count"]), play.get(play.page + P["now"], 8)
            play.check(count == q[4], "how many elements the program is asked for", q[4], count)
            play.check(after <= now == play.get(play.u + U_NOW, 8), "when that is, in the page and for Zeno itself",
                       f"not before {after:x}, and the same", f"{now:x} and {play.get(play.u + U_NOW, 8):x}")
            play.check(play.get(play.env + E_RAX, 8) == 0, "USER_RUN returns something else than 0 to the program", 0,
                       play.get(play.env + E_RAX, 8))
            got = struct.unpack_from("<IHHII", play.client.read(play.u + U_ASKED, Q_SIZE))
            play.check(got == q and play.get(play.u + U_ASKS, 1) == 1, "Zeno itself does not know what it asked, or that it asked",
                       " ".join(f"{n:x}" for n in q), " ".join(f"{n:x}" for n in got))
            play.check(play.get(play.u + U_USED, 8) == 0, "the program has used some of its time before it was asked", 0,
                       play.get(play.u + U_USED, 8))
            return play.answer()

        play.answered(play.ask(what, q, look))
        play.check(play.get(play.page + P["ram"], 8) == ram, "the guest's size in the page has changed", f"{ram:x}",
                   f"{play.get(play.page + P['ram'], 8):x}")


def answers(play):
    """Right ones and wrong ones."""
    rng = play.rng
    one, many = play.question(READ), play.string()
    right = [(one, 0), (one, 1), (many, 0), (many, many[4]), (many, rng.randrange(2, many[4]))]
    wrong = [(one, 2), *((q, done) for q in (one, many) for done in (q[4] + 1, rng.randrange(1 << 10, 1 << 31), rng.randrange(1 << 31, 1 << 32)))]
    for q, done in rng.sample(right, len(right)):
        data, deadline = rng.getrandbits(32), rng.choice((0, rng.getrandbits(40), NEVER))
        play.again()
        play.answered(play.ask(f"an answer for {done} elements of {q[4]}", q, lambda: play.answer(data, done, deadline)))
        play.kept(data, done, deadline)
    for q, done in wrong:
        play.again()
        play.miscounted(play.ask(f"an answer for {done} elements of {q[4]}", q, lambda: play.answer(0, done)), done)
    far = play.call("domain_now", play.domain) + 1_000_000_000 * rng.randrange(1000, 2000)
    for what, deadline in (("at once", 0), ("when it was asked", None), ("far from now", far), ("never", NEVER)):
        play.again()
        now = play.call("domain_now", play.domain)
        wanted = now if deadline is None else deadline

        def took_long(wanted=wanted):
            play.put(play.u + U_NOW, 0, 8)  # as if it had been asked long ago: the machine stands still meanwhile
            return play.answer(0, 0, wanted)

        play.answered(play.ask(f"its time came, it took long, and it wants to be called again {what}", play.question(TIME), took_long))
        got = play.get(play.u + U_DEADLINE, 8)
        if wanted in (far, NEVER):
            play.check(got == wanted, "its time is another one", f"{wanted:x}", f"{got:x}")
        else:
            play.check(now + SOON <= got <= play.call("domain_now", play.domain) + SOON, "it is called again too soon, or too late",
                       f"{SOON} ns behind its answer", f"{got - now} ns behind the question")


def changes(play):
    """The page changes: Zeno's half before the answer, the program's half behind each read."""
    rng = play.rng

    def spoiled(**more):
        play.client.write(play.page, bytes(rng.getrandbits(8) for _ in range(P["ram"])))
        return play.answer(**more)

    play.again()
    far = play.call("domain_now", play.domain) + SOON // 2
    play.answered(play.ask("its time came, and the program has overwritten what it was asked", play.question(TIME),
                           lambda: (spoiled(deadline=far, done=0), play.put(play.page + P["reason"], WRITE), ANSWER)[-1]))
    play.check(play.get(play.u + U_DEADLINE, 8) > far, "it is called again too soon: somebody has believed the page", f"later than {far:x}",
               f"{play.get(play.u + U_DEADLINE, 8):x}")
    play.again()
    play.answered(play.ask("a port, and the program has overwritten what it was asked", play.question(),
                           lambda: (spoiled(deadline=5), play.put(play.page + P["reason"], TIME), ANSWER)[-1]))
    play.kept(0, 1, 5)
    play.again()
    q = play.question(READ)
    play.miscounted(play.ask("the program has overwritten how many elements it was asked for", q,
                             lambda: (spoiled(done=2), play.put(play.page + P["count"], MOST), ANSWER)[-1]), 2)
    for field, size, first, then in (("done", 4, 1, rng.randrange(MOST + 1, 1 << 32)), ("done", 4, rng.randrange(MOST + 1, 1 << 32), 1), ("done", 4, 0, 1),
                                     ("data_in", 4, rng.getrandbits(32), rng.getrandbits(32)), ("deadline", 8, NEVER, 1),
                                     ("deadline", 8, 1, NEVER)):
        for reason in (WRITE, READ, TIME) if field == "deadline" else (None,):
            play.again()

            def watched(field=field, size=size, first=first):
                play.answer(rng.getrandbits(32))
                play.put(play.page + P[field], first, size)
                play.client.watch(play.page + P[field], size, "read")
                return ANSWER

            took = play.ask(f"{field} is {first:x} and, as soon as it was read, {then:x}", play.question(reason), watched,
                            seen=lambda field=field, size=size, then=then: play.put(play.page + P[field], then, size))
            if field == "done" and first > MOST:
                play.miscounted(took, first)
                continue
            play.answered(took)
            name = {"done": U_DONE, "data_in": U_DATA, "deadline": U_DEADLINE}[field]
            got = play.get(play.u + name, size)
            soon = reason == TIME and first == 1
            play.check(got == first or soon and got != then, "what Zeno goes by was read twice: the second time something else stood there",
                       f"{first:x}", f"{got:x}")


def page(t):
    """Question and answer."""
    played(t, questions, answers)


def distrust(t):
    """... while the page changes."""
    played(t, changes)


def ends(play):
    """Programs that are over, and a guest that is."""
    play.again()

    def dies():
        play.client.write(play.env + E_END, OVER.encode() + b"\0")
        return play.event(DIED)

    play.over(play.ask("the program has died", play.question(), dies))
    for may_wait in (False, True):
        play.again(may_wait)
        play.over(play.ask("the program has died when the host's timer came, and others wait", play.question(),
                           lambda: (play.put(play.resched, 1, 1), dies(), IRQ)[-1]))
    play.again()
    code = play.rng.randrange(256)
    took = play.ask("the program has ended its guest", play.question(),
                    lambda: (play.put(play.env + E_RDI, code, 8), play.event(CALL, END))[-1])
    play.failed(took, f"exit code {code}, as the program said", f"exit code {code}\\b")


def limits(play):
    """What a question may cost."""
    def used(part):
        def step():
            play.put(play.u + U_USED, int(play.limit * part), 8)
            return play.event(play.rng.choice((IRQ, CALL)))
        return step

    play.again()
    play.answered(play.ask("an answer behind nine tenths of what it may cost", play.question(), used(.3), used(.6), used(.9),
                           lambda: play.answer()))
    for may_wait in (False, True):
        play.again(may_wait)
        play.failed(play.ask("no answer within what it may cost", play.question(), used(.5), used(1.1)))
    play.again(True)
    play.failed(play.ask("no answer within what it may cost, and others wait", play.question(),
                         lambda: (used(1.1)(), play.put(play.resched, 1, 1), play.event(IRQ))[-1]))


def turns(play):
    """Others wait, or not. Behind a system call, when others wait, an exit may be put off or go on: both are right."""
    rng, off = play.rng, lambda: play.get(play.u + U_OFF, 1)
    for event, resched, may_wait, what in ((IRQ, 1, False, "others wait, and this exit can't begin anew"),
                                           (IRQ, 0, True, "an interrupt came, and nobody waits"),
                                           (CALL, 0, True, "a system call, and nobody waits")):
        play.again(may_wait)
        play.answered(play.ask(what, play.question(), lambda: (play.put(play.resched, resched, 1), play.event(event))[-1],
                               lambda: (play.put(play.resched, 0, 1), play.answer())[-1]))
        play.check(not off(), "the exit was put off", "put_off: false", "true")
    play.again(True)
    held = play.client.read(play.vcpu + V_GPR, GPR_BYTES)
    mine = bytes(rng.getrandbits(8) for _ in range(GPR_BYTES))
    play.client.write(play.vcpu + V_GPR, mine)
    q = play.question()
    took = play.ask("an interrupt came, and others wait", q, lambda: (play.put(play.resched, 1, 1), play.event(IRQ))[-1])
    play.client.write(play.vcpu + V_GPR, held)
    play.check(not took and off() == 1 and play.ended() is None, "the exit is not put off: others get no turn", "put off",
               play.ended() or "not")
    play.check(play.get(play.u + U_ASKS, 1) == 1, "the exit was put off, and the question is not open any more", "asks: true", "false")
    got = play.client.read(play.u + U_GPR, GPR_BYTES)
    play.check(got == mine, "the guest's instruction begins anew with other registers than it had", mine.hex(), got.hex())
    # The next turn: it is asked no second time, and what it used stays used.
    play.put(play.u + U_OFF, 0, 1)
    play.put(play.resched, 0, 1)
    spent = play.get(play.u + U_USED, 8)
    data = rng.getrandbits(32)

    def on():
        play.check(play.get(play.u + U_USED, 8) >= spent, "what the program used in the turn before is forgotten", f"{spent:x}",
                   f"{play.get(play.u + U_USED, 8):x}")
        return play.answer(data)

    play.answered(play.ask("the turn behind one in which it was put off", q, on))
    play.kept(data, 1, NEVER)


def late(t):
    """A program that does not answer."""
    played(t, ends, limits, turns)
