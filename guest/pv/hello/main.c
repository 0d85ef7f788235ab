/*
 * The first PV guest: what it was given, a line on the console, a handler of its own, the end.
 */
#include <guest/pv/lib/pv.h>

int guest_main(const struct xen_start_info *info);

static unsigned caught;

static void
handler(struct pv_frame *f)
{
	pv_printf("my own handler: vector %lu at cs %lx\n", f->vector, f->cs & 0xffff);
	f->rip += 2; /* behind the ud2 */
	caught++;
}

int
guest_main(const struct xen_start_info *info)
{
	uint64_t version = (uint64_t)pv_call(XEN_xen_version, XEN_XENVER_version, 0, 0, 0);
	char extra[16];
	unsigned cs;

	pv_init(info);
	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	pv_printf("hello from a kernel that knows: ring %u\n", cs & 3);
	pv_call_by_page(XEN_xen_version, XEN_XENVER_extraversion, (uint64_t)extra, 0);
	pv_printf("%s, Xen's ABI %lu.%lu%s, %lu pages, %lu page tables\n", info->magic,
		  version >> 16, version & 0xffff, extra, info->nr_pages, info->nr_pt_frames);
	pv_take_traps();
	pv_handler = handler;
	__asm__ volatile("ud2");
	pv_printf("caught %u; the end\n", caught);
	return 0;
}
