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
	; Hint: which of the guest's registers can hold the address of gpr[] up to the last moment, and which one
	;  can hold it at the first moment behind?
	; Hint: think of three shells. Outermost the flag that keeps all interrupts away; in it what the two
	;  instructions move, the guest's on the way in, first the guest's then the host's on the way back;
	;  innermost the general registers, of which the last loaded is the first that has to be saved.
	; Hint: on VT-x nothing is left for rdi either: there one writes `push rdi` behind the exit, takes gpr
	;  from the stack, stores the others by it, and pops the pushed one into its place. IF has no such use
	;  there: an interrupt of the host's ends the guest's run by a control, whatever the host's IF.
	clgi
	sti				; what ends the guest's run looks at it: clgi lets nothing in
	mov	rax, rsi
	vmload
	mov	rcx, [rdi + GPR_RCX]
	mov	rdx, [rdi + GPR_RDX]
	mov	rbx, [rdi + GPR_RBX]
	mov	rbp, [rdi + GPR_RBP]
	mov	rsi, [rdi + GPR_RSI]
%assign n 8
%rep 8
	mov	r%[n], [rdi + 8 * n]
%assign n n + 1
%endrep
	mov	rdi, [rdi + GPR_RDI]
	vmrun
	cli				; IF is the host's, as VMRUN found it: rax, too
	vmsave
	push	rdi
	mov	rdi, [rsp + 8]
	mov	[rdi + GPR_RCX], rcx
	mov	[rdi + GPR_RDX], rdx
	mov	[rdi + GPR_RBX], rbx
	mov	[rdi + GPR_RBP], rbp
	mov	[rdi + GPR_RSI], rsi
%assign n 8
%rep 8
	mov	[rdi + 8 * n], r%[n]
%assign n n + 1
%endrep
	pop	qword [rdi + GPR_RDI]
	mov	rax, [rsp + 8]
	vmload
	stgi
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
