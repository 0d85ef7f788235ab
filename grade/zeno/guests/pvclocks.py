"""A fresh PV guest that looks at its two times all the while: its own, and the date (xen.h).

When the TSC has run on by more than any turn of another's takes, it was paused, and says what either time has done.
"""

from .pvevents import Eventful

LONG, SOON = 300_000_000, 100_000_000
"""ns: what no turn of another's takes; and what the guest itself may have waited beside that, of half a second."""

LOOK = """\
        jmp begun
look:   mov r8d, [shared_page + 32]
        mov r10d, [shared_page + 3072]
        rdtsc
        shl rdx, 32
        or rax, rdx
        mov r12, rax
        sub rax, [shared_page + 40]
        call ns
        add rax, [shared_page + 48]
        mov r13, rax
        mov eax, [shared_page + 3076]
        mov ecx, [shared_page + 3084]
        shl rcx, 32
        or rax, rcx
        mov ecx, 1000000000
        mul rcx
        mov ecx, [shared_page + 3080]
        add rax, rcx
        add rax, r13
        mov r14, rax
        test r8d, 1
        jnz look
        cmp r10d, [shared_page + 3072]
        jne look
        cmp r8d, [shared_page + 32]
        jne look
        ret
ns:     movsx ecx, byte [shared_page + 60]
        test ecx, ecx
        js .down
        shl rax, cl
        jmp .on
.down:  neg ecx
        shr rax, cl
.on:    mov ecx, [shared_page + 56]
        mul rcx
        shrd rax, rdx, 32
        ret
begun:
"""


def clocks(rng):
    """It says three times yes."""
    p = Eventful(rng)
    p.op("mov byte [shared_page + 1], 1")
    p.lines += LOOK.split("\n")
    p.data += ["was: times 3 dq 0"]
    p.op("call look")
    p.label("again")
    p.op("mov [was], r12", "mov [was + 8], r13", "mov [was + 16], r14", "call look", "mov rax, r12", "sub rax, [was]", "call ns", f"cmp rax, {LONG}",
         "jb again", "mov r15, rax", "mov rbx, r13", "sub rbx, [was + 8]", "mov rbp, r14", "sub rbp, [was + 16]", "sub rbp, r15")
    p.doing = "its own time stands still while it is paused"
    p.op("xor eax, eax", f"cmp rbx, {SOON}", "setb al")
    p.say("rax", 1)
    p.doing = "and never goes back"
    p.op("xor eax, eax", "test rbx, rbx", "setns al")
    p.say("rax", 1)
    p.doing = "the date goes on meanwhile, as the TSC does"
    p.op("xor eax, eax", f"add rbp, {SOON}", f"cmp rbp, {2 * SOON}", "setb al")
    p.say("rax", 1)
    p.end()
    return p
