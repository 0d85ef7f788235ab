/*
 * The monitor's view of nested tables.
 */
#include <inc/errno.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mmu/nested/nested.h>
#include <vmm/words/monitor.h>

#define ENTRIES 512u
#define LEVELS  4

static const char *const sizes[LEVELS + 1] = { "", "4 KiB", "2 MiB", "1 GiB", "" };

static void
count(const struct nested_format *f, pte_t table_entry, int level, struct nested_count *n)
{
	const pte_t *table = hpa_ptr(hpa(PTE_ADDR(table_entry)));

	n->tables++;
	for (unsigned i = 0; i < ENTRIES; i++) {
		if (!(table[i] & PTE_P))
			continue;
		if (level > 1 && (level == LEVELS || !(table[i] & PTE_PS))) {
			count(f, table[i], level - 1, n);
			continue;
		}
		n->pages[level]++;
		n->accessed += !!(table[i] & f->accessed);
		n->dirty += !!(table[i] & f->dirty);
	}
	preempt_point();
}

void
nested_count(const struct domain *d, struct nested_count *n)
{
	*n = (struct nested_count){ 0 };
	if (mfn_ok(d->vcpu->root))
		count(d->nested_format, mfn_to_hpa(d->vcpu->root).v, LEVELS, n);
}

static void
print_walk(const struct domain *d, uint64_t a)
{
	pte_t entry = mfn_to_hpa(d->vcpu->root).v;

	for (int level = LEVELS; level; level--) {
		const pte_t *table = hpa_ptr(hpa(PTE_ADDR(entry)));
		unsigned i = a >> (PAGE_SHIFT + 9 * (level - 1)) & (ENTRIES - 1);

		entry = table[i];
		printf("  level %d, entry %u: %lx%s\n", level, i, entry,
		       !(entry & PTE_P)                                ? ": nothing"
		       : !(entry & PTE_W)                              ? ": no writes"
		       : level < LEVELS && level > 1 && entry & PTE_PS ? ": a large page"
								       : "");
		if (!(entry & PTE_P) || (level < LEVELS && entry & PTE_PS))
			return;
	}
}

/* nested [ID [GPA]] */
static int
nested(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);
	struct nested_count n;
	uint64_t a;

	if (!d)
		return MONITOR_SAID;
	if (!d->mmu || !d->mmu->nested_init || !mfn_ok(d->vcpu->root)) {
		printf("d%u has no nested tables\n", d->id);
		return MONITOR_SAID;
	}
	if (argc > 2) {
		if (parse_u64(argv[2], &a) || a >> 48)
			return -EINVAL;
		print_walk(d, a);
		return 0;
	}
	nested_count(d, &n);
	printf("d%u: mmu=%s, %lu tables:", d->id, d->mmu->name, n.tables);
	for (int level = LEVELS - 1; level; level--)
		printf("%s %lu pages of %s", level < LEVELS - 1 ? "," : "", n.pages[level],
		       sizes[level]);
	if (d->nested_format->accessed)
		printf("; %lu of them accessed, %lu written", n.accessed, n.dirty);
	printf("\n");
	return 0;
}
MONITOR_COMMAND(nested, "nested", "[ID [GPA]]",
		"a guest's nested tables, or where an address leads");
