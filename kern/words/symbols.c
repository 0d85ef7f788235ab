/*
 * The kernel's own symbol table, for people who read a panic.
 *
 * tools/ksyms.py makes it from the first link, and the second link puts it at the end of .rodata,
 * so no function moves. In the first link the empty table below stands for it.
 */
#include <kern/kern.h>
#include <kern/map.h>

struct ksym {
	uint32_t address; /* from KB */
	uint32_t name;    /* from the start of ksyms_names */
};

/* Weak: the real ones, in build/.../ksyms.asm, take over. */
const uint32_t ksyms_count __attribute__((weak)) = 0;
const struct ksym ksyms[1] __attribute__((weak)) = { { 0, 0 } };
const char ksyms_names[1] __attribute__((weak)) = "";

extern char __text_start[], __text_end[];

const char *
symbol_find(uint64_t addr, uint64_t *offset)
{
	const struct ksym *table = ksyms;
	const char *names = ksyms_names;
	uint32_t low = 0, high;

	/* The compiler sees arrays of one element and may not reason from that. */
	__asm__("" : "+r"(table), "+r"(names));
	high = *(const volatile uint32_t *)&ksyms_count;
	*offset = 0;
	if (addr < (uint64_t)__text_start || addr >= (uint64_t)__text_end || !high)
		return "?";
	/* Invariant: the symbol, if any, is in table[low..high). */
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (KB + table[middle].address <= addr)
			low = middle;
		else
			high = middle;
	}
	if (KB + table[low].address > addr)
		return "?";
	*offset = addr - KB - table[low].address;
	return names + table[low].name;
}
