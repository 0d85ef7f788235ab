; A guest that looks at no device, and never ends.
%include "multiboot.inc"

bits 32
global _start
_start:
	jmp	$
