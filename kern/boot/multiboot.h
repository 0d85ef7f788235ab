/*
 * What a multiboot loader hands over, as it lies in memory.
 *
 * Filled by boot/loader.asm and by QEMU's -kernel; read by kern/boot/bootinfo.c alone. All
 * addresses are physical and below 4 GiB.
 *
 * MB = Multiboot Specification version 0.6.96.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MULTIBOOT_BOOT_MAGIC 0x2badb002u /* EAX at the entry, MB 3.2 */

/* multiboot_info.flags: which fields are there, MB 3.3 */
#define MULTIBOOT_INFO_MEMORY      (1u << 0)
#define MULTIBOOT_INFO_CMDLINE     (1u << 2)
#define MULTIBOOT_INFO_MODS        (1u << 3)
#define MULTIBOOT_INFO_MMAP        (1u << 6)
#define MULTIBOOT_INFO_LOADER_NAME (1u << 9)

struct multiboot_info {
	uint32_t flags;            /*  0 */
	uint32_t mem_lower;        /*  4 KiB from 0 */
	uint32_t mem_upper;        /*  8 KiB from 1 MiB to the first hole */
	uint32_t boot_device;      /* 12 */
	uint32_t cmdline;          /* 16 -> char[] */
	uint32_t mods_count;       /* 20 */
	uint32_t mods_addr;        /* 24 -> struct multiboot_module[] */
	uint32_t syms[4];          /* 28 */
	uint32_t mmap_length;      /* 44 bytes */
	uint32_t mmap_addr;        /* 48 -> struct multiboot_mmap, packed one after the other */
	uint32_t drives_length;    /* 52 */
	uint32_t drives_addr;      /* 56 */
	uint32_t config_table;     /* 60 */
	uint32_t boot_loader_name; /* 64 -> char[] */
};
_Static_assert(offsetof(struct multiboot_info, cmdline) == 16, "MB 3.3");
_Static_assert(offsetof(struct multiboot_info, mods_addr) == 24, "MB 3.3");
_Static_assert(offsetof(struct multiboot_info, mmap_length) == 44, "MB 3.3");
_Static_assert(offsetof(struct multiboot_info, boot_loader_name) == 64, "MB 3.3");
_Static_assert(sizeof(struct multiboot_info) == 68, "MB 3.3");

struct multiboot_module {
	uint32_t start;   /*  0 */
	uint32_t end;     /*  4 one past the last byte */
	uint32_t cmdline; /*  8 -> char[] */
	uint32_t pad;     /* 12 */
};
_Static_assert(sizeof(struct multiboot_module) == 16, "MB 3.3");

#define MULTIBOOT_RAM 1 /* multiboot_mmap.type; every other value is not for us */

struct multiboot_mmap {
	uint32_t size;   /*  0 of what follows; the next entry is at this one + 4 + size */
	uint64_t base;   /*  4 */
	uint64_t length; /* 12 */
	uint32_t type;   /* 20 */
} __attribute__((packed));
_Static_assert(offsetof(struct multiboot_mmap, type) == 20, "MB 3.3");
_Static_assert(sizeof(struct multiboot_mmap) == 24, "MB 3.3");
