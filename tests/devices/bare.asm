; A kernel that plays a script of port accesses on the machine it runs on, and reports each answer.
; It runs on bare QEMU; model.c plays the same script against vmm/dev/.
;
; The script is the first multiboot module: records of 8 bytes (struct step in model.c). After each, 24
; bytes go to port 0xe9: the TSC before, the TSC after, what was read, zero. Under -icount the TSC is QEMU's
; clock, the one that its 8254 counts. Interrupts are off but for one instruction in TAKE.

	bits 32

DEBUG_EXIT equ 0xf4
SIDE	equ 0xe9

OP_END	equ 0
OP_OUT	equ 1
OP_IN	equ 2
OP_LINE	equ 3
OP_TAKE	equ 4
OP_WAIT	equ 5

	section .text
	align 4
	dd 0x1badb002, 0, -0x1badb002		; multiboot 1: magic, flags, checksum

	global _start
_start:
	mov esp, stack_top
	mov esi, [ebx + 24]			; mods_addr
	mov esi, [esi]				; mod_start
	call build_idt
	lgdt [gdtr]
	jmp 8:.flat
.flat:	mov ax, 16
	mov ds, ax
	mov es, ax
	mov ss, ax
	lidt [idtr]

next:	movzx ecx, byte [esi]			; op
	movzx edx, word [esi + 2]		; port, or line
	mov ebx, [esi + 4]			; value
	add esi, 8
	cmp ecx, OP_END
	je finish
	mov dword [record + 16], 0
	push edx
	rdtsc
	mov [record], eax
	mov [record + 4], edx
	pop edx
	call [ops + ecx * 4]
	rdtsc
	mov [record + 8], eax
	mov [record + 12], edx
	push esi
	mov esi, record
	mov ecx, 24
	mov dx, SIDE
	rep outsb
	pop esi
	jmp next

finish:
	mov al, 0
	out DEBUG_EXIT, al
	cli
	hlt

op_out:
	mov al, bl
	out dx, al
	ret

op_in:
	in al, dx
	mov [record + 16], al
	ret

; Interrupts are open for one `nop`; the first that comes closes them again in its frame.
op_take:
	mov dword [record + 16], 0x100		; none
	sti
	nop
	nop
	cli
	ret

; ebx nanoseconds; the TSC counts them under -icount.
op_wait:
	rdtsc
	mov edi, eax
.more:	rdtsc
	sub eax, edi
	cmp eax, ebx
	jb .more
	ret

; Line edx gets level ebx, by what a PC has to drive it.
op_line:
	cmp edx, 0
	je line_pit
	cmp edx, 3
	je line_com2
	cmp edx, 4
	je line_com1
	cmp edx, 8
	je line_rtc
	cmp edx, 12
	je line_mouse
	ret

; OUT of channel 0: low in mode 0, high in the first half of mode 3. Both last for 27 ms at least.
line_pit:
	mov al, 0x30
	test ebx, ebx
	jz .mode
	mov al, 0x36
.mode:	out 0x43, al
	mov al, 0
	out 0x40, al
	out 0x40, al
	ret

; THRE, which is always true, enabled or not.
line_com1:
	mov dx, 0x3f9
	jmp line_com
line_com2:
	mov dx, 0x2f9
line_com:
	mov al, bl
	add al, al
	out dx, al
	add dx, 3				; MCR: OUT2
	mov al, 8
	out dx, al
	ret

; The RTC's periodic interrupt, 8192 Hz: high after a period, low when register C is read.
line_rtc:
	mov al, 0x0a
	out 0x70, al
	mov al, 0x23
	out 0x71, al
	mov al, 0x0b
	out 0x70, al
	mov al, 0x02
	test ebx, ebx
	jz .off
	mov al, 0x42
	out 0x71, al
	mov ebx, 500000
	jmp op_wait
.off:	out 0x71, al
	mov al, 0x0c
	out 0x70, al
	in al, 0x71
	ret

; The keyboard controller's command D3: a byte as if from the mouse. Reading it lowers the line.
line_mouse:
	test ebx, ebx
	jz .off
	mov al, 0x60				; command byte: IRQ 12 on, IRQ 1 off
	out 0x64, al
	mov al, 0x02
	out 0x60, al
	mov al, 0xd3
	out 0x64, al
	mov al, 0x55
	out 0x60, al
	ret
.off:	in al, 0x60
	ret

;	stack in a stub		at the common end
;	  eflags		  esp+16
;	  cs			  esp+12
;	  eip			  esp+8
;	  vector (dword)	  esp+4
;				  esp	eax
taken:
	push eax
	mov eax, [esp + 4]
	mov [record + 16], eax
	and dword [esp + 16], ~0x200		; IF
	pop eax
	add esp, 4
	iret

STUB	equ 16
	align STUB
stubs:
%assign v 0
%rep 256
	align STUB
	push dword v
	jmp taken
%assign v v + 1
%endrep

build_idt:
	mov edi, idt
	mov eax, stubs
	mov ecx, 256
.gate:	mov [edi], ax
	mov word [edi + 2], 8
	mov word [edi + 4], 0x8e00		; present, 32-bit interrupt gate
	mov edx, eax
	shr edx, 16
	mov [edi + 6], dx
	add eax, STUB
	add edi, 8
	loop .gate
	ret

	section .data
	align 8
ops:	dd finish, op_out, op_in, op_line, op_take, op_wait
gdt:	dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	dw 23
	dd gdt
idtr:	dw 256 * 8 - 1
	dd idt

	section .bss
	align 8
record:	resb 24
idt:	resq 256
	resb 4096
stack_top:
