/*
 * Engines and MMU modes by name: those that labs have brought, and which go together.
 */
#include <kern/kern.h>
#include <vmm/engine.h>
#include <vmm/mem/mmu.h>

SET_DECLARE(engines);
SET_DECLARE(mmu_modes);

const struct engine *
engine_find(const char *name)
{
	set_foreach (const struct engine *, engine, engines)
		if (!strcmp(engine->name, name))
			return engine;
	return NULL;
}

const struct engine *
engine_default(void)
{
	const struct engine *first = engine_find("te");

	set_foreach (const struct engine *, engine, engines)
		if (!first && (!engine->probe || !engine->probe()))
			first = engine;
	set_foreach (const struct engine *, engine, engines)
		first = first ? first : engine;
	return first;
}

const struct mmu_mode *
mmu_find(const char *name)
{
	set_foreach (const struct mmu_mode *, mode, mmu_modes)
		if (!strcmp(mode->name, name))
			return mode;
	return NULL;
}

const struct mmu_mode *
engine_mode(const struct engine *engine)
{
	for (unsigned i = 0; engine->mmu_modes && engine->mmu_modes[i]; i++) {
		const struct mmu_mode *mode = mmu_find(engine->mmu_modes[i]);

		if (mode)
			return mode;
	}
	return NULL;
}

uint64_t
engine_cr4(const struct engine *engine, const struct mmu_mode *mode)
{
	return engine->cr4_guest & ~(mode ? mode->cr4_not : 0);
}

bool
engine_has_mode(const struct engine *engine, const struct mmu_mode *mode)
{
	for (unsigned i = 0; engine->mmu_modes && engine->mmu_modes[i]; i++)
		if (!strcmp(engine->mmu_modes[i], mode->name))
			return true;
	return false;
}
