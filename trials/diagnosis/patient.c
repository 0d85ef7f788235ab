/*
 * A patient's memory, and its state as it should be.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/host.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <trials/diagnosis/patient.h>

/* work.asm */
extern const uint8_t work32[], work32_call[], work32_event[], work32_user[], work32_end[],
	work32_limit[];
extern const uint8_t work64[], work64_call[], work64_event[], work64_user[], work64_end[],
	work64_limit[], work64_divide[], work64_syscall[];

#define PATIENT_PTE (PTE_P | PTE_W | PTE_U)
#define FLAT_CODE   (ATTR_P | ATTR_S | ATTR_CODE | ATTR_RW | ATTR_A | ATTR_G)
#define FLAT_DATA   (ATTR_P | ATTR_S | ATTR_RW | ATTR_A | ATTR_G | ATTR_DB)
#define FLAT_END    0xfffffu
#define ATTR_RING3  0x60u

#define TYPE_LDT      2u /* APM 2 4.8.3, table 4-6 */
#define TYPE_BUSY_TSS 0xbu

/* PAGE_TABLES */
#define LDT_AT    0x100u
#define TSS_AT    0x200u
#define TSS_LIMIT 0x67u
#define IDT_AT    0x400u
#define GDT_SLOTS 5u
#define LDT_SLOTS 2u
#define VECTORS   0x40u
#define VEC_CALL  0x30u /* work.asm */
#define VEC_USER  0x31u
#define GATE_INT  0x8eu
#define GATE_USER 0xeeu

#define MARKS_32 5u
#define MARKS_64 6u

#define PAT_RESET 0x0007040600070406ul /* APM 2 7.8.2: after a reset */

static void *
at(const struct patient *p, enum patient_page page, uint32_t offset)
{
	return p->memory[page] + offset;
}

static uint64_t
linear_of(const struct patient *p, enum patient_page page, uint32_t offset)
{
	return p->linear + page * PAGE_SIZE + offset;
}

static uint64_t
gpa_of(const struct patient *p, enum patient_page page)
{
	return p->gpa + page * PAGE_SIZE;
}

static uint64_t
offset_of(const struct patient *p, enum patient_page page, uint32_t offset)
{
	return linear_of(p, page, offset) - p->base;
}

/* Where a place of work.asm is in the patient's code segment. */
static uint64_t
code_of(const struct patient *p, const uint8_t *place)
{
	return offset_of(p, PAGE_CODE, 0) + (uint64_t)(place - (p->wide ? work64 : work32));
}

struct patient *
patient_pages(void)
{
	static struct patient patient;
	static bool there;

	for (unsigned i = 0; i < ALL_PAGES && !there; i++) {
		patient.page[i] = frame_alloc(FRAME_HOST, OWNER_HOST);
		if (mfn_ok(patient.page[i])) {
			patient.memory[i] = mfn_ptr(patient.page[i]);
			continue;
		}
		while (i--)
			frame_put(patient.page[i]);
		return NULL;
	}
	there = true;
	return &patient;
}

unsigned
patient_choice(const char *name, unsigned number, unsigned count, uint64_t *seed)
{
	uint64_t state = seeded_start(seeded_name(name));

	while (number--)
		*seed = seeded_next(&state);
	return (unsigned)(seeded_next(&state) >> 16) % count;
}

/* ---- its memory ---- */

static void
put(void *where, uint64_t value, unsigned bytes)
{
	memcpy(where, &value, bytes);
}

static uint64_t
descriptor(uint16_t attr, uint64_t base, uint32_t limit)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)(attr >> 8) << 52 |
	       (base >> 24 & 0xff) << 56;
}

static void
gate(const struct patient *p, unsigned vector, const uint8_t *handler, uint8_t type)
{
	uint64_t to = code_of(p, handler);
	uint64_t low = (to & 0xffff) | 8ul << 16 | (uint64_t)type << 40 | (to >> 16 & 0xffff) << 48;

	put(at(p, PAGE_TABLES, IDT_AT + vector * (p->wide ? 16 : 8)), low, 8);
	if (p->wide)
		put(at(p, PAGE_TABLES, IDT_AT + vector * 16 + 8), to >> 32, 8);
}

static void
make_tables(const struct patient *p)
{
	const uint16_t code = FLAT_CODE | (p->wide ? ATTR_L : ATTR_DB);
	const uint64_t gdt[GDT_SLOTS] = {
		0,
		descriptor(code, p->base, FLAT_END),
		descriptor(FLAT_DATA, p->base, FLAT_END),
		descriptor(FLAT_DATA | ATTR_RING3, p->base, FLAT_END),
		descriptor(code | ATTR_RING3, p->base, FLAT_END),
	};
	uint64_t stack = offset_of(p, PAGE_STACK, 0x800);

	memcpy(at(p, PAGE_TABLES, 0), gdt, sizeof(gdt));
	put(at(p, PAGE_TABLES, LDT_AT + 8),
	    descriptor(FLAT_DATA & ~ATTR_G, linear_of(p, PAGE_CARD, offsetof(struct card, far)), 7),
	    8);
	put(at(p, PAGE_TABLES, TSS_AT + 4), stack, p->wide ? 8 : 4);
	if (!p->wide)
		put(at(p, PAGE_TABLES, TSS_AT + 8), 0x10, 2);
	gate(p, VEC_CALL, p->wide ? work64_call : work32_call, GATE_INT);
	gate(p, VEC_USER, p->wide ? work64_user : work32_user, GATE_USER);
	gate(p, p->event, p->wide ? work64_event : work32_event, GATE_INT);
	if (p->wide)
		gate(p, VEC_DE, work64_divide, GATE_INT);
}

/* The patient's own paging: two levels of 32 bits, or four of 64. */
static void
make_paging(const struct patient *p)
{
	unsigned levels = p->wide ? 4 : 2, bits = p->wide ? 9 : 10, bytes = p->wide ? 8 : 4;
	unsigned shift = 12 + bits * (levels - 1);

	for (unsigned n = 0; n + 1 < levels; n++, shift -= bits)
		put(at(p, PAGE_ROOT + n,
		       (uint32_t)(p->linear >> shift & ((1u << bits) - 1)) * bytes),
		    gpa_of(p, PAGE_ROOT + n + 1) | PATIENT_PTE, bytes);
	for (unsigned page = PAGE_CODE; page < PAGE_ROOT; page++) {
		uint64_t entry = gpa_of(p, page) | PATIENT_PTE;

		if (page == PAGE_FIXED)
			entry &= ~(uint64_t)PTE_W;
		if (page == PAGE_STACK && p->wide)
			entry |= PTE_NX;
		put(at(p, PAGE_ROOT + levels - 1,
		       ((uint32_t)(p->linear >> 12 & ((1u << bits) - 1)) + page) * bytes),
		    entry, bytes);
	}
}

/* Only the patient's pages are there. */
static void
make_nested(const struct patient *p, uint64_t bits, uint64_t leaf_bits)
{
	uint64_t *last = at(p, ALL_PAGES - 1, 0);

	for (unsigned n = PAGE_NESTED; n < ALL_PAGES - 1; n++)
		put(at(p, n, (p->gpa >> (39 - 9 * (n - PAGE_NESTED)) & 511) * 8),
		    mfn_to_hpa(p->page[n + 1]).v | bits, 8);
	for (unsigned n = 0; n < PATIENT_PAGES; n++)
		last[(p->gpa >> 12 & 511) + n] = mfn_to_hpa(p->page[n]).v | bits | leaf_bits;
}

static void
make_card(struct patient *p, uint32_t rsp_offset, uint64_t *seed)
{
	struct card *card = at(p, PAGE_CARD, 0);
	unsigned width = p->wide ? 8 : 4;

	for (unsigned i = 0; i < sizeof(card->text); i++) {
		card->text[i] = (uint8_t)(seeded_next(seed) >> 16);
		card->copy[i] = (uint8_t)~card->text[i];
	}
	card->rax = (uint32_t)(seeded_next(seed) >> 16);
	card->top = (uint32_t)(seeded_next(seed) >> 16);
	card->answer = p->answer = (uint32_t)(seeded_next(seed) >> 16);
	card->far = (uint32_t)(seeded_next(seed) >> 16);
	card->near = (uint32_t)(seeded_next(seed) >> 16);
	card->own = (uint32_t)(seeded_next(seed) >> 16);
	card->rsp = offset_of(p, PAGE_STACK, rsp_offset) + width;
	put(at(p, PAGE_STACK, rsp_offset), card->top, width);
}

/* ---- its state ---- */

static void
well_segments(struct cpu_state *s, const struct patient *p)
{
	const uint64_t card = linear_of(p, PAGE_CARD, 0);

	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct segment){ 0x1b, FLAT_DATA | ATTR_RING3, ~0u, p->base };
	s->seg[SEG_SS] = (struct segment){ 0x10, FLAT_DATA, ~0u, p->base };
	s->seg[SEG_CS] =
		(struct segment){ 0x08, FLAT_CODE | (p->wide ? ATTR_L : ATTR_DB), ~0u, p->base };
	s->ldtr = (struct segment){ 0x30, ATTR_P | TYPE_LDT, LDT_SLOTS * 8 - 1,
				    linear_of(p, PAGE_TABLES, LDT_AT) };
	s->tr = (struct segment){ 0x38, ATTR_P | TYPE_BUSY_TSS, TSS_LIMIT,
				  linear_of(p, PAGE_TABLES, TSS_AT) };
	s->gdtr = (struct table_reg){ .base = linear_of(p, PAGE_TABLES, 0),
				      .limit = GDT_SLOTS * 8 - 1 };
	s->idtr = (struct table_reg){ .base = linear_of(p, PAGE_TABLES, IDT_AT),
				      .limit = (uint16_t)(VECTORS * (p->wide ? 16 : 8) - 1) };
	if (!p->wide)
		return;
	s->seg[SEG_FS].base = card + offsetof(struct card, far);
	s->seg[SEG_GS].base = card + offsetof(struct card, near);
	s->kernel_gs_base = card + offsetof(struct card, own);
}

static void
well_state(struct patient *p, uint32_t rsp_offset, uint64_t *seed)
{
	struct cpu_state *s = &p->state;

	*s = (struct cpu_state){ .version = CPU_STATE_VERSION };
	well_segments(s, p);
	/* Of bits that change nothing, some. */
	s->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE | (seeded_next(seed) & CR0_MP);
	s->cr4 = CR4_OSFXSR | (seeded_next(seed) & (CR4_DE | CR4_MCE | CR4_PGE | CR4_OSXMMEXCPT));
	s->rflags = FLAG_ONE | (seeded_next(seed) & (FLAG_CF | FLAG_PF | FLAG_SF | FLAG_OF));
	s->cr3 = gpa_of(p, PAGE_ROOT);
	s->dr[6] = DR6_RESET;
	s->dr[7] = DR7_RESET;
	s->pat = PAT_RESET;
	s->rip = offset_of(p, PAGE_CODE, 0);
	s->gpr[RAX] = ((const struct card *)at(p, PAGE_CARD, 0))->rax;
	s->gpr[RBX] = offset_of(p, PAGE_CARD, 0);
	s->gpr[RSP] = offset_of(p, PAGE_STACK, rsp_offset);
	if (!p->wide)
		return;
	s->cr0 |= CR0_WP;
	s->cr4 |= CR4_PAE;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	s->star = 0x001300080000ul << 16;
	s->lstar = code_of(p, work64_syscall);
	s->sfmask = FLAG_AC | FLAG_TF | FLAG_IF | (seeded_next(seed) & (FLAG_DF | FLAG_NT));
}

void
patient_make(struct patient *p, bool wide, uint64_t seed, uint64_t bits, uint64_t leaf_bits)
{
	const uint8_t *work = wide ? work64 : work32;
	uint64_t random = seeded_start(seed);
	uint32_t rsp_offset;

	for (unsigned i = 0; i < ALL_PAGES; i++)
		memset(p->memory[i], 0, PAGE_SIZE);
	p->wide = wide;
	p->marks = 0;
	p->gpa = (1 + seeded_next(&random) % 15) << 21 | (seeded_next(&random) % 400) << PAGE_SHIFT;
	p->linear = (0x40 + seeded_next(&random) % 0x300) << 22 | (seeded_next(&random) % 400)
									  << PAGE_SHIFT;
	p->base = wide ? 0 : (1 + seeded_next(&random) % 0xffff) << PAGE_SHIFT;
	p->event = (uint8_t)(VEC_USER + 1 + seeded_next(&random) % 8);
	rsp_offset = 0xc00 + (uint32_t)(seeded_next(&random) % 64) * 8;
	memcpy(at(p, PAGE_CODE, 0), work, (size_t)((wide ? work64_limit : work32_limit) - work));
	make_card(p, rsp_offset, &random);
	make_tables(p);
	make_paging(p);
	make_nested(p, bits, leaf_bits);
	well_state(p, rsp_offset, &random);
}

void
patient_mark(struct patient *p, uint8_t mark)
{
	if (mark == p->marks + 1)
		p->marks++;
}

uint64_t
patient_end(const struct patient *p)
{
	return code_of(p, p->wide ? work64_end : work32_end);
}

bool
patient_is_well(const struct patient *p)
{
	const struct card *card = at(p, PAGE_CARD, 0);

	return p->marks == (p->wide ? MARKS_64 : MARKS_32) && card->calls == 1 &&
	       card->events == 1 && !memcmp(card->copy, card->text, sizeof(card->text));
}
