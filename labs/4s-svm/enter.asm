; Lab 4s, exercise 4s.2: into the guest by VMRUN, and back.
;
; VMRUN and #VMEXIT load and save what APM 2 15.5.1 and 15.6 list, RAX and RSP among it. The other
; general registers are ours, and so is what VMLOAD and VMSAVE move: FS, GS, TR, LDTR and the MSRs
; of syscall and sysenter. NASM writes vmrun, vmload, vmsave bare: RAX is meant.
;
; APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.

%include "inc/exercise.inc"
%include "vmm/x86/state.inc"

default rel
section .text

; EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here.
; END EXERCISE 4s.0

; void svm_enter(uint64_t gpr[GPR_COUNT], hpa_t vmcb, hpa_t host_state);
;                rdi                      rsi         rdx
;
;        | return address     |
;        | rbp rbx r12 .. r15 |
;        | rdx: host's state  |  [rsp + 8]
;        | rdi: gpr           |  [rsp]
global svm_enter:function hidden
svm_enter:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdx
	push	rdi
	; EXERCISE 4s.2: into the guest and back
	; Holds: the guest has run to its next exit, or was refused. The VMCB has its RAX and RSP, gpr[] its
	;  fourteen others; stack, IF and what host_state names are the host's again.
	; Beware: two registers are the VMCB's. An interrupt while FS is the guest's is the end. No guest may
	;  stop the host's clock.
	; Manual: APM 2 "VMRUN Instruction", "#VMEXIT", "VMSAVE and VMLOAD Instructions", "Global Interrupt Flag,
	;  STGI and CLGI Instructions".
	; Tools: GPR_RAX, GPR_RBP, GPR_RBX, GPR_RCX, GPR_RDI, GPR_RDX, GPR_RSI, GPR_RSP of vmm/x86/state.inc
	EXERCISE_TODO 4s, 2, "handouts/lab4sa.md#ex-4s-2"
	; END EXERCISE 4s.2
	add	rsp, 16
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

section .note.GNU-stack noalloc noexec nowrite progbits
