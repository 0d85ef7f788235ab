/*
 * Damages the shadows of a guest that has ended, one entry at a time, and asks the auditor whether
 * it sees that. Each time all is put right again.
 */
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/vcpu.h>
#include <trials/shadow/audit.h>

static uint64_t state;

static unsigned
pick(unsigned below)
{
	state = state * 6364136223846793005ul + 1442695040888963407ul;
	return (state >> 33) % below;
}

/*
 * A random present entry of a shadow in use, at a level, that has all bits of `with` and none of
 * `without`.
 */
static pte_t *
entry(struct shadow_mmu *m, unsigned level, pte_t with, pte_t without)
{
	unsigned start = pick(m->count * TABLE_SIZE);

	for (unsigned n = 0; n < m->count * TABLE_SIZE; n++) {
		unsigned at = (start + n) % (m->count * TABLE_SIZE);
		struct shadow *s = shadow_at_slot(m, at / TABLE_SIZE);
		pte_t *e = &s->table[at % TABLE_SIZE];

		if (at >= TABLE_SIZE && s->used && s->kind.level == level &&
		    s->kind.format != SHADOW_DIRECT && (*e & with) == with && !(*e & without))
			return e;
	}
	return NULL;
}

static pte_t *
window_entry(struct shadow_mmu *m)
{
	return entry(m, 2, PTE_P | PTE_WINDOW, 0);
}

enum damage {
	OTHER_FRAME,
	WRITABLE,
	USERS,
	TABLE_USERS,
	OTHER_TABLE,
	NEW_PAGE,
	LOST_ENTRY,
	LOST_LIST,
	UNTRACED,
	MISCOUNTED,
	WINDOW_USERS,
	DAMAGES
};
static const char *const names[DAMAGES] = {
	"leads to another frame",
	"is writable",
	"is the user's",
	"(of a directory) is the user's",
	"(of a directory) leads to another table",
	"is there without a reason",
	"(of a directory) is lost, and still in a list",
	"is in no list",
	"belongs to a table that is not tracked",
	"is not counted",
	"of the window is the user's",
};

/* An entry to be damaged, and what it will be. */
static pte_t *
choose(struct shadow_mmu *m, enum damage kind, pte_t *value)
{
	const pte_t plain = PTE_P, window = PTE_WINDOW;
	pte_t *e, *other;

	switch (kind) {
	case OTHER_FRAME:
		e = entry(m, 1, plain, 0);
		*value = e ? *e ^ PAGE_SIZE : 0;
		return e;
	case WRITABLE:
		e = entry(m, 1, plain, PTE_W);
		*value = e ? *e | PTE_W : 0;
		return e;
	case USERS:
		e = entry(m, 1, plain, PTE_U);
		*value = e ? *e | PTE_U : 0;
		return e;
	case TABLE_USERS:
		e = entry(m, 2, plain, PTE_U | window);
		*value = e ? *e | PTE_U : 0;
		return e;
	case OTHER_TABLE:
		e = entry(m, 2, plain, window);
		other = entry(m, 2, plain, window);
		*value = e && *e != *other ? *other : e ? *e ^ PAGE_SIZE : 0;
		return e;
	case NEW_PAGE:
		other = entry(m, 1, plain, 0);
		e = entry(m, 1, 0, plain);
		*value = other ? *other : 0;
		return e;
	case LOST_ENTRY:
		e = entry(m, 2, plain | PTE_U, window);
		*value = 0; /* it is in a list, and not there */
		return e;
	default:
		e = window_entry(m);
		*value = e ? *e | PTE_U : 0;
		return e;
	}
}

/* A shadow in use, of a guest's table. */
static struct shadow *
table(struct shadow_mmu *m)
{
	unsigned slot = 1 + pick(m->count - 1u);

	while (!shadow_at_slot(m, slot)->used || !shadow_at_slot(m, slot)->parents ||
	       shadow_at_slot(m, slot)->kind.format == SHADOW_DIRECT)
		slot = slot % (m->count - 1u) + 1;
	return shadow_at_slot(m, slot);
}

/*
 * Damage that is no entry's: a list, a trace, a count. What was there is put back by calling it
 * again with *saved.
 */
static void
elsewhere(struct shadow_mmu *m, enum damage kind, uint64_t *saved, bool back)
{
	static struct shadow *s;
	struct p2m_entry *frame;

	if (!back)
		s = table(m);
	frame = p2m_entry(m->domain, gfn(s->gfn));
	if (!back)
		*saved = kind == LOST_LIST  ? s->parents
			 : kind == UNTRACED ? frame->track
					    : s->present;
	if (kind == LOST_LIST)
		s->parents = back ? *saved : 0;
	else if (kind == UNTRACED)
		frame->track = back ? *saved : 0;
	else
		s->present = (uint16_t)(back ? *saved : *saved - 1);
}

/* What the auditor made of it. */
static const char *
one(struct vcpu *v, enum damage kind)
{
	struct shadow_mmu *m = shadow_of(v);
	bool is_entry = kind != LOST_LIST && kind != UNTRACED && kind != MISCOUNTED;
	pte_t *e = NULL, value = 0;
	uint64_t saved = 0;
	bool found;

	if (is_entry) {
		e = choose(m, kind, &value);
		if (!e)
			return "there is none";
		saved = *e;
		*e = value;
	} else {
		elsewhere(m, kind, &saved, false);
	}
	found = audit_finds(v);
	if (is_entry)
		*e = saved;
	else
		elsewhere(m, kind, &saved, true);
	return found ? "seen" : "not seen";
}

void
shadow_damage(struct vcpu *v, uint64_t seed)
{
	state = seed;
	if (shadow_of(v)->live == 0)
		printf("d%u has no shadows\n", v->domain->id);
	for (unsigned kind = 0; kind < DAMAGES && shadow_of(v)->live; kind++)
		printf("damage: an entry %s: %s\n", names[kind], one(v, kind));
}
