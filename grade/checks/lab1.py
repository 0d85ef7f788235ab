"""Lab 1A: a guest kernel in ring 1 by trap and emulate.

Two kinds of evidence. Equivalent: a program made for this run prints the same under te as on the
bare machine. Witnessed: QEMU's GDB stub shows CPL, flags and registers while the guest runs, the
virtual CPU's state in the host's memory, and the shadow GDT that the CPU really uses.
"""

import struct

from zeno import evidence, gdbremote, guestgen, machine
from zeno.guestgen import REGISTERS, Program
from zeno.trial import Failed, Trouble

GDT_WINDOW = 0xFFFF820000000000
GDT_GUEST_PAGES = 14
WINDOW = 0xFFC00000
PAGE = 4096
FLAG_IF, IOPL = 1 << 9, 3 << 12
ARITHMETIC = 0x8D5 & ~0x10
"""CF PF ZF SF OF: the flags that a program's own arithmetic leaves; AF is left out."""

GPR_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
STATE_GPR, STATE_RIP, STATE_RFLAGS = 8, 136, 144
STATE_GDTR, STATE_IDTR, STATE_CR0 = 280, 296, 312
STATE_SIZE = 424
EXIT_CLI = 5
LIMITS = machine.Limits(instructions=1_500_000_000)


# -- what all of them share -------------------------------------------------------------------------


def module(path):
    """A boot module as machine.start() takes it; its name is the file's."""
    return (path, "")


def commands(*names, options=""):
    """The kernel's command line: start these guests one after the other, then turn off."""
    starts = "; ".join(f"start {name}" for name in names)
    return f"trace=1{options} -- {starts}; off"


def said_of_end(run, domain=1):
    """What the kernel says of a guest's end, or that it says nothing."""
    end = evidence.guest_end(run, domain)
    return f"{end[0]}: {end[1]}" if end else "the kernel reports no end of this guest"


def same_as_bare(t, program, name, **more):
    """Run a program bare and under te: same output, same exit code, and the host is alive."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest],
                 limits=LIMITS, **more)
    compare(t, bare, run, 1, name)
    t.orderly(run)
    return run


def compare(t, bare, run, domain, name):
    """A guest's output and exit code against the bare machine's."""
    got = evidence.guest_output(run, domain)
    end = evidence.guest_end(run, domain)
    if (end is None or end[0] != "ended") and got != bare.console:
        if run.end is not machine.End.SHUTDOWN:
            t.orderly(run)
        t.fail(f"guest d{domain} ({name}) did not come to its own end under te; "
               f"{said_of_end(run, domain)}", bare.console, got)
    t.equal(bare.console, got, f"what guest d{domain} ({name}) prints")
    code = f"exit code {bare.code} "
    t.check(end is not None and end[0] == "ended" and (end[1] + " ").startswith(code),
            f"guest d{domain} ({name}) ended otherwise than on the bare machine",
            code.strip(), said_of_end(run, domain))


def witness(t, cmdline, points, **more):
    """Boot stopped, a callback at each address, then run to the end: (Run, {address: hits})."""
    live = t.start(cmdline, paused=True, limits=LIMITS, **more)
    trouble = []

    def guarded(function):
        def call(client, regs):
            try:
                return function(client, regs)
            except gdbremote.Refused as error:
                trouble.append(str(error))
            except Failed as failed:
                trouble.append(failed)
            return True
        return call

    seen = gdbremote.witness(live, {address: guarded(function)
                                    for address, function in points.items()}, hits=100_000)
    run = t.finish(live)
    for one in trouble:
        if isinstance(one, Failed):
            raise one
        raise Trouble(f"the GDB stub: {one}")
    return run, seen


def labels(guest, *names):
    """Addresses of labels of a generated guest."""
    symbols = evidence.Symbols(guest)
    return [symbols.address(name) for name in names]


def gprs(regs):
    """The general registers as the guest sees them."""
    return {name: regs[name] & 0xFFFFFFFF for name in GPR_ORDER}


class State:
    """The virtual CPU's state (vmm/state.h), read from the host's memory."""

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


# -- 1.1: enter ring 1 ------------------------------------------------------------------------------


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


def on_bare(t, guest, addresses):
    """Registers at each address, once, on the bare machine: the yardstick."""
    found = {}

    def note(_client, regs):
        found[regs["rip"]] = regs
        return regs["rip"] == addresses[-1]

    live = machine.start(machine=t.machine, kernel=guest, paused=True, limits=LIMITS)
    gdbremote.witness(live, {address: note for address in addresses})
    live.stop()
    run = live.wait()
    run.cleanup()
    if len(found) != len(set(addresses)):
        raise Trouble("the bare machine did not run through the generated guest")
    return found


def ring1(t):
    """CPL, flags and registers at random places of a fresh guest."""
    guest, names = cli_guest(t)
    addresses = labels(guest, *names)
    bare = on_bare(t, guest, addresses)
    visited = []

    def look(client, regs):
        address = regs["rip"]
        where = f"{address:#x}, {names[addresses.index(address)]}"
        visited.append(address)
        if address == addresses[0]:
            entry_state(t, client, regs)
        ring = regs["cs"] & 3
        t.check(ring == 1, f"the guest runs in ring {ring} at {where}"
                + (": it could do anything to the host" if ring == 0 else ""),
                "CPL 1 (CS.RPL)", f"CS {regs['cs']:#06x}, so CPL {ring}")
        t.check(regs["ss"] & 3 == 1, f"SS has RPL {regs['ss'] & 3} at {where}", "RPL 1",
                f"SS {regs['ss']:#06x}")
        t.check(regs["eflags"] & FLAG_IF, f"the CPU's own IF is 0 at {where}: the host would never "
                "get its timer back; the guest's IF is virtual", "EFLAGS.IF = 1",
                f"EFLAGS {regs['eflags']:#x}")
        t.check(not regs["eflags"] & IOPL, f"IOPL is {regs['eflags'] >> 12 & 3} at {where}: the guest "
                "could do I/O and switch interrupts off", "IOPL 0", f"EFLAGS {regs['eflags']:#x}")
        if address != addresses[0]:
            registers_equal(t, bare[address], regs, where)
        return address == addresses[-1]

    run, _ = witness(t, commands("first"), dict.fromkeys(addresses, look), modules=[module(guest)],
                     elf=[guest])
    if not visited:
        never_there(t, run, f"its first instruction ({addresses[0]:#x})")
    if addresses[-1] not in visited:
        never_there(t, run, f"its `cli` ({addresses[-1]:#x})")
    t.orderly(run)


def entry_state(t, client, regs):
    """What a multiboot kernel may rely on at its first instruction (specification 0.6.96, 3.2)."""
    got = gprs(regs)
    t.check(got["rax"] == 0x2BADB002, "EAX at the guest's first instruction is not the boot loader's "
            "magic number", "0x2badb002", f"{got['rax']:#x}")
    info = client.read(got["rbx"], 4)
    t.check(struct.unpack("<I", info)[0] & 1, "EBX at the guest's first instruction does not point "
            "to boot information", "an address of struct multiboot_info", f"{got['rbx']:#x}")


def registers_equal(t, bare, regs, where):
    """All general registers and the arithmetic flags as on the bare machine."""
    wanted, got = gprs(bare), gprs(regs)
    wrong = [name for name in GPR_ORDER if wanted[name] != got[name]]
    t.check(not wrong, f"registers differ from the bare machine's at {where}: "
            + ", ".join(f"e{name[1:]}" for name in wrong),
            ", ".join(f"e{name[1:]}={wanted[name]:08x}" for name in wrong),
            ", ".join(f"e{name[1:]}={got[name]:08x}" for name in wrong))
    t.check(not (bare["eflags"] ^ regs["eflags"]) & ARITHMETIC,
            f"arithmetic flags differ from the bare machine's at {where}",
            f"{bare['eflags'] & ARITHMETIC:#x}", f"{regs['eflags'] & ARITHMETIC:#x}")


def ring1_exit(t):
    """The way out: what the guest had in its registers at its `cli` is in the virtual CPU's state."""
    guest, names = cli_guest(t)
    trap, = labels(guest, "trap")
    at_trap, states = [], []

    def look(_client, regs):
        at_trap.append(regs)
        return False

    def dispatch(client, regs):
        state = State(client, regs["rdi"])
        reason = struct.unpack("<H", client.read(regs["rsi"], 2))[0]
        if state.rip == trap and at_trap and reason != 1:
            states.append((state, reason))
            return True
        return False

    run, _ = witness(t, commands("first"), {trap: look, t.symbol("exit_dispatch"): dispatch},
                     modules=[module(guest)], elf=[guest])
    if not at_trap:
        never_there(t, run, f"its `cli` ({trap:#x})")
    if not states:
        t.orderly(run)
        t.fail("the guest's `cli` never came out of ring 1 as an exit", f"an exit at {trap:#x}",
               said_of_end(run))
    state, reason = states[0]
    wanted = gprs(at_trap[-1])
    wrong = [name for name in GPR_ORDER if wanted[name] != state.gpr[name]]
    t.check(not wrong, "after the exit the virtual CPU's state has other registers than the guest "
            "had: " + ", ".join(f"e{name[1:]}" for name in wrong),
            ", ".join(f"{name}={wanted[name]:08x}" for name in wrong),
            ", ".join(f"{name}={state.gpr[name]:08x}" for name in wrong))
    t.check(reason == EXIT_CLI, "the exit is not known as a cli", f"reason {EXIT_CLI} (cli)",
            f"reason {reason}")
    t.orderly(run)


def ring1_again(t):
    """Guest after guest: the world switch leaves nothing behind."""
    guests = [cli_guest(t, name, 1)[0] for name in ("first", "second", "third")]
    traps = [labels(guest, "trap")[0] for guest in guests]
    hits, stacks = [], []

    def look(_client, regs):
        hits.append(regs["rip"])
        return False

    def enter(_client, regs):
        stacks.append(regs["rsp"])
        return len(stacks) > 2000

    points = dict.fromkeys(traps, look)
    points[t.symbol("ring_enter")] = enter
    run, _ = witness(t, commands("first", "second", "third", "first"), points,
                     modules=[module(guest) for guest in guests], elf=guests)
    t.orderly(run)
    expected = [*traps, traps[0]]
    seen = [at for i, at in enumerate(hits) if i == 0 or hits[i - 1] != at]
    t.check(seen == expected, "four guests were started one after the other, but not all came to "
            "their `cli`", [hex(at) for at in expected], [hex(at) for at in seen])
    t.check(len(set(stacks)) == 1, "the host's stack is at another place at each entry: the way back "
            "does not undo what the way in did", "one address", [hex(at) for at in set(stacks)][:5])


def ring1_timer(t):
    """A guest that never traps: the host's timer takes the CPU back, and the guest goes on."""
    p = Program(t.rng)
    p.churn(6)
    p.op(f"mov ecx, {t.rng.randrange(12_000_000, 16_000_000)}")
    p.label("again")
    p.op("add eax, ecx", "rol eax, 3", "dec ecx", "jnz again")
    p.label("trap")
    p.op("cli")
    p.end()
    guest = p.assemble(t.directory, "busy")
    trap, = labels(guest, "trap")
    bare = on_bare(t, guest, [trap])
    found = []

    def look(_client, regs):
        found.append(regs)
        return True

    irq = t.symbol("exit_irq")
    run, _ = witness(t, commands("busy"), {trap: look}, modules=[module(guest)], elf=[guest],
                     icount=True, watch=(irq,))
    if not found:
        never_there(t, run, "the end of its loop")
    registers_equal(t, bare[trap], found[0], "the end of a loop with timer interrupts in it")
    t.orderly(run)
    times = run.counts.watches.get(irq, 0) if run.counts else 0
    t.check(times >= 2, "a guest ran for 50 million instructions, and the host's timer did not take "
            "the CPU back: is the CPU's IF 1 while ring 1 runs?", "two exits for the timer or more",
            f"{times} such exits")


def ring1_native(t):
    """Efficiency: the guest's instructions run on the CPU, not in an interpreter."""
    p = Program(t.rng)
    p.op(f"mov ecx, {t.rng.randrange(200_000, 400_000)}")
    p.label("again")
    p.churn(5, ("eax", "ebx", "edx", "esi", "edi"))
    p.op("dec ecx", "jnz again")
    p.op("cli")
    p.end()
    guest = p.assemble(t.directory, "work")
    bare = t.bare(guest) if False else t.boot(kernel=guest, limits=LIMITS)
    t.runs.pop()
    run = t.boot(commands("work"), modules=[module(guest)], elf=[guest], exact=True, limits=LIMITS)
    t.orderly(run)
    if not (bare.counts and run.counts):
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    share = 100 * run.counts.low / bare.counts.total
    t.notes.append(f"{run.counts.low} instructions ran natively in the guest; the program has "
                   f"{bare.counts.total} ({share:.1f} %); {run.counts.high} ran in the host")
    t.check(95 <= share <= 110, "the guest's instructions did not run natively, once each",
            f"about {bare.counts.total} instructions below 4 GiB", run.counts.low)


# -- 1.2: out ---------------------------------------------------------------------------------------


def out_forms(t):
    """A program of OUTs in all forms against the bare machine."""
    same_as_bare(t, guestgen.outs(t.rng), "outs")


def out_flags(t):
    """No flag and no register changes by an emulated OUT."""
    same_as_bare(t, guestgen.flags_survive(t.rng), "flags")


def out_foreign(t):
    """Ports that are not the guest's: no reset, no forged record, and the next guest is right."""
    contained(t, ["ports", "side-channel"])


# -- hostile guests ---------------------------------------------------------------------------------


def hostile_modules(t, attacks):
    """One module per attack, all of the same image."""
    image = t.image.guests / "hostile.elf"
    if not image.is_file():
        raise Trouble("guest/hostile was not built")
    found = []
    for i, attack in enumerate(attacks):
        path = t.path(f"attack{i}.elf")
        if not path.exists():
            path.symlink_to(image)
        found.append((path, f"attack={attack}"))
    return found


def contained(t, attacks, **more):
    """Each attack must fail, and a fresh program after it must still come out right."""
    program = guestgen.outs(t.rng, 10)
    after = program.assemble(t.directory, "after")
    bare = t.bare(after)
    for at in range(0, len(attacks), 6):
        part = attacks[at:at + 6]
        modules = [*hostile_modules(t, part), module(after)]
        names = []
        for i in range(len(part)):
            names += [f"attack{i}", "after"]
        run = t.boot(commands(*names), modules=modules, elf=[t.image.guests / "hostile.elf"],
                     limits=LIMITS, **more)
        judge_attacks(t, run, part, bare)


def judge_attacks(t, run, part, bare):
    """The verdict on one boot with several attacks, each followed by the honest guest."""
    ids = starts_in(run)
    for i, attack in enumerate(part):
        mine = ids[2 * i] if 2 * i < len(ids) else None
        output = evidence.guest_output(run, mine) if mine else b""
        t.check(b"went through" not in output, f"the attack `{attack}` went through", "it is stopped, "
                "or has no effect", output)
        if mine is None or (2 * i + 1 >= len(ids) and run.end is not machine.End.SHUTDOWN):
            t.notes.append(f"the host did not survive the attack `{attack}`")
            t.orderly(run)
            t.fail(f"the host did not survive the attack `{attack}`", "the next guest runs",
                   said_of_end(run, mine or 1))
        t.check(attack.encode() + b": begins" in output, f"the attack `{attack}` never began; "
                + said_of_end(run, mine), f"{attack}: begins", output)
    honest = [evidence.guest_output(run, ids[2 * i + 1]) if 2 * i + 1 < len(ids) else b""
              for i in range(len(part))]
    for attack, output in zip(part, honest):
        t.equal(bare.console, output, f"what an honest guest prints after the attack `{attack}`")
    t.orderly(run)
    forged = [args for _, args in run.tagged("end") if args.startswith("d9 ")]
    t.check(not forged, "a guest wrote a record of its own to the host's side channel",
            "port 0xE9 is not the guest's", forged)


def starts_in(run):
    """Domain numbers in the order in which the kernel started them."""
    found = []
    for line in run.text().replace("\r", "").split("\n"):
        words = line.split()
        if len(words) > 2 and words[2:3] == ["started"] and words[0][:1] == "d":
            number = words[0][1:]
            if number.isdigit():
                found.append(int(number))
    return found
