#!/usr/bin/env python3
"""The kernel's own GDB stub: a real GDB on guests, on QEMU and on Bochs, and a peer that sends garbage."""

import os
import pty
import random
import re
import select
import shutil
import socket
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from gdb_line import Line  # noqa: E402
from gdb_session import BUILT, HANG, LIMIT, at_once, bare, contains, guest, lines, session  # noqa: E402
from zeno.machines import gdbremote, machine  # noqa: E402

HOST = ROOT / "build/lab1-solution"

# A guest that computes until somebody from outside lets it end.
SPIN = """
section .data
enough:	dd	0
section .text
global guest_main
extern console_init, print_hex
guest_main:
	call	console_init
again:	inc	ebx
	cmp	dword [enough], 0
	je	again
	push	dword [enough]
	call	print_hex
	pop	eax
	xor	eax, eax
	ret
"""

# A guest whose instructions show a debugger: pushf, popf, int3 read as data, cli.
STEPS = """
section .text
global guest_main
extern console_init, print, print_hex
guest_main:
	call	console_init
	push	0
	popf
seen:	pushf
	pop	ebx
	nop
there:	push	0x4d7			; all arithmetic flags
	popf
	pushf
	pop	esi
	push	ebx
	call	print_hex
	add	esp, 4
	push	esi
	call	print_hex
	add	esp, 4
off:	cli
	xor	eax, eax
	ret
"""


def build(name, text):
    """A guest of this test, linked with the guests' library."""
    place = folder()
    (place / f"{name}.asm").write_text(text)
    library = sorted((ROOT / "build/guest/obj/lib").glob("*.o"))
    assembled = run("nasm", "-f", "elf32", "-g", "-F", "dwarf", "-o", place / "main.o",
                    place / f"{name}.asm")
    linked = run("ld", "-m", "elf_i386", "-nostdlib", "-static", "-z", "max-page-size=4096",
                 "-z", "noexecstack", "-T", ROOT / "guest/lib/guest.ld", "-o", place / f"{name}.elf",
                 *library, place / "main.o")
    BUILT[name] = place / f"{name}.elf"
    return ok(assembled.status == linked.status == 0, f"this test's guest {name} is built",
              out=assembled.out + linked.out)


def walk(where):
    """Breakpoint by symbol, memory and register writes that change the output, exits, the end."""
    text, console = session(where, "start hello; start hello", """
info registers eip cs cr0
break guest_main
continue
guest-bt
x/1xb $pc
set var *(char *)"hello" = 'J'
vmexit out
exits 1
delete
break print_hex
continue
stepi
print/x $eip
set var *(unsigned *)($esp + 8) = 0x12345678
python attempt("print *(int *)0xffc00000")
python attempt("print *(int *)0x7fffff00")
delete
monitor stop-on-exit nonsense
walk 0x100000
monitor nonsense
continue
python host_ends()
""".replace('*(char *)"hello"', "*(char *)TEXT").replace("TEXT", hex(text_of("hello", b"hello from"))))
    contains(text, "inferior 1 is d1, hello", "eip", "_start", "cs             0x8", "cr0            0x11",
             "Breakpoint 1, guest_main", "guest_main at guest/hello/main.c",
             what=f"{where}: GDB stops at a guest's function by its name, in the guest's ring 0",
             console=console)
    contains(text, "d1 hello: exit 1: #GP at ", "out: port 3f9 <- 0", "now at", "outb",
             "1  port I/O", what=f"{where}: vmexit says what the exit was and what was done")
    contains(text, "Cannot access memory at address 0xffc00000",
             "Cannot access memory at address 0x7fffff00",
             what=f"{where}: the window and what is no memory can't be read")
    contains(text, "no exit is called nonsense; reasons: IRQ", "guest frame 100: RAM",
             "unknown command: nonsense", what=f"{where}: monitor commands answer")
    contains(text, "[Inferior 1 (process 1) exited normally]",
             what=f"{where}: GDB sees the guest's end")
    expected = bare("hello")
    changed = [expected[0].replace("hello", "Jello", 1), expected[1].replace("2badb002", "12345678")]
    ok(lines(console, 1) == changed + expected,
       f"{where}: writes to memory and stack change the output; the next guest's is as on the bare machine",
       got=console, expected="\n".join(changed + expected), text=text)


def text_of(name, words):
    """The address of these bytes in a guest's image."""
    raw = Path(guest(name)).read_bytes()
    at = raw.index(words)
    start, count = int.from_bytes(raw[28:32], "little"), int.from_bytes(raw[44:46], "little")
    for number in range(count):
        entry = raw[start + 32 * number:start + 32 * number + 32]
        offset, address, size = (int.from_bytes(entry[i:i + 4], "little") for i in (4, 8, 16))
        if offset <= at < offset + size:
            return address + at - offset
    raise ValueError(name)


def two(where):
    """Two guests at once: two inferiors with their own symbols; one is left alone, both end as they should."""
    text, console = session(where, "start sieve &; start tables", """
info inferiors
break guest_main
continue
continue
monitor list
inferior 1
p sizeof(composite)
detach
inferior 2
delete
tbreak control_registers
continue
guest-bt
gdt
vmexit cr
vmexit cli
stepi
monitor list
continue
""")
    contains(text, "inferior 1 is d1, sieve", "inferior 2 is d2, tables", "hit Breakpoint 1",
             "guest_main", "hit Breakpoint 1", "guest_main", "d1   sieve            te", "held by the debugger",
             "d2   tables           te", "held by the debugger", "= 200000",
             what=f"{where}: two guests are two inferiors, each with its own symbols", console=console)
    contains(text, "[Inferior 1 (process 1) detached]", "hit Temporary breakpoint 2, control_registers",
             "0018  code 00000000+ffffffff DPL 0", "code 00000000+ffbfffff DPL 1", "d2 tables: exit ",
             "cr0 -> 00000011", "d2 tables: exit ", "cli: IF=0",
             "[Inferior 2 (process 2) exited normally]",
             what=f"{where}: one is let go, the other debugged to its end", console=console)
    for domain, name, what in ((2, "tables", "and its output is the bare machine's"),
                               (1, "sieve", "so is the other's")):
        expected = bare(name)
        ok(lines(console, domain) == expected, f"{where}: {what}", got=console, text=text,
           expected="\n".join(expected))


def steps(where):
    """Steps over instructions that show TF, an emulated one, and the stop of a guest for what it did."""
    text, console = session(where, "start steps; start cli; list", """
break seen
continue
delete
stepi
x/1xw $esp
stepi 2
stepi
stepi
stepi
x/1xw $esp
print/x $eflags
break off
continue
stepi
print (int)$eip - (int)&off
delete
detach
python host_ends()
""")
    images = re.findall(r"^0x\w+.*:\s+0x(\w+)$", text, re.M)
    ok(len(images) == 2 and not any(int(word, 16) & 0x100 for word in images),
       f"{where}: pushf under a step does not show TF", images=images, text=text)
    contains(text, "Breakpoint 2", "= 1\n", what=f"{where}: a step over cli is one instruction", console=console)
    plain = "start steps; off"
    result = machine.boot(machine="qemu", kernel=str(HOST / "zeno.mb"), cpu="te", limits=LIMIT,
                          cmdline=f"panic=off -- {plain}", modules=[(guest("steps"), "")])
    free = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    ok(lines(console, 1)[:1] == lines(free, 1)[:1] and lines(free, 1),
       f"{where}: the guest that was stepped prints what it prints without a debugger",
       got=console, expected=free)
    ok(re.findall(r"exit code \d+ after \d+ exits", console)[:1] ==
       re.findall(r"exit code \d+ after \d+ exits", free)[:1],
       f"{where}: and breakpoints and steps left no exits of their own", got=console, expected=free)


def corpse():
    """A guest that is stopped for what it did can be looked at before it goes; then the host goes on."""
    text, console = session("qemu", "start cli; start hello", "continue\nprint $eflags\nvcpu\n"
                            "set var $eax = 5\npython attempt('set var $cs = 3')\ndetach\npython host_ends()\n")
    contains(text, "d1 cli: stopped: dead halt", "Program received signal SIGSEGV", "guest ring 0",
             "Could not write register \"cs\"", what="a guest that is stopped is shown first", console=console)
    ok(lines(console, 1) == bare("hello"), "and when GDB leaves, the next guest runs as ever",
       got=console)


def interrupt(where):
    """Ctrl-C while the guest computes; a write that lets it end; kill."""
    text, console = session(where, "start spin; start hello", """
python
import threading, os, signal
def press(event):
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    gdb.events.cont.disconnect(press)
gdb.events.cont.connect(press)
end
continue
info symbol $pc
set var *(int *)&enough = 0x77
continue
python host_ends()
""")
    contains(text, "Program received signal SIGINT", "again", " in section .text",
             "[Inferior 1 (process 1) exited normally]",
             what=f"{where}: Ctrl-C stops a guest that computes", console=console)
    contains(console, "d1| 00000077", "d1 spin: ended: exit code 0", "hello: ended: exit code 0",
             what=f"{where}: it goes on as the debugger changed it, and other guests run after it")


def backwards():
    """`make gdb REVERSE=1`: a recorded run, in which GDB goes back."""
    script = folder() / "script.gdb"
    script.write_text("""\
break exit_dispatch if v->exits == 5
continue
printf "at %u\\n", v->exits
delete
break exit_dispatch
reverse-continue
printf "back at %u\\n", v->exits
stepi
reverse-stepi
info symbol $pc
continue
printf "again at %u\\n", v->exits
reverse-continue
reverse-continue
printf "far back at %u\\n", v->exits
""")
    argv = [sys.executable, ROOT / "tools/run.py", "--gdb", "--kernel", HOST / "zeno.mb", "--elf", HOST / "zeno.elf"]
    done = run("timeout", HANG, *argv, "--reverse", "--batch", script, "--elf", ROOT / "build/guest/hello.elf",
               "--module", ROOT / "build/guest/hello.elf", "--append", "panic=off -- start hello; off", cwd=ROOT)
    contains(done.out, "d1 hello: ended: exit code 0", "\nat 5\n", "\nback at 4\n", "exit_dispatch in section",
             "\nagain at 5\n", "\nfar back at 3\n", what="a recorded run goes backwards under GDB")
    done = run(*argv, "--reverse", "--stub", "zeno", cwd=ROOT)
    ok(done.status == 2 and "QEMU's own stub" in done.out, "the kernel's own stub can't", got=done.out)


def typed():
    """GDB in a terminal: Ctrl-C there stops what GDB looks at, and ends no emulator; by either stub."""
    for stub in ("zeno", "qemu"):
        argv = [sys.executable, str(ROOT / "tools/run.py"), "--gdb", "--stub", stub,
                "--kernel", str(HOST / "zeno.mb"), "--elf", str(HOST / "zeno.elf"),
                "--elf", guest("spin"), "--module", guest("spin"), "--append", "-- start spin"]
        child, terminal = pty.fork()
        if not child:
            os.execvp("timeout", ["timeout", "--foreground", HANG, *argv])
        said = read_until(terminal, rb"\(gdb\) $")
        os.write(terminal, b"echo typed-\\n\ncontinue\n")
        said += read_until(terminal, rb"Continuing\.")
        time.sleep(0.5)  # if it is short GDB stops earlier, which is as good
        os.write(terminal, b"\x03")
        said += read_until(terminal, rb"(?s)SIGINT.*\(gdb\) |closed|exited")
        os.write(terminal, b"quit\n")
        read_until(terminal, rb"nothing more")
        os.waitpid(child, 0)
        os.close(terminal)
        ok(b"Program received signal SIGINT" in said, f"Ctrl-C in a terminal reaches GDB alone ({stub})",
           got=said.decode("utf-8", "replace"))


def read_until(terminal, pattern):
    """What a terminal shows until the pattern, or its end."""
    said = b""
    while not re.search(pattern, said):
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
    return said


def killed():
    """kill ends the guest alone."""
    text, console = session("qemu", "start spin; start hello", "kill\npython host_ends()\n")
    contains(console, "d1 spin: stopped: by the debugger", "d1 hello: ended: exit code 0",
             what="kill ends the guest alone", gdb=text)


# ---- without GDB: the protocol ------------------------------------------------------------------------


def protocol():
    """Packets that GDB would never send; then a fuzz; the host answers K> and the guest ends as it should."""
    line = Line(HOST, "gdb=wait", "start hello", ["hello"])
    line.live.wait_for(b"waits for the debugger")
    ok(line.ask(b"qSupported:multiprocess+").startswith(b"PacketSize="), "a debugger is greeted")
    ok(line.ask(b"?") == b"T05thread:p1.1;", "the guest stands at its first instruction")
    line.raw(b"$g#00")
    line.take_in()
    ok(line.ask(b"qfThreadInfo") == b"mp1.1", "a packet with a bad checksum is not a packet")
    line.raw(b"$" + b"m" * 6000 + b"#00")
    ok(line.ask(b"qC") == b"QCp1.1", "nor is one that is too long")
    line.raw(b"$m1000$qC#" + gdbremote.checksum(b"qC"))
    ok(line.reply() == b"QCp1.1", "a packet that begins inside another counts")
    line.raw(b"-")
    ok(line.reply() == b"QCp1.1", "what was not understood is said again")
    answers = {b"m0,ffffffffffffffff": None, b"mffc00000,4": b"E14", b"m7fffff00,1": b"E14",
               b"m100000000,1": b"E14", b"m": b"E01", b"M100000,2:zz": b"E01", b"M": b"E01",
               b"Mffc00000,1:00": b"E14", b"Z0,ffc00000,1": b"E14", b"Z1,100000,1": b"",
               b"Z0": b"E01", b"P8": b"E01", b"Pff=00": b"E01", b"Pa=ffff0000": b"E22",
               b"p8": None, b"pff": b"E01", b"Hgp9.1": b"E01", b"Tp1.1": b"OK", b"Tp2.1": b"E01",
               b"vAttach;9": b"E01", b"vKill;9": b"E02", b"D;9": b"E01", b"vCont;x": b"E01",
               b"vCont;c:p": b"E01", b"vCont": b"E01", b"qRcmd,zz": b"E01", b"qRcmd,": None,
               b"qXfer:features:read:other.xml:0,100": b"E00", b"bogus": b"", b"": b"",
               b"qXfer:features:read:target.xml:ffffff,1": b"E01", b"H": b"E01", b"R00": b""}
    for packet, wanted in answers.items():
        got = line.ask(packet)
        while got and got[:1] == b"O" and got != b"OK":
            got = line.reply()
        ok(got == wanted if wanted is not None else got is not None,
           f"the answer to {packet.decode() or 'nothing'}", got=got, wanted=wanted)
    fuzz(line)
    line.sock.close()
    line.connect()
    ok((line.ask(b"?") or b"").startswith(b"T05thread:p1.1"), "a debugger that comes back finds the guest")
    got = line.ask(b"D;1")
    ok(got == b"OK", "it lets the guest go", got=got)
    line.live.wait_for(b"hello: ended: exit code")
    result = line.live
    result.stop()
    run_ = result.wait()
    text = run_.console.decode("ascii", "replace").replace("\r", "")
    run_.cleanup()
    ok(lines(text, 1) == bare("hello"), "and the guest prints what it prints on the bare machine", got=text)


def fuzz(line):
    """Random packets, some of them good, that let nothing run."""
    dice = random.Random(7)
    starts = [b"g", b"p", b"m", b"Z0,", b"z0,", b"H", b"T", b"qXfer:features:read:target.xml:", b"qRcmd,",
              b"qThreadExtraInfo,", b"vCont", b"q", b"v", b"\x00", b"\xff"]
    noise = bytes(set(range(256)) - set(b"cCsSDk$#\x03"))
    for _ in range(150):
        body = dice.choice(starts) + bytes(dice.choice(noise if dice.random() < .3 else b"0123456789abf,;:p.-")
                                           for _ in range(dice.randrange(40)))
        body = body.replace(b"#", b"").replace(b"$", b"")
        tail = gdbremote.checksum(body) if dice.random() < .8 else b"zz"
        line.raw(b"$" * dice.randrange(1, 3) + body + b"#" + tail + b"+" * dice.randrange(3))
    line.raw(b"$unfinished")
    while select.select([line.sock], [], [], 1)[0] and line.live.pump(0):
        line.take_in()
    line.data = b""
    ok(line.live.pump(), "the host lives through 150 random packets")


def caught():
    """gdb=com2: guests run without a debugger, until one comes; it can attach again after it has let go."""
    line = Line(HOST, "gdb=com2", "start spin", ["spin"])
    line.live.wait_for(b"spin: started")
    enough = int(re.search(r"(\w+) . enough", run("nm", guest("spin")).out)[1], 16)
    ok(line.ask(b"?") == b"T05thread:p1.1;", "a guest that runs is caught by a debugger that comes")
    ok(line.ask(b"D;1") == b"OK" and line.ask(b"?") is not None and line.ask(b"D;1") == b"OK" and
       line.ask(b"vAttach;1") == b"T00thread:p1.1;", "let go and caught again, by ? and by its number")
    ok(line.ask(b"M%x,4:42000000" % enough) == b"OK" and line.ask(b"vCont;c:p1.-1") == b"W00;process:1",
       "what it is waiting for is written, and its end is told")
    line.live.stop()
    run_ = line.live.wait()
    ok(b"d1| 00000042" in run_.console, "it saw it", got=run_.console)
    run_.cleanup()


def without():
    """gdb= absent: COM2 is nobody's."""
    line = Line(HOST, "", "start sieve; start hello; off", ["sieve", "hello"])
    line.raw(b"$?#3f$qSupported#37\x03" * 5)
    run_ = line.live.wait()
    text = run_.console.decode("ascii", "replace")
    ok(run_.end is machine.End.SHUTDOWN and "gdb" not in text and "hello: ended" in text,
       "without gdb= COM2 does nothing", text=text, end=run_.end)
    run_.cleanup()


MACHINES = ("qemu", "bochs")


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=1", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 1 builds", out=built.out) or \
            not build("steps", STEPS) or not build("spin", SPIN):
        finish()
    reason = machine.missing("qemu")
    if reason:
        skip("the protocol", reason)
        finish()
    wanted, chosen = sys.argv[1:], []
    tests = [(walk, where) for where in MACHINES] + [(two, where) for where in MACHINES] + \
        [(steps, where) for where in MACHINES] + \
        [(interrupt, where) for where in MACHINES] + [(corpse, None), (killed, None), (typed, None), (backwards, None)]
    for test, where in tests:
        if wanted and not {test.__name__, where, f"{test.__name__}-{where}"} & set(wanted):
            continue
        reason = machine.missing(where or "qemu") or \
            (None if shutil.which("gdb") else "gdb is not here; install the package gdb")
        if reason:
            skip(f"{test.__name__} on {where or 'qemu'}", reason)
        else:
            chosen.append((where, partial(test, *([where] if where else []))))
    at_once(chosen)
    for test in (protocol, caught, without):
        if not wanted or test.__name__ in wanted:
            test()
    finish()


if __name__ == "__main__":
    main()
