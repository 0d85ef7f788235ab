/*
 * Whether handlers ask for the groups of a vCPU's state that they use (vmm/vcpu.h).
 *
 * With poison=1 on the command line, what was not asked for is spoilt behind each exit of an engine
 * that fetches, and whoever changes a group without saying so is found behind the handler. So a
 * handler that forgets is seen at once, and not on the day on which some engine no longer has the
 * group at hand.
 */
#include <vmm/vcpu.h>

#define POISON 0xa5

/* The bytes of struct cpu_state that make each group. */
static const struct {
	uint16_t group, from, to;
} parts[] = {
#define PART(group, first, last)                                                                 \
	{                                                                                        \
		group, offsetof(struct cpu_state, first),                                        \
			offsetof(struct cpu_state, last) + sizeof(((struct cpu_state *)0)->last) \
	}
	PART(STATE_SEG, seg[SEG_ES], tr), PART(STATE_TABLES, gdtr, idtr),
	PART(STATE_CR, cr0, cr8),         PART(STATE_DR, dr[0], dr[7]),
	PART(STATE_CR, efer, pdpte[3]),   PART(STATE_MSR, star, xcr0),
#undef PART
};

static struct cpu_state before; /* as the engine and its fetches gave it; one vCPU runs at a time */

static void
each_part(struct vcpu *v, unsigned groups, void (*act)(uint8_t *now, uint8_t *was, size_t len))
{
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i].group & groups)
			act((uint8_t *)&v->state + parts[i].from,
			    (uint8_t *)&before + parts[i].from, parts[i].to - parts[i].from);
}

static void
spoil(uint8_t *now, uint8_t *was, size_t len)
{
	memset(now, POISON, len);
	memset(was, POISON, len);
}

static void
keep(uint8_t *now, uint8_t *was, size_t len)
{
	memcpy(was, now, len);
}

static void
compare(uint8_t *now, uint8_t *was, size_t len)
{
	if (memcmp(now, was, len))
		panic("poison: state was changed at %p, %lu bytes, without vcpu_changed()",
		      (void *)now, len);
}

static void
fetched(struct vcpu *v, unsigned groups)
{
	each_part(v, groups, keep);
}

static void
exited(struct vcpu *v)
{
	each_part(v, STATE_ALL & ~v->valid, spoil);
	each_part(v, v->valid, keep); /* an entry that was refused leaves what was put there */
}

static void
handled(struct vcpu *v)
{
	each_part(v, STATE_ALL & ~v->dirty, compare);
}

static const struct vcpu_watch poison = { fetched, exited, handled };

static void
poison_init(void)
{
	if (!strcmp(cmdline_get("poison", "0"), "1"))
		vcpu_watch = &poison;
}
INITCALL(50, poison_init);
