/*
 * The guest's own page tables, walked in software as its CPU would walk them. Lab 2A, exercise 2.1.
 *
 * One walk serves all four paging modes: what differs is in struct paging_format. Nothing here
 * writes, and nothing knows of shadows.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/mmu/shadow/shadow.h>

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/*
 * The error code of the #PF that this access ends in; `cause` is 0 (an entry was not present),
 * PF_P, or PF_P | PF_RSVD.
 */
static uint32_t
fault_code(const struct paging *p, unsigned how, uint32_t cause)
{
	/* EXERCISE 2.1a: Add to `cause` what the access was: PF_W and PF_U for a write and a user's access, and PF_I
	 * for a fetch, but that only if p->nx is set. (SDM 3A 4.7, figure 4-12)
	 * until then: return cause;
	 */
	if (how & ACCESS_WRITE)
		cause |= PF_W;
	if (how & ACCESS_USER)
		cause |= PF_U;
	if (how & ACCESS_FETCH && p->nx)
		cause |= PF_I;
	return cause;
	/* END EXERCISE 2.1a */
}

/*
 * From `a` to w->gpa: 0. Or -EFAULT, a fault of the guest's, with w->error. In both cases w->step[]
 * has the entries that were met, and w->last the level of the last one.
 */
int
guest_walk(const struct paging *p, gva_t a, unsigned how, const struct walk_memory *memory,
	   struct walk *w)
{
	const struct paging_format *g = p->format;

	*w = (struct walk){ .rights = PTE_U | PTE_W, .last = g->levels };
	/* EXERCISE 2.1b: From level g->levels down. The top table is at p->root; at level g->registers the entry is
	 * p->pdpte[index] instead, and has no rights to say. Elsewhere it is memory->read(ctx, at, g->entry_size), at
	 * `at` = table + index * entry_size; keep it and its place in w->step[level], and the level in w->last. Not
	 * present: -EFAULT, cause 0. A bit of paging_reserved() is set: -EFAULT, PF_P | PF_RSVD. w->rights loses PTE_U
	 * or PTE_W if the entry has not got it, and gets PTE_NX if it has. If paging_maps(), w->gpa is
	 * paging_address() and the rest of `a`; else the next table is there. In the end the access must be allowed by
	 * rights_allow() (exercise 2.6 makes it exact): else -EFAULT, PF_P. (SDM 3A 4.3, 4.4.2, 4.5.4)
	 * until then:
	 * (void)a, (void)how, (void)memory, (void)fault_code;
	 * return -ENOSYS;
	 */
	uint64_t table = p->root;

	for (unsigned level = g->levels;; level--) {
		unsigned index = paging_index(p, level, a);
		uint64_t entry;

		w->last = level;
		if (level == g->registers) {
			entry = p->pdpte[index];
		} else {
			w->step[level].at = gpa(table + index * g->entry_size);
			entry = memory->read(memory->ctx, w->step[level].at, g->entry_size);
			w->rights &= entry | PTE_NX;
			w->rights |= entry & PTE_NX;
		}
		w->step[level].entry = entry;
		if (!(entry & PTE_P)) {
			w->error = fault_code(p, how, 0);
			return -EFAULT;
		}
		if (entry & paging_reserved(p, level, entry)) {
			w->error = fault_code(p, how, PF_P | PF_RSVD);
			return -EFAULT;
		}
		table = paging_address(p, level, entry);
		if (paging_maps(p, level, entry)) {
			w->gpa = gpa(table | (a.v & ((1ull << g->level[level].shift) - 1)));
			break;
		}
	}
	if (rights_allow(p, w->rights, how))
		return 0;
	w->error = fault_code(p, how, PF_P);
	return -EFAULT;
	/* END EXERCISE 2.1b */
}

/*
 * PAE: a load of CR3 reads four entries into registers, and no walk ever looks at their memory
 * again. 0, or -EINVAL if one that is present has a reserved bit set: then CR3 is not loaded.
 */
int
paging_load_pdptes(const struct paging *p, const struct walk_memory *memory, uint64_t pdpte[4])
{
	/* EXERCISE 2.1c: Read them from p->root, eight bytes each, and check them with paging_reserved(p, 3, entry): one
	 * without P has no reserved bits. Fill pdpte[] only if all are right. (SDM 3A 4.4.1 "PDPTE Registers")
	 * until then:
	 * (void)memory, (void)pdpte;
	 * return -ENOSYS;
	 */
	uint64_t entry[4];

	for (unsigned i = 0; i < 4; i++) {
		entry[i] = memory->read(memory->ctx, gpa(p->root + 8 * i), 8);
		if (entry[i] & PTE_P && entry[i] & paging_reserved(p, 3, entry[i]))
			return -EINVAL;
	}
	for (unsigned i = 0; i < 4; i++)
		pdpte[i] = entry[i];
	return 0;
	/* END EXERCISE 2.1c */
}
