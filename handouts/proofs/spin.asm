; A proof for handouts/emulators.md: does an interrupt of the host's end the run of a guest that spins with IF=0? With
; V_INTR_MASKING the host's IF alone says so, as VMRUN found it (APM 2 15.21.1 "Virtual-Interrupt Masking"), and it
; is 1. A guest that nothing ends does vmmcall at last.

%include "handouts/proofs/proof.inc"
%include "handouts/proofs/vmcb.inc"

ROUNDS	equ 20000000
INTR	equ 1

proof:	call	vmcb_setup
	mov	al, 0x11		; the PIC: vectors from 20h on, and IRQ 0 alone
	out	0x20, al
	mov	al, 0x20
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 1
	out	0x21, al
	mov	al, 0xfe
	out	0x21, al
	mov	al, 0x34		; the PIT: a tick each millisecond
	out	0x43, al
	mov	al, 1193 & 0xff
	out	0x40, al
	mov	al, 1193 >> 8
	out	0x40, al
	mov	dword [vmcb + INTERCEPTS], INTR
	run	spins, 2 | IF
	say	"a guest that is entered with IF=1:  "
	run	spins, 2
	say	"... with IF=0:                      "
	run	clears, 2 | IF
	say	"... whose first instruction is cli: "
	jmp	off

clears:	cli
spins:	mov	ecx, ROUNDS
.round:	dec	ecx
	jnz	.round
	vmmcall
