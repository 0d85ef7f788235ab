/*
 * What no vCPU can begin with: each field that Xen looks at, wrong by itself.
 */
#include <guest/pv/cpus/cpus.h>

#define NOWHERE 0x800000000000ul     /* not canonical */
#define HOLE    0xffff830000000000ul /* Zeno's */
#define GATE    0x0000ec0000080000ul /* a call gate */

static struct xen_guest_context *g;

static void
is(int expected, const char *what)
{
	int64_t result = vcpu_op(XEN_VCPUOP_initialise, 1, g);

	check(result == -expected, what, (uint64_t)result);
	g = context_for(1, second_entry);
}

static void
addresses(void)
{
	uint64_t *const all[] = { &g->regs.rip,         &g->regs.rsp,          &g->kernel_sp,
				  &g->event_callback,   &g->failsafe_callback, &g->syscall_callback,
				  &g->fs_base,          &g->gs_base_kernel,    &g->gs_base_user,
				  &g->traps[0].address, &g->traps[255].address };

	for (unsigned n = 0; n < sizeof(all) / sizeof(all[0]); n++) {
		*all[n] = NOWHERE;
		is(EINVAL, "an address that is none");
	}
}

static void
tables(void)
{
	static uint64_t page[512] __attribute__((aligned(4096)));
	uint64_t foreign = pv_info->shared_info >> 12; /* it may be mapped, and is no memory */

	g->gdt_entries = 14 * 512 + 1;
	is(EINVAL, "a GDT that reaches Zeno's descriptors");
	g->gdt_frames[0] = 1ul << 40;
	is(EINVAL, "a GDT where there is no memory");
	g->gdt_frames[0] = pv_page((void *)pv_info->pt_base);
	is(EINVAL, "a GDT in a page table");
	page[7] = GATE;
	page[9] = 1ul << 45 | PTE_P; /* as a table: what there is not; as a descriptor: nothing */
	pv_read_only(page);
	g->gdt_frames[0] = pv_page(page);
	if (has_word("gates")) /* allowed: it would begin with that */
		g = context_for(1, second_entry);
	else
		is(EINVAL, "a call gate");
	g->ldt_base = (uint64_t)page + 8;
	is(EINVAL, "an LDT that begins within a page");
	g->ldt_base = (uint64_t)page;
	g->ldt_entries = 8193;
	is(EINVAL, "an LDT of too many");
	g->ldt_base = HOLE;
	g->ldt_entries = 1;
	is(EINVAL, "an LDT in the hole");
	g->ctrlreg[3] = pv_page(page) << 12;
	is(EINVAL, "a root that leads anywhere");
	g->ctrlreg[3] = 1ul << 50;
	is(EINVAL, "a root where there is no memory");
	g->ctrlreg[3] = 0;
	is(EINVAL, "no root");
	g->ctrlreg[3] = foreign << 12;
	is(EINVAL, "a root of Zeno's");
	g->ctrlreg[3] = pv_page(pv_machine_page(((const uint64_t *)pv_info->mfn_list)[0])) << 12;
	is(EINVAL, "a root that is memory");
	g->ctrlreg[1] = 1ul << 50;
	is(EINVAL, "a root of its user's where there is no memory");
	g->flags &= ~XEN_VGCF_IN_KERNEL;
	is(EINVAL, "one that begins as its user, who has no root");
}

void
refused(void)
{
	g = context_for(1, second_entry);
	addresses();
	tables();
	check(vcpu_op(XEN_VCPUOP_initialise, 1, NULL) == -EFAULT, "no context", 0);
	check(vcpu_op(XEN_VCPUOP_initialise, 1, (void *)HOLE) == -EFAULT, "one in the hole", 0);
	check(vcpu_op(XEN_VCPUOP_initialise, 1, (void *)(~0ul - 4095)) == -EFAULT,
	      "one that has no end", 0);
	check(vcpu_op(XEN_VCPUOP_initialise, 0, g) == -EEXIST, "one that runs", 0);
	check(vcpu_op(XEN_VCPUOP_initialise, CPUS + 30, g) == -ENOENT, "one that there is not", 0);
	check(vcpu_op(XEN_VCPUOP_up, 1, NULL) == -EINVAL, "up, and nobody knows from where", 0);
	check(vcpu_op(XEN_VCPUOP_up, ~0ul, NULL) == -ENOENT, "up, of none", 0);
	check(vcpu_op(99, 1, NULL) < 0, "a call that there is not", 0);
	pv_printf("refused: contexts of 25 kinds; it is not up: %ld\n",
		  vcpu_op(XEN_VCPUOP_is_up, 1, NULL));
}
