/*
 * What the emulator does not know, x87, MMX and SSE, on memory that the CPU may not be given: a
 * frame whose writes somebody is to be told of, or none at all. The CPU does the instruction
 * itself, in one step, on copies of its pages. What it has changed there is then written as the
 * host writes for the guest.
 *
 * The copies stand in tables of their own, which are in the guest's root for that step alone. So no
 * MMU mode has to know of them.
 */
#include <kern/frame.h>
#include <kern/paging.h>
#include <vmm/te/rare/rare.h>

#define PAGES   3u /* no instruction reaches more, its string operands apart */
#define ENTRIES (PAGE_SIZE / sizeof(pte_t))
#define PDPT    4u /* its entries for 4 GiB */
#define ALL     (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

struct bounce {
	struct vcpu *v;
	unsigned how, pages, tables; /* pages and tables that there are */
	struct {
		uint32_t linear;
		uint8_t *copy;
		bool hole; /* no memory is there: reads give ones, writes are lost */
	} page[PAGES];
	pte_t *table[2 * PAGES]; /* an upper and a lower one for each page, at most */
	pte_t pdpt[PDPT];        /* the root's own */
};

static void
release_tables(struct bounce *b)
{
	while (b->tables)
		host_page_put(b->table[--b->tables]);
}

static void
release(struct bounce *b)
{
	while (b->pages)
		host_page_put(b->page[--b->pages].copy);
}

/* The bytes of a guest frame, or NULL: no memory is there. */
static uint8_t *
bytes_of(struct vcpu *v, gpa_t at)
{
	size_t len = PAGE_SIZE;

	return gpa_ptr(v->domain, gpa(at.v & ~PAGE_MASK), &len);
}

static bool
has_page(const struct bounce *b, uint32_t linear)
{
	for (unsigned i = 0; i < b->pages; i++)
		if (b->page[i].linear == linear)
			return true;
	return b->pages == PAGES;
}

/* The page that was refused, if the guest may reach it: its marks are set as the CPU sets them. */
static bool
add_page(struct bounce *b, const struct exit *e)
{
	uint32_t linear = (uint32_t)e->gva & ~(uint32_t)PAGE_MASK;
	const uint8_t *from;
	uint8_t *copy;
	gpa_t at;

	b->how |= e->access & ACCESS_WRITE;
	if (has_page(b, linear) || in_window(b->v->domain, linear, PAGE_SIZE) ||
	    gva_to_gpa(b->v, gva(linear), b->how, &at) || !(copy = host_page()))
		return false;
	from = bytes_of(b->v, at);
	if (from)
		memcpy(copy, from, PAGE_SIZE);
	else
		memset(copy, 0xff, PAGE_SIZE);
	b->page[b->pages].linear = linear;
	b->page[b->pages].copy = copy;
	b->page[b->pages++].hole = !from;
	return true;
}

/* A table of the copies' own in place of the one that `entry` leads to, with what that has. */
static pte_t *
own_table(struct bounce *b, pte_t *entry)
{
	const pte_t *old = *entry & PTE_P ? hpa_ptr(hpa(PTE_ADDR(*entry))) : NULL;
	pte_t *table = host_page();

	if (!table)
		return NULL;
	for (unsigned i = 0; old && i < ENTRIES; i++) {
		table[i] = old[i] & (*entry | ~(PTE_W | PTE_U)); /* no more than both allow */
		if (table[i] & PTE_P)
			table[i] |= *entry & PTE_NX;
	}
	b->table[b->tables++] = table;
	*entry = mfn_to_hpa(ptr_mfn(table)).v | ALL;
	return table;
}

static pte_t *
table_behind(struct bounce *b, pte_t *entry)
{
	for (unsigned i = 0; i < b->tables; i++)
		if (*entry & PTE_P && hpa_ptr(hpa(PTE_ADDR(*entry))) == b->table[i])
			return b->table[i];
	return own_table(b, entry);
}

static pte_t *
pdpt_of(const struct bounce *b)
{
	return hpa_ptr(hpa(PTE_ADDR(*root_slot(b->v->root, 0))));
}

/* False: the host has no frame for a table. */
static bool
map_copies(struct bounce *b)
{
	for (unsigned i = 0; i < b->pages; i++) {
		uint32_t linear = b->page[i].linear;
		pte_t *table = table_behind(b, &pdpt_of(b)[linear >> 30]);

		if (table)
			table = table_behind(b, &table[linear >> 21 & (ENTRIES - 1)]);
		if (!table)
			return false;
		table[linear >> PAGE_SHIFT & (ENTRIES - 1)] =
			mfn_to_hpa(ptr_mfn(b->page[i].copy)).v | ALL;
	}
	return true;
}

/*
 * One step at the guest's rip, whatever engine it has: its own code, in the ring that te gives it.
 * The host's interrupts that come first are served. False: it was not entered.
 */
static bool
step(struct bounce *b)
{
	struct vcpu *v = b->v;
	struct te *te = te_of(v);

	do {
		te_to_frame(v, &te->frame);
		te->frame.rflags |= FLAG_TF | FLAG_RF; /* a breakpoint there has come already */
		te->reload = v->flush = true;
		if (te_enter(v, false))
			return false;
		if (te->frame.vector >= IRQ_BASE)
			irq((unsigned)te->frame.vector);
	} while (te->frame.vector >= IRQ_BASE || te->frame.vector == VEC_NMI);
	te->reload = v->flush = true; /* an engine may have a GS of its own */
	te->frame.rflags = (te->frame.rflags & ~(uint64_t)FLAG_TF) | (v->state.rflags & FLAG_TF);
	return !(te->frame.rflags & FLAG_VM);
}

/* What the instruction has written, from the first byte that differs to the last. */
static void
write_back(const struct bounce *b, unsigned i)
{
	const uint8_t *copy = b->page[i].copy, *now;
	uint32_t linear = b->page[i].linear;
	size_t first = 0, end = PAGE_SIZE;
	gpa_t at;

	if (b->page[i].hole || gva_to_gpa(b->v, gva(linear), b->how | ACCESS_PROBE, &at) ||
	    !(now = bytes_of(b->v, at)))
		return;
	while (first < end && now[first] == copy[first])
		first++;
	while (end > first && now[end - 1] == copy[end - 1])
		end--;
	if (first < end)
		gva_write_as(b->v, gva(linear + first), b->how, copy + first, end - first);
}

static enum verdict
ended(struct bounce *b)
{
	struct vcpu *v = b->v;

	te_take_step(v);
	te_from_frame(v, &te_of(v)->frame);
	for (unsigned i = 0; b->how & ACCESS_WRITE && i < b->pages; i++)
		write_back(b, i);
	vcpu_done(v);
	return RESUME;
}

/*
 * It did not come to its end: another fault of the guest's, or a hidden one. STOP: it was refused a
 * page.
 */
static enum verdict
faulted(struct vcpu *v, struct exit *e)
{
	enum mmu_outcome outcome = MMU_EMULATE;
	gpa_t at;

	te_translate(v, e, &te_of(v)->frame);
	if (e->reason == EXIT_EXCEPTION)
		return event_fault(v, e->vector, e->error);
	if (in_window(v->domain, e->gva, 1)) /* where a fill would meet the window's own entries */
		return gva_to_gpa(v, gva(e->gva), e->access, &at) ? event_page_fault(v) : STOP;
	if (e->reason == EXIT_MMU && e->raw == VEC_PF && v->state.cr0 & CR0_PG)
		outcome = v->domain->mmu->fault(v, e, &v->page_fault);
	return outcome == MMU_EMULATE ? STOP : mmu_settle(v, e, outcome);
}

static bool
try(struct bounce *b)
{
	bool entered;

	memcpy(b->pdpt, pdpt_of(b), sizeof(b->pdpt));
	entered = map_copies(b) && step(b);
	memcpy(pdpt_of(b), b->pdpt, sizeof(b->pdpt));
	release_tables(b);
	return entered;
}

/* As many copies as the CPU asks for. */
enum verdict
te_bounce(struct vcpu *v, const struct exit *exit)
{
	struct bounce b = { .v = v, .how = te_cpl(v) == 3 ? ACCESS_USER : 0 };
	uint32_t code = (uint32_t)(v->state.seg[SEG_CS].base + v->state.rip);
	enum verdict verdict = STOP;
	struct exit e = *exit;
	gpa_t at;

	if (gva_to_gpa(v, gva(code), b.how | ACCESS_FETCH, &at))
		return STOP;
	while ((e.raw == VEC_PF && add_page(&b, &e)) || e.reason == EXIT_EMULATE) {
		if (!try(&b))
			break;
		verdict = te_of(v)->frame.vector == VEC_DB ? ended(&b) : faulted(v, &e);
		if (verdict != STOP)
			break;
	}
	release(&b);
	return verdict;
}
