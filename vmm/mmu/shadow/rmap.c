/*
 * The reverse map: from a guest frame to the shadow entries that map it, and from a shadow to the
 * entries that lead to it.
 *
 * Each shadow has a second frame with a link per entry, so a list costs no allocation and no
 * search: an entry is in one list as long as it is present. The links are numbers (slot * 512 +
 * index + 1), half as long as pointers; a head's `prev` names the list's owner.
 */
#include <vmm/mmu/shadow/shadow.h>

#define OWNER      0x80000000u
#define OF_SHADOW  0x40000000u
#define OWNER_MASK 0x3fffffffu

static struct shadow_link *
link_of(struct shadow_mmu *m, uint32_t id)
{
	return &shadow_at_slot(m, (id - 1) / TABLE_SIZE)->links[(id - 1) % TABLE_SIZE];
}

static uint32_t *
head_of(struct shadow_mmu *m, uint32_t list)
{
	uint32_t n = list & OWNER_MASK;

	ASSERT(list & OWNER);
	if (list & OF_SHADOW)
		return &shadow_at_slot(m, n)->parents;
	return &m->heads[n / (PAGE_SIZE / 4)][n % (PAGE_SIZE / 4)];
}

static void
insert(struct shadow_mmu *m, uint32_t id, uint32_t list)
{
	struct shadow_link *link = link_of(m, id);
	uint32_t *head = head_of(m, list);

	link->prev = list;
	link->next = *head;
	if (*head)
		link_of(m, *head)->prev = id;
	*head = id;
}

static void
take_out(struct shadow_mmu *m, uint32_t id)
{
	struct shadow_link *link = link_of(m, id);

	if (link->prev & OWNER)
		*head_of(m, link->prev) = link->next;
	else
		link_of(m, link->prev)->next = link->next;
	if (link->next)
		link_of(m, link->next)->prev = link->prev;
	*link = (struct shadow_link){ 0 };
}

/* Where it leads to the same frame as before, only rights change, and the list stays. */
static COLD void
change(struct shadow_mmu *m, unsigned slot, unsigned index, pte_t entry, uint32_t list)
{
	pte_t *at = &shadow_at_slot(m, slot)->table[index];

	ASSERT(!(*at & PTE_WINDOW) && entry & PTE_P);
	if (!(*at & PTE_P) || PTE_ADDR(*at) != PTE_ADDR(entry)) {
		shadow_clear(m, slot, index);
		insert(m, slot * TABLE_SIZE + index + 1, list);
		shadow_at_slot(m, slot)->present++;
	}
	*at = entry;
}

/* A fill sets all levels, and most often changes the lowest alone. */
void
shadow_set(struct shadow_mmu *m, unsigned slot, unsigned index, pte_t entry, uint32_t list)
{
	if (shadow_at_slot(m, slot)->table[index] != entry)
		change(m, slot, index, entry, list);
}

/* Whether the list that an entry is in is that of a part of a large page of the guest's. */
static bool
leads_to_part(struct shadow_mmu *m, uint32_t id)
{
	uint32_t list = link_of(m, id)->prev;

	while (!(list & OWNER))
		list = link_of(m, list)->prev;
	return list & OF_SHADOW &&
	       shadow_at_slot(m, list & OWNER_MASK)->kind.format == SHADOW_DIRECT;
}

/*
 * The VMM window's entries are the domain's own, and stay. A large page is one entry of the guest's
 * TLB, and one invlpg ends it all (SDM 3A 4.10.4.1); the CPU's has a piece for each 4 KiB.
 */
void
shadow_clear(struct shadow_mmu *m, unsigned slot, unsigned index)
{
	pte_t *at = &shadow_at_slot(m, slot)->table[index];

	if (!(*at & PTE_P) || *at & PTE_WINDOW)
		return;
	if (shadow_at_slot(m, slot)->kind.level > 1 &&
	    leads_to_part(m, slot * TABLE_SIZE + index + 1))
		tlb_flush(m->vcpu);
	take_out(m, slot * TABLE_SIZE + index + 1);
	shadow_at_slot(m, slot)->present--;
	*at = 0;
}

/* Every entry that maps a frame, or leads to a shadow. */
void
shadow_clear_list(struct shadow_mmu *m, uint32_t list)
{
	uint32_t id;

	/* The guest may have mapped the frame in every entry of all its tables. */
	for (unsigned n = 1; (id = *head_of(m, list)); n++) {
		shadow_clear(m, (id - 1) / TABLE_SIZE, (id - 1) % TABLE_SIZE);
		if (n % (8 * PREEMPT_WORK) == 0)
			preempt_point();
	}
}

static void
protect(struct shadow_mmu *m, gfn_t g)
{
	unsigned n = 0;

	for (uint32_t id = *head_of(m, LIST_OF_FRAME(g.v)); id; id = link_of(m, id)->next) {
		pte_t *at = &shadow_at_slot(m, (id - 1) / TABLE_SIZE)->table[(id - 1) % TABLE_SIZE];

		if (*at & PTE_W)
			tlb_flush(m->vcpu);
		*at &= ~PTE_W;
		if (++n % (8 * PREEMPT_WORK) == 0)
			preempt_point();
	}
}

void
shadow_protect(struct domain *d, gfn_t g)
{
	for_each_vcpu(v, d)
	{
		if (shadow_of(v))
			protect(shadow_of(v), g);
	}
}
