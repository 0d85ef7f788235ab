; Never stops printing.
%include "common.inc"
main:
	mov dx, COM1
	mov al, 'x'
.again:
	out dx, al
	jmp .again
