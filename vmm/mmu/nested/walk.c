/*
 * A guest's own page tables, walked in software: 32-bit, PAE and 4-level. For what Zeno reads and
 * writes for the guest, of which the CPU has seen one operand at most: it says no where the CPU
 * would; accessed and dirty flags are set as the CPU would.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/paging.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/paging.h>
#include <vmm/mmu/nested/nested.h>
#include <vmm/vcpu.h>

/* SDM 3A 4.1.1: which mode CR4 and EFER select. */
static struct paging
paging_of(const struct vcpu *v)
{
	const struct cpu_state *s = &v->state;
	enum paging_format_id id = s->cr4 & CR4_PSE ? PAGING_32_PSE : PAGING_32;
	uint64_t root = 0xfffff000;

	if (s->cr4 & CR4_PAE) {
		id = s->efer & EFER_LMA ? PAGING_LONG : PAGING_PAE;
		root = id == PAGING_PAE ? 0xffffffe0 : 0x000ffffffffff000;
	}
	return (struct paging){ .format = &paging_formats[id],
				.root = s->cr3 & root,
				.address_bits = v->domain->nested_format->address_bits,
				.wp = s->cr0 & CR0_WP,
				.nx = s->cr4 & CR4_PAE && s->efer & EFER_NXE };
}

static int
refused(struct vcpu *v, gva_t a, unsigned how, uint32_t cause, struct page_fault *fault)
{
	fault->address = a.v;
	fault->pending = true;
	fault->error = cause | (how & ACCESS_WRITE ? PF_W : 0) | (how & ACCESS_USER ? PF_U : 0);
	if (how & ACCESS_FETCH && v->state.efer & EFER_NXE && v->state.cr4 & CR4_PAE)
		fault->error |= PF_I;
	return -EFAULT;
}

/* SDM 3A 4.6.1 "Determination of Access Rights": SMEP and SMAP are for what is not a user's. */
static bool
allowed(const struct cpu_state *s, uint64_t rights, unsigned how)
{
	bool write = how & ACCESS_WRITE, fetch = how & ACCESS_FETCH;

	if (how & ACCESS_PROBE)
		return true;
	if (fetch && rights & PTE_NX)
		return false;
	if (how & ACCESS_USER)
		return rights & PTE_U && (!write || rights & PTE_W);
	if (rights & PTE_U && s->cr4 & (fetch ? CR4_SMEP : CR4_SMAP) &&
	    (fetch || !(s->rflags & FLAG_AC)))
		return false;
	return !write || rights & PTE_W || !(s->cr0 & CR0_WP);
}

/* An entry may have four bytes: the word has its neighbour, too. */
static uint64_t
entry_in(const struct paging *p, gpa_t at, uint64_t word)
{
	return p->format->entry_size == 8 ? word : (uint32_t)(word >> (at.v & 4) * 8);
}

/* The word that has an entry: PAE's topmost may be registers (SDM 3A 4.4.1). NULL: no RAM. */
static const uint64_t *
word_of(struct vcpu *v, const struct paging *p, unsigned level, gva_t a, gpa_t at)
{
	size_t len = sizeof(uint64_t);

	if (level == p->format->registers && v->engine->pae_registers)
		return &v->state.pdpte[paging_index(p, level, a)];
	return gpa_frame(v->domain, gpa(at.v & ~7ul), &len, false);
}

/* PAE's topmost entries have P and an address, no rights, and A, where QEMU has walked. */
static int
walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault,
     struct nested_trail *way)
{
	const struct paging p = paging_of(v);
	uint64_t rights = PTE_U | PTE_W, entry, next = p.root;

	way->length = 0;
	for (unsigned level = p.format->levels; level; level--) {
		unsigned n = way->length;

		way->entry[n] = gpa(next + paging_index(&p, level, a) * p.format->entry_size);
		way->at[n] = word_of(v, &p, level, a, way->entry[n]);
		way->value[n] = way->at[n] ? *way->at[n] : 0;
		entry = entry_in(&p, way->entry[n], way->value[n]);
		if (!(entry & PTE_P))
			return refused(v, a, how, 0, fault);
		if (level != p.format->registers && entry & paging_reserved(&p, level, entry))
			return refused(v, a, how, PF_P | PF_RSVD, fault);
		way->length++;
		if (level != p.format->registers)
			rights = (rights & (entry | PTE_NX)) | (entry & PTE_NX);
		next = paging_address(&p, level, entry);
		if (!paging_maps(&p, level, entry))
			continue;
		if (!allowed(&v->state, rights, how))
			return refused(v, a, how, PF_P, fault);
		*out = gpa(next | (a.v & ((1ul << p.format->level[level].shift) - 1)));
		return 0;
	}
	return refused(v, a, how, PF_P | PF_RSVD, fault);
}

/* What the CPU marks in its own walks (SDM 3A 4.8 "Accessed and Dirty Flags"). */
static void
mark(struct vcpu *v, struct nested_trail *way, bool write)
{
	const struct paging p = paging_of(v);

	for (unsigned i = !!p.format->registers; i < way->length; i++) {
		uint64_t entry = entry_in(&p, way->entry[i], way->value[i]);
		uint32_t low =
			(uint32_t)(entry | PTE_A | (write && i == way->length - 1 ? PTE_D : 0));

		if ((uint32_t)entry != low)
			gpa_write(v->domain, way->entry[i], &low, sizeof(low));
		way->value[i] = *way->at[i];
	}
}

/* It ends where it did: no need to go it again. */
static bool
is_known(const struct nested_known *k, const struct cpu_state *s, uint64_t key)
{
	if (k->key != key || k->cr3 != s->cr3 || k->cr0 != s->cr0 || k->cr4 != s->cr4 ||
	    k->efer != s->efer)
		return false;
	for (unsigned i = 0; i < k->trail.length; i++)
		if (*k->trail.at[i] != k->trail.value[i])
			return false;
	return true;
}

int
nested_walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	const struct cpu_state *s = &v->state;
	uint64_t page = a.v >> PAGE_SHIFT, ac = (s->rflags & FLAG_AC) >> 8;
	uint64_t key = page << PAGE_SHIFT | NESTED_KEY | ac | how;
	struct nested_known *k =
		&((struct nested_own *)v->mmu_data)->known[(page ^ how) % NESTED_KNOWN];

	if (!is_known(k, s, key)) {
		int err = walk(v, a, how, out, fault, &k->trail);

		k->key = err ? 0 : key;
		if (err)
			return err;
		if (!(how & ACCESS_PROBE))
			mark(v, &k->trail, how & ACCESS_WRITE);
		k->page = out->v & ~PAGE_MASK;
		k->cr3 = s->cr3;
		k->cr0 = s->cr0;
		k->cr4 = s->cr4;
		k->efer = s->efer;
	}
	*out = gpa(k->page | (a.v & PAGE_MASK));
	return 0;
}

int
nested_trail(struct vcpu *v, gva_t a, gpa_t *out, struct nested_trail *trail)
{
	struct page_fault fault;

	vcpu_need(v, STATE_CR);
	*out = gpa(a.v);
	trail->length = 0;
	return v->state.cr0 & CR0_PG ? walk(v, a, ACCESS_PROBE, out, &fault, trail) : 0;
}
