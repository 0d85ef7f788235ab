/*
 * What a guest is refused, in words (limits.h).
 */
#include <vmm/dispatch.h>
#include <vmm/engine.h>
#include <vmm/vcpu.h>
#include <vmm/words/limits.h>

static const char *const words_of[] = {
#define LIMIT(name, does, words) [LIMIT_##name] = words,
	LIMITS(LIMIT)
#undef LIMIT
};

enum verdict
limit_refuse(struct vcpu *v, const struct exit *e, enum limit limit)
{
	return exit_stop(v, e, "limits.md#refused", "%s %s", v->engine->name, words_of[limit]);
}

/* SDM 3B 17.2.4 "Debug Control Register (DR7)": the kind is one of ports while CR4.DE is 1. */
enum verdict
limit_ports(struct vcpu *v, const struct exit *e)
{
	const struct cpu_state *s = &v->state;

	for (unsigned n = 0; n < 4; n++)
		if (s->cr4 & CR4_DE && DR7_ENABLED(s->dr[7], n) && DR7_KIND(s->dr[7], n) == DR7_IO)
			return limit_refuse(v, e, LIMIT_PORT_BREAKPOINT);
	return RESUME;
}
