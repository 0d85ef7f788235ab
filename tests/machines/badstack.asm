; A page fault whose frame can't be pushed, since the stack is the page that is missing.
%include "common.inc"
%include "paging.inc"
%include "idt.inc"
HOLE	equ 0x300000
main:
	call idt_on
	call paging_on
	mov dword [page_table + 4 * (HOLE >> 12)], 0
	invlpg [HOLE]
	mov esp, HOLE + 0x800
global bad_push
bad_push:
	push eax

handler:
	hlt
