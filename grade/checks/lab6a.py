"""Lab 6A: a PV kernel in ring 3, its hypercalls, its handlers and its user.

Equivalent: fresh guests, of which Xen's ABI says what they print. Witnessed: both sides of pv_enter(), and the functions by
themselves with states that are made up; the kernel's words prove nothing.
"""

import struct

from zeno.guests import pv
from zeno.judging import evidence, headers
from zeno.machines import machine

from .guests import module
from .lab4 import GPRS, host_kept, return_with, said, word
from .lab5 import LIMITS

ONES = (1 << 64) - 1
STATUS, DF, IF = 0x8D5, 1 << 10, 1 << 9
HEADERS = ("vmm/pv/pv.h", "vmm/vcpu.h")
(F_VECTOR, F_ERROR, F_RIP, F_CS, F_FLAGS, F_RSP, F_SS, C_NUMBER, C_ARG, C_AGAIN, C_JUMPED, C_SIZE, S_GPR, S_RIP, S_FLAGS, S_SEG, V_ENGINE,
 V_ROOT, P_USER, P_KERNEL_ROOT, P_USER_ROOT, P_INFO, P_SP, SYSCALL, SYSCALL32) = headers.numbers(HEADERS, (
     *(f"offsetof(struct ring_frame, {name})" for name in ("vector", "error", "rip", "cs", "rflags", "rsp", "ss")),
     *(f"offsetof(struct pv_call, {name})" for name in ("number", "arg", "again", "jumped")), "sizeof(struct pv_call)",
     *(f"offsetof(struct cpu_state, {name})" for name in ("gpr", "rip", "rflags", "seg")), "offsetof(struct vcpu, engine_data)",
     "offsetof(struct vcpu, root)", *(f"offsetof(struct pv, {name})" for name in ("user", "kernel_root", "user_root", "info", "kernel_sp")),
     "PV_SYSCALL", "PV_SYSCALL32"))
EV_KIND, EV_VECTOR, EV_HAS_ERROR, EV_ERROR, EVENT_SIZE, FAULT, SOFTWARE = headers.numbers(("vmm/event.h",), (
    "offsetof(struct event, kind)", "offsetof(struct event, vector)", "offsetof(struct event, has_error)", "offsetof(struct event, error)",
    "sizeof(struct event)", "EVENT_FAULT", "EVENT_SOFTWARE"))
FRAME = dict(zip(("vector", "error", "rip", "cs", "rflags", "rsp", "ss"), (F_VECTOR, F_ERROR, F_RIP, F_CS, F_FLAGS, F_RSP, F_SS)))
CS, CS32, SS = 0xE033, 0xE023, 0xE02B
FEW = machine.Limits(instructions=400_000_000, cpu_seconds=8.0, console_bytes=1 << 20, side_bytes=16 << 20)
STOPS = 40


def prints(t, program, name, what, options="", **more):
    """A guest whose every line is known."""
    elf = program.assemble(t.directory, name)
    run = t.boot(f"panic=off {options}-- start {name}; off", modules=[module(elf)], elf=[elf], limits=LIMITS, **more)
    lives, life = evidence.lives(run), said(run, f"start {name}")
    t.check(lives, f"{what} does not start", "it starts", life)
    got = lives[0].output.decode("ascii", "replace").split()
    for i, line in enumerate(program.wanted()):
        t.check(i < len(got), f"{what} gets no further: nothing comes {program.place(i)}", line, "\n".join([*got[-3:], life]))
        t.check(line in (got[i], "?"), f"{what} finds something else, {program.place(i)}", line, got[i])
    t.check("guest powered off" in life, f"{what} does not come to its end", "guest powered off", life)
    t.orderly(run)


# -- 6.1: in, table, out -----------------------------------------------------------------------------


def calls(t):
    """Hypercalls with full registers and any rsp, each of them an exit."""
    prints(t, pv.calls(t.rng, 6), "calls", "a guest that makes hypercalls with full registers, its rsp anywhere,",
           "paranoid=1 ")


class Crossings:
    """Calls of pv_enter() in a guest that does nothing else; `points` has who sees what."""

    def __init__(self, t, points, program):
        self.t, self.program = t, program
        self.elf = self.program.assemble(t.directory, "crossing")
        self.run, self.seen = t.witness("panic=off -- start crossing; off", {t.symbol(name): see for name, see in points.items()},
                                        modules=[module(self.elf)], limits=LIMITS)


def registers_at(client, at):
    """gpr[] by name."""
    return dict(zip(GPRS, struct.unpack("<16Q", client.read(at, 128))))


def frame_at(client, at):
    """A ring_frame by name."""
    return {name: word(client, at + offset) for name, offset in FRAME.items()}


def random_registers(t):
    """All of them."""
    return {name: t.rng.getrandbits(64) for name in GPRS}


class Crossing:
    """One way in and out, by this instruction of the guest's, with random registers both ways."""

    def __init__(self, t, program, kind):
        self.t, self.program, self.narrow = t, program, kind == "syscall32"
        self.kind = "syscall" if self.narrow else kind

    def into(self, client, regs):
        """At pv_enter: up to the guest's first instruction, and what it finds."""
        t, rng = self.t, self.t.rng
        frame, gpr = regs["rdi"], regs["rsi"]
        given = random_registers(t)
        client.write(gpr, struct.pack("<16Q", *given.values()))
        there = {"rip": self.program.at(f"at_{self.kind}"), "rsp": rng.getrandbits(47), "rflags": rng.getrandbits(12) & STATUS | IF | 2}
        for name, value in there.items():
            client.write(frame + FRAME[name], struct.pack("<Q", value))
        back = word(client, regs["rsp"])
        for point in (there["rip"], back):
            client.insert(point)
        client.cont()
        now = client.regs()
        t.check(now["rip"] == there["rip"], "pv_enter() does not come to the guest's rip", f"{there['rip']:x}",
                "it comes back" if now["rip"] == back else f"rip {now['rip']:x}")
        client.remove(there["rip"])
        t.check(now["cs"] & 3 == 3, "the guest's first instruction runs in ring 0", "ring 3", f"cs {now['cs']:x}")
        for name in GPRS:
            wanted = there["rsp"] if name == "rsp" else given[name]
            t.check(now[name] == wanted, f"{name} is another one in the guest", f"{wanted:x}", f"{now[name]:x}")
        t.check(now["eflags"] & STATUS == there["rflags"] & STATUS, "the flags are others in the guest", f"{there['rflags'] & STATUS:x}",
                f"{now['eflags'] & STATUS:x}")
        return frame, gpr, back, there

    def out(self, client, regs, frame, gpr, back, there):
        """The guest changes all of them, and its instruction leads back."""
        t, rng = self.t, self.t.rng
        left = random_registers(t)
        flags = rng.getrandbits(12) & STATUS | IF | 2 | DF
        if self.kind == "syscall" or rng.random() < .5:
            left["rsp"] = rng.choice((0, 8, 1 << 47, 0xFFFF830000000000, 0xFFFF828000100001, ONES, left["rsp"]))
        for name, value in left.items():
            client.set_reg(name, value)
        client.set_reg("eflags", flags)
        if self.narrow:  # as from code of 32 bits: the CPU's syscall leads to another place, and all else is the same
            wide = t.symbol("pv_syscall")
            client.insert(wide)
            client.cont()
            client.remove(wide)
            client.set_reg("rip", t.symbol("pv_syscall32"))
        client.cont()
        now = client.regs()
        t.check(now["rip"] == back, f"behind the guest's {self.kind} pv_enter() does not return", f"rip {back:x}", f"rip {now['rip']:x}")
        client.remove(back)
        host_kept(t, regs, now, "pv_enter")
        t.check(now["rax"] == 0, "behind a trap of the guest's pv_enter() says that the entry has failed", 0, f"{now['rax']:x}")
        t.check(not now["eflags"] & DF, "C goes on with the guest's DF: its string instructions would run backward", "DF=0", "DF=1")
        stored, found = registers_at(client, gpr), frame_at(client, frame)
        for name in GPRS:
            if name == "rsp" or self.kind == "syscall" and name in ("rcx", "r11"):
                continue
            t.check(stored[name] == left[name], f"gpr[] does not have the guest's {name}", f"{left[name]:x}", f"{stored[name]:x}")
        wanted = {"rip": there["rip"], "cs": CS, "rsp": left["rsp"], "ss": SS, "vector": 6, "rflags": flags}
        if self.kind == "syscall":
            wanted |= {"rip": there["rip"] + 2, "error": 0, "vector": SYSCALL32 if self.narrow else SYSCALL}
            wanted["cs"] = CS32 if self.narrow else CS
        for name, value in wanted.items():
            mask = STATUS | DF | IF if name == "rflags" else ONES
            code = " of 32 bits" if self.narrow else ""
            t.check(found[name] & mask == value & mask, f"behind the guest's {self.kind}{code} the frame's {name} is another one",
                    f"{value & mask:x}", f"{found[name] & mask:x}")
        # The guest is to end in order: as if it had asked for that.
        client.write(gpr, struct.pack("<Q", 29))
        client.write(gpr + 8 * 7, struct.pack("<Q", 2))
        client.write(gpr + 8 * 6, struct.pack("<Q", self.program.at("reason")))
        for name, value in (("rip", self.program.at("at_syscall") + 2), ("cs", CS), ("ss", SS), ("rsp", self.program.at("stack") + 0x800),
                            ("vector", SYSCALL), ("error", 0), ("rflags", IF | 2)):
            client.write(frame + FRAME[name], struct.pack("<Q", value))


def registers(t):
    """All registers on both sides, by syscall and by a trap."""
    for kind in ("syscall", "syscall32", "ud2"):
        program, done = pv.crossing(t.rng), []
        crossing = Crossing(t, program, kind)

        def see(client, regs):
            client.monitor("o /b 0x21 0xff")
            state = crossing.into(client, regs)
            crossing.out(client, regs, *state)
            done.append(True)
            return True

        whole = Crossings(t, {"pv_enter": see}, program)
        if not done:
            t.orderly(whole.run)
        t.check(done, "nobody calls pv_enter()", "a call", said(whole.run, "start crossing"))


def answers(t):
    """What pv_call() is given, and what the guest has of it."""
    program, state = pv.crossing(t.rng), {"left": ["done", "again", "jumped", "done", "again"], "mode": None}

    def enters(client, regs):
        frame, gpr = regs["rdi"], regs["rsi"]
        if state["mode"] and "wanted" not in state:
            return False  # an interrupt of the host's came first
        if state["mode"]:
            now, rip = registers_at(client, gpr), word(client, frame + F_RIP)
            for name, value in state["wanted"].items():
                got = rip if name == "rip" else now[name]
                t.check(got == value, f"behind a call that {state['words']} the guest's {name} is another one", f"{value:x}", f"{got:x}")
        state.pop("wanted", None)
        state["asks"] = random_registers(t)
        state["mode"] = state["left"].pop(0) if state["left"] else None
        if not state["mode"]:
            client.write(frame + F_RIP, struct.pack("<Q", program.at("the_end")))
            return True
        client.write(gpr, struct.pack("<16Q", *state["asks"].values()))
        client.write(frame + F_RIP, struct.pack("<Q", program.at("at_syscall")))
        return False

    def asked(client, regs):
        if not state["mode"]:
            return False
        vcpu, call, asks = regs["rdi"], regs["rsi"], state["asks"]
        names = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
        number, args = word(client, call + C_NUMBER), struct.unpack("<6Q", client.read(call + C_ARG, 48))
        t.check(number == asks["rax"], "another call is done than the one that the guest asks for", f"{asks['rax']:x}", f"{number:x}")
        for i, name in enumerate(names):
            t.check(args[i] == asks[name], f"argument {i} of the guest's call is another one: {name} has it", f"{asks[name]:x}",
                    f"{args[i]:x}")
        keep = {name: asks[name] for name in GPRS if name not in ("rcx", "r11", "rsp", "rax")}
        result, at = t.rng.getrandbits(64), program.at("at_syscall")
        if state["mode"] == "done":
            state["wanted"], state["words"] = keep | {"rax": result, "rip": at + 2}, "is done"
        elif state["mode"] == "again":
            new = [t.rng.getrandbits(64) for _ in names]
            client.write(call + C_ARG, struct.pack("<6Q", *new))
            client.write(call + C_AGAIN, b"\1")
            state["wanted"] = keep | dict(zip(names, new)) | {"rax": asks["rax"], "rip": at}
            state["words"] = "is not finished"
        else:
            new = {name: t.rng.getrandbits(64) for name in GPRS if name != "rsp"}
            for name, value in new.items():
                client.write(vcpu + S_GPR + 8 * GPRS.index(name), struct.pack("<Q", value))
            rip = program.at("the_end")
            client.write(vcpu + S_RIP, struct.pack("<Q", rip))
            client.write(call + C_JUMPED, b"\1")
            state["wanted"], state["words"] = new | {"rip": rip}, "has sent the guest elsewhere"
        return_with(client, regs, result)
        return False

    whole = Crossings(t, {"pv_enter": enters, "pv_call": asked}, program)
    if state["left"] or state["mode"]:
        t.orderly(whole.run)
    t.check(not state["left"] and not state["mode"], "a guest's calls do not come to pv_call()", "one for each syscall",
            said(whole.run, "start crossing"))


# -- 6.2: bounces ------------------------------------------------------------------------------------


def frames(t):
    """Its handler prints what it finds."""
    prints(t, pv.frames(t.rng, 12), "frames", "a kernel's handler, which prints its frame and where that lies,")


CALLED = ("an exception", "an event", "its user's syscall", "the failsafe callback")
CLEARED = 1 << 8 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 18
SEGMENTS = {"es": 0, "cs": 1, "ss": 2, "ds": 3, "fs": 4, "gs": 5}
IOPL = 3 << 12
OWN = 0x250DD5  # CF PF AF ZF SF TF DF OF RF AC ID


class Vcpu:
    """A PV vCPU's state, as it is and as it is made up."""

    def __init__(self, client, at):
        self.client, self.at = client, at
        self.pv = word(client, at + V_ENGINE)
        self.info = word(client, self.pv + P_INFO)

    def put(self, gpr, rip, rflags, selectors, user, mask):
        """All that a frame is made of."""
        client = self.client
        client.write(self.at + S_GPR, struct.pack("<16Q", *(gpr[name] for name in GPRS)))
        client.write(self.at + S_RIP, struct.pack("<Q", rip))
        client.write(self.at + S_FLAGS, struct.pack("<Q", rflags))
        for name, value in selectors.items():
            client.write(self.at + S_SEG + 16 * SEGMENTS[name], struct.pack("<H", value))
        client.write(self.pv + P_USER, bytes([user]))
        client.write(self.info + 1, bytes([mask]))

    def now(self):
        """What can be compared, by name."""
        client = self.client
        found = registers_at(client, self.at + S_GPR)
        found |= {"rip": word(client, self.at + S_RIP), "rflags": word(client, self.at + S_FLAGS)}
        found |= {name: struct.unpack("<H", client.read(self.at + S_SEG + 16 * i, 2))[0] for name, i in SEGMENTS.items()}
        return found | {"user": client.read(self.pv + P_USER, 1)[0], "upcall mask": client.read(self.info + 1, 1)[0],
                        "root": word(client, self.at + V_ROOT)}


def invoke(t, client, stack, name, *args, instead=()):
    """Call a function of the kernel's from where the machine stands; what it gives back. `instead`: (another one, done here: what it gives
    back, or 0)."""
    back, stands_in = t.symbol("monitor_run"), {t.symbol(other): done for other, done in instead}
    client.write(stack - 8, struct.pack("<Q", back))
    for register, value in zip(("rdi", "rsi", "rdx", "rcx", "r8"), args):
        client.set_reg(register, value)
    client.set_reg("rsp", stack - 8)
    client.set_reg("rip", t.symbol(name) if isinstance(name, str) else name)
    for point in (back, *stands_in):
        client.insert(point)
    for _ in range(STOPS):
        client.cont()
        regs = client.regs()
        if regs["rip"] not in stands_in:
            break
        return_with(client, regs, stands_in[regs["rip"]](regs) or 0)
        regs = client.regs()
        if regs["rip"] == back:  # jumped to, not called: to go on from there would step over the end
            break
    for point in (back, *stands_in):
        client.remove(point)
    name = name if isinstance(name, str) else t.symbols.function(name)
    t.check(regs["rip"] == back, f"{name}() does not come back", f"rip {back:x}", f"rip {regs['rip']:x}")
    return regs


def same(t, wanted, got, words, kept=ONES):
    """State by name; only what is wanted is looked at.

    Of rflags these bits are compared. IF must be there where it is wanted, for events wait for it, and may be where it is
    not: at each entry the engine sets it, and lets no other flags in than the guest's own.
    """
    for name, value in wanted.items():
        if name == "rflags":
            value, got[name] = value & kept, got[name] & kept & ~(IF & ~value)
        t.check(got[name] == value, f"{words}: {name} is another one", f"{value:x}", f"{got[name]:x}")


def one_frame(t, client, vcpu, stack, program, what, by_int):
    """pv_frame() with a state at random; by_int: of an int n, which has no error code, whatever its vector."""
    rng, event = t.rng, stack - 0x400
    vector = rng.choice((13, 14) if by_int else (6, 13, 14, 14, 128))
    has_error, error = vector in (13, 14) and not by_int, rng.getrandbits(5)
    user = 1 if what == 2 else rng.randrange(2)
    gpr = random_registers(t)
    start = word(client, program.at("info"))
    edge = word(client, start + 88) + (word(client, start + 96) << 12)  # page tables end there, and nobody writes to them
    nowhere = (0, 0x40, edge + 0x30, edge + 0x20, 0xFFFF800000000100, 0xFFFF830000000100, 0x800000000020, 1 << 63, 16)
    wild = rng.choice(nowhere) if rng.random() < .3 else None
    sp = wild if wild is not None else program.at("stack") + rng.randrange(0x800, 0x2000)
    gpr["rsp"], kernel_sp = (gpr["rsp"], sp) if user else (sp, gpr["rsp"])
    selectors = {name: rng.getrandbits(16) | 3 for name in SEGMENTS}
    mask, to, masks = rng.choice((0, 1, rng.randrange(256))), rng.getrandbits(64), rng.randrange(2)
    rflags = rng.getrandbits(22) & ~(1 << 17) | 2
    rip = rng.getrandbits(64)
    client.write(vcpu.pv + P_SP, struct.pack("<Q", kernel_sp))
    root = word(client, vcpu.pv + P_KERNEL_ROOT)
    client.write(vcpu.pv + P_USER_ROOT, struct.pack("<Q", root))
    client.write(event, bytes(EVENT_SIZE))
    client.write(event + EV_KIND, bytes([SOFTWARE if by_int else FAULT]))
    client.write(event + EV_VECTOR, bytes([vector]))
    client.write(event + EV_HAS_ERROR, bytes([has_error]))
    client.write(event + EV_ERROR, struct.pack("<I", error))
    vcpu.put(gpr, rip, rflags, selectors, user, mask)
    before, page, under = vcpu.now(), client.read(edge - 0x80, 0x100), client.read(program.at("stack") + 0x700, 0x80)

    def switch(regs):  # exercise 6.3's, which need not be done yet
        client.write(vcpu.pv + P_USER, bytes([regs["rsi"] & 1]))
        client.write(vcpu.at + V_ROOT, struct.pack("<Q", root))

    back = invoke(t, client, stack, "pv_frame", vcpu.at, what, event if what == 0 else 0, to, masks, instead=[("pv_switch_root", switch)])
    after, who = vcpu.now(), f"{'an int n' if by_int else CALLED[what]} while {'its user' if user else 'the kernel'} runs"
    words = [gpr["rcx"], gpr["r11"], *([selectors[name] for name in ("ds", "es", "fs", "gs")] if what == 3 else ())]
    if what == 0 and has_error:
        words.append(error & ~(4 if vector == 14 and not user else 0))
    words += [rip, (selectors["cs"] if user else selectors["cs"] & ~3) | mask << 32, rflags & ~(IF | IOPL) | (0 if mask else IF),
              gpr["rsp"], selectors["ss"]]
    place = (sp & ~15) - 8 * len(words)
    if not back["rax"] & 0xFF:
        t.check(wild is not None, f"{who}: there is room for its frame at {place:x}, and none is made", "a frame", "false")
        same(t, before, after, f"{who}, without room for its frame")
        t.check(client.read(edge - 0x80, 0x100) == page, f"{who}, without room for all of its frame: part of it was written", "nothing",
                "words of it")
        return
    t.check(wild is None, f"{who}: its stack at {sp:x} is no memory that the kernel may write, and a frame is made", "false", "true")
    t.check(client.read(program.at("stack") + 0x700, 0x80) == under, f"{who}: memory below the stack has changed", "the same",
            "another")
    same(t, {"rsp": place, "rip": to, "cs": CS, "ss": SS, "user": 0, "root": root, "upcall mask": 1 if masks else mask,
             "rflags": rflags & ~CLEARED, **{name: gpr[name] for name in GPRS if name != "rsp"}}, after, who, ONES & ~IOPL)
    got = struct.unpack(f"<{len(words)}Q", client.read(place, 8 * len(words)))
    for i, value in enumerate(words):
        t.check(got[i] == value, f"{who}: word {i} of its frame, from the handler's RSP upward, is another one (of {len(words)})",
                f"{value:x}", f"{got[i]:x}")


def frame_parts(t):
    """pv_frame() by itself."""
    program, done = pv.frames(t.rng, 6), []

    def see(client, regs):
        stack = (regs["rsp"] - 0x800) & ~15
        vcpu = Vcpu(client, regs["rdi"])
        for i in range(36):
            one_frame(t, client, vcpu, stack, program, (0, 0, 1, 2, 3)[i % 5], i % 5 == 1)
        done.append(True)
        raise Enough

    watched(t, program, {"pv_frame": see})
    t.check(done, "no fault of a kernel's comes to pv_frame()", "each", "none")


class Enough(Exception):
    """What was to be seen has been: the machine may go."""


def watched(t, program, points):
    """Boot with this guest, look, and let the machine go."""
    elf = program.assemble(t.directory, "watched")
    try:
        run, _ = t.witness("panic=off -- start watched; off", {t.symbol(name) if isinstance(name, str) else name(program): see
                                                               for name, see in points.items()}, modules=[module(elf)], limits=LIMITS)
        t.orderly(run)
    except Enough:
        pass


# -- 6.3: back, and to the user ----------------------------------------------------------------------
