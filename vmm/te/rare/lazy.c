/*
 * A GDT of a guest of bt's that is not tracked, but looked at on the way to ring 3.
 */
#include <vmm/te/rare/rare.h>

/*
 * Notes entries that have changed since, and with `sync` makes their shadows anew. What is not
 * mapped reads as zeros.
 */
void
te_look_at_gdt(struct vcpu *v, bool sync)
{
	struct te *te = te_of(v);
	const uint8_t *table = gva_byte(v, gva((uint32_t)v->state.gdtr.base));

	for (unsigned i = 0; i * 8 + 7 <= te->gdt_limit; i++) {
		uint64_t now = 0;

		if (table)
			memcpy(&now, table + i * 8, sizeof(now));
		if (now == te->seen[i])
			continue;
		te->seen[i] = now;
		if (sync)
			te_sync_entry(v, (uint16_t)(i * 8));
	}
}

/*
 * A kernel may keep a short GDT on one page with its stack, and each push is then an exit. Ring 0
 * under bt loads no segment that it doesn't want to (bt_is_segment()), so such a table need not be
 * tracked: it is looked at on the way to ring 3.
 */
void
te_written_beside(struct vcpu *v)
{
	const struct table_reg *t = &v->state.gdtr;
	struct te *te = te_of(v);

	if (!te->bt || te_cpl(v) != 0 || ++te->beside < TE_BESIDE || t->limit >= TE_LAZY_GDT * 8 ||
	    (t->base & PAGE_MASK) + t->limit >= PAGE_SIZE)
		return;
	te->gdt_lazy = true;
	memset(te->seen, 0, sizeof(te->seen));
	te_look_at_gdt(v, false);
	te_track_anew(v, &te->tracked_gdt, &(struct table_reg){ 0 }, TRACK_GDT);
}
