"""A triple fault in words.

A CPU that can't deliver an exception raises another one; three in a row reset the machine, and
the student sees a reboot. The emulators' logs hold the whole chain. This module finds it, decodes
each fault (vector, error code, where, CR2) and says why its delivery failed.

Intel SDM (order no. 325462-080, June 2023), volume 3, "Interrupt and Exception Handling" (6.13 "Error
Code", 6.15 "Exception and Interrupt Reference") has what is said here.
"""

import re
from dataclasses import dataclass, field

from .qmp import parse_registers

NAMES = {
    0: "#DE divide error", 1: "#DB debug", 2: "NMI", 3: "#BP breakpoint", 4: "#OF overflow",
    5: "#BR bound range", 6: "#UD invalid opcode", 7: "#NM device not available",
    8: "#DF double fault", 10: "#TS invalid TSS", 11: "#NP segment not present",
    12: "#SS stack fault", 13: "#GP general protection", 14: "#PF page fault",
    16: "#MF x87 error", 17: "#AC alignment check", 18: "#MC machine check",
    19: "#XM SIMD error", 21: "#CP control protection",
}
WITH_ERROR = {8, 10, 11, 12, 13, 14, 17, 21}
SELECTOR_ERRORS = {10, 11, 12, 13}
EFER_LMA = 1 << 10
CR0_PG = 1 << 31
NEVER_LOADED = (0, 0x3FF), (0, 0xFFFF)
"""Base and limit of the IDT as SeaBIOS leaves it, and as reset does."""


@dataclass
class Fault:
    """One link of the chain."""

    vector: int
    error: int | None
    cs: int | None = None
    rip: int | None = None
    cr2: int | None = None
    software: bool = False
    registers: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    """What the emulator itself says about the delivery that raised this fault."""
    merged: "Fault | None" = None
    """For #DF: the fault that came on top of another one and so became #DF."""

    def gate_size(self):
        """Bytes of an IDT gate in the mode that the fault came from."""
        return 16 if self.registers.get("efer", 0) & EFER_LMA else 8


def vector_name(vector):
    """`#GP general protection`, `interrupt 0x20`."""
    return NAMES.get(vector, f"interrupt {vector:#04x}")


def short_name(vector):
    """`#GP`, `interrupt 0x20`."""
    name = vector_name(vector)
    return name.split(" ")[0] if name.startswith("#") else name


def error_words(vector, error):
    """An error code in words, or "" where the vector has none."""
    if error is None or vector not in WITH_ERROR:
        return ""
    if vector == 14:
        words = ["protection violation" if error & 1 else "page not present",
                 "write" if error & 2 else "read", "user mode" if error & 4 else "supervisor mode"]
        words += ["reserved bit set in an entry"] if error & 8 else []
        words += ["instruction fetch"] if error & 16 else []
        return ", ".join(words)
    if vector not in SELECTOR_ERRORS:
        return ""
    if error == 0:
        return "no selector"
    ext = ", while delivering an event (EXT)" if error & 1 else ""
    if error & 2:
        return f"IDT entry {error >> 3:#x}{ext}"
    table = "LDT" if error & 4 else "GDT"
    return f"selector {error & 0xfffc:#x}: {table} entry {error >> 3}{ext}"


def _fix_error(fault, before):
    """QEMU 7.2 reports an IDT entry in long mode as n*16+2, hardware as n*8+2. Undo that."""
    if fault.vector in SELECTOR_ERRORS and fault.error is not None and fault.error & 2 \
            and before and fault.gate_size() == 16 and fault.error & ~3 == before.vector * 16:
        fault.error = before.vector * 8 + (fault.error & 3)


def _near(address, base, limit):
    return base is not None and limit is not None and base <= address <= base + limit


def _page_fault_cause(fault, before):
    """Why the CPU touched an unmapped address while it delivered `before`."""
    regs, address = fault.registers, fault.cr2
    if _near(address, regs.get("idt_base"), regs.get("idt_limit")):
        return f"the IDT itself (at {regs['idt_base']:#x}) is not mapped"
    if _near(address, regs.get("gdt_base"), regs.get("gdt_limit")):
        return f"the GDT itself (at {regs['gdt_base']:#x}) is not mapped"
    if _near(address, regs.get("tr_base"), regs.get("tr_limit")):
        return f"the TSS (at {regs['tr_base']:#x}) is not mapped"
    sp = regs.get("rsp")
    if sp is not None and 0 <= sp - address <= 256:
        return (f"the stack is not mapped (or not writable): the CPU could not push the frame for "
                f"{short_name(before.vector)} below {sp:#x}")
    if fault.error is not None and fault.error & 2:
        return (f"a frame could not be pushed at {address:#x}: is the stack of the TSS mapped and "
                "writable?")
    return f"the CPU read {address:#x}, which is not mapped"


def why(fault, before):
    """Why `before` could not be delivered, which raised `fault`; one clause."""
    regs = fault.registers
    if (regs.get("idt_base"), regs.get("idt_limit")) in NEVER_LOADED:
        return "the IDT register is as the BIOS left it: lidt was never run"
    if fault.error is None and fault.vector in SELECTOR_ERRORS:
        return ""
    about_idt = fault.error is not None and fault.error & 2 and fault.vector in SELECTOR_ERRORS
    if fault.vector == 14 and fault.cr2 is not None:
        return _page_fault_cause(fault, before)
    if about_idt:
        number = fault.error >> 3
        base, limit = regs.get("idt_base"), regs.get("idt_limit")
        end = (number + 1) * fault.gate_size() - 1
        if limit is not None and end > limit:
            return (f"the IDT has no gate for vector {number:#x}: its limit is {limit:#x}, a gate "
                    f"there needs {end:#x} (was lidt run, with the right size?)")
        place = f" (IDT at {base:#x})" if base is not None else ""
        if fault.vector == 11:
            return f"the gate for vector {number:#x} is not present{place}"
        return (f"the gate for vector {number:#x} is not a valid interrupt or trap gate, or its "
                f"DPL forbids it{place}")
    if fault.vector == 12:
        return f"the stack can't take the frame (rsp {regs.get('rsp', 0):#x}): limit or address"
    if fault.vector == 10:
        return f"the TSS gives no good stack ({error_words(10, fault.error)})"
    if fault.vector == 11:
        return f"the gate's code segment is not present ({error_words(11, fault.error)})"
    if fault.vector == 13 and fault.error:
        return f"the gate's code segment is bad ({error_words(13, fault.error)})"
    if fault.vector == 13:
        return "the gate's target address, or the stack, is not usable"
    return ""


def _fault_lines(number, fault, before, symbols):
    """One numbered fault of the chain in words."""
    _fix_error(fault, before)
    words = error_words(fault.vector, fault.error)
    code = f", error code {fault.error:#x}" if fault.error is not None \
        and fault.vector in WITH_ERROR and fault.vector != 8 else ""
    cause = " (by an int instruction)" if fault.software else ""
    lines = [f"  {number}. {vector_name(fault.vector)}{cause}{code}" + (f" ({words})" if words else "")]
    if before is None and fault.rip is not None:
        cs = f"cs {fault.cs:#06x}, " if fault.cs is not None else ""
        lines.append(f"     at {cs}rip {symbols.describe(fault.rip)}")
    if fault.vector == 14 and fault.cr2 is not None:
        lines.append(f"     address (CR2) {symbols.describe(fault.cr2)}")
    if before is None:
        return lines
    top = fault.merged or fault
    if fault.merged:
        lines.append(f"     delivering {short_name(before.vector)} raised "
                     f"{vector_name(top.vector)}, which makes it a double fault")
    if fault.vector != 8 or fault.merged:
        _fix_error(top, before)
        reason = why(top, before)
        if reason and not top.remarks:
            lines.append(f"     because {reason}")
    lines += [f"     because (the emulator's words) {remark}" for remark in top.remarks]
    return lines


def describe(chain, symbols, last=None, repeated=0):
    """The chain in words; `last` is the vector that ended it, where that is all we know."""
    if not chain:
        return "A triple fault, but its log does not hold the faults that led to it."
    lines = ["A triple fault: an exception, a second one while that was delivered, and a third "
             "while the double fault was delivered." if len(chain) > 1 else
             "A triple fault: an exception that could not be delivered."]
    if repeated > 1:
        lines.append(f"  Before it the same exception came {repeated} times at the same place: its "
                     "handler raises it again, until the stack ends.")
    before = None
    for number, fault in enumerate(chain, 1):
        lines += _fault_lines(number, fault, before, symbols)
        before = fault
    if last is not None:
        lines.append(f"  {len(chain) + 1}. {vector_name(last)}: the double fault could not be "
                     "delivered either; the CPU shuts down")
    regs = chain[0].registers
    if "idt_base" in regs:
        lines.append(f"  IDT at {regs['idt_base']:#x}, limit {regs['idt_limit']:#x}; GDT at "
                     f"{regs['gdt_base']:#x}, limit {regs['gdt_limit']:#x}; rsp "
                     f"{regs.get('rsp', 0):#x}; CR3 {regs.get('cr3', 0):#x}"
                     + ("" if regs.get("cr0", 0) & CR0_PG else " (paging is off)"))
    return "\n".join(lines)


_RECORD = re.compile(
    r"^\s*\d+: v=(?P<v>[0-9a-f]+) e=(?P<e>[0-9a-f]+) i=(?P<i>\d) cpl=\d "
    r"IP=(?P<cs>[0-9a-f]+):(?P<ip>[0-9a-f]+) pc=[0-9a-f]+ SP=[0-9a-f]+:[0-9a-f]+"
    r"(?: CR2=(?P<cr2>[0-9a-f]+))?", re.M)
_CHECK = re.compile(r"check_exception old: (0x[0-9a-f]+) new (0x[0-9a-f]+)")


def explain_qemu(text, symbols):
    """The explanation from a log of `-d int,cpu_reset`, whose end is enough."""
    end = text.rfind("Triple fault")
    if end < 0:
        return None
    text = text[:end]
    faults = []
    marks = list(_RECORD.finditer(text))
    for mark, following in zip(marks, marks[1:] + [None]):
        body = text[mark.end():following.start() if following else end]
        fault = Fault(int(mark["v"], 16), int(mark["e"], 16), int(mark["cs"], 16),
                      int(mark["ip"], 16), int(mark["cr2"], 16) if mark["cr2"] else None,
                      mark["i"] == "1", parse_registers(body.split("check_exception")[0]))
        before = list(_CHECK.finditer(text, 0, mark.start()))[-1:] if fault.vector == 8 else []
        if before:
            fault.merged = Fault(int(before[0][2], 16), None, registers=fault.registers)
            if fault.merged.vector == 14:
                fault.merged.cr2 = fault.registers.get("cr2")
        faults.append(fault)
    last = None
    checks = list(_CHECK.finditer(text))
    if checks and int(checks[-1][1], 16) == 8:
        last = int(checks[-1][2], 16)
    chain, repeated = _suffix(faults)
    return describe(chain, symbols, last, repeated)


def _suffix(faults):
    """The last delivery: the records at one place that end the list. And how often its first
    exception had come before, at one place."""
    if not faults:
        return [], 0
    at = len(faults) - 1
    while at > 0 and faults[at - 1].rip == faults[-1].rip and len(faults) - at < 3 \
            and faults[at].vector in WITH_ERROR:
        at -= 1
    chain = faults[at:]
    repeated = 0
    while at > 0 and faults[at - 1].vector == chain[0].vector \
            and faults[at - 1].rip == chain[0].rip:
        repeated += 1
        at -= 1
    return chain, repeated


_BOCHS = re.compile(r"^(?P<tick>\d+)(?P<level>[a-z])\[CPU\d\s*\] (?P<text>.*)$", re.M)
_EXCEPTION = re.compile(r"exception\(0x([0-9a-f]+)\): error_code=([0-9a-f]+)")


def bochs_registers(text):
    """The last register dump in Bochs' log, or of its debugger, as {name: value}."""
    found = {}
    for name, value in re.findall(r"\b([RE](?:[A-D]X|[SD]I|[SB]P|IP)|R\d+)\s*=\s*([0-9a-f]{8,16})",
                                  text):
        found["r" + name[1:].lower()] = int(value, 16)
    for name, value in re.findall(r"\b(r[a-ds0-9][xip0-9]?|rip|rbp): ([0-9a-f]{8}_[0-9a-f]{8})",
                                  text):
        found[name] = int(value.replace("_", ""), 16)
    for name, value in re.findall(r"\b(CR[0234])=0x([0-9a-f]+)", text):
        found[name.lower()] = int(value, 16)
    for value in re.findall(r"EFER\s+= 0x([0-9a-f]+)", text):
        found["efer"] = int(value, 16)
    for name, value in re.findall(r"\b([C-GS]S):([0-9a-f]{4})\(", text):
        found[name.lower()] = int(value, 16)
    return found


def explain_bochs(text, symbols):
    """The explanation from Bochs' log with the CPU's debug messages on."""
    end = text.find(">>PANIC<< exception(): 3rd")
    if end < 0:
        return None
    start = text.rfind("\n", 0, end) + 1
    tick = text[start:end].split("p[")[0]
    registers = bochs_registers(text[:end][-8000:])
    faults, remarks = [], []
    # One instruction, one tick: all that belongs to the chain carries the tick of the panic.
    for match in _BOCHS.finditer(text[max(0, end - 200000):start]):
        if match["tick"] != tick:
            continue
        hit = _EXCEPTION.search(match["text"])
        if hit:
            faults.append(Fault(int(hit[1], 16), int(hit[2], 16), registers=registers,
                                remarks=remarks))
            remarks = []
        elif match["level"] == "e":
            remarks.append(match["text"])
    return describe(_bochs_chain(faults, registers), symbols)


def _bochs_chain(faults, registers):
    """Bochs logs both the exception that came on top and, after it, the #DF that it becomes."""
    chain = []
    for fault in faults:
        if fault.vector == 8 and chain:
            fault.merged = chain.pop()
        chain.append(fault)
    for fault in chain:
        fault.cs, fault.rip = registers.get("cs"), registers.get("rip")
        if fault.vector == 14:
            fault.cr2 = registers.get("cr2")
    return chain
