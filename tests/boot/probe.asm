; A 32-bit multiboot kernel that prints over COM1 what the loader left behind, one fact per line,
; then ends the machine. tests/boot.t boots it by QEMU's -kernel and from disk images, and compares.
;
;	nasm -f elf32 -o probe.o probe.asm && ld -n -m elf_i386 -Ttext=0x100000 -o probe probe.o
;
; (-n: otherwise the ELF headers get a segment of their own at 0xff000, which is ROM.)
; -DPAD=N adds N bytes of patterned data, checked at run time; -DBSS=N adds N bytes that must be 0;
; -DNO_HEADER leaves the multiboot header out. MB = Multiboot Specification version 0.6.96.

%ifndef PAD
%define PAD	0
%endif
%ifndef BSS
%define BSS	0x3001
%endif

global _start
bits 32

section .text
%ifndef NO_HEADER
align 4
	dd 0x1badb002, 3, -(0x1badb002 + 3)
%endif

%macro line 1-2			; NAME[, dword]: "NAME=xxxxxxxx\n"
	mov esi, %%name
	call puts
%if %0 == 2
	mov eax, %2
	call put_hex
	mov al, 10
	call putc
%endif
	jmp %%over
%%name:	db %1, "=", 0
%%over:
%endmacro

_start:
	mov [magic], eax
	pushfd				; the stack is the loader's: valid or not, nothing has been
	pop dword [eflags]		; promised; both loaders have one
	and dword [eflags], ~0x8d5	; but for the arithmetic flags
	mov esp, stack_top
	mov [mbi], ebx
	call serial_init

	line "magic", [magic]
	line "eflags", [eflags]
	mov ebx, cr0
	line "cr0", ebx
	mov ebx, cr4
	line "cr4", ebx
	xor ebx, ebx
	mov bx, cs
	line "cs", ebx
	lsl ebx, ebx
	line "cs-limit", ebx
	xor ebx, ebx
	mov bx, ds
	line "ds", ebx
	lsl ebx, ebx
	line "ds-limit", ebx
	mov bx, ds
	mov cx, es
	cmp bx, cx
	jne .segments
	mov cx, fs
	cmp bx, cx
	jne .segments
	mov cx, gs
	cmp bx, cx
	jne .segments
	mov cx, ss
	cmp bx, cx
.segments:
	sete al
	movzx ebx, al
	line "segments-equal", ebx

	; Two addresses that differ in bit 20 alone are two: A20.
	mov dword [bss], 0
	mov ebx, bss
	xor ebx, 1 << 20
	push dword [ebx]		; a module may lie there
	mov dword [ebx], 0x12345678
	mov edx, [bss]
	pop dword [ebx]
	mov [alias], edx
	line "a20-alias", [alias]

	call sum_bss
	line "bss", ebx
	call sum_pad
	line "pad", ebx

	mov ebp, [mbi]
	mov ebx, [ebp]
	and ebx, 0x4d
	line "flags", ebx
	line "mem-lower", [ebp + 4]
	line "mem-upper", [ebp + 8]
	line "cmdline"
	mov esi, [ebp + 16]
	call put_line

	line "modules", [ebp + 20]
	mov ecx, [ebp + 20]
	mov ebx, [ebp + 24]
	test ecx, ecx
	jz .map
.module:
	push ecx
	line "module"
	mov esi, [ebx + 8]
	call put_line
	mov eax, [ebx]
	mov edx, eax
	and edx, 0xfff
	line "misaligned", edx
	cmp dword [ebx], end_of_image
	setb dl
	movzx edx, dl
	line "overlaps", edx
	mov edx, [ebx + 4]
	sub edx, [ebx]
	line "bytes", edx
	call sum_module
	line "sum", edx
	pop ecx
	add ebx, 16
	dec ecx
	jnz .module

	; Entries of type 1: how many, and bytes in all.
.map:
	xor ebx, ebx
	xor edi, edi
	mov esi, [ebp + 48]
	mov ecx, [ebp + 44]
	add ecx, esi
.entry:
	cmp esi, ecx
	jae .mapped
	cmp dword [esi + 20], 1
	jne .step
	inc ebx
	add edi, [esi + 12]
.step:
	add esi, [esi]
	add esi, 4
	jmp .entry
.mapped:
	line "ram-ranges", ebx
	line "ram-bytes", edi

	mov esi, end
	call puts
	mov dx, 0x3fd
.drain:
	in al, dx
	test al, 0x40			; LSR.TEMT: the last byte has left
	jz .drain
	mov dx, 0xf4
	xor eax, eax
	out dx, eax
	mov esi, shutdown
	mov dx, 0x8900
	mov ecx, 8
	rep outsb
.halt:
	cli
	hlt
	jmp .halt

; EBX = OR of all bytes of .bss that must be 0 still.
sum_bss:
	xor ebx, ebx
	mov esi, zeros
	mov ecx, BSS
.next:
	or bl, [esi]
	inc esi
	loop .next
	ret

; EBX = sum of the pad's dwords.
sum_pad:
	xor ebx, ebx
	mov esi, pad
	mov ecx, PAD / 4
	jecxz .end
.next:
	add ebx, [esi]
	add esi, 4
	loop .next
.end:
	ret

; EDX = rotating sum of the module at [EBX], byte by byte, so that order matters.
sum_module:
	xor edx, edx
	mov esi, [ebx]
.next:
	cmp esi, [ebx + 4]
	jae .end
	rol edx, 1
	movzx eax, byte [esi]
	add edx, eax
	inc esi
	jmp .next
.end:
	ret

serial_init:
	mov dx, 0x3fb
	mov al, 0x83
	out dx, al
	mov dx, 0x3f8
	mov al, 1
	out dx, al
	inc dx
	mov al, 0
	out dx, al
	mov dx, 0x3fb
	mov al, 3
	out dx, al
	ret

put_line:
	call puts
	mov al, 10
	jmp putc

puts:
	lodsb
	test al, al
	jz .end
	call putc
	jmp puts
.end:
	ret

putc:
	push edx
	push eax
	mov dx, 0x3fd
.wait:
	in al, dx
	test al, 0x20
	jz .wait
	pop eax
	mov dx, 0x3f8
	out dx, al
	pop edx
	ret

put_hex:
	pushad
	mov ebx, digits
	mov ecx, 8
	mov edx, eax
.next:
	rol edx, 4
	mov al, dl
	and al, 15
	xlatb
	call putc
	loop .next
	popad
	ret

section .data
magic:		dd 0
eflags:		dd 0
mbi:		dd 0
alias:		dd 0
digits:		db "0123456789abcdef"
end:		db "probe: end", 10, 0
shutdown:	db "Shutdown"
align 4
pad:
%assign i 0
%rep PAD / 64
	times 16 dd 0x9e3779b1 * (i + 1) & 0xffffffff
%assign i i + 1
%endrep

section .bss align=16
		resb 4096
stack_top:
bss:		resd 1
zeros:		resb BSS
end_of_image:
