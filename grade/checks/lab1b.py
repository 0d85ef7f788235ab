"""Lab 1B: the guest's own IDT, its ring 3, interrupts, a UART with interrupts, and the audit.

The same two kinds of evidence as in Lab 1A (lab1.py): fresh programs against the bare machine, and
QEMU's GDB stub, which shows the ring that the CPU is really in, the shadow GDT that it really uses,
and the virtual CPU's state in the host's memory.

Programs with a timer run under -icount on both machines: a tick is a number of instructions then,
and a run repeats. What they print does not depend on when a tick comes, only on that it comes.
"""

import re
import struct

from zeno.guests import faults, irqs, kernels
from zeno.guests.kernels import PROBE
from zeno.machines import machine
from zeno.judging.trial import Trouble

from .guests import FLAG_IF, FLAG_RF, IOPL, LIMITS, STATE_RFLAGS, STATE_SEG, State, commands, compare, labels, life, module, never_there, witness
from .lab1tables import desc_dpl, judge_gdt, read_shadow_gdt
from .lab1tables import DESC_CODE, DESC_P, DESC_S

SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
FEW = machine.Limits(instructions=250_000_000, console_bytes=1 << 20)
"""For programs that are short: a fault that comes for ever prints for ever."""


def segments(state):
    """{name: selector} of the guest's own segment registers."""
    return {name: struct.unpack_from("<H", state.raw, STATE_SEG + 16 * i)[0]
            for i, name in enumerate(SEGMENTS)}


def same(t, program, name):
    """Run a program bare and under te: same output, same exit code, and the host is alive."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest], limits=FEW)
    compare(t, bare, run, 0)
    t.orderly(run)


# -- 1.6: reflection -------------------------------------------------------------------------------


def reflect_frames(t):
    """Faults and software interrupts in ring 0, nested, in a random order: every pushed frame."""
    same(t, faults.reflect(t.rng), "reflect")


def reflect_gates(t):
    """Gates that are absent, of another type, or lead nowhere.

    Before each delivery the host's stack is filled with a gate that is good: who does not read one uses that.
    """
    k = faults.gates(t.rng)
    guest = k.assemble(t.directory, "gates")
    handler, = labels(guest, f"stub{PROBE}")
    gate = struct.pack("<HHHH", handler & 0xFFFF, k.code, 0x8E00, handler >> 16)

    def deliver(client, regs):
        client.write(regs["rsp"] - 0x400, gate * 0x80)
        return False

    bare = t.bare(guest)
    run, _ = t.witness(commands("gates"), {t.symbol("te_deliver_once"): deliver}, modules=[module(guest)],
                       elf=[guest], limits=FEW)
    compare(t, bare, run, 0)
    t.orderly(run)


def reflect_ring3(t):
    """Software interrupts from ring 3: DPL, and the stack that the TSS names."""
    same(t, faults.calls(t.rng), "calls")


def reflect_live(t):
    """At a handler's first instruction: ring 1, the guest's CPL 0, its IF, and the pushed words."""
    k = kernels.Kernel(t.rng, returns=False)
    k.begin()
    k.play_gates()
    on = k.fresh()
    vector = t.rng.choice(k.open_gates)
    flag = t.rng.randrange(2)
    k.flag(flag)
    k.op(f"mov dword [resume], {on}")
    at = k.label("trap")
    k.op(f"int {vector:#x}")
    k.label(on)
    k.finish()
    guest = k.assemble(t.directory, "live")
    trap, handler, behind = labels(guest, at, f"stub{vector}", on)
    vcpu, found = [], {}

    def dispatch(_client, regs):
        vcpu[:] = [regs["rdi"]]
        return False

    def deliver(client, regs):
        # A CPU sets RF in the frame of a fault (SDM 3B 18.3.1.1); QEMU 7.2 does not, so here it is.
        if trap in found:
            client.write(regs["rdi"] + STATE_RFLAGS, struct.pack("<Q", State(client, regs["rdi"]).rflags | FLAG_RF))
        return False

    def look(client, regs):
        found[regs["rip"]] = (regs, State(client, vcpu[0]),
                              client.read(regs["rsp"] & 0xFFFFFFFF, 12))
        return regs["rip"] == handler

    run, _ = witness(t, commands("live"), {t.symbol("exit_dispatch"): dispatch, trap: look,
                                           t.symbol("te_deliver_once"): deliver, handler: look}, modules=[module(guest)], elf=[guest])
    if trap not in found:
        never_there(t, run, f"its int {vector:#x}")
    if handler not in found:
        never_there(t, run, f"the handler of its int {vector:#x}")
    before, (regs, state, words) = found[trap][0], found[handler]
    real_ring(t, regs, 1, "at the handler's first instruction")
    eip, cs, eflags = struct.unpack("<3I", words)
    t.check(eip == behind, "the return address that the handler finds is not that of the "
            "instruction behind the int", f"{behind:#x}", f"{eip:#x}")
    t.check(cs == k.code, "the CS that the handler finds is not the guest's own", f"{k.code:#x}",
            f"{cs:#x}")
    wanted = before["eflags"] & 0xCFF & ~FLAG_IF | flag << 9
    t.check((eflags & 0x7FFF & ~0x100) == wanted | 2, "the flags that the handler finds are not "
            "the guest's own", f"{wanted | 2:#x}", f"{eflags:#x}")
    trap_gate = run_gate(k, vector)
    t.check(bool(state.rflags & FLAG_IF) == bool(trap_gate and flag), "the guest's IF at the "
            f"handler's first instruction, behind {'a trap' if trap_gate else 'an interrupt'} gate "
            f"and with IF={flag} before it", f"IF={int(trap_gate and flag)}",
            f"rflags {state.rflags:#x}")
    t.check(not state.rflags & FLAG_RF, "a fault's flags have RF set, and the handler begins with RF=1: a breakpoint "
            "at its first instruction would not come", "RF=0 (bit 16)", f"rflags {state.rflags:#x}")
    t.orderly(run)


def run_gate(k, vector):
    """True if the program's last gate for this vector is a trap gate."""
    access = None
    for i, line in enumerate(k.lines):
        if line.strip() == f"mov esi, {vector:#x}" and i + 2 < len(k.lines):
            access = int(k.lines[i + 2].split()[-1], 0)
    return bool(access is not None and access & 1)


def the_end(_client, _regs):
    """Nothing more is to be seen: the kernel turns the machine off."""
    return True


def real_ring(t, regs, ring, where):
    """The ring that the CPU is really in, and its real flags."""
    got = regs["cs"] & 3
    t.check(got == ring, f"{where} the CPU is in ring {got}", f"CPL {ring}", f"CS {regs['cs']:#x}")
    t.check(regs["eflags"] & FLAG_IF and not regs["eflags"] & IOPL, f"{where} the CPU's own IF is "
            "0 or its IOPL is not", "IF=1, IOPL=0 in the CPU", f"EFLAGS {regs['eflags']:#x}")


# -- 1.7: iret, ring 3, interrupts -----------------------------------------------------------------


def iret_forms(t):
    """Handlers that return, nested; frames made by hand; irets that are faults."""
    same(t, faults.returns(t.rng), "returns")


def ring3_trips(t):
    """Into ring 3 and back, with faults, refused gates, IOPL 0 and 3."""
    same(t, faults.ring3(t.rng), "trips")


def ring3_live(t):
    """The real ring, the shadow GDT and the guest's segments, in its user code and behind it."""
    k = faults.ring3(t.rng, rounds=2, count=2)
    guest = k.assemble(t.directory, "rings")
    users = labels(guest, *k.user_places)
    system = labels(guest, *k.kernel_places)
    vcpu, visits = [], []

    def dispatch(client, regs):
        vcpu[:] = [regs["rdi"]]
        client.remove(regs["rip"])  # one vCPU, and a stop at each exit costs
        return False

    def look(client, regs):
        where = regs["rip"]
        visits.append(where)
        state, user = State(client, vcpu[0]), where in users
        real_ring(t, regs, 3 if user else 1, f"at {where:#x} in the guest's "
                  + ("user code" if user else "kernel"))
        judge_rings(t, user, read_shadow_gdt(client), state, regs)
        return where == system[-1]

    run, _ = witness(t, commands("rings"), dict.fromkeys(users + system, look)
                     | {t.symbol("exit_dispatch"): dispatch}, modules=[module(guest)], elf=[guest])
    if not set(users) & set(visits):
        never_there(t, run, "its code in ring 3")
    if not set(system) & set(visits):
        never_there(t, run, "its kernel again")
    t.orderly(run)


def judge_rings(t, user, entries, state, regs):
    """Ring-3 code is in the shadow in ring 3 only; there no register holds a segment of ring 0."""
    code3 = [sel for sel, one in entries
             if one & DESC_P and one & DESC_S and one & DESC_CODE and desc_dpl(one) == 3]
    if user:
        t.check(regs["cs"] & ~7 in code3, "ring-3 code runs, and its descriptor is not in the GDT "
                "that the CPU uses", f"a code descriptor of DPL 3 at {regs['cs'] & ~7:#x}",
                [hex(one) for one in code3])
        selectors = segments(state)
        wrong = [name for name in ("ds", "es", "fs", "gs") if selectors[name] & ~3
                 and selectors[name] & 3 != 3 and not selectors[name] & 4]
        t.check(not wrong, "in ring 3 the guest still has segments of its ring 0 in "
                + ", ".join(wrong), "null selectors", {n: hex(selectors[n]) for n in wrong})
    else:
        judge_gdt(t, entries, "in the guest's kernel")
    cs = segments(state)["cs"] & 3
    t.check(cs == (3 if user else 0), "the guest's own CPL, in v->state, is another",
            3 if user else 0, cs)


def dropped(t):
    """What iret leaves in DS, ES, FS and GS of the virtual CPU, before it runs in ring 3."""
    k = kernels.Kernel(t.rng)
    k.begin()
    for _ in range(4):
        k.user(lambda: None, t.rng.randrange(2) << 9, keep_data=t.rng.random() < 0.6)
    k.finish()
    guest = k.assemble(t.directory, "dropped")
    entries, seen = labels(guest, *entry_labels(k)), []

    def changed(client, regs):
        # exit_iret() calls this when all of the guest's state is loaded.
        state = State(client, regs["rdi"])
        selectors = segments(state)
        if selectors["cs"] & 3 == 3 and state.rip in entries:
            seen.append(selectors)
        return len(seen) == len(entries)

    run, _ = witness(t, commands("dropped"), {t.symbol("te_cpl_changed"): changed},
                     modules=[module(guest)], elf=[guest])
    if not seen:
        never_there(t, run, "its code in ring 3")
    for selectors in seen:
        wrong = {name: hex(selectors[name]) for name in ("ds", "es", "fs", "gs")
                 if selectors[name] & ~3 and selectors[name] & 3 != 3}
        t.check(not wrong, "after an iret to ring 3 the guest's registers still hold segments of "
                "its ring 0", "0: the CPU takes them away", wrong)
    t.orderly(run)


def entry_labels(k):
    """Where the program's irets to ring 3 lead."""
    return [k.lines[i - 1].split()[-1] for i, line in enumerate(k.lines)
            if line.strip() == "iret" and "push dword on" in k.lines[i - 1]]


def interrupts(t):
    """Timer interrupts while the guest computes, sleeps, shields itself, in ring 3, nested."""
    timed(t, irqs.timers(t.rng), "timers")


def timed(t, program, name):
    """same_as_bare() with a clock that counts instructions."""
    guest = program.assemble(t.directory, name)
    bare = t.bare(guest, icount=True)
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest], icount=True,
                 limits=FEW)
    said = f"`no: ` in what the guest `{name}` prints"
    t.check(b"no: " not in bare.console, "", said, bare.console)
    wrong = re.findall(rb"no: ([^\n]*)", life(run).output)
    t.check(not wrong, "this does not hold under te, and does on the bare machine: "
            + "; ".join(one.decode("latin-1") for one in wrong), bare.console, life(run).output)
    compare(t, bare, run, 0)
    t.orderly(run)


def interrupt_place(t):
    """An interrupt comes only while the guest's IF is 1, and goes back to its place."""
    k, handler, places = irqs.one_interrupt(t.rng)
    guest = k.assemble(t.directory, "place")
    at, = labels(guest, handler)
    ranges = [labels(guest, *pair) for pair in places]
    given, taken = [], []

    def inject(client, regs):
        state = State(client, regs["rdi"])
        given.append(state.rip)
        t.check(state.rflags & FLAG_IF, "an interrupt is brought to the guest while its IF, in "
                "v->state.rflags, is 0", "IF=1", f"rflags {state.rflags:#x} at {state.rip:#x}")
        return False

    def look(client, regs):
        eip, cs, eflags = struct.unpack("<3I", client.read(regs["rsp"] & 0xFFFFFFFF, 12))
        taken.append(eip)
        real_ring(t, regs, 1, "at the timer handler's first instruction")
        t.check(eflags & FLAG_IF and cs == k.code, "the frame of an interrupt is not the guest's",
                f"CS {k.code:#x}, IF=1", f"CS {cs:#x}, EFLAGS {eflags:#x}")
        t.check(any(low <= eip <= high for low, high in ranges), "an interrupt's return address is "
                "not in the code that runs with IF=1", [f"{a:#x}-{b:#x}" for a, b in ranges],
                f"{eip:#x}")
        t.check(given and given[-1] == eip, "an interrupt's return address is not where the guest "
                "was",
                f"{given[-1]:#x}" if given else "te_interrupt() first", f"{eip:#x}")
        return len(taken) >= 12

    run, _ = witness(t, commands("place"), {t.symbol("te_interrupt"): inject, at: look,
                                            t.symbol("machine_off"): the_end},
                     modules=[module(guest)], elf=[guest], icount=True)
    if not taken:
        never_there(t, run, "its timer's handler")
    t.orderly(run)
    t.check(life(run).output == b"the end\n", "the guest did not go on as if nothing had been",
            b"the end\n", life(run).output)


# -- 1.8: the UART ---------------------------------------------------------------------------------


def uart_received(t):
    """Characters that are typed arrive by interrupts, all of them, in order."""
    length = t.rng.randrange(24, 60)
    words = "".join(t.rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(length))
    guest = irqs.typed(t.rng, length).assemble(t.directory, "typed")
    bare = typed_bare(t, guest, words)
    run = t.boot(f"trace=1 -- start typed -- input={words}; off", modules=[module(guest)],
                 elf=[guest], icount=True, limits=LIMITS)
    compare(t, bare, run, 0)
    t.orderly(run)


def typed_bare(t, guest, words):
    """The bare machine, with the same words typed into its COM1."""
    live = t.start(kernel=guest, elf=[guest], interactive=True, limits=LIMITS)
    if live.wait_for(b"go\n"):
        live.send(words.encode())
    run = live.wait()
    if run.end is not machine.End.SHUTDOWN or words.encode() not in run.console:
        raise Trouble(f"the bare machine did not get what was typed: {run.end.value}: {run.detail}")
    return run


def uart_sent(t):
    """Lines that are printed by transmitter interrupts only, and quiet behind each."""
    timed(t, irqs.sent(t.rng), "sent")


def uart_line(t):
    """The level of IRQ 4 at the guest's 8259 follows the UART."""
    guest = irqs.sent(t.rng, 1).assemble(t.directory, "sent")
    lines, bad = [], []
    number = 4

    def level(_client, regs):
        lines.append((regs["rsi"] & 0xFF, regs["rdx"] & 0xFF))
        if (regs["rsi"] & 0xFF) not in (0, number):
            bad.append(regs["rsi"] & 0xFF)
        return len(lines) > 3000 or {one for irq, one in lines if irq == number} == {0, 1}

    run, _ = witness(t, commands("sent"), {t.symbol("pic_set_irq"): level,
                                           t.symbol("machine_off"): the_end},
                     modules=[module(guest)], elf=[guest], icount=True)
    t.orderly(run)
    t.check(not bad, "lines that no device of the guest's is on were set", "IRQ 0 and IRQ 4 only",
            sorted(set(bad)))
    levels = {one for irq, one in lines if irq == number}
    t.check(levels == {0, 1}, "the UART's line to the 8259 does not go up and down", "both levels",
            sorted(levels))


# -- 1.9: the audit --------------------------------------------------------------------------------

AUDITED = ("sgdt", "sidt", "sldt", "smsw", "pushf", "popf", "lar", "lsl", "verr", "verw", "pop",
           "push", "call", "jmp", "int", "ret", "str", "mov")
LEVELS = ("kernel", "user")
ROW = re.compile(rb"(?<![a-z])([a-z]+)\.(kernel|user): (.*)\n")
ANSWER = re.compile(r"\s*([a-z]+\.(?:kernel|user))\s*=\s*(.*?)\s*(?:#.*)?$")


def audited(t, start, levels):
    """(run, rows, {row: what it saw} bare, the same as `start` says) of guest/audit."""
    image = t.image.guests / "audit.elf"
    if not image.is_file():
        raise Trouble("guest/audit was not built")
    bare = t.bare(image)
    run = t.boot(start, modules=[module(image)], elf=[image], limits=LIMITS)
    t.orderly(run)
    wanted, got = dict_rows(bare.console), dict_rows(life(run).output)
    rows = [f"{name}.{level}" for name in AUDITED for level in levels]
    lost = [row for row in rows if row not in wanted]
    if lost:
        raise Trouble(f"guest/audit says nothing of {', '.join(lost)} on the bare machine")
    return run, rows, wanted, got


def audit_rows(t):
    """{row: "same" or "differs"}: guest/audit, bare and on te, compared here and now."""
    run, rows, wanted, got = audited(t, commands("audit"), LEVELS)
    lost = [row for row in rows if row not in got]
    t.check(not lost, "guest/audit does not come to its end under te", "all its rows",
            life(run).said())
    return {row: "same" if wanted[row] == got[row] else "differs" for row in rows}


def dict_rows(output):
    """{row: what it saw}."""
    return {f"{name}.{level}": saw for name, level, saw in
            ((m[1].decode(), m[2].decode(), m[3]) for m in ROW.finditer(output))}


def answers(t):
    """{row: word} of answers.txt."""
    text = t.image.files.get("answers.txt", b"").decode("utf-8", "replace")
    found = {}
    for line in text.splitlines():
        match = ANSWER.match(line)
        if match and not line.lstrip().startswith("#"):
            found[match[1]] = match[2].lower()
    return found


def audit(t, level):
    """The answers of one privilege level: every row, and no right one is printed."""
    found, right = answers(t), audit_rows(t)
    rows = [row for row in right if row.endswith(level)]
    empty = [row for row in rows if found.get(row, "") not in ("same", "differs")]
    t.check(not empty, "answers.txt does not say `same` or `differs` behind "
            + ", ".join(f"`{row} =`" for row in empty), f"{len(rows)} rows", len(rows) - len(empty))
    wrong = sum(found[row] != right[row] for row in rows)
    t.check(not wrong, f"{wrong} of the {len(rows)} rows for {level} in answers.txt are not what "
            "guest/audit shows (which ones is for you to find)", "what you see", f"{wrong} wrong")


def audit_kernel(t):
    """The 18 instructions in the guest's kernel."""
    audit(t, "kernel")


def audit_user(t):
    """The 18 instructions in the guest's ring 3."""
    audit(t, "user")


def audit_why(t):
    """Free text: present, and not shorter than a thought. What it says, a person judges."""
    text = t.image.files.get("answers.txt", b"").decode("utf-8", "replace")
    for key in ("why", "worst"):
        match = re.search(rf"(?m)^{key}\s*=(.*(?:\n[ \t]+\S.*)*)", text)
        words = len(match[1].split()) if match else 0
        t.check(words >= 8, f"answers.txt says too little behind `{key} =`", "a sentence or two",
                f"{words} words")
