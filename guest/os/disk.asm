; The RAM disk as it is at boot; tools/mkramdisk.py makes it.

section .rodata
	align	4
global disk_image
disk_image:
	incbin	"ramdisk.img"
global disk_image_end
disk_image_end:
