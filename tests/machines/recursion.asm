; A handler that raises the exception that it handles, until its stack runs into a hole.
%include "common.inc"
%include "paging.inc"
%include "idt.inc"
HOLE	equ 0x300000
main:
	call idt_on
	call paging_on
	mov dword [page_table + 4 * (HOLE >> 12)], 0
	invlpg [HOLE]
	mov esp, HOLE + 0x1200
	ud2

global handler
handler:
	ud2
