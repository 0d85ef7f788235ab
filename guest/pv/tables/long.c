/*
 * The word `long`: calls that have as much to do as a guest can make of them. Each comes to its
 * end, and the host is asked elsewhere how long it had its interrupts off.
 */
#include <guest/pv/lib/check.h>

#define READ        (PTE_P | PTE_U)
#define L1S         340u  /* tables that take much longer than one exit may */
#define LDT_ENTRIES 8192u /* in 16 pages, which is the largest */
#define BATCH       8192u /* entries that one exit looks at, of which a request counts for 8 */
#define REQUEST     8u
/* Of a table of level 2 and the one below it; what is left of a batch then is less than a request.
 */
#define SMALL   (1024u - 1u)
#define FILLERS ((BATCH - SMALL) / REQUEST - 1)

typedef uint64_t table_t[512] __attribute__((aligned(4096)));

bool long_calls(const char *words);

static table_t tables[L1S + 1], small[2];
static struct xen_mmuext_op ops[FILLERS + 2];

static void
protect(table_t *pages, unsigned count, uint64_t flags)
{
	for (unsigned n = 0; n < count; n++)
		check(!pv_map(pages[n], pv_page(pages[n]) << 12 | flags), "protect", n);
}

static int64_t
do_ops(unsigned count)
{
	return pv_call(XEN_mmuext_op, (uint64_t)ops, count, 0, XEN_DOMID_SELF);
}

/* A walk of which a batch is nearly used up, and in the same call one that needs many. */
static void
walks(void)
{
	uint64_t word = pv_page(small) << 12 | READ;

	for (unsigned n = 0; n < L1S; n++) {
		for (unsigned i = 0; i < 512; i++)
			tables[n][i] = word;
		tables[L1S][n] = pv_page(tables[n]) << 12 | READ;
		protect(&tables[n], 1,
			READ); /* an exit now and then: its own work is not asked for */
	}
	small[0][0] = pv_page(small[1]) << 12 | READ;
	protect(small, 2, READ);
	protect(&tables[L1S], 1, READ);
	check(!pv_mmuext(XEN_MMUEXT_PIN_L2_TABLE, pv_page(small)), "the small one", 0);
	for (unsigned n = 0; n < FILLERS; n++)
		ops[n].cmd = XEN_MMUEXT_TLB_FLUSH_LOCAL;
	ops[FILLERS] =
		(struct xen_mmuext_op){ .cmd = XEN_MMUEXT_UNPIN_TABLE, .arg1 = pv_page(small) };
	ops[FILLERS + 1] = (struct xen_mmuext_op){ .cmd = XEN_MMUEXT_PIN_L2_TABLE,
						   .arg1 = pv_page(tables[L1S]) };
	check(!do_ops(FILLERS + 2), "one behind the other", 0);
	check(!pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, pv_page(tables[L1S])), "and back", 0);
	protect(tables, L1S + 1, READ | PTE_W);
}

/* Whole descriptor tables, in one call and in a call of many. */
static void
descriptors(void)
{
	static struct xen_multicall_entry calls[40];

	for (unsigned n = 0; n < LDT_ENTRIES; n++)
		tables[n / 512][n % 512] = 0;
	for (unsigned n = 0; n < 40; n++) {
		ops[n] = (struct xen_mmuext_op){ .cmd = XEN_MMUEXT_SET_LDT,
						 .arg1 = (uint64_t)tables,
						 .arg2 = LDT_ENTRIES };
		calls[n] = (struct xen_multicall_entry){
			.op = XEN_mmuext_op, .args = { (uint64_t)ops, 1, 0, XEN_DOMID_SELF }
		};
	}
	check(!do_ops(40), "forty LDTs", 0);
	check(!pv_call(XEN_multicall, (uint64_t)calls, 40, 0, 0), "in calls of one each", 0);
	for (unsigned n = 0; n < 40; n++)
		check(!calls[n].result, "which it has done", n);
}

bool
long_calls(const char *words)
{
	while (*words && *words != 'l')
		words++;
	if (!*words)
		return false;
	walks();
	descriptors();
	pv_printf("long calls: %u wrong; the end\n", wrong);
	return true;
}
