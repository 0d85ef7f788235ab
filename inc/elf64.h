/* ELF64 (System V ABI, "ELF-64 Object File Format"), only what a loader reads. */
#pragma once
#include <stdint.h>

struct elf64_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
_Static_assert(sizeof(struct elf64_header) == 64, "ELF-64, figure 2");

struct elf64_segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
_Static_assert(sizeof(struct elf64_segment) == 56, "ELF-64, figure 6");

#define ELF_CLASS64 2
#define ELF_LITTLE  1
#define EM_X86_64   62
#define PT_LOAD     1
#define PT_NOTE     4
#define ET_EXEC     2
#define PF_X        1u
#define PF_W        2u
