/*
 * Shadow GDT and LDT: what the CPU sees instead of the guest's descriptor tables.
 *
 * The guest's tables stay in its memory and are tracked. Their shadows lie in pages 0-13 of the GDT
 * window and in the LDT window, in slot 260 of the guest's own root, and hold what
 * shadow_descriptor() (Lab 1A) makes of each entry. Pages without an entry are the host's page of
 * zeros.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <vmm/cpu_setup.h>
#include <vmm/te/rare/rare.h>
#include <vmm/te/te.h>

/* The guest's root gets a slot 260 of its own: as the host's is when no guest of pv is loaded. */
static int
own_area(struct vcpu *v)
{
	mfn_t root = v->root;

	cpu_setup_load(&(struct cpu_setup){
		.cr3 = read_cr3(), .efer = rdmsr(MSR_EFER), .ring_exit = nobody_exits });
	*root_slot(root, 260) = 0;
	for (unsigned i = 0; i < GDT_WINDOW_PAGES + LDT_WINDOW_PAGES; i++) {
		uint64_t va = VCPU_AREA_BASE + i * PAGE_SIZE;
		pte_t *pte = page_entry(host_root, va, &(int){ 0 });
		int err;

		if (!pte || !(*pte & PTE_P))
			continue;
		err = page_map(root, va, mfn(PTE_ADDR(*pte) >> PAGE_SHIFT), *pte & ~PTE_ADDR(~0ul));
		if (err)
			return err;
	}
	return 0;
}

/* The shadow page of a selector that has none yet. 0, -ENOMEM. */
static int
make_page(struct vcpu *v, uint16_t sel)
{
	uint64_t at = (sel & 4 ? LDT_WINDOW : GDT_WINDOW) + (sel & ~PAGE_MASK);
	uint64_t *page = host_page();

	/* Read-only: every A bit is set already, so the CPU never writes here. */
	if (page && page_map(v->root, at, ptr_mfn(page), PTE_P | PTE_A | PTE_NX)) {
		host_page_put(page);
		return -ENOMEM;
	}
	(sel & 4 ? te_of(v)->ldt : te_of(v)->gdt)[sel / PAGE_SIZE] = page;
	return page ? 0 : -ENOMEM;
}

/*
 * Until its first lgdt a multiboot kernel has segments but no table (Multiboot 3.2: "GDTR may be
 * invalid"): they start as cached ones.
 */
int
te_tables_init(struct vcpu *v)
{
	struct te *te = te_of(v);
	int err = own_area(v);

	if (err)
		return err;
	if (make_page(v, CACHED_SEL(0)))
		return -ENOMEM;
	for (int i = 0; i < SEG_COUNT; i++)
		te->real_desc[i] =
			shadow_descriptor(desc_of_segment(&v->state.seg[i]), v->domain->window);
	te_resync(v);
	return 0;
}

void
te_tables_free(struct vcpu *v)
{
	struct te *te = te_of(v);

	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++)
		host_page_put(te->gdt[i]);
	for (unsigned i = 0; i < LDT_WINDOW_PAGES; i++)
		host_page_put(te->ldt[i]);
}

static int
read_descriptor(struct vcpu *v, uint16_t sel, unsigned how, uint64_t *desc)
{
	uint64_t base = v->state.gdtr.base, limit = v->state.gdtr.limit;
	unsigned at = sel & ~7u;

	if (sel & 4) {
		if (!(v->state.ldtr.attr & ATTR_P))
			return -EINVAL;
		base = v->state.ldtr.base;
		limit = v->state.ldtr.limit;
	} else if (at == 0) {
		return -EINVAL;
	}
	if (at + 7 > limit || (!(sel & 4) && at > GUEST_GDT_LIMIT))
		return -EINVAL;
	if (how & ACCESS_PROBE)
		return gva_read_as(v, gva((uint32_t)(base + at)), how, desc, 8) ? -EINVAL : 0;
	return tlb_read(v, gva((uint32_t)(base + at)), 0, desc, 8) ? -EINVAL : 0;
}

int
te_guest_descriptor(struct vcpu *v, uint16_t sel, uint64_t *desc)
{
	return read_descriptor(v, sel, 0, desc);
}

int
te_look_descriptor(struct vcpu *v, uint16_t sel, uint64_t *desc)
{
	return read_descriptor(v, sel, ACCESS_PROBE, desc);
}

/* Code that ring 3 can run: of DPL 3, or conforming. */
static bool
is_user_code(uint64_t d)
{
	return d & DESC_P && d & DESC_S && d & DESC_CODE && (desc_dpl(d) == 3 || d & DESC_EC);
}

static uint64_t
make_shadow(struct vcpu *v, uint64_t desc, bool user)
{
	uint64_t window = te_cut_at(v->domain), shadow;

	if (!is_user_code(desc) || !user)
		return shadow_descriptor(desc, window);
	shadow = shadow_descriptor((desc & ~(DESC_CODE | DESC_EC)) | DESC_DPL(3), window);
	return shadow & DESC_P ? shadow | DESC_CODE : 0;
}

const struct te_shadow *
te_make_shadow(struct vcpu *v, struct te_shadow *into, uint64_t desc, unsigned cpl)
{
	*into = (struct te_shadow){ desc, make_shadow(v, desc, cpl == 3),
				    desc_segment(desc | DESC_A, 0) };
	return into;
}

/* Ring-3 code is shown in ring 3 alone; so it has an entry of this list, or is never shown. */
static struct te_user_code *
user_code_of(struct te *te, uint16_t sel, bool make)
{
	for (unsigned i = 0; i < te->user_codes; i++)
		if (te->user_code[i].sel == sel)
			return &te->user_code[i];
	if (!make || te->user_codes == TE_USER_CODE)
		return NULL;
	te->user_code[te->user_codes] = (struct te_user_code){ .sel = sel };
	return &te->user_code[te->user_codes++];
}

static COLD int
show_in_new_page(struct vcpu *v, uint16_t sel, uint64_t shadow)
{
	if (!shadow)
		return 0;
	if (make_page(v, sel))
		return -ENOMEM;
	*te_shadow_entry(te_of(v), sel) = shadow;
	return 0;
}

/* Of the guest's part of the GDT, or of the LDT: nobody comes here with a selector of Zeno's. */
static int
show(struct vcpu *v, uint16_t sel, uint64_t shadow)
{
	ASSERT(sel & 4 || sel <= GUEST_GDT_LIMIT);
	uint64_t *entry = te_shadow_entry(te_of(v), sel);

	if (!entry)
		return show_in_new_page(v, sel, shadow);
	*entry = shadow;
	return 0;
}

static COLD int
show_user_code(struct vcpu *v, struct te_user_code *code, bool user)
{
	int err = show(v, code->sel, code->shadow[user]);

	code->entry = te_shadow_entry(te_of(v), code->sel);
	return err;
}

/* Makes the shadow of one entry anew. */
int
te_sync_entry(struct vcpu *v, uint16_t sel)
{
	struct te_user_code *code;
	uint64_t guest = 0;

	te_of(v)->descriptors += !!(te_of(v)->counted & TE_COUNTED(sel));
	if (read_descriptor(v, sel, ACCESS_PROBE, &guest))
		guest = 0;
	code = user_code_of(te_of(v), sel, is_user_code(guest));
	if (!code)
		return show(v, sel, te_shadow_for(v, guest, 0));
	code->shadow[0] = te_shadow_for(v, guest, 0);
	code->shadow[1] = te_shadow_for(v, guest, 3);
	return show_user_code(v, code, te_cpl(v) == 3 || te_of(v)->shows_user_code);
}

/* Those from `code` on, of which one needs a page. */
static COLD void
show_from(struct vcpu *v, struct te_user_code *code)
{
	struct te *te = te_of(v);

	for (; code < te->user_code + te->user_codes; code++)
		show_user_code(v, code, te->shadow_cpl == 3);
}

/* Under te, ring-3 code is in the shadow tables in ring 3 alone. */
static void
change_user_code(struct vcpu *v, unsigned cpl)
{
	struct te *te = te_of(v);
	struct te_user_code *code = te->user_code, *end = code + te->user_codes;

	if (te->shadow_cpl == cpl || te->shows_user_code)
		return;
	te->shadow_cpl = (uint8_t)cpl;
	for (; code < end && code->entry; code++)
		*code->entry = code->shadow[cpl == 3];
	if (code < end)
		show_from(v, code);
}

void
te_cpl_changed(struct vcpu *v)
{
	struct te *te = te_of(v);
	unsigned cpl = te_cpl(v);

	if (te->gdt_lazy && cpl != 0)
		te_look_at_gdt(v, true);
	te->reload |= te_in_middle_ring(v); /* the entry looks closer, and refuses */
	change_user_code(v, cpl);
	te_resync_loaded(v);
}

/* Empties a shadow whose guest's table had this limit. */
static void
clear_shadow(struct te *te, uint64_t **pages, unsigned ti, unsigned limit)
{
	unsigned kept = 0;

	te->descriptors++;
	for (unsigned i = 0; i <= limit / PAGE_SIZE; i++)
		if (pages[i])
			memset(pages[i], 0,
			       i < limit / PAGE_SIZE ? PAGE_SIZE : limit % PAGE_SIZE + 1);
	for (unsigned i = 0; i < te->user_codes; i++)
		if ((te->user_code[i].sel & 4) != ti)
			te->user_code[kept++] = te->user_code[i];
	te->user_codes = kept;
}

static uint32_t
frame_of_page(struct vcpu *v, const struct table_reg *table, unsigned i)
{
	gpa_t at;

	if (gva_to_gpa(v, gva((uint32_t)((table->base & ~PAGE_MASK) + i * PAGE_SIZE)), ACCESS_PROBE,
		       &at))
		return TE_NO_FRAME;
	return (uint32_t)gpa_to_gfn(at).v;
}

/* Where the table lies: a frame for each of its pages. */
static void
find_frames(struct vcpu *v, struct te_tracked *t, const struct table_reg *table)
{
	*t = (struct te_tracked){ .table = *table };
	if (!table->base && !table->limit)
		return;
	t->pages = ((table->base & PAGE_MASK) + table->limit) / PAGE_SIZE + 1;
	for (unsigned i = 0; i < t->pages; i++)
		t->gfn[i] = frame_of_page(v, table, i);
}

void
te_track_anew(struct vcpu *v, struct te_tracked *t, const struct table_reg *table,
	      enum page_track_why why)
{
	struct domain *d = v->domain;

	for (unsigned i = 0; i < t->pages; i++)
		if (t->gfn[i] != TE_NO_FRAME)
			page_untrack(d, gfn(t->gfn[i]), why);
	find_frames(v, t, table);
	for (unsigned i = 0; i < t->pages; i++)
		if (t->gfn[i] != TE_NO_FRAME)
			page_track(d, gfn(t->gfn[i]),
				   why); /* -EFAULT: no memory there, all zeros */
}

static int
sync_all(struct vcpu *v, unsigned ti, unsigned limit)
{
	for (unsigned at = 0; at + 7 <= limit; at += 8) {
		int err = te_sync_entry(v, at | ti);

		if (err)
			return err;
		if (at % PREEMPT_WORK == 0)
			preempt_point();
	}
	return 0;
}

int
te_gdt_changed(struct vcpu *v)
{
	struct table_reg gdt = v->state.gdtr;
	struct te *te = te_of(v);
	int err;

	if (gdt.limit >
	    GUEST_GDT_LIMIT) /* what lies beyond is no entry, and nobody is told of it */
		gdt.limit = GUEST_GDT_LIMIT;
	clear_shadow(te, te->gdt, 0, te->gdt_limit);
	te->gdt_limit = gdt.limit;
	te_track_anew(v, &te->tracked_gdt, &gdt, TRACK_GDT);
	err = sync_all(v, 0, te->gdt_limit);
	te->gdt_lazy = false;
	te->beside = 0;
	te_resync(v);
	return err;
}

int
te_ldt_changed(struct vcpu *v)
{
	struct te *te = te_of(v);
	struct table_reg ldt = { 0 };
	int err;

	if (v->state.ldtr.attr & ATTR_P) {
		ldt.base = v->state.ldtr.base;
		ldt.limit = v->state.ldtr.limit < 0xffff ? v->state.ldtr.limit : 0xffff;
	}
	clear_shadow(te, te->ldt, 4, te->ldt_limit);
	te->ldt_limit = ldt.limit;
	te_track_anew(v, &te->tracked_ldt, &ldt, TRACK_LDT);
	err = sync_all(v, 4, ldt.limit);
	gdt_set_ldt(LDT_WINDOW, ldt.limit ? 0xffff : 0);
	te_resync(v);
	return err;
}

/* The engine contract. Segments are cut elsewhere now: those in tables, and those in registers. */
void
te_window_moved(struct vcpu *v)
{
	struct te *te = te_of(v);

	memset(te->shadows, 0, sizeof(te->shadows));
	te_gdt_changed(v);
	te_ldt_changed(v);
	for (int i = 0; i < SEG_COUNT; i++)
		if (te->real_desc[i])
			te->real_desc[i] =
				te_register_shadow(v, i, desc_of_segment(&v->state.seg[i]));
	te_resync(v);
	te->reload = true;
	if (te->has_breakpoints)
		te_arm_breakpoints(v);
}

static bool
has_moved(struct vcpu *v, const struct te_tracked *t)
{
	for (unsigned i = 0; i < t->pages; i++)
		if (frame_of_page(v, &t->table, i) != t->gfn[i])
			return true;
	return false;
}

int
te_tables_moved(struct vcpu *v)
{
	struct te *te = te_of(v);
	int err = 0;

	if (has_moved(v, &te->tracked_gdt))
		err = te_gdt_changed(v);
	if (!err && has_moved(v, &te->tracked_ldt))
		err = te_ldt_changed(v);
	return err;
}

static bool
has_page(const struct te_tracked *t, gva_t a)
{
	uint32_t first =
		(uint32_t)(t->table.base & ~PAGE_MASK); /* a table may run over the end of 4 GiB */

	return (uint32_t)(a.v - first) >> PAGE_SHIFT < t->pages;
}

int
te_page_moved(struct vcpu *v, gva_t a)
{
	const struct te *te = te_of(v);

	return has_page(&te->tracked_gdt, a) || has_page(&te->tracked_ldt, a) ? te_tables_moved(v)
									      : 0;
}

/*
 * The guest wrote [a, a + len) of a table in use, or beside it: false. A failure leaves the entry
 * not present: the guest faults.
 */
static bool
table_written(struct domain *d, const struct te_tracked *t, unsigned ti, gpa_t a, size_t len)
{
	uint64_t base = t->table.base, end = base + t->table.limit + 1;
	bool hit = false;

	for (unsigned i = 0; i < t->pages; i++) {
		uint64_t from = (base & ~PAGE_MASK) + i * PAGE_SIZE + (a.v & PAGE_MASK);
		uint64_t to = from + len < end ? from + len : end;

		if (t->gfn[i] != gpa_to_gfn(a).v || to <= base)
			continue;
		from = from > base ? from - base : 0;
		for (uint64_t at = from & ~7ull; at < to - base; at += 8) {
			te_sync_entry(d->vcpu, at | ti);
			hit = true;
		}
	}
	if (hit)
		te_resync(d->vcpu);
	return hit;
}

static void
gdt_written(struct domain *d, gpa_t a, size_t len)
{
	if (!table_written(d, &te_of(d->vcpu)->tracked_gdt, 0, a, len))
		te_written_beside(d->vcpu);
}

static void
ldt_written(struct domain *d, gpa_t a, size_t len)
{
	table_written(d, &te_of(d->vcpu)->tracked_ldt, 4, a, len);
}

static const struct page_track_owner gdt_owner = { TRACK_GDT, gdt_written };
static const struct page_track_owner ldt_owner = { TRACK_LDT, ldt_written };
SET_ADD(page_track_owners, gdt_owner);
SET_ADD(page_track_owners, ldt_owner);
