/*
 * Damages the nested tables of a guest that has ended, one bit or one entry at a time, and asks the
 * auditor whether it sees that. Each time all is put right again.
 */
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/vcpu.h>
#include <trials/nested/audit.h>

#define ADDRESS 0x000ffffffffff000ul
#define ENTRIES 512u

static uint64_t state;

static unsigned
pick(unsigned below)
{
	state = state * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(state >> 33) % below;
}

/* A random entry of the table: one that is there, or one that is empty. NULL: there is none. */
static uint64_t *
entry_in(uint64_t m, bool there)
{
	uint64_t *table = mfn_ptr(mfn(m));
	unsigned start = pick(ENTRIES);

	for (unsigned n = 0; n < ENTRIES; n++)
		if (!!table[(start + n) % ENTRIES] == there)
			return &table[(start + n) % ENTRIES];
	return NULL;
}

/* On a random way down; where that ends above this level, the page there. */
static uint64_t *
entry_at(struct vcpu *v, unsigned level, bool there)
{
	uint64_t m = v->root.v, *e;

	for (unsigned at = 4;; at--) {
		e = entry_in(m, there || at > level);
		if (!e || at == level || (at < 4 && *e & 0x80))
			return e;
		m = (*e & ADDRESS) >> 12;
	}
}

static bool
sees(struct vcpu *v, uint64_t *e, uint64_t value)
{
	uint64_t saved = *e;
	bool found;

	*e = value;
	found = audit_finds(v);
	*e = saved;
	return found;
}

void
nested_damage(struct vcpu *v, uint64_t seed)
{
	uint64_t *e, *other;

	state = seed;
	for (unsigned level = 4; level; level--) {
		uint64_t unseen = 0;

		e = entry_at(v, level, true);
		for (unsigned bit = 0; bit < 64; bit++)
			unseen |= (uint64_t)!sees(v, e, *e ^ 1ul << bit) << bit;
		printf("damage: level %u, entry %lx: not seen are bits %lx\n", level, *e, unseen);
	}
	e = entry_at(v, 1, true);
	printf("damage: a page that is lost: %s\n", sees(v, e, 0) ? "seen" : "not seen");
	other = entry_at(v, 1, false);
	other = other ? other : entry_at(v, 2, false);
	if (other)
		printf("damage: a page that is there twice: %s\n",
		       sees(v, other, *e) ? "seen" : "not seen");
	other = e;
	for (unsigned tries = 0; !((*other ^ *e) & ADDRESS) && tries < ENTRIES; tries++)
		other = entry_at(v, 1, true);
	printf("damage: a page that is another one: %s\n",
	       sees(v, e, *other) ? "seen" : "not seen");
}
