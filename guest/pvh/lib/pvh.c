/*
 * The library's C: the monitor is found by CPUID, its page of stubs by an MSR, and start_info is
 * made as PV guests have it.
 *
 * PVH = xen/include/public/arch-x86/hvm/start_info.h.
 */
#include <guest/pv/lib/grants.h>
#include <guest/pvh/lib/pvh.h>

struct hvm_start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, words, rsdp, map;
	uint32_t map_entries, reserved;
};

int guest_main(const struct xen_start_info *info);
int pvh_main(const struct hvm_start_info *start);

void
pvh_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(sub));
}

int
pvh_main(const struct hvm_start_info *start)
{
	static struct xen_start_info info = { .magic = "xen-3.0-x86_64" };
	const char *words = (const char *)start->words;
	uint64_t console = 0, store = 0;
	uint32_t r[4];

	pvh_cpuid(XEN_CPUID_BASE, 0, r);
	if (r[1] != XEN_CPUID_EBX || r[2] != XEN_CPUID_ECX || r[3] != XEN_CPUID_EDX ||
	    start->magic != 0x336ec578)
		for (;;)
			__asm__ volatile("cli; hlt");
	pvh_cpuid(XEN_CPUID_BASE + 2, 0, r);
	__asm__ volatile("wrmsr" : : "c"(r[1]), "a"(hypercall_page), "d"(0) : "memory");
	for (unsigned n = 0; n < XEN_CMDLINE - 1 && words[n]; n++)
		info.cmd_line[n] = words[n];
	pvh_param(XEN_HVM_PARAM_CONSOLE_PFN, &info.console_mfn);
	pvh_param(XEN_HVM_PARAM_STORE_PFN, &info.store_mfn);
	pvh_param(XEN_HVM_PARAM_CONSOLE_EVTCHN, &console);
	pvh_param(XEN_HVM_PARAM_STORE_EVTCHN, &store);
	info.console_evtchn = (uint32_t)console;
	info.store_evtchn = (uint32_t)store;
	pv_init(&info);
	return guest_main(&info);
}

int64_t
pvh_memory_op(unsigned op, const void *arg)
{
	return pv_call(XEN_memory_op, op, (uint64_t)arg, 0, 0);
}

int64_t
pvh_show(enum xen_mapspace space, uint64_t idx, uint64_t gfn)
{
	const struct xen_add_to_physmap a = {
		.domid = XEN_DOMID_SELF, .space = space, .idx = idx, .gpfn = gfn
	};

	return pvh_memory_op(XEN_XENMEM_add_to_physmap, &a);
}

int64_t
pvh_param(unsigned index, uint64_t *value)
{
	struct xen_hvm_param p = { .domid = XEN_DOMID_SELF, .index = index };
	int64_t err = pv_call(XEN_hvm_op, XEN_HVMOP_get_param, (uint64_t)&p, 0, 0);

	*value = p.value;
	return err;
}

int64_t
pvh_set_callback(uint64_t value)
{
	const struct xen_hvm_param p = { .domid = XEN_DOMID_SELF,
					 .index = XEN_HVM_PARAM_CALLBACK_IRQ,
					 .value = value };

	return pv_call(XEN_hvm_op, XEN_HVMOP_set_param, (uint64_t)&p, 0, 0);
}

/* ---- what guest/pv/lib/own.c is for a PV kernel ---- */

/* Its number is the guest's own, and its address, too. */
uint64_t
pv_page(const void *va)
{
	return (uint64_t)va >> 12;
}

void *
pv_machine_page(uint64_t frame)
{
	return (void *)(frame << 12);
}

/* Its tables are its own affair, and stay as they are. */
int64_t
pv_map(void *va, uint64_t entry)
{
	(void)va;
	(void)entry;
	return -1;
}

/* Ports without upcalls: pv_poll() waits for them. */
void
pv_events_init(void)
{
	pvh_show(XEN_XENMAPSPACE_shared_info, 0, pv_page((const void *)pv_shared));
}

int
pv_grants_init(void)
{
	return (int)pvh_show(XEN_XENMAPSPACE_grant_table, 0, pv_page((const void *)pv_grants));
}

void
pvh_events_init(void)
{
	pv_events_init();
	pvh_set_callback((uint64_t)XEN_HVM_CALLBACK_VECTOR << XEN_HVM_CALLBACK_TYPE_SHIFT |
			 PVH_UPCALL);
}
