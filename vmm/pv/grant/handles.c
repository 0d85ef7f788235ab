/*
 * Handles of a domain: numbers for what it has mapped, in pages that come as they are needed; and
 * entries of its page tables that lead to what others grant.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

struct pv_grants *pv_grants_of[PV_GRANT_OWNERS];
unsigned pv_orphans;

bool
pv_handles_more(struct pv_grants *g)
{
	uint32_t n = g->handles / PV_FRAME_HANDLES;

	if (n == PV_HANDLE_FRAMES || !(g->handle[n] = host_page()))
		return false;
	for (uint32_t i = 0; i < PV_FRAME_HANDLES; i++)
		g->handle[n][i].ref = g->handles + i + 1;
	g->handle[n][PV_FRAME_HANDLES - 1].ref = PV_NO_HANDLE;
	g->free_handle = g->handles;
	g->handles += PV_FRAME_HANDLES;
	return true;
}

/* An entry of level 1 of a table in use: such a write begins no walk. */
int
pv_grant_put(struct pv_grants *by, uint16_t of, pte_t *at, pte_t entry)
{
	struct pv_types *t = by->types;
	unsigned budget = 0;
	int err;

	t->controls = true;
	t->foreign = of;
	err = pv_type_write(t, PV_L1, at, entry, &budget);
	t->foreign = 0;
	return err;
}
