; What the patients of exercises 4.8 and 4s.8 do when they are well: work32 is a kernel of 32 bits with paging, work64
; one of 64 bits. Each looks at all that it has been given; where that is not as it should be, it runs into a `ud2`.
; It says how far it has come by marks, and ends with `hlt`.
;
; This is data of Zeno's: patient.c copies it into the patient's first page. rbx has the linear address of the page
; behind that, the card (struct card in patient.h), which has what the patient expects.

%define PAGE		0x1000
%define MARK_PORT	0x80		; on a PC nobody's: firmware says there how far it has come

%define CARD_TEXT	0x00		; struct card
%define CARD_COPY	0x10
%define CARD_RAX	0x20
%define CARD_TOP	0x28
%define CARD_RSP	0x30
%define CARD_ANSWER	0x38
%define CARD_FAR	0x40
%define CARD_NEAR	0x48
%define CARD_OWN	0x50
%define CARD_CALLS	0x58
%define CARD_EVENTS	0x60
%define CARD_USER_STACK	0x800
%define FIXED		(3 * PAGE)	; from the card on: the page that is not writable

%define KERNEL_CODE	0x08
%define USER_DATA	0x1b
%define USER_CODE	0x23
%define LDT_DATA	0x0c
%define VEC_CALL	0x30
%define VEC_USER	0x31
%define FLAG_AC		0x40000

; The comparison before it says "equal", or the patient knows that something is wrong.
%macro	must	0
	je	%%well
	ud2
%%well:
%endmacro

%macro	mark	1
	mov	al, %1
	out	MARK_PORT, al
%endmacro

section .rodata

bits 32
global work32:data hidden
work32:
	cmp	eax, [ebx + CARD_RAX]
	must
	pop	edx
	cmp	edx, [ebx + CARD_TOP]
	must
	cmp	esp, [ebx + CARD_RSP]
	must
	call	.here
.here:
	pop	edx
	add	edx, PAGE - (.here - work32)
	cmp	edx, ebx
	must
	mark	1
	lea	esi, [ebx + CARD_TEXT]
	lea	edi, [ebx + CARD_COPY]
	mov	ecx, 4
	rep	movsd
	mov	edx, [ebx + CARD_TEXT + 12]
	cmp	edx, [ebx + CARD_COPY + 12]
	must
	movaps	xmm0, xmm0
	mov	[ebx + FIXED], edx		; what is not writable binds programs alone
	mark	2
	mov	edx, LDT_DATA
	mov	fs, edx
	mov	edx, [fs:0]
	cmp	edx, [ebx + CARD_FAR]
	must
	int	VEC_CALL
	cmp	dword [ebx + CARD_CALLS], 1
	must
	mark	3
	sti					; an interrupt waits
	nop
	nop
	cli
	cmp	dword [ebx + CARD_EVENTS], 1
	must
	mov	edi, ebx
	mov	eax, 0x40000000
	cpuid
	mov	ebx, edi
	cmp	eax, [ebx + CARD_ANSWER]
	must
	mark	4
	lea	edx, [ebx + CARD_USER_STACK]
	push	USER_DATA
	push	edx
	pushfd
	push	USER_CODE
	lea	edx, [ebx - PAGE + (.user - work32)]
	push	edx
	iretd
.user:
	int	VEC_USER
	ud2

global work32_call:data hidden
work32_call:
	inc	dword [ebx + CARD_CALLS]
	iretd

global work32_event:data hidden
work32_event:
	inc	dword [ebx + CARD_EVENTS]
	iretd

global work32_user:data hidden
work32_user:
	mark	5
	sti					; Bochs' log takes a hlt with IF=0 for a machine's end
global work32_end:data hidden
work32_end:
	hlt
	ud2
global work32_limit:data hidden
work32_limit:

bits 64
default rel
global work64:data hidden
work64:
	cmp	rax, [rbx + CARD_RAX]
	must
	pop	rdx
	cmp	rdx, [rbx + CARD_TOP]
	must
	cmp	rsp, [rbx + CARD_RSP]
	must
	lea	rdx, [work64]
	add	rdx, PAGE
	cmp	rdx, rbx
	must
	mark	1
	lea	rsi, [rbx + CARD_TEXT]
	lea	rdi, [rbx + CARD_COPY]
	mov	ecx, 2
	rep	movsq
	mov	rdx, [rbx + CARD_TEXT + 8]
	cmp	rdx, [rbx + CARD_COPY + 8]
	must
	mov	rdx, [fs:0]
	cmp	rdx, [rbx + CARD_FAR]
	must
	mov	rdx, [gs:0]
	cmp	rdx, [rbx + CARD_NEAR]
	must
	swapgs
	mov	rdx, [gs:0]
	swapgs
	cmp	rdx, [rbx + CARD_OWN]
	must
	mark	2
	int	VEC_CALL
	cmp	qword [rbx + CARD_CALLS], 1
	must
	cmp	qword [rbx + CARD_EVENTS], 1	; it came with the first entry
	must
	xor	edx, edx
	div	edx				; work64_divide goes on behind it
	mov	rdx, cr3
	mov	cr3, rdx
	mark	3
	mov	rdi, rbx
	mov	eax, 0x40000000
	cpuid
	mov	rbx, rdi
	cmp	eax, [rbx + CARD_ANSWER]
	must
	mark	4
	lea	rdx, [rbx + CARD_USER_STACK]
	push	USER_DATA
	push	rdx
	pushfq
	push	USER_CODE
	lea	rdx, [.user]
	push	rdx
	iretq
.user:
	pushfq
	or	dword [rsp], FLAG_AC
	popfq
	syscall					; work64_syscall comes back here
	int	VEC_USER
	ud2

global work64_syscall:data hidden
work64_syscall:
	mov	edx, cs
	cmp	edx, KERNEL_CODE
	must
	pushfq
	pop	rdx
	and	edx, FLAG_AC
	must					; what the user has set is not the kernel's
	mark	5
	o64 sysret

global work64_call:data hidden
work64_call:
	inc	qword [rbx + CARD_CALLS]
	iretq

global work64_event:data hidden
work64_event:
	inc	qword [rbx + CARD_EVENTS]
	iretq

global work64_divide:data hidden
work64_divide:
	add	qword [rsp], 2
	iretq

global work64_user:data hidden
work64_user:
	mark	6
	sti
global work64_end:data hidden
work64_end:
	hlt
	ud2
global work64_limit:data hidden
work64_limit:

section .note.GNU-stack noalloc noexec nowrite progbits
