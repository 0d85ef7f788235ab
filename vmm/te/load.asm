; Loading the guest's data segment registers.
;
; They are loaded only when they changed: 64-bit host code ignores DS and ES and never uses FS and GS, so
; the guest's stay in the CPU while the host runs. A load may fault on the guest's account (its descriptor
; is not what it was): the exception table brings us to `bad`.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "kern/trap.inc"

default rel
section .text

; uint64_t te_load_data_segments(const uint16_t sel[SEG_COUNT]);   order: ES CS SS DS FS GS
; 0, or error code << 32 | vector of the fault.
global te_load_data_segments:function hidden
te_load_data_segments:
.es:	mov	es, [rdi + 0]
.ds:	mov	ds, [rdi + 6]
.fs:	mov	fs, [rdi + 8]
.gs:	mov	gs, [rdi + 10]
	xor	eax, eax
	ret
.bad:	shl	rdx, 32			; trap_host() left the vector in rax, the error code in rdx
	or	rax, rdx
	ret

; uint64_t te_enter_narrow(struct ring_frame *f, uint64_t gpr[], uint64_t stack);
; ring_enter() on another stack, which its iretq leaves: vmm/te/rare/narrow.c says why. The way back is on the old one.
extern ring_enter
global te_enter_narrow:function hidden
te_enter_narrow:
	push	rbp
	mov	rbp, rsp
	mov	rsp, rdx
	call	ring_enter		; preserves rbp
	mov	rsp, rbp
	pop	rbp
	ret

	EXTABLE	te_load_data_segments.es, te_load_data_segments.bad
	EXTABLE	te_load_data_segments.ds, te_load_data_segments.bad
	EXTABLE	te_load_data_segments.fs, te_load_data_segments.bad
	EXTABLE	te_load_data_segments.gs, te_load_data_segments.bad
