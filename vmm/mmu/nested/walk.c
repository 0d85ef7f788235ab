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

/* The entries that a walk went by, from the top. */
struct way {
	unsigned length;
	uint64_t at[NESTED_LEVELS], entry[NESTED_LEVELS];
};

/* PAE's topmost entries have P and an address, no rights, and bit 7 says nothing. */
static int
walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault, struct way *way)
{
	const struct cpu_state *s = &v->state;
	const struct format f = format_of(s);
	uint64_t rights = PTE_U | PTE_W, entry = 0, table = s->cr3;

	way->length = 0;
	table &= f.levels == 3 ? 0xffffffe0 : f.levels == 4 ? 0x000ffffffffff000 : 0xfffff000;
	for (unsigned level = f.levels; level; level--) {
		unsigned shift = PAGE_SHIFT + f.bits * (level - 1);
		unsigned bits = f.levels == 3 && level == 3 ? 2 : f.bits;
		uint64_t at = table + (a.v >> shift & ((1ul << bits) - 1)) * f.entry_size;

		entry = 0;
		if (gpa_read(v->domain, gpa(at), &entry, f.entry_size) || !(entry & PTE_P))
			return refused(v, a, how, 0, fault);
		way->at[way->length] = at;
		way->entry[way->length++] = entry;
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
mark(struct vcpu *v, const struct way *way, bool write)
{
	for (unsigned i = format_of(&v->state).levels == 3; i < way->length; i++) {
		uint64_t bits = PTE_A | (write && i == way->length - 1 ? PTE_D : 0);
		uint32_t low = (uint32_t)(way->entry[i] | bits);

		if ((way->entry[i] & bits) != bits)
			gpa_write(v->domain, gpa(way->at[i]), &low, sizeof(low));
	}
}

int
nested_walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	struct way way;
	int err = walk(v, a, how, out, fault, &way);

	if (!err && !(how & ACCESS_PROBE))
		mark(v, &way, how & ACCESS_WRITE);
	return err;
}

/* An entry may have four bytes: the word has its neighbour, too. All are in RAM: they were read. */
int
nested_trail(struct vcpu *v, gva_t a, gpa_t *out, struct nested_trail *trail)
{
	struct page_fault fault;
	struct way way = { .length = 0 };
	int err = 0;

	vcpu_need(v, STATE_CR);
	*out = gpa(a.v);
	if (v->state.cr0 & CR0_PG)
		err = walk(v, a, ACCESS_PROBE, out, &fault, &way);
	trail->length = way.length;
	for (unsigned i = 0; i < way.length; i++) {
		size_t len = sizeof(uint64_t);

		trail->at[i] = gpa_ptr(v->domain, gpa(way.at[i] & ~7ul), &len);
		trail->value[i] = *trail->at[i];
	}
	return err;
}
