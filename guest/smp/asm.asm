; The parts of guest/smp that C cannot say: where the second CPU begins, gates, waiting, a lock.

%include "guest/lib/stubs.inc"

TRAP_STUBS 256, trapped

extern handle
trapped:	TRAP_TO_C

; void load_tables(gdt, limit, idt, limit)
global load_tables
load_tables:
	LOAD_TABLES
	ret

; Copied to a page below 1 MiB. A start-up IPI brings the second CPU there, in real mode with CS = its page.
global trampoline, trampoline_end
bits 16
trampoline:
	cli
	mov	ax, cs
	mov	ds, ax
	o32 lgdt [tables - trampoline]
	mov	eax, cr0
	mov	[old_cr0 - trampoline], eax
	and	eax, 0x9fffffff		; caches on
	or	al, 1
	mov	cr0, eax
	jmp	dword 0x08:second
	align	8
tables:	dw	0			; filled in by fill_trampoline()
	dd	0
old_cr0: dd	0
trampoline_end:
bits 32

; void fill_trampoline(page, gdt, limit)
global fill_trampoline
fill_trampoline:
	mov	edx, [esp + 4]
	mov	eax, [esp + 8]
	mov	ecx, [esp + 12]
	mov	[edx + tables - trampoline], cx
	mov	[edx + tables - trampoline + 2], eax
	ret

; uint32_t first_cr0(page): CR0 as the second CPU has found it
global first_cr0
first_cr0:
	mov	edx, [esp + 4]
	mov	eax, [edx + old_cr0 - trampoline]
	ret

extern second_main
second:	mov	eax, 0x10
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	mov	esp, second_stack
	call	second_main
.dead:	cli
	hlt
	jmp	.dead

; void wait_until(volatile uint32_t *word, uint32_t value): sleeps until an interrupt's handler has put it there, or
; more; the interrupt cannot come between the look and the hlt. Interrupts are off before and behind.
global wait_until
wait_until:
	mov	ecx, [esp + 4]
	mov	edx, [esp + 8]
.look:	cmp	[ecx], edx
	jae	.there
	sti
	hlt
	cli
	jmp	.look
.there:	ret

; void let_in(void): whatever waits, comes
global let_in
let_in:	sti
	nop
	nop
	cli
	ret

; void halt_for_good(volatile uint32_t *word): says that it is there, and only an NMI wakes it, once
global halt_once
halt_once:
	mov	ecx, [esp + 4]
	inc	dword [ecx]
	hlt
	ret

; void add_locked(uint32_t *lock, uint32_t *sum, uint32_t count)
global add_locked
add_locked:
	push	ebx
	mov	ebx, [esp + 8]
	mov	edx, [esp + 12]
	mov	ecx, [esp + 16]
.next:	mov	eax, 1
	xchg	[ebx], eax
	test	eax, eax
	jz	.mine
	pause
	jmp	.next
.mine:	mov	eax, [edx]		; not in one instruction: the lock alone keeps the other one out
	add	eax, 1
	mov	[edx], eax
	mov	dword [ebx], 0
	dec	ecx
	jnz	.next
	pop	ebx
	ret

; uint64_t spin_until(volatile uint32_t *word, uint32_t value): the same without hlt; how long it took, in the TSC's
global spin_until
spin_until:
	push	ebx
	push	esi
	rdtsc
	mov	ebx, eax
	mov	esi, edx
	mov	ecx, [esp + 12]
	mov	edx, [esp + 16]
	sti
.look:	cmp	[ecx], edx
	jb	.look
	cli
	rdtsc
	sub	eax, ebx
	sbb	edx, esi
	pop	esi
	pop	ebx
	ret

; uint32_t cpuid_word(leaf, which): eax, ebx, ecx, edx by their number
global cpuid_word
cpuid_word:
	push	ebx
	mov	eax, [esp + 8]
	xor	ecx, ecx
	cpuid
	sub	esp, 16
	mov	[esp], eax
	mov	[esp + 4], ebx
	mov	[esp + 8], ecx
	mov	[esp + 12], edx
	mov	eax, [esp + 16 + 12]
	mov	eax, [esp + eax * 4]
	add	esp, 16
	pop	ebx
	ret

; uint32_t read_msr(number): the low half
global read_msr
read_msr:
	mov	ecx, [esp + 4]
	rdmsr
	ret

; void read_no_msr(void): a #GP at no_msr, whose handler goes on behind it
global read_no_msr, no_msr
read_no_msr:
	mov	ecx, 0x20000000
no_msr:	rdmsr
	ret

; void write_msr(number, low, high)
global write_msr
write_msr:
	mov	ecx, [esp + 4]
	mov	eax, [esp + 8]
	mov	edx, [esp + 12]
	wrmsr
	ret

; void triple_fault(void): without an IDT
global triple_fault
triple_fault:
	sub	esp, 8
	mov	dword [esp], 0
	mov	dword [esp + 4], 0
	lidt	[esp]
	ud2

section .bss
	align	16
	resb	8192
second_stack:
