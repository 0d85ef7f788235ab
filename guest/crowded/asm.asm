; The parts of guest/crowded that C cannot say. All cdecl.

section .text

; void run_on_page(page, limit, body): the page's start is the GDT, its end the stack.
global run_on_page
run_on_page:
	push	ebp
	push	ebx
	mov	eax, [esp + 12]
	mov	ecx, [esp + 16]
	mov	ebx, [esp + 20]
	sub	esp, 8			; esp -> | limit (2) | base (4) | unused (2) | ebx | ebp | return | arguments
	mov	[esp], cx
	mov	[esp + 2], eax
	cli
	lgdt	[esp]
	add	esp, 8
	mov	ebp, esp
	mov	ecx, 16
	mov	ds, ecx
	mov	es, ecx
	mov	fs, ecx
	mov	gs, ecx
	mov	ss, ecx
	lea	esp, [eax + 4096]
	jmp	8:.there
.there:	call	ebx
	mov	esp, ebp
	pop	ebx
	pop	ebp
	ret

global pushed_flags
pushed_flags:
	xor	eax, eax
	pushf
	pop	eax
	ret

; uint32_t popped(flags): what pushf gives after popf of them
global popped
popped:
	push	dword [esp + 4]
	popf
	pushf
	pop	eax
	cld
	ret

global pushed_selectors
pushed_selectors:
	push	ds
	pop	eax
	push	ss
	pop	ecx
	shl	eax, 16
	or	eax, ecx
	ret

; void store_system(where): sgdt, smsw, mov from es, four bytes apart after the first eight
global store_system
store_system:
	mov	eax, [esp + 4]
	sgdt	[eax]
	smsw	[eax + 8]
	mov	[eax + 12], es
	ret

; uint32_t load_far_data(m16:32): the offset, and ES has been loaded
global load_far_data
load_far_data:
	mov	eax, [esp + 4]
	les	eax, [eax]
	ret

; uint32_t read_through(selector, offset): what a segment has there; ES is as before
global read_through
read_through:
	push	es
	mov	ecx, [esp + 12]
	mov	es, [esp + 8]
	mov	eax, [es:ecx]
	pop	es
	ret
