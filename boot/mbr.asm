; The boot sector: loads the loader with the BIOS's extended (LBA) reads, checks it, jumps to it.
;
; Silent when all is well, so that a guest's serial output is the same whether it was booted from
; this disk or by QEMU's -kernel. Otherwise one line on COM1 and on the screen, and a halt.
;
; EDD = BIOS Enhanced Disk Drive Specification 3.0: int 13h, AH = 41h "check extensions present",
; 42h "extended read".

%include "layout.inc"

org MBR_ADDR
bits 16

start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, STACK_TOP
	jmp 0:.here			; some BIOSes enter at 07c0:0000
.here:
	sti
	cld
	mov [drive], dl
	call serial_init

	mov ah, 0x41
	mov bx, 0x55aa
	mov dl, [drive]
	int 0x13
	mov si, no_extensions
	jc fail
	cmp bx, 0xaa55
	jne fail
	test cl, 1			; extended reads
	jz fail

	mov bp, 3
.read:
	mov ah, 0x42
	mov dl, [drive]
	mov si, packet
	int 0x13
	jnc .check
	xor ah, ah			; reset the disk, try again
	mov dl, [drive]
	int 0x13
	dec bp
	jnz .read
	mov si, read_failed
	jmp fail

.check:
	mov si, LOADER_ADDR
	mov cx, LOADER_SECTORS * 512 / 4
	xor ebx, ebx
.sum:
	lodsd
	add ebx, eax
	loop .sum
	mov si, loader_damaged
	cmp ebx, [MBR_ADDR + MBR_SUM]
	jne fail
	mov dl, [drive]
	jmp 0:LOADER_ADDR

; Says the string at SI and halts.
fail:
	push si
	mov si, prefix
	call puts
	pop si
	call puts
.halt:
	cli
	hlt
	jmp .halt

puts:
	lodsb
	test al, al
	jz .end
	mov cx, 0xffff			; no UART: the screen gets the text all the same
	mov ah, al
.wait:
	mov dx, 0x3fd
	in al, dx
	test al, 0x20			; LSR.THRE
	loopz .wait
	mov dx, 0x3f8
	mov al, ah
	out dx, al
	mov ah, 0x0e			; BIOS teletype
	mov bx, 7
	int 0x10
	jmp puts
.end:
	ret

; 115200 baud, 8n1, no interrupts: the BIOS of Bochs leaves COM1 at 5 data bits.
serial_init:
	mov si, serial_setup
.next:
	lodsw
	test ax, ax
	jz .end
	mov dx, 0x300
	mov dl, al
	mov al, ah
	out dx, al
	jmp .next
.end:
	ret

serial_setup:	db 0xfb, 0x83, 0xf8, 0x01, 0xf9, 0x00, 0xfb, 0x03, 0xf9, 0x00, 0, 0

drive:		db 0
align 4
packet:		db 16, 0
		dw LOADER_SECTORS
		dw LOADER_ADDR, 0
		dq LOADER_LBA

prefix:		db 13, 10, "zeno boot: ", 0
no_extensions:	db "the BIOS has no extended disk reads", 13, 10, 0
read_failed:	db "cannot read the loader from the disk", 13, 10, 0
loader_damaged:	db "the loader on the disk is damaged", 13, 10, 0

%if $ - $$ > MBR_SUM
%error "the boot sector's code has grown into its table"
%endif
		times MBR_SUM - ($ - $$) db 0
		dd 0			; MBR_SUM: filled in by mkimage.py
		times 510 - ($ - $$) db 0
		dw 0xaa55
