; What a CPU refuses: values of registers, and the instructions of VT-x and AMD-V, which a guest's CPU has not. Each try
; says the fault's letter (N for #GP, vector 13 where A is 0; G for #UD), or a dot where there was none.

%include "multiboot.inc"

%macro	TRY 1+				; an instruction that faults or has no effect
	mov	dword [resume], %%next
	mov	ebx, eax
	%1
	mov	al, '.'
	call	say
%%next:	mov	eax, ebx
%endmacro

%macro	WRMSR 3
	mov	ecx, %1
	mov	edx, %2
	mov	eax, %3
	TRY	wrmsr
%endmacro

	flat_start
	idt_gate 6, on_ud
	idt_gate 13, on_gp
	lidt	[idtr]
	WRMSR	0x277, 0x00070406, 0x00070402	; PAT: a type that is none
	WRMSR	0x277, 0x03070406, 0x00070406
	WRMSR	0x277, 0x00070406, 0x00070408
	WRMSR	0x175, 0x00008000, 0		; SYSENTER_ESP, not canonical
	WRMSR	0x176, 0x00008000, 0
	WRMSR	0xc0000080, 0, 0x8000		; EFER's reserved bits
	WRMSR	0xc0000080, 1, 0
	WRMSR	0xc0000082, 0x00008000, 0	; LSTAR
	WRMSR	0xc0000083, 0xffff0000, 0
	WRMSR	0xc0000100, 0x00008000, 0	; FS base
	WRMSR	0xc0000101, 0x00008000, 0
	WRMSR	0xc0000102, 0x00008000, 0	; KERNEL_GS_BASE
	mov	al, ' '
	call	say
	mov	eax, cr4
	or	eax, 1 << 31
	TRY	mov cr4, eax
	mov	eax, cr4
	or	eax, 1 << 17			; PCIDE without long mode
	TRY	mov cr4, eax
	TRY	mov cr1, eax
	TRY	mov eax, cr7
	mov	al, ' '
	call	say
	mov	eax, 0x2f0000
	TRY	db 0x0f, 0x01, 0xd8		; vmrun
	TRY	db 0x0f, 0x01, 0xda		; vmload
	TRY	db 0x0f, 0x01, 0xdb		; vmsave
	TRY	db 0x0f, 0x01, 0xdc		; stgi
	TRY	db 0x0f, 0x01, 0xdd		; clgi
	TRY	db 0x0f, 0x01, 0xde		; skinit
	TRY	db 0x0f, 0x01, 0xdf		; invlpga
	TRY	db 0x0f, 0x01, 0xd9		; vmmcall
	mov	al, ' '
	call	say
	TRY	db 0x0f, 0x01, 0xc1		; vmcall
	TRY	db 0x0f, 0x01, 0xc2		; vmlaunch
	TRY	db 0x0f, 0x01, 0xc3		; vmresume
	TRY	db 0x0f, 0x01, 0xc4		; vmxoff
	TRY	db 0x0f, 0x78, 0xc0		; vmread
	TRY	db 0x0f, 0x79, 0xc0		; vmwrite
	TRY	vmxon [four]
	TRY	vmclear [four]
	TRY	vmptrld [four]
	TRY	vmptrst [four]
	TRY	db 0x66, 0x0f, 0x38, 0x80, 0x05	; invept
	dd	four
	TRY	db 0x66, 0x0f, 0x38, 0x81, 0x05	; invvpid
	dd	four
	TRY	db 0x0f, 0x01, 0xd4		; vmfunc
	TRY	db 0x0f, 0xaa			; rsm
	xor	ecx, ecx
	TRY	monitor
	TRY	mwait
	TRY	db 0x0f, 0x37			; getsec
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

on_ud:	mov	al, 'G'
	jmp	told
on_gp:	add	esp, 4
	mov	al, 'N'
told:	mov	edx, [resume]
	mov	[esp], edx
	call	say
	iret

say:	mov	dx, 0x3f8
	out	dx, al
	ret

	flat_tables 16
four:	dq	0x2f0000
resume:	dd	0
