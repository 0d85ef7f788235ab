/*
 * Grants mapped and unmapped: an entry of a page table, or an address for a device, by a handle.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

#define PARTS (XEN_GNTMAP_host_map | XEN_GNTMAP_device_map)
#define WAYS  (XEN_GNTMAP_readonly | XEN_GNTMAP_application_map | XEN_GNTMAP_contains_pte)
#define AVAIL \
	9 /* the first of an entry's three bits that the CPU leaves alone: SDM 3A table 4-20 */

/* ---- handles ---- */

static struct pv_handle *
handle_at(const struct pv_grants *g, uint32_t handle)
{
	return &g->handle[handle / PV_FRAME_HANDLES][handle % PV_FRAME_HANDLES];
}

/* So many more as a frame has. */
static bool
more_handles(struct pv_grants *g)
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

uint32_t
pv_handle_new(struct pv_grants *g)
{
	uint32_t handle;

	if (g->free_handle == PV_NO_HANDLE && !more_handles(g))
		return PV_NO_HANDLE;
	handle = g->free_handle;
	g->free_handle = handle_at(g, handle)->ref;
	return handle;
}

void
pv_handle_free(struct pv_grants *g, uint32_t handle)
{
	struct pv_handle *h = handle_at(g, handle);

	h->flags = 0;
	h->ref = g->free_handle;
	g->free_handle = handle;
}

/* ---- entries of page tables ---- */

/* What leads to this frame, as a kernel would write it. */
static pte_t
entry_for(mfn_t m, uint32_t flags)
{
	pte_t entry = PTE_P | PTE_A | mfn_to_hpa(m).v;

	if (!(flags & XEN_GNTMAP_readonly))
		entry |= PTE_W | PTE_D;
	if (flags & XEN_GNTMAP_application_map)
		entry |= PTE_U;
	return entry | (pte_t)(flags >> XEN_GNTMAP_guest_avail0 & 7) << AVAIL;
}

/* An entry of level 1 of a table in use: such a write begins no walk. */
static int
put(struct pv_grants *by, uint16_t of, pte_t *at, pte_t entry)
{
	unsigned budget = 0;
	int err;

	by->types->controls = true;
	by->types->foreign = of;
	err = pv_type_write(by->types, PV_L1, at, entry, &budget);
	by->types->foreign = 0;
	return err;
}

static bool
leads_there(const pte_t *at, const struct pv_handle *h)
{
	bool writes = !(h->flags & XEN_GNTMAP_readonly);

	return *at & PTE_P && PTE_ADDR(*at) == mfn_to_hpa(mfn(h->mfn)).v &&
	       !(*at & PTE_W) == !writes;
}

/* ---- map ---- */

/* For each part one use. */
static int
claim_parts(struct pv_grants *by, struct pv_grants *of, uint32_t ref, uint32_t flags, mfn_t *m)
{
	bool writes = !(flags & XEN_GNTMAP_readonly);
	int status = pv_grant_claim(of, ref, by, writes, m);

	if (status || (flags & PARTS) != PARTS)
		return status;
	status = pv_grant_claim(of, ref, by, writes, m);
	if (status)
		pv_grant_release(of, ref, *m, writes);
	return status;
}

static void
release_part(struct pv_handle *h)
{
	pv_grant_release(pv_grants_of[h->owner], h->ref, mfn(h->mfn),
			 !(h->flags & XEN_GNTMAP_readonly));
}

int
pv_grant_map(struct pv_grants *by, struct pv_grants *of, pte_t *at,
	     struct xen_gnttab_map_grant_ref *m)
{
	uint32_t flags = m->flags & (PARTS | WAYS), handle;
	struct pv_handle *h;
	mfn_t frame;
	int status;

	if (!(flags & PARTS))
		return XEN_GNTST_bad_gntref;
	if (flags & XEN_GNTMAP_host_map && !at)
		return XEN_GNTST_bad_virt_addr;
	handle = pv_handle_new(by);
	if (handle == PV_NO_HANDLE)
		return XEN_GNTST_no_space;
	status = claim_parts(by, of, m->ref, flags, &frame);
	if (status) {
		pv_handle_free(by, handle);
		return status;
	}
	h = handle_at(by, handle);
	*h = (struct pv_handle){ flags, m->ref, (uint32_t)frame.v, of->owner, 0 };
	if (flags & XEN_GNTMAP_host_map && put(by, of->owner, at, entry_for(frame, m->flags))) {
		pv_handle_end(by, handle);
		return XEN_GNTST_general_error;
	}
	m->handle = handle;
	m->dev_bus_addr = flags & XEN_GNTMAP_device_map ? mfn_to_hpa(frame).v : 0;
	return XEN_GNTST_okay;
}

/* ---- unmap ---- */

static void
end_part(struct pv_grants *by, uint32_t handle, uint32_t part)
{
	struct pv_handle *h = handle_at(by, handle);

	release_part(h);
	h->flags &= ~part;
	if (!(h->flags & PARTS))
		pv_handle_free(by, handle);
}

void
pv_handle_end(struct pv_grants *by, uint32_t handle)
{
	struct pv_handle *h = handle_at(by, handle);

	if (h->flags & XEN_GNTMAP_host_map)
		end_part(by, handle, XEN_GNTMAP_host_map);
	if (h->flags & XEN_GNTMAP_device_map)
		end_part(by, handle, XEN_GNTMAP_device_map);
}

int
pv_grant_unmap(struct pv_grants *by, const struct xen_gnttab_unmap_grant_ref *u, pte_t *at,
	       pte_t entry)
{
	struct pv_handle *h = pv_handle(by, u->handle);
	uint32_t parts;

	if (!h)
		return XEN_GNTST_bad_handle;
	parts = h->flags & ((u->host_addr ? XEN_GNTMAP_host_map : 0) |
			    (u->dev_bus_addr ? XEN_GNTMAP_device_map : 0));
	if (parts & XEN_GNTMAP_device_map && u->dev_bus_addr != mfn_to_hpa(mfn(h->mfn)).v)
		return XEN_GNTST_bad_dev_addr;
	if (parts & XEN_GNTMAP_host_map) {
		if (!at)
			return XEN_GNTST_bad_virt_addr;
		if (!leads_there(at, h) || put(by, 0, at, entry))
			return XEN_GNTST_general_error;
		end_part(by, u->handle, XEN_GNTMAP_host_map);
	}
	if (parts & XEN_GNTMAP_device_map)
		end_part(by, u->handle, XEN_GNTMAP_device_map);
	return XEN_GNTST_okay;
}
