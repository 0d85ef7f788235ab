; DS, ES, FS and GS of a PV guest. Its tables may have changed since it loaded them: a load may fault on the guest's
; account, and then the register is null.

%include "kern/trap.inc"

default rel
section .text

; uint64_t pv_load_selectors(const uint16_t selectors[4]): a bit for each that was refused. trap_host() leaves vector
; and error code in rax and rdx, and every other register as it was.
global pv_load_selectors:function hidden
pv_load_selectors:
	xor	ecx, ecx
	xor	esi, esi
%assign n 0
%macro LOAD 1
.%1:	mov	%1, [rdi + 2 * n]
	jmp	.%1_is
.%1_bad: bts	ecx, n
	mov	%1, esi
.%1_is:
	EXTABLE	pv_load_selectors.%1, pv_load_selectors.%1_bad
%assign n n + 1
%endmacro
	LOAD	ds
	LOAD	es
	LOAD	fs
	LOAD	gs
	mov	eax, ecx
	ret

; uint64_t pv_load_gs(uint16_t selector): whether it was refused. A null one has the base 0, as on Intel's.
global pv_load_gs:function hidden
pv_load_gs:
	mov	eax, HOST_DS
	mov	gs, eax
	xor	eax, eax
.gs:	mov	gs, edi
	ret
.bad:	mov	eax, 1
	xor	edi, edi
	mov	gs, edi
	ret
	EXTABLE	pv_load_gs.gs, pv_load_gs.bad

section .note.GNU-stack noalloc noexec nowrite progbits
