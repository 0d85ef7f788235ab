; Where a program of user/ begins: on its stack, with registers that are 0. What user_main() returns is its status.

global _start
extern user_main, user_exit

section .text
_start:
	and	rsp, -16
	call	user_main
	mov	edi, eax
	call	user_exit
	ud2

section .note.GNU-stack noalloc noexec nowrite progbits
