/*
 * A guest with a CPU of its own finds its monitor, calls it, and is told where it may not.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/memory.h>
#include <guest/pvh/lib/pvh.h>

#define EPERM  (-1)
#define EFAULT (-14)
#define EINVAL (-22)
#define ENOSYS (-38)

int guest_main(const struct xen_start_info *info);

/* int 128 of ring 3 leads back to its caller. */
static void
handler(struct pv_frame *f)
{
	if (f->vector != 128) {
		pv_printf("exception %lu, error code %lx, at %lx\n", f->vector, f->error, f->rip);
		pv_exit(1);
	}
	f->rip = (uint64_t)pvh_user_back;
	f->cs = 8;
	f->ss = 16;
}

static void
who(void)
{
	uint32_t r[4];

	pvh_cpuid(1, 0, r);
	check(r[2] >> 31, "a hypervisor is there", r[2]);
	pvh_cpuid(XEN_CPUID_BASE, 0, r);
	pv_printf("%lx leaves behind %x\n", (uint64_t)r[0] - XEN_CPUID_BASE, XEN_CPUID_BASE);
	pvh_cpuid(XEN_CPUID_BASE + 1, 0, r);
	pv_printf("version %u.%u\n", r[0] >> 16, r[0] & 0xffff);
	pvh_cpuid(XEN_CPUID_BASE + 4, 0, r);
	check(r[0] & XEN_CPUID_DOMID && r[2], "its number", r[2]);
	pvh_cpuid(XEN_CPUID_BASE + XEN_CPUID_LEAVES, 0, r);
	check(!(r[0] | r[1] | r[2] | r[3]), "a leaf that is none", r[0]);
}

/* Whose structures are page tables, descriptors, traps: it has these itself. And none at all. */
static void
refused(void)
{
	static const uint8_t pv[] = {
		XEN_set_trap_table,    XEN_mmu_update,    XEN_set_gdt,      XEN_stack_switch,
		XEN_set_callbacks,     XEN_set_debugreg,  XEN_get_debugreg, XEN_update_descriptor,
		XEN_update_va_mapping, XEN_iret,          XEN_mmuext_op,    XEN_set_segment_base,
		XEN_callback_op,       XEN_fpu_taskswitch
	};
	static const uint64_t none[] = { 63, 64, 1000, 1ul << 32 | XEN_xen_version, ~0ul };

	for (unsigned n = 0; n < sizeof(pv); n++)
		check(pv_call(pv[n], (uint64_t)pv, 1, 0, 0) == ENOSYS, "a PV kernel's call", pv[n]);
	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++)
		check(pv_call(none[n], 0, 0, 0, 0) == ENOSYS, "no call", none[n]);
}

/* Where it has no memory, or no table, or no address is; and across the end of what it has. */
static void
pointers(void)
{
	static const uint64_t bad[] = { 0x40000000,         0x7ffffffffffc,     0x800000000000,
					0xffff800000000000, 0xffff830000000000, ~0ul - 2,
					0x3ffffffc };
	static uint8_t page[8192] __attribute__((aligned(4096)));
	int64_t got;

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		got = pv_call(XEN_xen_version, XEN_XENVER_extraversion, bad[n], 0, 0);
		check(got == EFAULT, "extraversion", bad[n]);
		got = pv_call(XEN_xen_version, XEN_XENVER_get_features, bad[n], 0, 0);
		check(got == EFAULT, "get_features", bad[n]);
		got = pv_call(XEN_console_io, XEN_CONSOLEIO_write, 16, bad[n], 0);
		check(got == EFAULT, "console_io", bad[n]);
		for (unsigned op = XEN_HVMOP_set_param; op <= XEN_HVMOP_get_param; op++)
			check(pv_call(XEN_hvm_op, op, bad[n], 0, 0) == EFAULT, "hvm_op", bad[n]);
		check(pvh_memory_op(XEN_XENMEM_memory_map, (void *)bad[n]) == EFAULT, "memory_op",
		      bad[n]);
	}
	/* its hole and behind its memory: nothing can be written there */
	check(pv_call(XEN_xen_version, XEN_XENVER_capabilities, 0xa0000, 0, 0) == EFAULT, "ones",
	      0);
	check(pv_call(XEN_xen_version, XEN_XENVER_capabilities, 0x9fe00, 0, 0) == EFAULT,
	      "the hole's edge", 0);
	check(!pv_call(XEN_xen_version, XEN_XENVER_capabilities, (uint64_t)page + 4000, 0, 0) &&
		      page[4000] == 'x' && page[4096] == 0,
	      "across two pages", page[4000]);
}

/* What it gives back, and gets again: by its own frames' numbers. */
static void
memory(void)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	const uint64_t g = pv_page(page), console = pv_info->console_mfn;
	const uint64_t none[] = { 0xa0, 0xff, 0xfee00, console, 1u << 20, 1ul << 40, ~0ul };
	int64_t all = pv_reserved(XEN_XENMEM_current_reservation);
	volatile uint8_t *at = page;

	*at = 1;
	check(pv_reserve(XEN_XENMEM_decrease_reservation, &g, 1, 0) == 1 && *at == 0xff,
	      "given back", *at);
	*at = 1;
	check(*at == 0xff, "nothing can be written there", *at);
	check(pv_call(XEN_xen_version, XEN_XENVER_extraversion, (uint64_t)page, 0, 0) == EFAULT,
	      "nor by the monitor", 0);
	check(pv_reserved(XEN_XENMEM_current_reservation) == all - 1 &&
		      pv_reserved(XEN_XENMEM_maximum_reservation) == all,
	      "one less", (uint64_t)all);
	check(!pv_reserve(XEN_XENMEM_decrease_reservation, &g, 1, 0), "once alone", g);
	check(pv_reserve(XEN_XENMEM_populate_physmap, &g, 1, 0) == 1 && !*at, "as new", *at);
	check(!pv_reserve(XEN_XENMEM_populate_physmap, &g, 1, 0), "more than it was made with", g);
	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++)
		check(!pv_reserve(XEN_XENMEM_decrease_reservation, &none[n], 1, 0), "no memory",
		      none[n]);
	check(pv_reserve(XEN_XENMEM_decrease_reservation, &g, 1, 0) == 1 &&
		      !pvh_show(XEN_XENMAPSPACE_shared_info, 0, g) &&
		      pv_reserved(XEN_XENMEM_current_reservation) == all,
	      "a page of Zeno's comes in its place", *at);
}

int
guest_main(const struct xen_start_info *info)
{
	struct xen_feature_info f = { 0 };
	char extra[16];

	pv_handler = handler;
	pv_printf("a kernel with a CPU of its own: %s\n", info->cmd_line);
	who();
	pv_call_by_page(XEN_xen_version, XEN_XENVER_extraversion, (uint64_t)extra, 0);
	pv_call(XEN_xen_version, XEN_XENVER_get_features, (uint64_t)&f, 0, 0);
	pv_printf("extraversion %s, features %x\n", extra, f.submap);
	refused();
	pointers();
	memory();
	pv_printf("ring 3: %ld, 32 bits: %ld\n", pvh_user_call(XEN_xen_version),
		  pvh_call32(XEN_xen_version));
	pv_printf("wrong: %u\n", wrong);
	return wrong;
}
