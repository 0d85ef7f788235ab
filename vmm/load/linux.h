/*
 * The image of a Linux kernel, and where its parts go in a guest's memory.
 *
 * BOOT = "The Linux/x86 Boot Protocol", Documentation/arch/x86/boot.rst of Linux 6.1, protocol
 * 2.15.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The first MiB is ours to share out; the loader's nine pages lie below where a BIOS would have
 * its EBDA.
 */
#define LINUX_ZERO_PAGE 0x90000u
#define LINUX_CMDLINE   0x91000u
#define LINUX_GDT       0x92000u
#define LINUX_TABLES    0x93000u  /* six pages */
#define LINUX_LOAD      0x100000u /* BOOT "Loading The Rest of The Kernel": bzImage */
#define LINUX_ENTRY_64  0x200u    /* BOOT "64-bit Boot Protocol": from where it was loaded */

/* BOOT "The Real-Mode Kernel Header": offsets in the file, and in the zero page alike. */
#define LINUX_SETUP_SECTS   0x1f1
#define LINUX_SYSSIZE       0x1f4
#define LINUX_BOOT_FLAG     0x1fe
#define LINUX_JUMP          0x201 /* the header ends as far behind 0x202 as this byte says */
#define LINUX_HEADER        0x202
#define LINUX_VERSION       0x206
#define LINUX_TYPE_OF_LOAD  0x210
#define LINUX_LOADFLAGS     0x211
#define LINUX_CODE32_START  0x214
#define LINUX_RAMDISK_IMAGE 0x218
#define LINUX_RAMDISK_SIZE  0x21c
#define LINUX_CMD_LINE_PTR  0x228
#define LINUX_INITRD_MAX    0x22c
#define LINUX_XLOADFLAGS    0x236
#define LINUX_CMDLINE_SIZE  0x238
#define LINUX_PREF_ADDRESS  0x258
#define LINUX_INIT_SIZE     0x260
#define LINUX_HEADER_END    0x264 /* of protocol 2.10 */
#define LINUX_HEADER_MAX    0x290 /* where the zero page has something else */

/* Documentation/arch/x86/zero-page.rst */
#define LINUX_RSDP         0x070
#define LINUX_E820_ENTRIES 0x1e8
#define LINUX_E820_TABLE   0x2d0

#define LINUX_LOADED_HIGH   0x01 /* loadflags */
#define LINUX_KEEP_SEGMENTS 0x40
#define LINUX_KERNEL_64     0x01 /* xloadflags */

struct linux_plan {
	uint64_t kernel_from, kernel_size; /* the protected-mode part, in the file */
	uint64_t header_end;               /* of the setup header, in the file */
	uint64_t initrd_at;                /* guest-physical; 0: there is none */
	uint64_t cmdline_max;              /* characters, without the NUL */
	bool is_64;                        /* it is entered in long mode */
};

/* linux_plan.c: pure. NULL, or what is wrong with the image, which comes from outside. */
const char *linux_plan(struct linux_plan *plan, const uint8_t *image, uint64_t size,
		       uint64_t initrd_size, uint64_t ram);

/* linux_entry.c: what stands in memory, 0 or -EFAULT; and the first registers. */
struct cpu_state;
struct domain;
int linux_write_entry(struct domain *d, bool is_64);
void linux_registers(struct cpu_state *s, bool is_64);
