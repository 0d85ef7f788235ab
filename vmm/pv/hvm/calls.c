/*
 * Hypercalls of a guest with a CPU of its own, by vmmcall or vmcall; and how it finds them: CPUID's
 * leaves and the page of stubs. There is one table for all kinds of guests (vmm/pv/hypercalls.c);
 * here stands who may have what of it, and what is another thing without page tables of Zeno's.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/thread.h>
#include <vmm/exitlog.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/hvm/hvm.h>
#include <vmm/x86/emulate.h>

#define VERSION           (4u << 16 | 17) /* of the ABI: the public headers' */
#define CPUID1_HYPERVISOR (1u << 31)      /* SDM has it reserved, AMD for this (APM 3 E.3.2) */

/* ---- calls ---- */

#define BIT(name) (1ul << XEN_##name)
/* The others are about page tables, descriptors, traps and rings, which are the guest's own. */
#define AS_FOR_ANY                                                                                 \
	(BIT(set_timer_op) | BIT(xen_version) | BIT(console_io) | BIT(vm_assist) | BIT(sched_op) | \
	 BIT(event_channel_op))

/* What it need not do as on Xen without page tables of its monitor's, and what it has. */
#define FEATURES                                                                        \
	(1u << XEN_FEAT_writable_page_tables | 1u << XEN_FEAT_auto_translated_physmap | \
	 1u << XEN_FEAT_hvm_callback_vector | 1u << XEN_FEAT_hvm_safe_pvclock)

/* The type is in the highest byte: a vector is the only one. 0: none any more. */
static int64_t
set_callback(struct vcpu *v, uint64_t value)
{
	struct hvm *h = hvm_of(v->domain);

	if (value && (value >> XEN_HVM_CALLBACK_TYPE_SHIFT != XEN_HVM_CALLBACK_VECTOR ||
		      (uint8_t)value < IRQ_BASE))
		return -EINVAL;
	h->vector = (uint8_t)value;
	h->told = false;
	v->irq_pending = v->domain->platform->pending(v);
	return 0;
}

static int64_t
get_param(struct vcpu *v, struct xen_hvm_param *p)
{
	const struct hvm *h = hvm_of(v->domain);

	switch (p->index) {
	case XEN_HVM_PARAM_CALLBACK_IRQ:
		p->value = h->vector ? (uint64_t)XEN_HVM_CALLBACK_VECTOR
						       << XEN_HVM_CALLBACK_TYPE_SHIFT |
					       h->vector
				     : 0;
		return 0;
	case XEN_HVM_PARAM_STORE_PFN:
		p->value = hvm_page_gfn(v->domain, HVM_STORE);
		return 0;
	case XEN_HVM_PARAM_CONSOLE_PFN:
		p->value = hvm_page_gfn(v->domain, HVM_CONSOLE);
		return 0;
	case XEN_HVM_PARAM_STORE_EVTCHN:
		p->value = h->port[HVM_STORE];
		return 0;
	case XEN_HVM_PARAM_CONSOLE_EVTCHN:
		p->value = h->port[HVM_CONSOLE];
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t
hvm_op(struct vcpu *v, struct pv_call *c)
{
	struct xen_hvm_param p;
	int64_t err;

	if ((uint32_t)c->arg[0] > XEN_HVMOP_get_param)
		return -ENOSYS;
	if (pv_read(v, &p, c->arg[1], sizeof(p)))
		return -EFAULT;
	if (p.domid != XEN_DOMID_SELF)
		return -EPERM;
	if ((uint32_t)c->arg[0] == XEN_HVMOP_set_param)
		return p.index == XEN_HVM_PARAM_CALLBACK_IRQ ? set_callback(v, p.value) : -EINVAL;
	err = get_param(v, &p);
	return err ? err : pv_write(v, c->arg[1], &p, sizeof(p));
}

/* A wait for a port is none here, for RFLAGS.IF may be off: it looks again, as after any wait. */
static int64_t
sched_op(struct vcpu *v, struct pv_call *c)
{
	if ((uint32_t)c->arg[0] != XEN_SCHEDOP_poll)
		return pv_call(v, c);
	need_resched = true;
	return 0;
}

/* Others begin by INIT and SIPI, as on its machine; and it has no registers of a PV kernel's. */
static int64_t
vcpu_op(struct vcpu *v, struct pv_call *c)
{
	uint32_t op = (uint32_t)c->arg[0];

	if (op == XEN_VCPUOP_initialise || op == XEN_VCPUOP_up || op == XEN_VCPUOP_down)
		return -ENOSYS;
	return pv_call(v, c);
}

/* Its table comes by add_to_physmap. */
static int64_t
grant_table_op(struct vcpu *v, struct pv_call *c)
{
	uint32_t op = (uint32_t)c->arg[0];

	if (op == XEN_GNTTABOP_map_grant_ref || op == XEN_GNTTABOP_unmap_grant_ref)
		return hvm_grant_op(v, c);
	if (op != XEN_GNTTABOP_copy && op != XEN_GNTTABOP_query_size &&
	    op != XEN_GNTTABOP_set_version && op != XEN_GNTTABOP_get_version)
		return -ENOSYS;
	return pv_call(v, c);
}

static int64_t
call(struct vcpu *v, struct pv_call *c)
{
	switch (c->number) {
	case XEN_hvm_op:
		return hvm_op(v, c);
	case XEN_memory_op:
		return hvm_memory_op(v, c);
	case XEN_sched_op:
		return sched_op(v, c);
	case XEN_vcpu_op:
		return vcpu_op(v, c);
	case XEN_grant_table_op:
		return grant_table_op(v, c);
	case XEN_xen_version:
		if ((uint32_t)c->arg[0] == XEN_XENVER_get_features)
			return pv_features(v, c->arg[1], FEATURES);
	}
	if (c->number < XEN_HYPERCALL_COUNT && AS_FOR_ANY >> c->number & 1)
		return pv_call(v, c);
	return pv_call_unknown(v, c->number);
}

/* Its kernel's alone; and of 64 bits, for the structures of others are laid out otherwise. */
static int
may_call(struct vcpu *v)
{
	struct hvm *h = hvm_of(v->domain);

	vcpu_need(v, STATE_SEG | STATE_CR);
	if (vcpu_cpl(v) || !(v->state.cr0 & CR0_PE))
		return -EPERM;
	if (cpu_mode_of(&v->state) == MODE64)
		return 0;
	if (!h->said++)
		printf("d%u %s: a hypercall of code that is not 64 bits wide: -ENOSYS\n",
		       v->domain->id, v->domain->name);
	return -ENOSYS;
}

/* The same registers as for a PV kernel; rip is on the instruction while the call is not done. */
enum verdict
hvm_exit_hypercall(struct vcpu *v, struct exit *e)
{
	static const uint8_t in[] = { RDI, RSI, RDX, R10, R8, R9 };
	struct pv_call c = { .number = v->state.gpr[RAX], .budget = PV_BATCH };
	uint64_t *gpr = v->state.gpr;
	int64_t result = may_call(v);

	for (unsigned n = 0; n < ARRAY_LEN(in); n++)
		c.arg[n] = gpr[in[n]];
	if (!result)
		result = call(v, &c);
	if (c.again) {
		for (unsigned n = 0; n < ARRAY_LEN(in); n++)
			gpr[in[n]] = c.arg[n];
		preempt_point();
		return c.verdict;
	}
	gpr[RAX] = (uint64_t)result;
	vcpu_advance(v, e); /* safe: the call is done, whatever it said */
	return c.verdict;
}

/* ---- who is there ---- */

enum verdict
hvm_exit_cpuid(struct vcpu *v, struct exit *e)
{
	uint32_t leaf = (uint32_t)v->state.gpr[RAX], sub = (uint32_t)v->state.gpr[RCX];
	const uint32_t leaves[XEN_CPUID_LEAVES][4] = {
		{ XEN_CPUID_BASE + XEN_CPUID_LEAVES - 1, XEN_CPUID_EBX, XEN_CPUID_ECX,
		  XEN_CPUID_EDX },
		{ VERSION },
		{ 1, XEN_HYPERCALL_MSR },                              /* one page */
		{ 0, 2, sub ? 0 : (uint32_t)(clock_tsc_hz() / 1000) }, /* its TSC is the CPU's */
		{ XEN_CPUID_VCPU_ID | XEN_CPUID_DOMID, v->number, v->domain->id },
	};
	static const enum gpr at[] = { RAX, RBX, RCX, RDX };
	enum verdict verdict;

	if (leaf - XEN_CPUID_BASE < XEN_CPUID_LEAVES) {
		for (unsigned n = 0; n < ARRAY_LEN(at); n++)
			v->state.gpr[at[n]] = leaves[leaf - XEN_CPUID_BASE][n];
		return vcpu_advance(v, e); /* safe: cpuid writes four registers */
	}
	verdict = hvm_of(v->domain)->engine[EXIT_CPUID](v, e);
	if (leaf == 1)
		v->state.gpr[RCX] |= CPUID1_HYPERVISOR;
	return verdict;
}

/* mov eax, number; vmmcall or vmcall; ret. iret is none of its calls: ud2. */
static void
make_stub(uint8_t stub[XEN_STUB], unsigned number, bool amd)
{
	const uint8_t code[] = {
		0xb8, (uint8_t)number, 0, 0, 0, 0x0f, 0x01, amd ? 0xd9 : 0xc1, 0xc3
	};

	memset(stub, 0xcc, XEN_STUB);
	if (number == XEN_iret)
		memcpy(stub, "\x0f\x0b", 2);
	else if (number < XEN_HYPERCALL_COUNT)
		memcpy(stub, code, sizeof(code));
}

/* False: no page of its memory is there. */
static bool
write_stubs(struct vcpu *v, uint64_t at)
{
	bool amd = !strcmp(v->engine->name, "svm");
	uint8_t stub[XEN_STUB];

	for (unsigned n = 0; n < PAGE_SIZE / XEN_STUB; n++) {
		make_stub(stub, n, amd);
		if (gpa_write(v->domain, gpa(at + n * XEN_STUB), stub, sizeof(stub)))
			return false;
	}
	return true;
}

/* Its low bits are the page's number, of which there is one. */
bool
hvm_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value)
{
	const struct platform *base = hvm_of(v->domain)->base;

	if (n != XEN_HYPERCALL_MSR)
		return base->msr && base->msr(v, n, write, value);
	if (!write)
		return *value = 0, true;
	return !(*value & PAGE_MASK) && write_stubs(v, *value);
}
