; A proof for handouts/emulators.md: does the VMCB say where the instruction behind an exit begins, and which of the
; intercepts for rdtsc and rdtscp ends a guest that does rdtscp? 6e is the exit of rdtsc, 87 that of rdtscp (APM 2
; appendix C "SVM Intercept Exit Codes"), 81 the `vmmcall` behind it.

%include "handouts/proofs/proof.inc"
%include "handouts/proofs/vmcb.inc"

ON_RDTSC equ 1 << 14
ON_CPUID equ 1 << 18
ON_RDTSCP equ 1 << 7

proof:	call	vmcb_setup
	mov	dword [vmcb + INTERCEPTS], ON_CPUID
	run	asks, 2
	mov	eax, [vmcb + NEXT_RIP]
	test	eax, eax
	jz	.none
	sub	eax, asks		; how long cpuid is
.none:	say	"next rip behind a cpuid:        "
	mov	dword [vmcb + INTERCEPTS], ON_RDTSC
	run	reads, 2
	say	"rdtscp, where rdtsc shall exit:  "
	mov	dword [vmcb + INTERCEPTS], 0
	mov	dword [vmcb + INTERCEPTS_MORE], ALWAYS | ON_RDTSCP
	run	reads, 2
	say	"rdtscp, where rdtscp shall exit: "
	jmp	off

asks:	cpuid
reads:	rdtscp
	vmmcall
