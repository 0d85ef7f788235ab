/*
 * Words for a console.
 */
#include <guest/pv/drivers/tell.h>
#include <guest/pv/lib/events.h>
#include <inc/xen_rings.h>

void
tell(const char *text)
{
	volatile struct xen_console_ring *r = pv_machine_page(pv_info->console_mfn);
	uint32_t at = r->out_prod;

	for (; *text && at - r->out_cons < sizeof(r->out); text++)
		r->out[at++ % sizeof(r->out)] = (uint8_t)*text;
	r->out_prod = at;
	pv_send(pv_info->console_evtchn);
}
