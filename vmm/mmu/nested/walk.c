/*
 * A guest's own page tables, walked in software: 32-bit, PAE and 4-level. For what Zeno reads and
 * writes for the guest alone, so rights are checked as far as a device's access needs them;
 * accessed and dirty flags are set as the CPU would.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/paging.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mmu/nested/nested.h>
#include <vmm/vcpu.h>

/* SDM 3A 4.3 to 4.5: how many levels, how large an entry, how many bits of address a level has. */
struct format {
	unsigned levels, entry_size, bits;
};

static struct format
format_of(const struct cpu_state *s)
{
	if (s->efer & EFER_LMA)
		return (struct format){ 4, 8, 9 };
	if (s->cr4 & CR4_PAE)
		return (struct format){ 3, 8, 9 };
	return (struct format){ 2, 4, 10 };
}

static bool
maps_page(const struct cpu_state *s, const struct format *f, unsigned level, uint64_t entry)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS))
		return false;
	if (f->entry_size == 4)
		return s->cr4 & CR4_PSE;
	return level == 2 || (level == 3 && f->levels == 4);
}

/* A 4 MiB page has bits 39:32 of its address in 20:13 (SDM 3A 4.3, table 4-4). */
static uint64_t
page_address(const struct format *f, unsigned shift, uint64_t entry)
{
	if (f->entry_size == 4 && shift == 22)
		return (entry & 0xffc00000) | (entry & 0x1fe000) << 19;
	return entry & 0x000ffffffffff000 & ~((1ul << shift) - 1);
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

static bool
allowed(const struct cpu_state *s, uint64_t rights, unsigned how)
{
	if (how & ACCESS_PROBE)
		return true;
	if (how & ACCESS_USER && !(rights & PTE_U))
		return false;
	if (how & ACCESS_WRITE && !(rights & PTE_W))
		return !(how & ACCESS_USER) && !(s->cr0 & CR0_WP);
	return !(how & ACCESS_FETCH && rights & PTE_NX);
}

/* An entry may have four bytes: the word has its neighbour, too. */
static uint64_t
entry_in(const struct format *f, gpa_t at, uint64_t word)
{
	return f->entry_size == 8 ? word : (uint32_t)(word >> (at.v & 4) * 8);
}

/* PAE's topmost entries have P and an address, no rights, and bit 7 says nothing. */
static int
walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault,
     struct nested_trail *way)
{
	const struct cpu_state *s = &v->state;
	const struct format f = format_of(s);
	uint64_t rights = PTE_U | PTE_W, entry, table = s->cr3;

	way->length = 0;
	table &= f.levels == 3 ? 0xffffffe0 : f.levels == 4 ? 0x000ffffffffff000 : 0xfffff000;
	for (unsigned level = f.levels; level; level--) {
		unsigned shift = PAGE_SHIFT + f.bits * (level - 1), n = way->length;
		unsigned bits = f.levels == 3 && level == 3 ? 2 : f.bits;
		gpa_t at = gpa(table + (a.v >> shift & ((1ul << bits) - 1)) * f.entry_size);
		size_t len = sizeof(uint64_t);

		way->entry[n] = at;
		way->at[n] = gpa_frame(v->domain, gpa(at.v & ~7ul), &len, false);
		way->value[n] = way->at[n] ? *way->at[n] : 0;
		entry = entry_in(&f, at, way->value[n]);
		if (!(entry & PTE_P))
			return refused(v, a, how, 0, fault);
		way->length++;
		if (!(f.levels == 3 && level == 3)) {
			rights &= entry | PTE_NX;
			rights |= entry & PTE_NX;
		}
		table = page_address(&f, PAGE_SHIFT, entry);
		if (!maps_page(s, &f, level, entry))
			continue;
		if (!allowed(s, rights, how))
			return refused(v, a, how, PF_P, fault);
		*out = gpa(page_address(&f, shift, entry) | (a.v & ((1ul << shift) - 1)));
		return 0;
	}
	return refused(v, a, how, PF_P | PF_RSVD, fault);
}

/* What the CPU marks in its own walks (SDM 3A 4.8 "Accessed and Dirty Flags"). */
static void
mark(struct vcpu *v, struct nested_trail *way, bool write)
{
	const struct format f = format_of(&v->state);

	for (unsigned i = f.levels == 3; i < way->length; i++) {
		uint64_t entry = entry_in(&f, way->entry[i], way->value[i]);
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
	uint64_t page = a.v >> PAGE_SHIFT, key = page << PAGE_SHIFT | NESTED_KEY | how;
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
