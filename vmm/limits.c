/*
 * What a guest is refused, in words (limits.h).
 */
#include <vmm/dispatch.h>
#include <vmm/engine.h>
#include <vmm/limits.h>
#include <vmm/vcpu.h>

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
