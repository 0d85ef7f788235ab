; void run_with_tables(gdt, limit, program): the selectors 8 and 16 are plain code and data.
; The stack at lgdt:  esp -> | limit (2) | base (4) | unused (2) | return | gdt | limit | program |

section .text
global run_with_tables
run_with_tables:
	mov	eax, [esp + 4]
	mov	ecx, [esp + 8]
	mov	ebx, [esp + 12]
	sub	esp, 8
	mov	[esp], cx
	mov	[esp + 2], eax
	lgdt	[esp]
	add	esp, 8
	mov	eax, 16
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	jmp	8:.there
.there:	jmp	ebx
