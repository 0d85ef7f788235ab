; Four loops of the same length, so that who counts from outside can tell domains apart: each takes another one.

default rel

section .text
; void spin_N(uint64_t passes): 100 instructions each, of which the first is at spun_N
%macro SPIN 1
global spin_%1, spun_%1
align 64
spin_%1:
spun_%1:
	times	98 nop
	dec	rdi
	jnz	spun_%1
	ret
%endmacro

	SPIN	1
	SPIN	2
	SPIN	3
	SPIN	4
