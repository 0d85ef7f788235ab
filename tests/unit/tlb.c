/* BUILD: vmm/mem/tlb.c vmm/mem/guestmem.c vmm/mem/page_track.c -DDIRECT_MAP=0x200000000000ul */
/*
 * The host's own TLB over a guest whose page table is an array: what it may remember, and when it
 * must forget.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <string.h>
#include <sys/mman.h>

#include <kern/map.h>
#include <vmm/mem/tlb.h>

#include "tap.h"

#define RAM     16u /* frames of the guest: machine frame = 2 * guest frame */
#define PAGES   256u
#define NOWHERE 99u

static struct page {
	unsigned frame;
	bool writable, user;
} table[PAGES];
static struct p2m_entry p2m[P2M_LEAF_ENTRIES], *leaves[P2M_POINTERS] = { p2m },
					       **table_of_leaves[P2M_POINTERS] = { leaves };
static unsigned walks, told;
static uint64_t told_at;

static int
translate(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	const struct page *p = &table[a.v >> PAGE_SHIFT & (PAGES - 1)];

	(void)v;
	walks++;
	if (p->frame == NOWHERE ||
	    (!(how & ACCESS_PROBE) && /* who looks may look */
	     ((how & ACCESS_WRITE && !p->writable) || (how & ACCESS_USER && !p->user)))) {
		*fault = (struct page_fault){ a.v, how, true };
		return -EFAULT;
	}
	*out = gpa((uint64_t)p->frame << PAGE_SHIFT | (a.v & PAGE_MASK));
	return 0;
}

static void
protect(struct domain *d, gfn_t g)
{
	(void)d, (void)g;
}

static const struct mmu_mode mode = { .translate = translate, .protect = protect };
static struct domain domain = { .p2m = table_of_leaves, .mmu = &mode };
static struct tlb_entry entries[TLB_ENTRIES];
static struct vcpu vcpu = { .domain = &domain,
			    .valid = STATE_ALL,
			    .state = { .cr0 = CR0_PG },
			    .tlb = { .entry = entries } };

void
vcpu_fetch(struct vcpu *v, unsigned groups)
{
	(void)v, (void)groups;
}

void *
gpa_ptr(struct domain *d, gpa_t a, size_t *len)
{
	size_t left = PAGE_SIZE - (a.v & PAGE_MASK);

	(void)d;
	if (a.v >> PAGE_SHIFT >= RAM)
		return NULL;
	*len = *len < left ? *len : left;
	return (uint8_t *)mfn_ptr(mfn(p2m[a.v >> PAGE_SHIFT].mfn)) + (a.v & PAGE_MASK);
}

int
gpa_read(struct domain *d, gpa_t a, void *buf, size_t len)
{
	const void *p = gpa_ptr(d, a, &len);

	return p ? (memcpy(buf, p, len), 0) : -EFAULT;
}

int
gpa_write(struct domain *d, gpa_t a, const void *buf, size_t len)
{
	void *p = gpa_ptr(d, a, &len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	page_track_written(d, a, len);
	return 0;
}

static struct page *remaps; /* ... when frame 4 is written */

static void
hear(struct domain *d, gpa_t a, size_t len)
{
	(void)d, (void)len;
	told++;
	told_at = a.v;
	if (remaps && a.v >> PAGE_SHIFT == 4)
		remaps->frame = NOWHERE;
}

static const struct page_track_owner owner = { TRACK_GDT, hear };
SET_ADD(page_track_owners, owner);
SET_DECLARE(initcalls);

/* The word at `at`, or the number of its frame, which is there when all begins; ~0: a fault. */
static uint32_t
read_word(uint64_t at, unsigned how)
{
	uint32_t word;

	return gva_read_as(&vcpu, gva(at), how, &word, 4) ? ~0u : word;
}

static bool
write_word(uint64_t at, unsigned how, uint32_t word)
{
	return !gva_write_as(&vcpu, gva(at), how, &word, 4);
}

static void
begin(void)
{
	tlb_flush_all(&domain);
	vcpu.page_fault.pending = false;
	for (unsigned i = 0; i < PAGES; i++)
		table[i] = (struct page){ i % RAM, true, true };
	for (unsigned i = 0; i < RAM; i++) {
		p2m[i] = (struct p2m_entry){ .mfn = 2 * i, .type = P2M_RAM };
		*(uint32_t *)mfn_ptr(mfn(2 * i)) = i;
	}
	walks = told = 0;
}

static void
remembers(void)
{
	begin();
	ok(read_word(0x5000, 0) == 5 && read_word(0x5000, 0) == 5 && walks == 1,
	   "a page is walked to once");
	ok(read_word(0x5000, ACCESS_USER) == 5 && walks == 2, "ring 3's access is another one");
	ok(write_word(0x5004, 0, 7) && walks == 3 && write_word(0x5008, 0, 8) && walks == 3,
	   "and so is a write");
	ok(read_word(0x5000 + (TLB_ENTRIES << PAGE_SHIFT), 0) == (5 + TLB_ENTRIES) % RAM &&
		   walks == 4 && read_word(0x5000, 0) == 5 && walks == 5,
	   "two pages with one place are not mixed up");
	read_word(0x5000, ACCESS_PROBE);
	read_word(0x5000, ACCESS_PROBE);
	ok(walks == 7, "a debugger sees the tables themselves");
	ok(!gva_read_as(&vcpu, gva(0x5ffe), 0, &(uint32_t){ 0 }, 4),
	   "across two pages it goes without");
}

/* Each of the events after which a CPU's TLB may not have the old entry (SDM 3A 4.10.4.1). */
static void
forgets(void)
{
	begin();
	read_word(0x5000, 0);
	table[5].frame = 6;
	tlb_drop(&vcpu, gva(0x5123));
	ok(read_word(0x5000, 0) == 6, "remapped, with invlpg: the new page");
	read_word(0x7000, 0);
	walks = 0;
	tlb_drop(&vcpu, gva(0x5000));
	ok(read_word(0x7000, 0) == 7 && !walks, "invlpg leaves other pages alone");
	tlb_drop(&vcpu, gva(0x5000 + (TLB_ENTRIES << PAGE_SHIFT)));
	read_word(0x5000, 0);
	table[5].frame = table[7].frame = 9;
	tlb_flush_all(&domain);
	ok(read_word(0x5000, 0) == 9 && read_word(0x7000, 0) == 9,
	   "a load of CR3: all are walked to anew");
	ok(vcpu.flush, "and the CPU's TLB is flushed, too");
	table[5].frame = 4;
	ok(write_word(0x5000, 0, 44) && read_word(0x5000, 0) == 44,
	   "remapped without a flush: the walk for a write takes the place of the old entry");
	table[5] = (struct page){ 4, false, true };
	tlb_flush_all(&domain);
	ok(read_word(0x5000, 0) == 44 && !write_word(0x5004, 0, 1) && vcpu.page_fault.pending &&
		   vcpu.page_fault.address == 0x5004,
	   "read-only: a write is refused at its own address, though reads are remembered");
	table[5].frame = 3;
	ok(read_word(0x5000, 0) == 3, "the refusal, a fault at the page, has taken the entry away");
	table[5] = (struct page){ 3, true, false };
	tlb_flush_all(&domain);
	ok(read_word(0x5000, 0) == 3 && read_word(0x5000, ACCESS_USER) == ~0u,
	   "a supervisor's page stays its own");
}

static void
tells(void)
{
	begin();
	ok(write_word(0x5010, 0, 1) && !told, "nobody asked to hear of a write");
	page_track(&domain, gfn(5), TRACK_GDT);
	walks = 0;
	ok(write_word(0x5010, 0, 2) && told == 1 && told_at == 0x5010 && !walks,
	   "tracked since it was walked to: the owner hears");
	table[0x40 + 5].frame = 5;
	ok(write_word(0x45020, 0, 3) && told == 2 && told_at == 0x5020,
	   "through another mapping, too");
	page_untrack(&domain, gfn(5), TRACK_GDT);
	ok(write_word(0x5010, 0, 4) && told == 2, "no longer tracked");
}

/* A write to two pages: both parts, or none, whatever the second one's entry says, and when. */
static void
both_or_none(void)
{
	const struct page second[] = {
		{ NOWHERE, true, true }, { 5, false, true }, { 5, true, false }, { RAM, true, true }
	};

	for (unsigned i = 0; i < ARRAY_LEN(second); i++) {
		begin();
		table[5] = second[i];
		ok(!write_word(0x4ffe, ACCESS_USER, 0x11111111) &&
			   vcpu.page_fault.pending == (second[i].frame != RAM) &&
			   (second[i].frame == RAM || vcpu.page_fault.address == 0x5000) &&
			   read_word(0x4ffc, 0) == 0,
		   "the second page %u refuses: a fault there, and nothing is written", i);
	}
	begin();
	page_track(&domain, gfn(4), TRACK_GDT);
	remaps = &table[5];
	ok(write_word(0x4ffe, 0, 0x11111111) && *(uint32_t *)mfn_ptr(mfn(10)) == 0x1111,
	   "the first part changes the second page's entry: that was looked at before");
	remaps = NULL;
	page_untrack(&domain, gfn(4), TRACK_GDT);
	begin();
	table[4].writable = table[5].writable = false;
	ok(write_word(0x4ffe, ACCESS_PROBE, 0x22222222) && read_word(0x4ffc, 0) == 0x22220000,
	   "a debugger writes anywhere");
}

static void
generations(void)
{
	begin();
	read_word(0x5000, 0);
	vcpu.tlb.generation = 0xffff; /* of 16 bits in an entry */
	vcpu.tlb.key = ~0ull << 48;
	table[5].frame = 8;
	tlb_flush_all(&domain);
	ok(!vcpu.tlb.key && read_word(0x5000, 0) == 8,
	   "the count of flushes begins again, and nothing is left");
}

/* Two pages whose addresses have the same low half. */
static void
wide(void)
{
	const uint64_t high = 0xffff800000000000, beside = 0x100000000;

	begin();
	vcpu.state.efer = EFER_LMA;
	ok(read_word(0x5000, 0) == 5 && read_word(high | 0x5000, 0) == 5 && walks == 2,
	   "in 64-bit mode the page number is whole: two pages, two walks");
	ok(read_word(high | 0x5000, 0) == 5 && walks == 2, "and the second is remembered");
	read_word(0x5000, 0);
	table[5].frame = 6;
	tlb_drop(&vcpu, gva(beside | 0x5000));
	ok(read_word(0x5000, 0) == 5, "invlpg of a page 4 GiB above leaves it alone");
	for (unsigned bit = 12; bit < 48; bit++) {
		uint64_t other = 0x5000 ^ 1ull << bit;

		begin();
		read_word(0x5000, 0);
		read_word(bit == 47 ? other | 0xffffull << 48 : other, 0);
		if (walks != 2)
			ok(false, "bit %u of a linear address tells pages apart", bit);
	}
	vcpu.state.efer = 0;
	begin();
	ok(read_word(beside | 0x5000, 0) == 5 && read_word(0x5000, 0) == 5 && walks == 1,
	   "out of it addresses wrap at 4 GiB");
	table[5].frame = 6;
	tlb_drop(&vcpu, gva(0x5000));
	ok(read_word(beside | 0x5000, 0) == 6,
	   "and an entry that was made through one that wraps goes");
	table[5].frame = 7;
	tlb_flush(&vcpu);
	ok(read_word(0x5000, 0) == 7, "as it does with a flush");
}

int
main(void)
{
	void *at = mmap((void *)DIRECT_MAP, 2 * RAM << PAGE_SHIFT, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at != (void *)DIRECT_MAP)
		bail_out("no memory at %#lx", DIRECT_MAP);
	domain.vcpu = &vcpu;
	set_foreach (const struct initcall *, i, initcalls)
		i->init();
	remembers();
	forgets();
	tells();
	both_or_none();
	generations();
	wide();
	return done_testing();
}
