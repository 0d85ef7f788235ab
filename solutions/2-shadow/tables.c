/*
 * The guest writes to its page tables: shadows must not say any longer what its tables no longer
 * say. Lab 2A, exercise 2.4.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/mmu/shadow/shadow.h>

/*
 * So many writes to a table that is not used in between, and it is no table any more: a process has
 * ended, and its frames have another use. Its shadow goes, and with it the write protection.
 */
#define FLOOD 16

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/*
 * How many entries of ours stand for one of the guest's: a PDE of 32-bit paging covers 4 MiB, ours
 * 2 MiB.
 */
static unsigned
entries_per_entry(const struct shadow *s)
{
	return paging_formats[s->kind.format].entry_size == 4 && s->kind.level == 2 ? 2 : 1;
}

/*
 * [a, a + len) lies in the frame of shadow `slot`: those of its entries that no longer follow from
 * the guest's go.
 */
static void
drop_entries(struct shadow_mmu *m, unsigned slot, gpa_t a, size_t len)
{
	const struct shadow *s = shadow_at_slot(m, slot);
	unsigned size = paging_formats[s->kind.format].entry_size;
	unsigned ratio = entries_per_entry(s);
	unsigned per_shadow = TABLE_SIZE / ratio; /* the guest's entries that one of ours has */

	/* EXERCISE 2.4a: Which of the guest's entries were written (`size` bytes each; a write may touch parts of two)?
	 * With four-byte entries the shadow stands for per_shadow of them, beginning at kind.quadrant * per_shadow: which
	 * of ours, if any, are that? shadow_clear() each, and count stats.dropped. (SDM 3A table 4-2)
	 * until then:
	 * (void)a, (void)len, (void)size, (void)per_shadow, (void)m;
	 */
	unsigned first = (a.v & PAGE_MASK) / size, last = ((a.v & PAGE_MASK) + len - 1) / size;
	unsigned base = size == 4 ? s->kind.quadrant * per_shadow : 0;

	for (unsigned i = first; i <= last; i++) {
		if (i < base || i >= base + per_shadow)
			continue;
		for (unsigned j = 0; j < ratio; j++)
			shadow_clear(m, slot, (i - base) * ratio + j);
		m->stats.dropped++;
	}
	/* END EXERCISE 2.4a */
}

/* The guest has written [a, a + len), in one frame, which is one of its tables. */
void
shadow_table_written(struct shadow_mmu *m, gpa_t a, size_t len)
{
	gfn_t g = gpa_to_gfn(a);

	m->stats.written++;
	/* EXERCISE 2.4b: drop_entries() in each shadow of the frame (shadow_of_frame()) that shadows a table, for one
	 * frame may be a page directory and a page table at once. Count its `writes`; at FLOOD, shadow_free() it, and
	 * count stats.flooded. A shadow that was freed is no longer in the list that you go along: take the next
	 * one before you free it.
	 * until then: (void)g, (void)drop_entries;
	 */
	unsigned next, slot = shadow_of_frame(m, g, NO_SHADOW);

	for (; slot != NO_SHADOW; slot = next) {
		struct shadow *s = shadow_at_slot(m, slot);

		next = shadow_of_frame(m, g, slot);
		if (s->kind.format == SHADOW_DIRECT)
			continue;
		drop_entries(m, slot, a, len);
		if (++s->writes < FLOOD)
			continue;
		shadow_free(m, slot);
		m->stats.flooded++;
	}
	/* END EXERCISE 2.4b */
}
