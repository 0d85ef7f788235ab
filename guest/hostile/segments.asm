; Attacks by segments that Zeno has no shadow of: their base lies in the VMM window, or their ring is 1 or 2.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "guest/hostile/attacks.inc"

WINDOW_CODE equ 0x78			; made by each attack

IN_WINDOW_LOW equ 0x000003ff		; base ffc00000, limit 3ff pages
CODE_HIGH equ 0xffc09bc0
CODE3_HIGH equ 0xffc0fbc0
DATA3_HIGH equ 0xffc0f3c0

; entry selector, low, high: an entry of the GDT, which gdt_alias points to.
%macro ENTRY 3
	mov	eax, [gdt_alias]
	mov	dword [eax + %1], %2
	mov	dword [eax + %1 + 4], %3
%endmacro

extern gdt_alias
section .bss
	alignb	8
idt:	resq	256
section .data
idtr:	dw	256 * 8 - 1
	dd	idt
section .text

; gate vector, selector, label
%macro GATE_TO 3
	mov	eax, %3
	mov	[idt + %1 * 8], ax
	mov	word [idt + %1 * 8 + 2], %2
	mov	word [idt + %1 * 8 + 4], 0xee00
	shr	eax, 16
	mov	[idt + %1 * 8 + 6], ax
	lidt	[idtr]
%endmacro

	ATTACK	"iret-window-code", iret_window_code, 1
iret_window_code:
	ENTRY	WINDOW_CODE, IN_WINDOW_LOW, CODE_HIGH
	push	dword 2
	push	dword WINDOW_CODE
	push	dword 0
	iret

	ATTACK	"jump-window-code", jump_window_code, 1
jump_window_code:
	ENTRY	WINDOW_CODE, IN_WINDOW_LOW, CODE_HIGH
	jmp	WINDOW_CODE:0

	ATTACK	"gate-window-code", gate_window_code, 1
gate_window_code:
	ENTRY	WINDOW_CODE, IN_WINDOW_LOW, CODE_HIGH
	GATE_TO	0x30, WINDOW_CODE, 0
	int	0x30

	ATTACK	"fault-window-code", fault_window_code, 1
fault_window_code:
	ENTRY	WINDOW_CODE, IN_WINDOW_LOW, CODE_HIGH
	GATE_TO	6, WINDOW_CODE, 0
	ud2

	ATTACK	"iret-window-user", iret_window_user, 1
iret_window_user:
	ENTRY	WINDOW_CODE, IN_WINDOW_LOW, CODE3_HIGH
	push	dword USER_DATA
	push	esp
	push	dword 2
	push	dword WINDOW_CODE | 3
	push	dword 0
	iret

	ATTACK	"iret-window-stack", iret_window_stack, 1
iret_window_stack:
	ENTRY	WINDOW_CODE, IN_WINDOW_LOW, DATA3_HIGH
	push	dword WINDOW_CODE | 3
	push	dword 0x1000
	push	dword 2
	push	dword USER_CODE
	push	dword .user
	iret
.user:	push	eax
	mov	eax, 1
	ret

	ATTACK	"tss-window-stack", tss_window_stack, 1
tss_window_stack:
	GATE_TO	0x30, CODE, .handler
	mov	eax, [gdt_alias]
	mov	edx, [eax + TSS + 2]
	and	edx, 0xffffff
	mov	dword [edx + 4], 0x1000
	mov	dword [edx + 8], IN_WINDOW
	mov	eax, TSS
	ltr	ax
	push	dword USER_DATA
	push	esp
	push	dword 2
	push	dword USER_CODE
	push	dword .user
	iret
.user:	int	0x30
.handler:
	mov	eax, 1
	ret

; The same by a stack that grows down towards the window, and is good but for that.
	ATTACK	"tss-down-stack", tss_down_stack, 1
tss_down_stack:
	GATE_TO	0x30, CODE, .handler
	mov	eax, [gdt_alias]
	mov	edx, [eax + TSS + 2]
	and	edx, 0xffffff
	lea	ecx, [esp - 256]
	mov	[edx + 4], ecx
	mov	dword [edx + 8], DOWN
	mov	eax, TSS
	ltr	ax
	push	dword USER_DATA
	push	esp
	push	dword 2
	push	dword USER_CODE
	push	dword .user
	iret
.user:	int	0x30
.handler:
	mov	eax, 1
	ret

; Rings 1 and 2.
%macro RING 1
	ENTRY	WINDOW_CODE, 0x0000ffff, 0x00cf9b00 | %1 << 13
	ENTRY	IN_WINDOW, 0x0000ffff, 0x00cf9300 | %1 << 13
	mov	ecx, esp
	push	dword IN_WINDOW | %1
	push	ecx
	push	dword 2
	push	dword WINDOW_CODE | %1
	push	dword %%there
	iret
%%there:
	mov	eax, cs
	and	eax, 3
	cmp	eax, %1
	sete	al
	movzx	eax, al
	ret
%endmacro
	ATTACK	"iret-ring1", iret_ring1, 1
iret_ring1:
	RING	1
	ATTACK	"iret-ring2", iret_ring2, 1
iret_ring2:
	RING	2

; From ring 3 into ring 1, on the stack that the TSS has for it.
	ATTACK	"gate-ring1", gate_ring1, 1
gate_ring1:
	ENTRY	IN_WINDOW, 0x0000ffff, 0x00cf9300 | 1 << 13
	mov	eax, [gdt_alias]
	mov	edx, [eax + TSS + 2]
	and	edx, 0xffffff
	lea	ecx, [esp - 256]
	mov	[edx + 12], ecx
	mov	dword [edx + 16], IN_WINDOW | 1
	mov	eax, TSS
	ltr	ax
	ENTRY	WINDOW_CODE, 0x0000ffff, 0x00cf9b00 | 1 << 13
	GATE_TO	0x30, WINDOW_CODE | 1, .there
	push	dword USER_DATA
	push	esp
	push	dword 2
	push	dword USER_CODE
	push	dword .user
	iret
.user:	int	0x30
.there:	mov	eax, 1
	ret

; Under te this iret does not trap: it goes where the guest is already.
	ATTACK	"iret-conforming1", iret_conforming1, 1
iret_conforming1:
	ENTRY	WINDOW_CODE, 0x0000ffff, 0x00cf9f00
	ENTRY	IN_WINDOW, 0x0000ffff, 0x00cf9300 | 1 << 13
	mov	ecx, esp
	push	dword IN_WINDOW | 1
	push	ecx
	push	dword 2
	push	dword WINDOW_CODE | 1
	push	dword .there
	iret
.there:	ud2
