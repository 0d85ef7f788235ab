#include "kernel.h"

int pae, nx;
uint32_t next_table = TABLES;
unsigned space; /* the address space that map() changes */

void
say(const char *what, uint32_t value)
{
	print(what);
	put(' ');
	print_hex(value);
	put('\n');
}

uint64_t
get(uint32_t at)
{
	return pae ? *(volatile uint64_t *)at : *(volatile uint32_t *)at;
}

void
set(uint32_t at, uint64_t entry)
{
	if (pae) {
		((volatile uint32_t *)at)[1] = entry >> 32;
		((volatile uint32_t *)at)[0] = entry;
	} else {
		*(volatile uint32_t *)at = entry;
	}
}

uint32_t
pde_of(uint32_t va)
{
	return pae ? PD + space * 0x4000 + (va >> 30) * 4096 + (va >> 21 & 511) * 8
		   : PD + space * 0x4000 + (va >> 22) * 4;
}

/* The page table entry of va; the table is made if there is none. */
uint32_t
pte_of(uint32_t va)
{
	uint32_t pde = pde_of(va);

	if (!(get(pde) & P)) {
		set(pde, next_table | U | W | P);
		memset((void *)next_table, 0, 4096);
		next_table += 4096;
	}
	return (get(pde) & 0xfffff000) + (pae ? (va >> 12 & 511) * 8 : (va >> 12 & 1023) * 4);
}

void
map(uint32_t va, uint64_t entry)
{
	set(pte_of(va), entry);
	if (read_cr0() & CR0_PG)
		invalidate(va);
}

uint32_t
cr3_of(unsigned n)
{
	return pae ? PDPT + n * 4096 : PD + n * 0x4000;
}

/* The low 4 MiB to themselves, for the kernel alone. */
void
make_space(unsigned n)
{
	space = n;
	memset((void *)(PD + n * 0x4000), 0, 0x4000);
	memset((void *)(PDPT + n * 4096), 0, 4096);
	for (unsigned i = 0; pae && i < 4; i++)
		set(PDPT + n * 4096 + i * 8, (PD + n * 0x4000 + i * 4096) | P);
	for (uint32_t at = 0; at < 0x400000; at += 4096)
		map(at, at | W | P);
	map(USER_PAGE, USER_PAGE | U | W | P);
}
