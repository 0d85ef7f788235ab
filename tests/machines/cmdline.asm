; Prints its command line and the modules' command lines, one per line.
%include "common.inc"
INFO_CMDLINE	equ 16
INFO_MODS	equ 20
INFO_MODS_AT	equ 24
MOD_CMDLINE	equ 8
MOD_SIZE	equ 16
main:
	mov esi, [ebx + INFO_CMDLINE]
	call line
	mov ecx, [ebx + INFO_MODS]
	mov ebp, [ebx + INFO_MODS_AT]
.next:
	test ecx, ecx
	jz .end
	mov esi, [ebp + MOD_CMDLINE]
	call line
	add ebp, MOD_SIZE
	dec ecx
	jmp .next
.end:
	mov al, 0
	jmp power_off
line:
	call puts
	mov al, 10
	jmp putc
