; Answers every byte typed with its successor; `q` switches off.
%include "common.inc"
main:
	mov al, '>'
	call putc
.wait:
	mov dx, COM1 + 5
	in al, dx
	test al, 1
	jz .wait
	mov dx, COM1
	in al, dx
	cmp al, 'q'
	je .off
	inc al
	call putc
	jmp .wait
.off:
	mov al, 0
	jmp power_off
