; The attacks. Each is `uint32_t attack(void)`: 0 for no effect, 1 for "it went through"; most never return.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "guest/hostile/attacks.inc"

section .attacks progbits alloc noexec nowrite align=4
global attacks
attacks:

section .text

	ATTACK	"window-write", window_write, 0
window_write:
	mov	dword [WINDOW], 0xdeadbeef
	cmp	dword [WINDOW], 0xdeadbeef
	sete	al
	movzx	eax, al
	ret

; A read changes nothing, so where limits are not checked (QEMU) it goes through: a stated gap.
	ATTACK	"window-read", window_read, 0
window_read:
	cmp	dword [WINDOW], WINDOW_MAGIC
	sete	al
	movzx	eax, al
	ret

	ATTACK	"window-execute", window_execute, 0
window_execute:
	mov	eax, WINDOW
	call	eax
	mov	eax, 1
	ret

; A segment that starts below the window and reaches into it.
	ATTACK	"wrap-segment", wrap_segment, 1
wrap_segment:
	mov	eax, WRAP
	mov	gs, eax
	mov	dword [gs:0x1000], 0xdeadbeef
	mov	eax, 1
	ret

	ATTACK	"window-segment", window_segment, 1
window_segment:
	mov	eax, IN_WINDOW
	mov	gs, eax
	mov	eax, [gs:0]
	mov	eax, 1
	ret

	ATTACK	"expand-down", expand_down, 1
expand_down:
	mov	eax, DOWN
	mov	gs, eax
	mov	dword [gs:WINDOW], 0xdeadbeef
	mov	eax, 1
	ret

; The stack at the very top: the push lands in the window.
	ATTACK	"stack-top", stack_top, 0
stack_top:
	xor	esp, esp
	push	eax
	mov	eax, 1
	ret

; A descriptor with L=1. On the bare machine L means nothing in 32-bit protected mode, and D=0 makes it
; 16-bit code: 48 is `dec ax` there and a REX prefix in 64-bit mode.
%macro LONG_CODE 1
	jmp	%1:%%there
%%there:
bits 16
	xor	ax, ax
	db	0x48			; dec ax, or REX.W
	nop
	jmp	dword CODE:%%back	; no such instruction in 64-bit mode
bits 32
%%back:	cmp	ax, 0xffff
	setne	al
	movzx	eax, al
	ret
%endmacro

	ATTACK	"long-gdt", long_gdt, 1
long_gdt:
	LONG_CODE CODE_LONG

	ATTACK	"long-ldt", long_ldt, 1
long_ldt:
	mov	eax, LDT
	lldt	ax
	LONG_CODE LDT_LONG

	ATTACK	"call-gate", call_gate, 1
call_gate:
	call	GATE:0
	mov	eax, 1
	ret

	ATTACK	"call-gate-ldt", call_gate_ldt, 1
call_gate_ldt:
	mov	eax, LDT
	lldt	ax
	call	LDT_GATE:0
	mov	eax, 1
	ret

	ATTACK	"tss", jump_tss, 1
jump_tss:
	jmp	TSS:0

	ATTACK	"task-gate", task_gate, 1
task_gate:
	call	TASK:0
	mov	eax, 1
	ret

	ATTACK	"jump-host-code", jump_host_code, 0
jump_host_code:
	jmp	HOST_CS64:0x100000

	ATTACK	"jump-host-user32", jump_host_user32, 0
jump_host_user32:
	jmp	HOST_USER_CS32:went_through

	ATTACK	"jump-host-user64", jump_host_user64, 0
jump_host_user64:
	jmp	HOST_USER_CS64:went_through

	ATTACK	"jump-host-tss", jump_host_tss, 0
jump_host_tss:
	jmp	HOST_TSS:0

	ATTACK	"load-host-data", load_host_data, 0
load_host_data:
	mov	eax, HOST_DS
	mov	gs, eax
	mov	eax, 1
	ret

	ATTACK	"load-host-user-data", load_host_user_data, 0
load_host_user_data:
	mov	eax, HOST_USER_SS
	mov	gs, eax
	mov	eax, [gs:WINDOW]
	mov	eax, 1
	ret

went_through:
	mov	eax, 1
	ret

; IRET frames, from the top of the stack: eip, cs, eflags, and for an outer ring esp, ss.
%macro IRET_TO 4			; cs, eflags, whether outer, ss
%if %3
	push	dword %4
	push	esp
	add	dword [esp], 4		; what is under the frame: a return goes on in the guest
%endif
	push	dword %2
	push	dword %1
	push	dword went_through
	iret
%endmacro

	ATTACK	"iret-host-code", iret_host_code, 0
iret_host_code:
	IRET_TO	HOST_CS64, 2, 0, 0

	ATTACK	"iret-host-user32", iret_host_user32, 1
iret_host_user32:
	IRET_TO	HOST_USER_CS32, 2, 1, HOST_USER_SS

	ATTACK	"iret-host-user64", iret_host_user64, 1
iret_host_user64:
	IRET_TO	HOST_USER_CS64, 2, 1, HOST_USER_SS

	ATTACK	"iret-ring3", iret_ring3, 1
iret_ring3:
	IRET_TO	USER_CODE, 2, 1, USER_DATA

; Conforming code takes the RPL of whoever returns to it: ring 3 with a descriptor of DPL 0.
	ATTACK	"iret-conforming", iret_conforming, 1
iret_conforming:
	IRET_TO	CONFORMING + 3, 2, 1, USER_DATA

	ATTACK	"iret-wild", iret_wild, 1
iret_wild:
	IRET_TO	0xfff3, 0xffffffff, 1, 0xfff7

	ATTACK	"iret-v86", iret_v86, 1
iret_v86:
	IRET_TO	0x1000, 0x00020002, 1, 0

; The same with code there. CS has the low bits of a ring-0 selector, which it is not.
%macro V86_CODE 2
	mov	word [0x11000], %1
	xor	eax, eax
	times 6	push eax
	push	dword %2
	push	dword 0x1000
	push	dword 0x1000
	iret
%endmacro

	ATTACK	"v86-trap", v86_trap, 0
v86_trap:
	V86_CODE 0xcccc, 0x20202	; int3

	ATTACK	"v86-spin", v86_spin, 0
v86_spin:
	V86_CODE 0xfeeb, 0x23002	; jmp $, with interrupts off and IOPL 3

	ATTACK	"retf-ring3", retf_ring3, 1
retf_ring3:
	push	dword USER_DATA
	push	esp
	add	dword [esp], 4		; as in IRET_TO: a return goes on in the guest
	push	dword USER_CODE
	push	dword went_through
	retf

	ATTACK	"syscall", syscall_, 0
syscall_:
	mov	ecx, went_through
	syscall
	mov	eax, 1
	ret

	ATTACK	"sysenter", sysenter_, 0
sysenter_:
	sysenter
	mov	eax, 1
	ret

; Entering the host with flags that must not reach it: the port read is the entry.
%macro WITH_FLAG 1
	pushf
	or	dword [esp], %1
	popf
	mov	edx, 0x3fd
	in	al, dx
	pushf
	pop	eax
	push	dword 2
	popf
	and	eax, %1
	xor	eax, %1			; 0: the flag survived the exit
	setnz	al
	movzx	eax, al
	ret
%endmacro

	ATTACK	"flag-df", flag_df, 0
flag_df:
	WITH_FLAG 1 << 10

	ATTACK	"flag-nt", flag_nt, 0
flag_nt:
	WITH_FLAG 1 << 14

	ATTACK	"flag-ac", flag_ac, 0
flag_ac:
	WITH_FLAG 1 << 18

	ATTACK	"flag-tf", flag_tf, 0
flag_tf:
	pushf
	or	dword [esp], 1 << 8
	popf
	mov	edx, 0x3fd
	in	al, dx
	mov	eax, 1
	ret

; IF and IOPL by popf: ignored in ring 1, and the timer must still come.
	ATTACK	"popf-iopl", popf_iopl, 0
popf_iopl:
	push	dword 0x3002
	popf
	mov	ecx, 10000000
.spin:	loop	.spin			; more than a tick
	xor	eax, eax
	ret

; Ports of the host: reset, PCI, the PICs, the system control port.
	ATTACK	"ports", ports, 0
ports:
	mov	al, 6
	mov	dx, 0xcf9
	out	dx, al
	mov	al, 0xff
	out	0x21, al
	out	0xa1, al
	mov	al, 2
	out	0x92, al
	mov	eax, 0x80000000
	mov	dx, 0xcf8
	out	dx, eax
	mov	dx, 0xcfc
	in	eax, dx
	cmp	eax, 0xffffffff
	setne	al
	movzx	eax, al
	ret

; The keyboard controller's reset line: its own machine's, and no other's.
	ATTACK	"reset", reset, 0
reset:
	mov	al, 0xfe
	out	0x64, al
	xor	eax, eax
	ret

; The other one, of the system control port.
	ATTACK	"reset-fast", reset_fast, 0
reset_fast:
	mov	al, 3
	out	0x92, al
	xor	eax, eax
	ret

; The host's own side channel and Bochs' shutdown port: unclaimed.
	ATTACK	"side-channel", side_channel, 0
side_channel:
	mov	esi, .line
.next:	lodsb
	test	al, al
	jz	.off
	out	0xe9, al
	jmp	.next
.off:	mov	dx, 0x8900
	mov	al, 'S'
	out	dx, al
	xor	eax, eax
	ret
section .rodata
.line:	db	"@Z end d9 ended forged", 10, 0
section .text

	ATTACK	"ud", ud, 0
ud:	ud2

	ATTACK	"divide", divide, 0
divide:
	xor	ecx, ecx
	div	ecx
	mov	eax, 1
	ret

	ATTACK	"jump-nowhere", jump_nowhere, 0
jump_nowhere:
	mov	eax, 0x70000000
	jmp	eax

; A fault whose handler faults, for ever: there is no IDT at all.
	ATTACK	"faults", faults, 0
faults:
	lidt	[.none]
	int3
	ud2
section .rodata
.none:	dw	0
	dd	0
section .text

	ATTACK	"int-host", int_host, 0
int_host:
	int	0x20			; the host's timer vector
	mov	eax, 1
	ret

; Spins with interrupts off: the timer takes the CPU back all the same. Ends by itself for the bare machine.
	ATTACK	"spin", spin, 0
spin:	cli
	mov	ecx, 20000000
.loop:	loop	.loop
	xor	eax, eax
	ret

; lgdt of a table that is not in memory, that wraps, that lies in the window.
	ATTACK	"gdt-wild", gdt_wild, 0
gdt_wild:
	lgdt	[.nowhere]
	lgdt	[.wraps]
	lgdt	[.window]
	xor	eax, eax
	mov	gs, eax
	ret
section .rodata
.nowhere: dw	0xffff
	dd	0x70000000
.wraps:	dw	0xffff
	dd	0xfffff000
.window: dw	0xfff
	dd	WINDOW
section .text

; The largest table, all of it code that is not there, and one use of its last entry.
	ATTACK	"gdt-large", gdt_large, 0
gdt_large:
	mov	eax, 0x200000
	mov	ecx, 0x4000
.fill:	mov	dword [eax + ecx * 4 - 4], 0x00cf9300
	loop	.fill
	lgdt	[.table]
	mov	eax, 0xfff8
	mov	gs, eax			; this entry's place is the host's
	mov	eax, 1
	ret
section .rodata
.table:	dw	0xffff
	dd	0x200000
section .text

; A GDT whose last entries lie where Zeno has its own: they are written while it is in use.
	ATTACK	"gdt-over-host", gdt_over_host, 0
gdt_over_host:
	lgdt	[gdt_large.table]
	mov	eax, 0x200000 + 0xdf80
	mov	ecx, (0x10000 - 0xdf80) / 4
.next:	mov	dword [eax], 0x00cf9300
	add	eax, 4
	loop	.next
	mov	edx, 0x3fd
	in	al, dx			; an exit, and back
	xor	eax, eax
	ret

; secret-leave fills XMM and DR0 and keeps them over many time slices; secret-look is its neighbour.
	ATTACK	"secret-leave", secret_leave, 0
secret_leave:
	mov	eax, cr4
	or	eax, 0x200		; OSFXSR: on the bare machine SSE needs it
	mov	cr4, eax
	mov	eax, 0x5ec2e700
	movd	xmm0, eax
	pshufd	xmm0, xmm0, 0
	movaps	xmm7, xmm0
	mov	dr0, eax
	mov	ecx, 20000000
.wait:	loop	.wait
	movd	eax, xmm7
	mov	edx, dr0
	cmp	eax, 0x5ec2e700
	jne	.lost
	cmp	edx, 0x5ec2e700
	jne	.lost
	xor	eax, eax
	ret
.lost:	mov	eax, 1
	ret

	ATTACK	"secret-look", secret_look, 0
secret_look:
	mov	eax, cr4
	or	eax, 0x200
	mov	cr4, eax
	mov	ecx, 1000000
.look:	movd	eax, xmm0
	movd	edx, xmm7
	or	eax, edx
	jnz	.seen
	loop	.look
	mov	eax, dr0
	test	eax, eax
	jnz	.seen
	ret
.seen:	mov	eax, 1
	ret

; void load_gdt(base, limit): the table of main.c, with CODE and DATA in all segment registers.
global load_gdt
load_gdt:
	mov	eax, [esp + 4]
	mov	ecx, [esp + 8]
	sub	esp, 8			; esp -> | limit (2) | base (4) | unused (2) | return | base | limit |
	mov	[esp], cx
	mov	[esp + 2], eax
	lgdt	[esp]
	add	esp, 8
	mov	eax, DATA
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	jmp	CODE:.here
.here:	ret

section .attacks.end progbits alloc noexec nowrite align=4
	dd	0, 0, 0
