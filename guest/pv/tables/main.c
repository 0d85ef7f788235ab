/*
 * A PV kernel and its page tables: new ones over all its memory, as a boot loader makes them; then
 * all that no table may be. A line where something is not as it should be.
 */
#include <guest/pv/lib/pv.h>

int guest_main(const struct xen_start_info *info);

#define BASE   0xffffffff80000000ul
#define PAGE   4096ul
#define FLAT   (PTE_P | PTE_W | PTE_U)
#define READ   (PTE_P | PTE_U)
#define EINVAL (-22)
#define L1S    24u /* more entries than Zeno looks at in one exit */

typedef uint64_t table_t[512] __attribute__((aligned(4096)));

static table_t top, third, second, first[L1S];
static unsigned wrong, checks;

static void
check(bool good, const char *what, int64_t got)
{
	checks++;
	wrong += !good;
	if (!good)
		pv_printf("WRONG %s: %ld\n", what, got);
}

static void
is(int64_t got, int64_t wanted, const char *what)
{
	check(got == wanted, what, got);
}

static uint64_t
entry(const void *va, uint64_t flags)
{
	return pv_page(va) << 12 | flags;
}

static int64_t
pin(unsigned level, const void *table)
{
	return pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE + level - 1, pv_page(table));
}

static int64_t
unpin(const void *table)
{
	return pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, pv_page(table));
}

static void
protect(void *pages, unsigned count, uint64_t flags)
{
	for (unsigned n = 0; n < count; n++)
		is(pv_map((uint8_t *)pages + n * PAGE, entry((uint8_t *)pages + n * PAGE, flags)),
		   0, flags & PTE_W ? "memory again" : "read-only");
}

/* ---- what a boot loader does ---- */

static bool
is_table(uint64_t va)
{
	return va - pv_info->pt_base < pv_info->nr_pt_frames * PAGE || va - (uint64_t)top < PAGE ||
	       va - (uint64_t)third < PAGE || va - (uint64_t)second < PAGE ||
	       va - (uint64_t)first < sizeof(first);
}

static void
fill(uint64_t pages)
{
	for (uint64_t n = 0; n < pages; n++) {
		uint64_t va = BASE + n * PAGE;

		first[n / 512][n % 512] = entry((void *)va, is_table(va) ? READ : FLAT);
	}
	for (unsigned n = 0; n < (pages + 511) / 512; n++)
		second[n] = entry(first[n], FLAT);
	third[510] = entry(second, FLAT);
	top[511] = entry(third, FLAT);
}

/* One call of three: the new ones are pinned and in use, the old ones are memory. */
static void
new_tables(void)
{
	uint64_t pages = pv_info->nr_pages < L1S * 512 ? pv_info->nr_pages : L1S * 512;
	uint64_t *old = (uint64_t *)pv_info->pt_base;
	const struct xen_mmuext_op ops[3] = {
		{ .cmd = XEN_MMUEXT_PIN_L4_TABLE, .arg1 = pv_page(top) },
		{ .cmd = XEN_MMUEXT_NEW_BASEPTR, .arg1 = pv_page(top) },
		{ .cmd = XEN_MMUEXT_UNPIN_TABLE, .arg1 = pv_page(old) },
	};
	uint32_t done = 0;

	fill(pages);
	is(pin(4, top), EINVAL, "pinning what can be written");
	protect(top, 1, READ);
	protect(third, 1, READ);
	protect(second, 1, READ);
	protect(first, L1S, READ);
	is(pv_call(XEN_mmuext_op, (uint64_t)ops, 3, (uint64_t)&done, XEN_DOMID_SELF), 0,
	   "three in one");
	is(done, 3, "how many it has done");
	for (unsigned n = 0; n < pv_info->nr_pt_frames; n++) {
		protect(old + n * 512, 1, FLAT);
		old[n * 512] = 0;
	}
	is(pv_map(first, entry(first, FLAT)), EINVAL, "writing a table");
	is(pin(4, top), EINVAL, "pinning twice");
	is(unpin(old), EINVAL, "unpinning twice");
	pv_printf("%lu pages by tables of my own; the old %lu are memory\n", pages,
		  pv_info->nr_pt_frames);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	new_tables();
	pv_printf("%u checks, %u wrong; the end\n", checks, wrong);
	return (int)wrong;
}
