"""What *e must say of an exit, member by member: exercises 4s.5 and 4.5.

Witnessed by the debugger, at the first exit of a guest: the grader makes up exits, writes what the CPU would tell of each,
calls the student's function, and reads struct exit. Instructions lie in the guest's memory, where an exit of another one may
have left them: the CPU has executed one, and there is another by now.
"""

import struct
from dataclasses import dataclass, field, replace

from zeno.guests.programs import Program
from zeno.judging import headers

from .guests import LIMITS, labels, module, never_there
from .lab4 import GPRS, answer_vmreads, to_return, word
from .lab4sa import ENGINE_DATA, vmcb_of
from .lab4sb import commands

OTHER_MEMORY = 0xD0000000
"""A guest has none there."""
REASONS = ("IO", "CR", "DR", "MSR", "CPUID", "HLT", "PAUSE", "CACHE", "HYPERCALL", "XSETBV", "OTHER")
REASON = dict(zip(REASONS, headers.numbers(("vmm/exit.h",), [f"EXIT_{name}" for name in REASONS])))
NAMES = {number: f"EXIT_{name}" for name, number in REASON.items()}
ACCESSES = ("REG_WRITE", "REG_READ", "REG_CLTS", "REG_LMSW", "REG_SMSW")
WRITE, READ, CLTS, LMSW, SMSW = headers.numbers(("vmm/exit.h",), ACCESSES)
SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS")
SEG = dict(zip(SEGMENTS, headers.numbers(("vmm/x86/state.h",), [f"SEG_{name}" for name in SEGMENTS])))
PREFIX_OF = {"ES": 0x26, "CS": 0x2E, "SS": 0x36, "DS": 0x3E, "FS": 0x64, "GS": 0x65}
MEMBERS = ("reason", "insn_len", "insn_op", "io.port", "io.size", "io.in", "io.string", "io.rep", "io.seg", "io.addr_size",
           "cr.number", "cr.gpr", "cr.access", "cr.value", "msr.number", "msr.write")
AT = dict(zip(MEMBERS, headers.numbers(("vmm/exit.h",), [f"offsetof(struct exit, {name})" for name in MEMBERS])))
SIZE = dict.fromkeys(MEMBERS, 1) | {"reason": 2, "insn_op": 2, "io.port": 2, "cr.value": 2, "msr.number": 4}
YES_NO = ("io.in", "io.string", "io.rep", "msr.write")
EXIT_SIZE, VCPU_SIZE, VCPU_RIP, VCPU_RCX = headers.numbers(("vmm/exit.h", "vmm/vcpu.h"), (
    "sizeof(struct exit)", "sizeof(struct vcpu)", "offsetof(struct vcpu, state.rip)",
    "offsetof(struct vcpu, state.gpr[RCX])"))
INSN = dict(zip(INSNS := ("IN", "OUT", "INS", "OUTS", "MOV_TO_CR", "MOV_FROM_CR", "MOV_TO_DR", "MOV_FROM_DR", "CLTS", "LMSW",
                          "RDMSR", "WRMSR", "CPUID", "HLT", "NOP", "INVD", "WBINVD", "XSETBV"),
                headers.numbers(("vmm/x86/insn.h",), [f"INSN_{name}" for name in INSNS])))


# -- exits that are made up --------------------------------------------------------------------------


@dataclass
class Made:
    """An exit: what the CPU has executed, and what there is when Zeno looks."""

    words: str
    code: bytes
    members: dict
    """What *e must say; of the reason, its name."""
    op: str = ""
    rcx: int = 0
    there: bytes = None
    """Other bytes by now; b"": no memory."""
    same_kind: bool = False
    """These are of the kind and length that was executed: EXIT_OTHER, or what the CPU has said."""
    in_memory: bool = False
    """Its last four bytes are the address of a word of the guest's."""
    at: int = 0
    length: int = 0
    """What the CPU says, if that is not the length of `code`."""
    facts: dict = field(default_factory=dict)
    """What else the CPU knows of it, by name."""

    @property
    def wanted(self):
        """{member: number}"""
        found = {name: value for name, value in self.members.items() if value is not None}
        return found | {"reason": REASON[found["reason"]], "insn_len": self.length or len(self.code)}


def _prefixes(rng, *choices):
    return bytes(rng.choice(((), (), *choices)))


def _port(rng):
    size, is_in, near = rng.choice((1, 2, 4)), rng.randrange(2), rng.random() < 0.3
    port = rng.randrange(256) if near else rng.randrange(1, 0x10000)
    opcode = (0xE4 if near else 0xEC) + (0 if is_in else 2) + (size > 1)
    code = _prefixes(rng, (0x2E,), (0x3E, 0x67)) + b"\x66" * (size == 2) + bytes([opcode]) + bytes([port] * near)
    return Made(f"{'in' if is_in else 'out'} of {size} bytes, port {port:x}", code,
                {"reason": "IO", "io.port": port, "io.size": size, "io.in": is_in, "io.string": 0, "io.rep": 0},
                "IN" if is_in else "OUT")


def _string(rng):
    size, is_in, rep, short = rng.choice((1, 2, 4)), rng.randrange(2), rng.randrange(2), rng.randrange(2)
    port, segment = rng.randrange(0x10000), rng.choice(("", *SEGMENTS))
    code = (bytes([PREFIX_OF[segment]] if segment else []) + b"\x67" * short + bytes([rng.choice((0xF2, 0xF3))] * rep)
            + b"\x66" * (size == 2) + bytes([(0x6C if is_in else 0x6E) + (size > 1)]))
    seg = SEG["ES" if is_in else segment or "DS"]
    words = f"{'rep ' * rep}{'ins' if is_in else 'outs'} of {size} bytes{' by ' + segment if segment else ''}{', 67' * short}"
    return Made(words, code, {"reason": "IO", "io.port": port, "io.size": size, "io.in": is_in, "io.string": 1, "io.rep": rep,
                              "io.seg": seg, "io.addr_size": 2 if short else 4}, "INS" if is_in else "OUTS")


def _move(rng, letter, number):
    write, gpr = rng.randrange(2), rng.randrange(8)
    opcode = (0x20 if letter == "cr" else 0x21) + 2 * write
    code = _prefixes(rng, (0x2E,), (0x66,)) + bytes([0x0F, opcode, 0xC0 | number << 3 | gpr])
    # struct exit has cr and dr at one place.
    return Made(f"mov {'to' if write else 'from'} {letter}{number}, e{GPRS[gpr][1:]}", code,
                {"reason": letter.upper(), "cr.number": number, "cr.access": WRITE if write else READ, "cr.gpr": gpr},
                f"MOV_{'TO' if write else 'FROM'}_{letter.upper()}", facts={"write": write})


def _cr(rng):
    return _move(rng, "cr", rng.choice((0, 3, 4)))


def _dr(rng):
    return _move(rng, "dr", rng.choice((0, 1, 2, 3, 6, 7)))


def _clts(rng):
    return Made("clts", _prefixes(rng, (0x2E,)) + b"\x0f\x06", {"reason": "CR", "cr.number": 0, "cr.access": CLTS}, "CLTS",
                facts={"write": 1})


def _msr(rng):
    write, number = rng.randrange(2), rng.choice((rng.randrange(0x2000), 0xC0000000 | rng.randrange(0x2000), rng.getrandbits(32)))
    return Made(f"{'wrmsr' if write else 'rdmsr'} with ecx = {number:x}", _prefixes(rng, (0x66,), (0x2E,)) + bytes([0x0F, 0x32 - 2 * write]),
                {"reason": "MSR", "msr.number": number, "msr.write": write}, "WRMSR" if write else "RDMSR", rcx=rng.getrandbits(32) << 32 | number,
                facts={"write": write})


SIMPLE = (("cpuid", "CPUID", b"\x0f\xa2"), ("hlt", "HLT", b"\xf4"), ("pause", "PAUSE", b"\xf3\x90"),
          ("invd", "CACHE", b"\x0f\x08"), ("wbinvd", "CACHE", b"\x0f\x09"), ("xsetbv", "XSETBV", b"\x0f\x01\xd1"))


def _simple(rng, which):
    name, reason, code = SIMPLE[which % len(SIMPLE)]
    prefixes = () if name == "xsetbv" else ((0x2E,), (0x3E, 0x67), (0x26, 0x26, 0x26))
    return Made(name, _prefixes(rng, *prefixes) + code, {"reason": reason}, name.upper() if name != "pause" else "NOP",
                facts={"simple": name})


def made_up(rng, count):
    """Exits of all kinds, so many of each: the bytes are as the CPU has executed them."""
    found = [make(rng) for make in (_port, _cr, _dr, _msr, _string, _string) for _ in range(count)]
    return found + [_clts(rng)] + [_simple(rng, which) for which in range(len(SIMPLE))]


def lay_out(t, made, value=0):
    """A guest with all these bytes in it, and a word in its memory: the ELF file. Gives each its address."""
    p = Program(t.rng)
    p.print("begins\n")
    p.end(1)
    p.data.append(f"value: dw {value}")
    for number, one in enumerate(made):
        there = (one.code if one.there is None else one.there) or b"\0"
        line = ", ".join(f"{byte:#x}" for byte in there)
        if one.in_memory:
            line = ", ".join(f"{byte:#x}" for byte in there[:3]) + "\n        dd value"
        p.data.append(f"exit{number}: db {line}\n        times 16 nop")
    guest = p.assemble(t.directory, "exits")
    for one, at in zip(made, labels(guest, *(f"exit{number}" for number in range(len(made))))):
        one.at = at if one.there != b"" else OTHER_MEMORY
    return guest


# -- asking the student's function -------------------------------------------------------------------


def member(raw, name):
    """A member of struct exit."""
    return int.from_bytes(raw[AT[name]:AT[name] + SIZE[name]], "little")


def in_words(name, value):
    """A member's value for a person."""
    if name == "reason":
        return NAMES.get(value, f"reason {value}")
    if name == "cr.access":
        return ACCESSES[value] if value < len(ACCESSES) else f"{value}"
    return f"{value:x}"


def judge(t, made, raws, silent=()):
    """Each member that the contract names; of an exit with one of these reasons it does not name the operation."""
    for one, raw in zip(made, raws):
        what = f"the CPU has executed `{one.words}` ({one.code.hex(' ')})"
        got = member(raw, "reason")
        if one.there is not None:
            there = f"{one.there.hex(' ')} is" if one.there else "nothing is"
            what += f", and by now {there} there"
        if one.there is not None and not (one.same_kind and got != REASON["OTHER"]):
            t.check(got == REASON["OTHER"], f"{what}: *e takes it for what was executed",
                    "EXIT_OTHER", in_words("reason", got))
            continue
        wanted = one.wanted | ({"insn_op": INSN[one.op]} if one.op and one.members["reason"] not in silent else {})
        for name, value in wanted.items():
            got = member(raw, name)
            if name in YES_NO:
                got, value = int(bool(got)), int(bool(value))
            name_in = name.replace("cr.", "dr.") if one.members["reason"] == "DR" else name
            t.check(got == value, f"{what}, and *e has another {name_in}", in_words(name, value), in_words(name, got))


def ask(t, function, guest, made, tell):
    """Call the function with each exit; `tell` puts what the CPU says where the function looks, and runs it to its end. [struct exit]"""
    raws, met = [], []

    def look(client, regs):
        vcpu, e = regs["rdi"], regs["rsi"]
        met.append(vcpu)
        before = client.read(vcpu, VCPU_SIZE), client.read(e, EXIT_SIZE)
        for one in made:
            client.write(vcpu + VCPU_RIP, struct.pack("<Q", one.at))
            client.write(vcpu + VCPU_RCX, struct.pack("<Q", one.rcx or t.rng.getrandbits(32)))
            client.write(e, t.rng.getrandbits(8 * EXIT_SIZE).to_bytes(EXIT_SIZE, "little"))
            if not tell(client, vcpu, one):
                return True
            raws.append(client.read(e, EXIT_SIZE))
            for name in (*GPRS, "rip"):
                client.set_reg(name, regs[name])
        client.write(vcpu, before[0])
        client.write(e, before[1])
        return True

    run, _ = t.witness(commands("exits"), {t.symbol(function): look}, modules=[module(guest)], elf=[guest], limits=LIMITS)
    if len(raws) < len(made):
        if not met:
            never_there(t, run, "its first exit")
        t.fail(f"{function}() does not come back from an exit by `{made[len(raws)].words}`", "a return", run.text()[-400:])
    t.orderly(run)
    return raws


# -- 4s.5 --------------------------------------------------------------------------------------------

SVM_NAMES = ("CPUID", "HLT", "PAUSE", "INVD", "WBINVD", "XSETBV", "IOIO", "MSR")
SVM_EXIT = dict(zip(SVM_NAMES, headers.numbers(("vmm/svm/vmcb.h",), [f"SVM_EXIT_FIRST + SVM_{name}" for name in SVM_NAMES])))
VMCB = dict(zip(VMCB_NAMES := ("exitcode", "exitinfo1", "exitinfo2", "nrip", "rip"),
                headers.numbers(("vmm/svm/vmcb.h",), [f"offsetof(struct vmcb, {name})" for name in VMCB_NAMES])))
VMCB_SIZE = 4096


def svm_says(one, rng, nrip):
    """What this CPU writes into the VMCB: {field: value}. QEMU 7.2 leaves the size of a string's addresses out."""
    m = one.members
    info1, info2, reason = rng.getrandbits(64), rng.getrandbits(64), m["reason"]
    if reason == "IO":
        code, info2 = SVM_EXIT["IOIO"], one.at + len(one.code)
        info1 = m["io.port"] << 16 | m["io.size"] << 4 | m["io.rep"] << 3 | m["io.string"] << 2 | m["io.in"]
    elif reason in ("CR", "DR"):
        code = (0x20 if reason == "DR" else 0) + 0x10 * one.facts["write"] + m["cr.number"]
        info1 = 0
    elif reason == "MSR":
        code, info1 = SVM_EXIT["MSR"], m["msr.write"]
    else:
        code = SVM_EXIT[one.facts["simple"].upper()]
    return {"exitcode": code, "exitinfo1": info1, "exitinfo2": info2, "rip": one.at,
            "nrip": one.at + len(one.code) if nrip else 0}


def _status_words(rng, value):
    """lmsw and smsw, of registers and of memory, which has the value."""
    found = []
    for name, group, access, write in (("lmsw", 6, LMSW, 1), ("smsw", 4, SMSW, 0)):
        low, members = rng.getrandbits(16), {"reason": "CR", "cr.number": 0, "cr.access": access}
        for words, code, number in ((f"{name} [memory]", bytes([0x0F, 0x01, group << 3 | 5]) + bytes(4), value),
                                    (f"{name} cx", bytes([0x0F, 0x01, 0xC1 | group << 3]), low)):
            found.append(Made(words, code, members | ({"cr.value": number} if write else {}),
                              rcx=rng.getrandbits(16) << 16 | low, facts={"write": write}, in_memory="memory" in words))
    return found


CPUID, HLT, CLTS_BYTES, LMSW_AX, SMSW_AX = (bytes.fromhex(code) for code in ("0fa2", "f4", "0f06", "0f01f0", "0f01e0"))


def _flipped(one, at, bits):
    """... of whose bytes, by now, one is another."""
    code = bytearray(one.code)
    code[at] ^= bits
    return replace(one, there=bytes(code))


def gone(rng):
    """Exits whose instruction has gone, or is another one by now."""
    found = [replace(make(rng), there=there) for make in (_string, _cr, _dr, _msr) for there in (b"", HLT)]
    for _ in range(3):
        found += [_flipped(_string(rng), -1, 2),  # the other direction
                  replace(_flipped(_string(rng), -1, 1), same_kind=True), _flipped(_msr(rng), -1, 2),
                  _flipped(_cr(rng), -2, 1), _flipped(_dr(rng), -2, 1),  # another kind of register
                  replace(_string(rng), there=b"\x2e" * 6 + b"\x6e"), replace(_string(rng), there=b"\x2e" * 6 + b"\x6c"),
                  _flipped(_cr(rng), -1, 7 << 3), _flipped(_dr(rng), -1, 1 << 3),  # another register of the CPU's
                  _flipped(_cr(rng), -2, 2), _flipped(_dr(rng), -2, 2), replace(_dr(rng), there=CLTS_BYTES)]
    to_cr4 = Made("mov cr4, eax", b"\x0f\x22\xe0", {"reason": "CR", "cr.number": 4}, facts={"write": 1})
    from_cr0 = Made("mov eax, cr0", b"\x0f\x20\xc0", {"reason": "CR", "cr.number": 0}, facts={"write": 0})
    repeats = Made("rep insb", b"\xf3\x6c", {"reason": "IO", "io.port": 0x60, "io.size": 1, "io.in": 1, "io.string": 1, "io.rep": 1,
                                             "io.seg": SEG["ES"], "io.addr_size": 4}, "INS")
    found.append(replace(repeats, there=b"\x2e\x6c", same_kind=True))
    found += [replace(to_cr4, there=there) for there in (CLTS_BYTES, LMSW_AX, SMSW_AX)]
    found += [replace(from_cr0, there=there) for there in (CLTS_BYTES, LMSW_AX)]
    return found + [replace(_simple(rng, which), there=there) for which, (name, _, _) in enumerate(SIMPLE)
                    for there in (b"", CLTS_BYTES, b"\x66" + (HLT if name == "cpuid" else CPUID))]


def svm_fields(t):
    """Exits that the grader makes up: each member of *e."""
    value = t.rng.getrandbits(16)
    made = made_up(t.rng, 6) + gone(t.rng) + _status_words(t.rng, value)
    t.rng.shuffle(made)
    guest = lay_out(t, made, value)
    has_nrip = t.symbol("svm_has_nrip")

    def tell(client, vcpu, one):
        vmcb = vmcb_of(client, vcpu)
        before, had = client.read(vmcb, VMCB_SIZE), client.read(has_nrip, 1)
        # Where the bytes are right both ways to know a length are.
        nrip = one.there is None and t.rng.randrange(2)
        for name, number in svm_says(one, t.rng, nrip).items():
            client.write(vmcb + VMCB[name], struct.pack("<Q", number))
        client.write(has_nrip, bytes([nrip]))
        back = to_return(client, client.regs())
        client.write(vmcb, before)
        client.write(has_nrip, had)
        return back

    judge(t, made, ask(t, "svm_translate", guest, made, tell), ("IO",))


# -- 4.5 ---------------------------------------------------------------------------------------------

VMX_NAMES = ("CPUID", "HLT", "PAUSE", "INVD", "WBINVD", "XSETBV", "IO", "CR", "DR", "RDMSR", "WRMSR")
VMX_BASIC = dict(zip(VMX_NAMES, headers.numbers(("vmm/vmx/vmcs.h",), [f"VMX_{name}" for name in VMX_NAMES])))
QUALIFICATION, LENGTH, INFO, RAW = headers.numbers(("vmm/vmx/vmcs.h", "vmm/vmx/vmx.h"), (
    "EXIT_QUALIFICATION", "EXIT_INSTRUCTION_LENGTH", "EXIT_INSTRUCTION_INFO", "offsetof(struct vmx, raw)"))


def vmx_says(one, rng):
    """What the CPU's VMREADs tell of it: (basic reason, {field: value}); a field that it leaves undefined has anything."""
    m, q = one.members, 0
    info, reason = rng.getrandbits(32), m["reason"]
    if reason == "IO":
        basic = "IO"
        q = m["io.size"] - 1 | m["io.in"] << 3 | m["io.string"] << 4 | m["io.rep"] << 5 | m["io.port"] << 16
        if m["io.string"]:
            info = info & ~(7 << 7) | (m["io.addr_size"] >> 2) << 7
            if not m["io.in"]:
                info = info & ~(7 << 15) | m["io.seg"] << 15
    elif reason == "CR":
        basic = "CR"
        q = m["cr.number"] | m["cr.access"] << 4 | one.in_memory << 6 | m.get("cr.gpr", 0) << 8 | m.get("cr.value", 0) << 16
    elif reason == "DR":
        basic, q = "DR", m["cr.number"] | (m["cr.access"] == READ) << 4 | m["cr.gpr"] << 8
    elif reason == "MSR":
        basic = "WRMSR" if m["msr.write"] else "RDMSR"
    else:
        basic = one.facts["simple"].upper()
    return VMX_BASIC[basic], {QUALIFICATION: q, INFO: info, LENGTH: one.wanted["insn_len"]}


def vmx_fields(t):
    """Exits that the grader makes up: each member of *e."""
    made = made_up(t.rng, 4) + [one for one in _status_words(t.rng, t.rng.getrandbits(16)) if one.members["cr.access"] == LMSW]
    for one in made:
        one.op = one.op or ("LMSW" if one.words.startswith("lmsw") else "")
        one.length = t.rng.randrange(1, 16)  # of which its bytes say nothing by now
    t.rng.shuffle(made)

    def tell(client, vcpu, one):
        basic, answers = vmx_says(one, t.rng)
        client.write(word(client, vcpu + ENGINE_DATA) + RAW, struct.pack("<I", basic))
        return answer_vmreads(client, client.regs(), answers)

    judge(t, made, ask(t, "vmx_translate", lay_out(t, made), made, tell))
