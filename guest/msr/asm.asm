; rdmsr and wrmsr that may fault, and the handler that says so.
section .text

; uint32_t read_msr(uint32_t n, uint32_t value[2]): 0, or 1 after #GP
;   esp -> return | n | value
global read_msr
read_msr:
	mov	ecx, [esp + 4]
	mov	eax, 0x5a5a5a5a
	mov	edx, eax
	mov	dword [resume_at], .on
	mov	dword [faulted], 0
	rdmsr
.on:	mov	ecx, [esp + 8]
	mov	[ecx], eax
	mov	[ecx + 4], edx
	mov	eax, [faulted]
	ret

; uint32_t write_msr(uint32_t n, uint32_t low, uint32_t high): 0, or 1 after #GP
global write_msr
write_msr:
	mov	ecx, [esp + 4]
	mov	eax, [esp + 8]
	mov	edx, [esp + 12]
	mov	dword [resume_at], .on
	mov	dword [faulted], 0
	wrmsr
.on:	mov	eax, [faulted]
	ret

; #GP: esp -> error | eip cs eflags. One with another error code than 0 goes on too, and counts as 2.
global on_gp
on_gp:
	push	eax
	mov	eax, [esp + 4]
	neg	eax
	sbb	eax, eax
	neg	eax
	inc	eax
	mov	[faulted], eax
	mov	eax, [resume_at]
	mov	[esp + 8], eax
	pop	eax
	add	esp, 4
	iret

; void load_tables(gdt, limit, idt, limit)
;   esp -> limit | base | unused | return | gdt | limit | idt | limit |
global load_tables
load_tables:
	sub	esp, 8
	mov	eax, [esp + 12]
	mov	ecx, [esp + 16]
	mov	[esp], cx
	mov	[esp + 2], eax
	lgdt	[esp]
	mov	eax, [esp + 20]
	mov	ecx, [esp + 24]
	mov	[esp], cx
	mov	[esp + 2], eax
	lidt	[esp]
	add	esp, 8
	jmp	8:.there
.there:	mov	eax, 0x10
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	ret

section .bss
resume_at: resd	1
faulted: resd	1
