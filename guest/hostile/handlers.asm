; Attacks with an IDT, a TSS and a ring 3 of the guest's own.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "guest/hostile/attacks.inc"

IDT_ENTRIES equ 256

section .bss
	alignb	4096
idt:	resq	IDT_ENTRIES
ticks:	resd	1
kept:	resd	1

section .data
idtr:	dw	IDT_ENTRIES * 8 - 1
	dd	idt

section .text

; set_gates handler: every vector goes there, by an interrupt gate. Loads the IDT.
%macro SET_GATES 1
	mov	edi, idt
	mov	ecx, IDT_ENTRIES
%%next:	mov	eax, %1
	and	eax, 0xffff
	or	eax, CODE << 16
	mov	[edi], eax
	mov	eax, %1
	and	eax, 0xffff0000
	or	eax, 0xee00
	mov	[edi + 4], eax
	add	edi, 8
	loop	%%next
	lidt	[idtr]
%endmacro

; Into ring 3 at a label, on the stack that is there.
%macro TO_RING3 1
	mov	ecx, esp
	push	dword USER_DATA
	push	ecx
	push	dword 2
	push	dword USER_CODE
	push	dword %1
	iret
%endmacro

; A handler that faults, for ever: each fault takes twelve bytes of stack, until the stack is at the top.
	ATTACK	"fault-storm", fault_storm, 1
fault_storm:
	SET_GATES .handler
	mov	esp, 0x1000
.handler:
	ud2

; Every handler's code segment is the host's: the fault on the way to a fault, three times.
	ATTACK	"idt-host-code", idt_host_code, 1
idt_host_code:
	SET_GATES 0x100000
	mov	edi, idt
	mov	ecx, IDT_ENTRIES
.next:	mov	word [edi + 2], 0xe008
	add	edi, 8
	loop	.next
	int3

	ATTACK	"idt-window", idt_window, 1
idt_window:
	lidt	[.table]
	int3
	mov	eax, 1
	ret
section .data
.table:	dw	0x7ff
	dd	WINDOW
section .text

; Interrupt, trap and call gates of 64-bit mode, and a task gate, in the guest's IDT.
	ATTACK	"idt-task-gate", idt_task_gate, 1
idt_task_gate:
	SET_GATES .handler
	mov	dword [idt + 3 * 8], TSS << 16
	mov	dword [idt + 3 * 8 + 4], 0xe500
	int3
; Gates lead to no task here: #GP instead, with the IDT's entry 3 as its error code (SDM 3A 6.13).
;	| eflags | cs | eip | error |  <- esp
.handler:
	xor	eax, eax
	cmp	dword [esp], 3 * 8 + 2
	setne	al
	add	esp, 16
	ret

; An interrupt arrives while the stack is at the top of the address space.
	ATTACK	"irq-on-window-stack", irq_on_window_stack, 1
irq_on_window_stack:
	SET_GATES .handler
	mov	al, 0xfe
	out	0x21, al
	mov	al, 0x34
	out	0x43, al
	mov	al, 0xff
	out	0x40, al
	out	0x40, al
	xor	esp, esp
	sti
.wait:	jmp	.wait
.handler:
	mov	eax, 1
	jmp	.wait

; The timer as fast as it goes: faster than its handler, so that nothing else of this guest runs until the handler
; itself makes an end of it.
	ATTACK	"irq-storm", irq_storm, 1
irq_storm:
	SET_GATES .handler
	mov	al, 0x34
	out	0x43, al
	mov	al, 2
	out	0x40, al
	mov	al, 0
	out	0x40, al
	mov	al, 0xfe
	out	0x21, al
	sti
.wait:	cmp	dword [ticks], 3000
	jb	.wait
	cli
	xor	eax, eax
	ret
.handler:
	push	eax
	inc	dword [ticks]
	cmp	dword [ticks], 3000
	jb	.more
	mov	al, 0xff
	out	0x21, al
.more:	mov	al, 0x20
	out	0x20, al
	pop	eax
	iret

; Breakpoints on the window and on the host's memory.
	ATTACK	"debug-registers", debug_registers, 0
debug_registers:
	mov	eax, WINDOW
	mov	dr0, eax
	mov	eax, 0x00100000
	mov	dr1, eax
	mov	eax, 0x000f00ff		; all four, reads and writes of four bytes
	mov	dr7, eax
	mov	edx, 0x3fd
	in	al, dx
	mov	eax, dr0
	cmp	eax, WINDOW
	setne	al
	movzx	eax, al
	ret

; Ring 3 reaches for the window: there the page itself refuses, on every machine.
	ATTACK	"user-window-read", user_window_read, 1
user_window_read:
	TO_RING3 .user
.user:	mov	eax, [WINDOW]
	mov	eax, 1
	ret

	ATTACK	"user-window-write", user_window_write, 1
user_window_write:
	TO_RING3 .user
.user:	mov	[WINDOW], eax
	mov	eax, 1
	ret

; A handler that is no instruction, on a stack that wraps: the fault's way to itself is all that there is to do, until
; an interrupt comes.
	ATTACK	"fault-forever", fault_forever, 1
fault_forever:
	SET_GATES .timer
	mov	eax, .bad
	mov	[idt + 6 * 8], ax
	shr	eax, 16
	mov	[idt + 6 * 8 + 6], ax
	mov	byte [idt + 6 * 8 + 5], 0xef	; a trap gate: IF stays
	mov	al, 0xfe
	out	0x21, al
	mov	al, 0x34
	out	0x43, al
	mov	al, 0xff
	out	0x40, al
	out	0x40, al
	mov	[kept], esp
	mov	eax, STACK16
	mov	ss, eax
	mov	esp, 0x8000
	sti
.bad:	db	0xff, 0xff
.timer:	mov	eax, DATA
	mov	ss, eax
	mov	esp, [kept]
	mov	al, 0xff
	out	0x21, al
	xor	eax, eax
	ret

; Zeno's own selectors, below the host's: the bare machine's GDT ends before them, so each is a #GP.
	ATTACK	"own-slots", own_slots, 1
own_slots:
	SET_GATES .handler
	push	ebx
	xor	ebx, ebx		; loads that went through
	mov	ecx, 0xdfc0
.next:	mov	eax, ecx
	or	eax, 1
	mov	es, eax
	inc	ebx
	mov	fs, eax
	inc	ebx
	mov	gs, eax
	inc	ebx
	add	ecx, 8
	cmp	ecx, 0xe000
	jb	.next
	mov	eax, DATA
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	eax, ebx
	pop	ebx
	ret
.handler:				; | error | eip | cs | eflags |  <- esp
	dec	ebx
	add	esp, 4
	add	dword [esp], 2		; the load has two bytes
	iret

; A stack of 16 bits, and an upper half of ESP that is the guest's own.
	ATTACK	"narrow-stack", narrow_stack, 1
narrow_stack:
	mov	[kept], esp
	mov	eax, STACK16
	mov	ss, eax
	mov	esp, 0x12348000
	mov	edx, 0x3fd
	in	al, dx			; an exit, and back
	mov	ecx, esp
	mov	eax, DATA
	mov	ss, eax
	mov	esp, [kept]
	xor	eax, eax
	cmp	ecx, 0x12348000
	setne	al
	ret

; The TSS has the stack that ring 0 comes back on, and all gates lead to %1.
%macro FROM_RING3 1
	SET_GATES %1
	mov	eax, [gdt_alias]
	lea	ecx, [esp - 256]
	mov	edx, [eax + TSS + 2]
	and	edx, 0xffffff
	mov	[edx + 4], ecx
	mov	dword [edx + 8], DATA
	mov	eax, TSS
	ltr	ax
	mov	[kept], esp
%endmacro

; Ring 3 tries for virtual-8086 mode, when it has been there %3 times before: its kernel hears of it.
%macro USER_V86 3
	FROM_RING3 %%handler
	mov	word [0x11000], %1
	mov	edi, %3
%%in:	TO_RING3 %%user
%%user:	test	edi, edi
	jnz	%%out
	xor	eax, eax
	times 6	push eax
	push	dword %2
	push	dword 0x1000
	push	dword 0x1000
	iret
%%out:	int	0x30
%%handler:
	mov	eax, DATA
	mov	ds, eax
	mov	es, eax
	mov	esp, [kept]
	dec	edi
	jns	%%in
	xor	eax, eax
	ret
%endmacro

	ATTACK	"user-v86-trap", user_v86_trap, 1
user_v86_trap:
	USER_V86 0xcccc, 0x20202, 0

	ATTACK	"user-v86-spin", user_v86_spin, 1
user_v86_spin:
	USER_V86 0xfeeb, 0x23002, 0

	ATTACK	"user-v86-again", user_v86_again, 1
user_v86_again:
	USER_V86 0xcccc, 0x20202, 2

; Ring 0 does, when ring 3 is known to an engine, and with the low bits of a ring-3 selector.
	ATTACK	"v86-known", v86_known, 1
v86_known:
	FROM_RING3 .back
	mov	word [0x11030], 0xcccc
	TO_RING3 .user
.user:	int	0x30
.back:	mov	eax, DATA
	mov	ds, eax
	mov	es, eax
	xor	eax, eax
	push	eax
	push	eax
	lidt	[esp]			; no gates any more
	times 6	push eax
	push	dword 0x20002
	push	dword 0x1003
	push	dword 0x1000
	iret

; A stack switch by a TSS whose fields are all zero: there is no stack to go to.
	ATTACK	"tss-no-stack", tss_no_stack, 1
tss_no_stack:
	SET_GATES .handler
	mov	eax, TSS
	ltr	ax
	TO_RING3 .user
.user:	int	0x30
.handler:
	mov	eax, 1
	ret

; A handler that rewrites its own gate, and the IDT's limit in memory, while it runs: the next event finds what is
; there then.
	ATTACK	"idt-in-use", idt_in_use, 1
idt_in_use:
	push	ebx
	SET_GATES .first
	xor	ebx, ebx
	int3
	mov	word [idtr], IDT_ENTRIES * 8 - 1
	lea	eax, [ebx - 0x21]
	pop	ebx
	ret
.first:	or	ebx, 1
	mov	eax, .second
	mov	[idt + 3 * 8], ax
	int3
	iret
.second:
	or	ebx, 0x20
	mov	word [idtr], 2 * 8 - 1	; in memory alone: the register keeps what it has
	iret

; Code that rewrites the descriptor of the segment that it runs on, and of its stack, through a flat alias.
	ATTACK	"gdt-in-use", gdt_in_use, 1
gdt_in_use:
	mov	edi, [gdt_alias]
	mov	dword [edi + CODE + 4], 0x00cf9a00 ^ 0x00008000 ; P=0: the register keeps what it has
	mov	dword [edi + DATA + 4], 0x00cf9200 ^ 0x00008000
	push	eax
	pop	eax
	mov	edx, 0x3fd
	in	al, dx			; an exit, and back
	mov	dword [edi + CODE + 4], 0x00cf9b00
	mov	dword [edi + DATA + 4], 0x00cf9300
	xor	eax, eax
	ret
extern gdt_alias
