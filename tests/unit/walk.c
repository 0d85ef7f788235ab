/*
 * BUILD: vmm/mem/paging_format.c solutions/2-shadow/walk.c solutions/2-shadow/rings.c
 * solutions/2-shadow/adbits.c
 */
/*
 * The walk of a guest's page tables, in all four modes: directed cases from the manual, then random
 * tables against a second walk that is written out mode by mode.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <string.h>

#include <vmm/mmu/shadow/shadow.h>

#include "draw.h"
#include "tap.h"

#define MEMORY   (16u << 12)
#define WIDTH    40 /* MAXPHYADDR */
#define ROUNDS   100000
#define HIGH(e)  ((e)&0x000fff0000000000ull) /* address bits beyond WIDTH, 40 to 51 */
#define FRAME(e) ((e)&0x000ffffffffff000ull)

static uint8_t memory[MEMORY];
static uint64_t
read_entry(void *ctx, gpa_t at, unsigned size)
{
	uint64_t entry = 0;

	(void)ctx;
	memcpy(&entry, memory + at.v % MEMORY, size);
	return entry;
}

static void
write_entry(void *ctx, gpa_t at, uint64_t entry, unsigned size)
{
	(void)ctx;
	memcpy(memory + at.v % MEMORY, &entry, size);
}

static const struct walk_memory access = { NULL, read_entry, write_entry };

static uint64_t
word(uint64_t at, unsigned size)
{
	return read_entry(NULL, gpa(at), size);
}

static void
put(uint64_t at, uint64_t entry, unsigned size)
{
	write_entry(NULL, gpa(at), entry, size);
}

/* What an access ends in: the page, or an error code. */
struct outcome {
	bool fault;
	uint32_t error;
	uint64_t gpa;
};

static struct outcome
walked(const struct paging *p, uint64_t a, unsigned how)
{
	struct outcome o = { 0 };
	struct walk w;

	o.fault = guest_walk(p, gva(a), how, &access, &w) != 0;
	if (!o.fault)
		walk_mark(p, how, &access, &w);
	if (o.fault)
		o.error = w.error;
	else
		o.gpa = w.gpa.v;
	return o;
}

/* ---- the second walk ---- */

static struct outcome
fault(const struct paging *p, unsigned how, unsigned cause)
{
	uint32_t error = cause | (how & ACCESS_WRITE ? 2 : 0) | (how & ACCESS_USER ? 4 : 0);

	return (struct outcome){ true, error | (how & ACCESS_FETCH && p->nx ? 16 : 0), 0 };
}

static bool
denied(const struct paging *p, unsigned how, uint64_t all, uint64_t any)
{
	if (how & ACCESS_USER)
		return !(all & 4) || (how & ACCESS_WRITE && !(all & 2)) ||
		       (how & ACCESS_FETCH && any >> 63);
	return (how & ACCESS_WRITE && p->wp && !(all & 2)) || (how & ACCESS_FETCH && any >> 63);
}

static struct outcome
two_levels(const struct paging *p, uint32_t a, unsigned how)
{
	uint64_t pde_at = p->root + (a >> 22) * 4, pde = word(pde_at, 4), pte_at, pte;
	bool pse = p->format->id == PAGING_32_PSE;
	unsigned dirty = how & ACCESS_WRITE ? 0x40 : 0;

	if (!(pde & 1))
		return fault(p, how, 0);
	if (pse && pde & 0x80) {
		if (pde & 1 << 21)
			return fault(p, how, 9);
		if (denied(p, how, pde, 0))
			return fault(p, how, 1);
		put(pde_at, pde | 0x20 | dirty, 4);
		return (struct outcome){
			false, 0, (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32 | (a & 0x3fffff)
		};
	}
	pte_at = (pde & 0xfffff000) + (a >> 12 & 0x3ff) * 4;
	pte = word(pte_at, 4);
	if (!(pte & 1))
		return fault(p, how, 0);
	if (denied(p, how, pde & pte, 0))
		return fault(p, how, 1);
	put(pde_at, pde | 0x20, 4);
	put(pte_at, word(pte_at, 4) | 0x20 | dirty, 4);
	return (struct outcome){ false, 0, (pte & 0xfffff000) | (a & 0xfff) };
}

/* PAE and 4-level: entries of 8 bytes. `levels` of them in memory, the first at `table`. */
static struct outcome
wide(const struct paging *p, uint64_t a, unsigned how, unsigned levels, uint64_t table)
{
	uint64_t at[5], entry[5], all = 6, any = 0, nx = p->nx ? 0 : 1ull << 63;
	bool pae = p->format->id == PAGING_PAE;
	unsigned l;

	for (l = levels;; l--) {
		unsigned shift = 12 + 9 * (l - 1);
		uint64_t bad = nx | 0x000fff0000000000ull | (pae ? 0x7ff0000000000000ull : 0);

		at[l] = table + (a >> shift & 511) * 8;
		entry[l] = word(at[l], 8);
		if (!(entry[l] & 1))
			return fault(p, how, 0);
		if (l == 4)
			bad |= 0x80;
		if (l > 1 && l < 4 && entry[l] & 0x80)
			bad |= (1ull << shift) - 0x2000;
		if (entry[l] & bad)
			return fault(p, how, 9);
		all &= entry[l];
		any |= entry[l];
		table = FRAME(entry[l]);
		if (l == 1 || (l < 4 && entry[l] & 0x80))
			break;
	}
	if (denied(p, how, all, any))
		return fault(p, how, 1);
	for (unsigned i = levels; i >= l; i--)
		put(at[i], word(at[i], 8) | 0x20 | (i == l && how & ACCESS_WRITE ? 0x40 : 0), 8);
	l = 12 + 9 * (l - 1);
	return (struct outcome){
		false, 0, (FRAME(entry[(l - 12) / 9 + 1]) >> l << l) | (a & ((1ull << l) - 1))
	};
}

static struct outcome
oracle(const struct paging *p, uint64_t a, unsigned how)
{
	uint64_t pdpte;

	switch (p->format->id) {
	case PAGING_PAE:
		pdpte = p->pdpte[a >> 30 & 3];
		if (!(pdpte & 1))
			return fault(p, how, 0);
		return wide(p, a, how, 2, FRAME(pdpte));
	case PAGING_LONG:
		return wide(p, a, how, 4, p->root);
	default:
		return two_levels(p, a, how);
	}
}

/* ---- random tables ---- */

/* Mostly present, mostly allowed, in our memory; sometimes with bits that should not be there. */
static uint64_t
random_entry(unsigned size)
{
	uint64_t entry = drawn() % 16 << 12 | (drawn() & 0x67) | 1;

	if (drawn() % 4)
		entry |= 7;
	if (drawn() % 8 == 0)
		entry |= 0x80 | (drawn() & 0xffffffff);
	if (drawn() % 8 == 0)
		entry &= ~0x80ull;
	if (drawn() % 16 == 0)
		entry &= ~1ull;
	if (size == 8 && drawn() % 16 == 0)
		entry |= drawn() & 0xfff0000000000000;
	if (size == 8 && drawn() % 16 == 0)
		entry |= HIGH(drawn());
	return entry;
}

static void
fill(unsigned size)
{
	for (unsigned at = 0; at < MEMORY; at += size)
		put(at, random_entry(size), size);
}

static bool
agree(struct paging *p, unsigned round)
{
	static uint8_t before[MEMORY], after[MEMORY];
	uint64_t a = drawn();
	unsigned how = drawn() & (ACCESS_WRITE | ACCESS_USER | ACCESS_FETCH);
	struct outcome got, want;

	if (how & ACCESS_FETCH)
		how &= ~ACCESS_WRITE;
	if (p->format->id != PAGING_LONG)
		a &= 0xffffffff;
	p->wp = drawn() & 1;
	p->nx = p->format->entry_size == 8 && drawn() & 1;
	memcpy(before, memory, MEMORY);
	got = walked(p, a, how);
	memcpy(after, memory, MEMORY);
	memcpy(memory, before, MEMORY);
	want = oracle(p, a, how);
	if (!memcmp(memory, after, MEMORY) && got.fault == want.fault && got.error == want.error &&
	    got.gpa == want.gpa)
		return true;
	diag("%s, round %u: %llx how %u: fault %d error %x gpa %llx, should be %d %x %llx%s",
	     p->format->name, round, (unsigned long long)a, how, got.fault, got.error,
	     (unsigned long long)got.gpa, want.fault, want.error, (unsigned long long)want.gpa,
	     memcmp(memory, after, MEMORY) ? "; memory differs" : "");
	return false;
}

static void
random_tables(enum paging_format_id id)
{
	struct paging p = { .format = &paging_formats[id], .address_bits = WIDTH };
	unsigned bad = 0;

	for (unsigned round = 0; round < ROUNDS && bad < 5; round++) {
		if (round % 500 == 0)
			fill(p.format->entry_size);
		p.root = drawn() % 16 << 12;
		for (unsigned i = 0; i < 4; i++)
			p.pdpte[i] = drawn() % 16 << 12 | (drawn() % 8 ? 1 : 0);
		bad += !agree(&p, round);
	}
	ok(!bad, "%s: random tables, against another walk", p.format->name);
}

/* ---- cases ---- */

/* One table at 0x1000, one at 0x2000 (and 0x3000, 0x4000), entries at index 0. */
static void
cases_32(void)
{
	struct paging p = { .format = &paging_formats[PAGING_32_PSE],
			    .root = 0x1000,
			    .address_bits = WIDTH };
	struct outcome o;

	memset(memory, 0, MEMORY);
	put(0x1000, 0x2007, 4);
	put(0x2000, 0x5005, 4);
	o = walked(&p, 0x123, ACCESS_USER);
	ok(!o.fault && o.gpa == 0x5123, "a user reads a page");
	is_u64(word(0x1000, 4), 0x2027, "A in the directory");
	is_u64(word(0x2000, 4), 0x5025, "A in the table, no D");
	ok(walked(&p, 0x123, ACCESS_USER | ACCESS_WRITE).error == 7,
	   "a user writes to a read-only page");
	is_u64(word(0x2000, 4), 0x5025, "no D after a fault");
	ok(!walked(&p, 0, ACCESS_WRITE).fault, "a supervisor writes to it, CR0.WP is 0");
	is_u64(word(0x2000, 4), 0x5065, "D after that");
	p.wp = true;
	ok(walked(&p, 0, ACCESS_WRITE).error == 3, "CR0.WP is 1: error code P, W");
	ok(walked(&p, 0x400000, ACCESS_USER).error == 4, "not present: error code U");
	put(0x1000, 0x2003, 4);
	ok(walked(&p, 0, ACCESS_USER).error == 5, "U must be set at both levels");
	put(0x1000, 0x00c00087, 4);
	o = walked(&p, 0x345678, ACCESS_WRITE);
	ok(!o.fault && o.gpa == 0xf45678, "4 MiB page");
	is_u64(word(0x1000, 4), 0x00c000e7, "A and D of a 4 MiB page");
	put(0x1000, 0x00c02087, 4);
	ok(walked(&p, 5, 0).gpa == 0x100c00005ull, "PSE-36: bit 13 is address bit 32");
	put(0x1000, 0x00e00087, 4);
	ok(walked(&p, 0, 0).error == 9, "bit 21 of a 4 MiB page is reserved");
	p.format = &paging_formats[PAGING_32];
	put(0x1000, 0x2087, 4);
	ok(walked(&p, 0, 0).gpa == 0x5000, "bit 7 means nothing without CR4.PSE");
}

static void
cases_wide(void)
{
	struct paging p = { .format = &paging_formats[PAGING_PAE],
			    .root = 0x1000,
			    .address_bits = WIDTH };
	uint64_t pdpte[4] = { 9, 9, 9, 9 };

	memset(memory, 0, MEMORY);
	put(0x1000, 0x2001, 8);
	put(0x1008, 0x2003, 8);
	ok(paging_load_pdptes(&p, &access, pdpte) && pdpte[0] == 9,
	   "PAE: bit 1 of a PDPTE is reserved, and none is loaded");
	put(0x1008, 0x2002, 8);
	ok(!paging_load_pdptes(&p, &access, pdpte) && pdpte[0] == 0x2001 && pdpte[1] == 0x2002,
	   "PAE: what is not present is not checked");
	memcpy(p.pdpte, pdpte, sizeof(pdpte));
	put(0x2000, 0x3007, 8);
	put(0x3000, 0x5007 | PTE_NX, 8);
	ok(walked(&p, 0, 0).error == 9, "PAE: NX is reserved while EFER.NXE is 0");
	p.nx = true;
	ok(!walked(&p, 0, 0).fault && walked(&p, 0, ACCESS_FETCH).error == 0x11,
	   "PAE: NX forbids fetches, and the error code says so");
	ok(walked(&p, 0x40000000, 0).error == 0, "PAE: an absent PDPTE is a fault");
	p = (struct paging){ .format = &paging_formats[PAGING_LONG],
			     .root = 0x1000,
			     .address_bits = WIDTH };
	put(0x1000, 0x2007, 8);
	put(0x2000, 0x40000087, 8);
	ok(walked(&p, 0x12345678, ACCESS_WRITE).gpa == 0x52345678, "4-level: 1 GiB page");
	is_u64(word(0x2000, 8), 0x400000e7, "A and D of it");
	put(0x1000, 0x2087, 8);
	ok(walked(&p, 0, 0).error == 9, "4-level: bit 7 of a PML4E is reserved");
}

int
main(void)
{
	cases_32();
	cases_wide();
	for (unsigned id = 0; id < PAGING_FORMATS; id++)
		random_tables(id);
	return done_testing();
}
