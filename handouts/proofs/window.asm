; A proof for handouts/emulators.md: when does a guest exit that would take an interrupt now? Zeno offers it a virtual
; one and intercepts that it is taken (APM 2 15.21.4 "Injecting Virtual (INTR) Interrupts"): exit 64, and 81 is the
; `vmmcall` behind three instructions that never did.

%include "handouts/proofs/proof.inc"
%include "handouts/proofs/vmcb.inc"

INTERCEPT_VINTR	equ 1 << 4
V_IRQ		equ 1 << 8
V_PRIO		equ 15 << 16
V_INTR_MASKING	equ 1 << 24
SHADOW		equ 0x68		; the guest is behind sti or mov ss (APM 2 15.21.5 "Interrupt Shadows")

; A guest at %1 with flags %2, shadow %3: how many instructions of one byte it did before that exit; or 81.
%macro	window 3
	mov	dword [vmcb + INTERCEPTS], INTERCEPT_VINTR
	mov	dword [vmcb + VINTR], V_IRQ | V_PRIO | V_INTR_MASKING
	mov	dword [vmcb + SHADOW], %3
	run	%1, %2
	cmp	eax, 0x64
	jne	%%said
	mov	eax, [vmcb + RIP]
	sub	eax, %1
%%said:
%endmacro

proof:	call	vmcb_setup
	window	nops, 2 | IF, 0
	say	"entered with IF=1:                     "
	window	nops, 2 | IF, 1
	say	"... and the VMCB's shadow of an sti:   "
	window	enables, 2, 0
	say	"entered with IF=0, to begin with sti:  "
	jmp	off

enables: sti
nops:	nop
	nop
	nop
	vmmcall
