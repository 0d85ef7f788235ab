"""Guests under te beside the bare machine, and hostile ones: what the checks of Labs 1 to 3 share."""

import shutil
import struct

from zeno.guests import programs
from zeno.guests.programs import Program
from zeno.judging import evidence, headers
from zeno.judging.trial import Trouble
from zeno.machines import machine

GDT_WINDOW, GDT_GUEST_PAGES = headers.numbers(("kern/map.h",), ("GDT_WINDOW", "GDT_GUEST_PAGES"))
WINDOW = 0xFFC00000
PAGE = 4096
FLAG_IF, IOPL, FLAG_RF = 1 << 9, 3 << 12, 1 << 16
ARITHMETIC = 0x8D5 & ~0x10
"""CF PF ZF SF OF: the flags that a program's own arithmetic leaves; AF is left out."""

GPR_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
STATE_GPR, STATE_RIP, STATE_RFLAGS, STATE_SEG, STATE_GDTR, STATE_IDTR, STATE_SIZE = headers.numbers(
    ("vmm/x86/state.h",), [*(f"offsetof(struct cpu_state, {name})" for name in ("gpr", "rip", "rflags", "seg", "gdtr",
                                                                                "idtr")), "sizeof(struct cpu_state)"])
EXIT_CLI, = headers.numbers(("vmm/exit.h",), ("EXIT_CLI",))
FLAG_NAMES = {"CF": 1, "bit 1": 2, "PF": 4, "AF": 16, "ZF": 64, "SF": 128, "TF": 256, "IF": FLAG_IF, "DF": 1 << 10,
              "OF": 1 << 11, "IOPL": IOPL, "NT": 1 << 14, "RF": FLAG_RF, "AC": 1 << 18, "ID": 1 << 21}
REAL_FLAGS = sum(FLAG_NAMES.values())
ALL_FLAGS = (1 << 22) - 1
"""What a CPU may have in EFLAGS while a guest runs; virtual-8086 mode's are left out."""
LIMITS = machine.Limits(instructions=1_000_000_000, console_bytes=1 << 20, side_bytes=16 << 20)


# -- what all of them share -------------------------------------------------------------------------


def module(path):
    """A boot module as machine.start() takes it; its name is the file's."""
    return (path, "")


def commands(*names, options=""):
    """The kernel's command line: start these guests one after the other, then turn off."""
    starts = "; ".join(f"start {name}" for name in names)
    return f"trace=1{options} -- {starts}; off"


def life(run, number=0):
    """The guest that was started as number `number`; an empty one if it never was."""
    found = evidence.lives(run)
    return found[number] if number < len(found) else evidence.Life(0, "?")


def said_of_end(run, number=0):
    """What the kernel says of a guest's end, or that it says nothing."""
    return life(run, number).said()


def same_as_bare(t, program, name, **more):
    """Run a program bare and under te: same output, same exit code, and the host is alive."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest],
                 limits=LIMITS, **more)
    compare(t, bare, run, 0)
    t.orderly(run)
    return run


def compare(t, bare, run, number):
    """The output and exit code of the guest that was started as `number` against the bare machine's."""
    one = life(run, number)
    who = f"the guest `{one.name}`"
    ended = one.end is not None and one.end[0] == "ended"
    if not ended and one.output != bare.console:
        t.orderly(run)
        t.fail(f"{who} did not come to its own end; {one.said()}", bare.console,
               one.output)
    t.equal(bare.console, one.output, f"what {who} prints")
    code = f"exit code {'' if bare.code is None else f'{bare.code} '}"  # bare Bochs says none
    t.check(ended and (one.end[1] + " ").startswith(code), f"{who} ended otherwise than on the bare "
            "machine", code.strip(), one.said())


def witness(t, cmdline, points, **more):
    """Boot stopped, a callback at each address, then run to the end: (Run, {address: hits})."""
    return t.witness(cmdline, points, limits=LIMITS, **more)


def labels(guest, *names):
    """Addresses of labels of a generated guest."""
    symbols = evidence.Symbols(guest)
    return [symbols.address(name) for name in names]


def gprs(regs):
    """The general registers as the guest sees them."""
    return {name: regs[name] & 0xFFFFFFFF for name in GPR_ORDER}


class State:
    """The virtual CPU's state (vmm/x86/state.h), read from the host's memory."""

    def __init__(self, client, address):
        self.raw = client.read(address, STATE_SIZE)
        values = struct.unpack_from("<8Q", self.raw, STATE_GPR)
        self.gpr = dict(zip(GPR_ORDER, values))
        self.rip, self.rflags = struct.unpack_from("<QQ", self.raw, STATE_RIP)
        self.gdtr = struct.unpack_from("<QH", self.raw, STATE_GDTR)
        self.idtr = struct.unpack_from("<QH", self.raw, STATE_IDTR)


def never_there(t, run, what):
    """The guest did not come to a place that it must come to."""
    t.orderly(run)
    t.fail(f"the guest never came to {what}; {said_of_end(run)}",
           f"the guest at {what}", "it was never there")


def cli_guest(t, name="first", points=4):
    """Arithmetic, then one `cli`: (path, labels on the way, with `trap` as the last)."""
    p = Program(t.rng)
    names = ["_start"]
    for _ in range(points):
        p.churn(6)
        names.append(p.label())
    p.label("trap")
    p.op("cli")
    p.end()
    return p.assemble(t.directory, name), [*names, "trap"]


def restore(client, regs):
    """All registers as they were."""
    for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10",
                 "r11", "r12", "r13", "r14", "r15", "rip", "eflags"):
        client.set_reg(name, regs[name])


def called(t, function, cases):
    """Calls a function of the kernel with each pair of arguments: (Run, the results until it did not come back)."""
    entry, start, results = t.symbol(function), t.symbol("monitor_run"), []

    def call(client, regs):
        if regs["rip"] != start or results:
            return True
        stack = (regs["rsp"] - 0x800) & ~15
        client.write(stack - 8, struct.pack("<Q", start))
        for first, second in cases:
            client.set_reg("rdi", first)
            client.set_reg("rsi", second)
            client.set_reg("rsp", stack - 8)
            client.set_reg("rip", entry)
            client.cont()
            back = client.regs()
            if back["rip"] != start:
                return True
            results.append(back["rax"])
        restore(client, regs)
        return True

    run, _ = witness(t, "-- off", {start: call})
    return run, results


# -- hostile guests ---------------------------------------------------------------------------------


def hostile_modules(t, attacks):
    """One module per attack, all of the same image."""
    image = t.image.guests / "hostile.elf"
    if not image.is_file():
        raise Trouble("guest/hostile was not built")
    found = []
    for i, attack in enumerate(attacks):
        path = t.path(f"attack{i}.elf")
        # A copy of its own: the kernel takes the guest's name from the file's.
        shutil.copyfile(image, path)
        found.append((path, f"attack={attack}"))
    return found


def contained(t, attacks, limits=LIMITS, **more):
    """Each attack must fail, and a fresh program after it must still come out right."""
    program = programs.outs(t.rng, 10)
    after = program.assemble(t.directory, "after")
    # On Bochs a bare program must poll COM1, which this one does not; its output is the same.
    bare = t.bare(after, machine="qemu")
    for at in range(0, len(attacks), 6):
        part = attacks[at:at + 6]
        modules = [*hostile_modules(t, part), module(after)]
        names = []
        for i in range(len(part)):
            names += [f"attack{i}", "after"]
        run = t.boot(commands(*names), modules=modules, elf=[t.image.guests / "hostile.elf"],
                     limits=limits, **more)
        judge_attacks(t, run, part, bare)


def judge_attacks(t, run, part, bare):
    """The verdict on one boot with several attacks, each followed by the honest guest."""
    found = evidence.lives(run)
    for i, attack in enumerate(part):
        one, honest = life(run, 2 * i), life(run, 2 * i + 1)
        t.check(b"went through" not in one.output, f"the attack `{attack}` went through",
                "it is stopped, or has no effect", one.output)
        if len(found) <= 2 * i + 1:
            t.notes.append(f"the last thing that ran was the attack `{attack}`")
            t.orderly(run)
            t.fail(f"after the attack `{attack}` no other guest could be started",
                   "the host goes on", one.said())
        t.check(attack.encode() + b": begins" in one.output, f"the attack `{attack}` never began; "
                + one.said(), f"{attack}: begins", one.output)
        t.equal(bare.console, honest.output,
                f"what an honest guest prints after the attack `{attack}`")
    t.orderly(run)
    t.check(len(found) == 2 * len(part), "guests were reported that nobody started",
            2 * len(part), len(found))
    forged = [args for _, args in run.tagged("end") if args.startswith("d9 ")]
    t.check(not forged, "a guest wrote a record of its own to the host's side channel",
            "port 0xE9 is not the guest's", forged)
