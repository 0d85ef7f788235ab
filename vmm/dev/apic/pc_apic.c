/*
 * The platform `pc-apic`: the classic PC with a local APIC in each CPU and an I/O APIC.
 *
 * The devices' lines go to the 8259s as before, and to the pins of the I/O APIC: that of IRQ 0 to
 * pin 2, as on every PC, the others to the pin of their number. Who listens is what the guest has
 * unmasked. The 8259's own output goes to the first CPU's LINT0, which lets it through (ExtINT), as
 * firmware leaves it: a kernel that knows no APIC has its interrupts as on the classic PC.
 *
 * The registers of the APICs stay where they are after power-up. pc_pci.c has the PCI bus.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/apic/acpi.h>
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/apic/startup.h>
#include <vmm/dev/firmware/firmware.h>
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/dev/x2apic/x2apic.h>
#include <vmm/vcpu.h>

#define PIT_IRQ          0
#define PIT_PIN          2
#define APIC_BASE_OTHERS 0xfee00800 /* enabled, and not the first CPU's (SDM 3A figure 11-5) */

/* ---- messages ---- */

static void
message_to(struct vcpu *v, const struct apic_message *m)
{
	switch (m->mode) {
	case APIC_FIXED:
	case APIC_LOWEST:
		lapic_accept(lapic_of(v), m->vector, m->level);
		break;
	case APIC_NMI:
		pc_nmi(v);
		break;
	case APIC_INIT:
		if (!m->deassert && pc_init_ipi(v))
			x2apic_init_ipi(v);
		break;
	case APIC_STARTUP:
		pc_startup_ipi(v, m->vector);
		break;
	default: /* SMI: there is no system management mode; ExtINT: see ioapic.h */
		break;
	}
}

static bool
is_meant(struct vcpu *v, const struct vcpu *from, const struct apic_message *m)
{
	switch (m->shorthand) {
	case APIC_SELF:
		return v == from;
	case APIC_ALL:
		return true;
	case APIC_OTHERS:
		return v != from;
	default:
		return lapic_is_meant(lapic_of(v), m);
	}
}

/* Of those that are meant, for lowest priority: the first of those with the lowest. */
static struct vcpu *
least_busy(struct domain *d, const struct vcpu *from, const struct apic_message *m)
{
	struct vcpu *best = NULL;

	for_each_vcpu(v, d)
	{
		const struct lapic *l = lapic_of(v);

		if (is_meant(v, from, m) && l->svr & SVR_ENABLED &&
		    (!best || lapic_ppr(l) < lapic_ppr(lapic_of(best))))
			best = v;
	}
	return best;
}

/* from: NULL, the I/O APIC. */
static void
deliver(struct domain *d, const struct vcpu *from, const struct apic_message *m)
{
	struct vcpu *one;

	if (m->mode == APIC_LOWEST) {
		one = least_busy(d, from, m);
		if (one)
			message_to(one, m);
		return;
	}
	for_each_vcpu(v, d)
	{
		if (is_meant(v, from, m))
			message_to(v, m);
	}
}

/* ---- registers ---- */

/* Nothing is defined for what is no whole register. */
static bool
is_register(uint64_t offset, unsigned size)
{
	return size == 4 && !(offset & 3);
}

static uint64_t
lapic_mmio_read(struct vcpu *v, uint64_t offset, unsigned size)
{
	v->domain->changed = CHANGED_REQUESTS; /* by the count, or by an error */
	if (lapic_of(v)->off || lapic_of(v)->x2)
		return ~0ul; /* nobody is there */
	if (!is_register(offset, size))
		return 0;
	return lapic_read(lapic_of(v), offset & ~0xful, domain_now(v->domain));
}

/* CR8 is TPR's class (SDM 3A 11.8.6 "Task Priority in IA-32e Mode"). */
static void
show_in_cr8(struct vcpu *v, uint8_t tpr)
{
	vcpu_need(v, STATE_CR);
	v->state.cr8 = tpr >> 4;
	vcpu_changed(v, STATE_CR);
}

static void
take_cr8(struct vcpu *v)
{
	lapic_of(v)->tpr = (uint32_t)v->state.cr8 << 4;
}

void
pc_lapic_write(struct vcpu *v, unsigned reg, uint32_t value)
{
	struct apic_message m;

	if (reg == LAPIC_REG_TPR)
		show_in_cr8(v, (uint8_t)value);
	else if (reg == LAPIC_REG_EOI)
		v->domain->changed = CHANGED_REQUESTS;
	if (reg == LAPIC_REG_LVT)
		pc_tick(v, domain_now(v->domain)); /* before it is masked or not any more */
	switch (lapic_write(lapic_of(v), reg, value, domain_now(v->domain), &m)) {
	case LAPIC_SEND:
		deliver(v->domain, v, &m);
		break;
	case LAPIC_EOI:
		ioapic_eoi(&apic_of(v->domain)->ioapic, m.vector);
		v->domain->changed = CHANGED_LINES; /* a level that is still there comes again */
		break;
	default:
		break;
	}
	if (reg == LAPIC_REG_INITIAL)
		platform_alarm(v->domain);
}

static void
lapic_mmio_write(struct vcpu *v, uint64_t offset, unsigned size, uint64_t value)
{
	if (is_register(offset, size) && !lapic_of(v)->off && !lapic_of(v)->x2)
		pc_lapic_write(v, offset & ~0xfu, (uint32_t)value);
}

/* Its select register has eight bits (82093AA 3.1.1): any access will do that has them. */
static bool
is_ioapic_register(uint64_t offset, unsigned size)
{
	return is_register(offset, size) || (offset == IOAPIC_SELECT && size < 4);
}

/* Eight bytes are two accesses of four. */
static uint64_t
ioapic_mmio_read(struct vcpu *v, uint64_t offset, unsigned size)
{
	if (size == 8 && !(offset & 7))
		return ioapic_mmio_read(v, offset, 4) | ioapic_mmio_read(v, offset + 4, 4) << 32;
	if (!is_ioapic_register(offset, size))
		return 0;
	return ioapic_read(&apic_of(v->domain)->ioapic, offset);
}

static bool
pit_is_wired(const struct pc_apic *p)
{
	return !(p->ioapic.entry[PIT_PIN] & ENTRY_MASKED);
}

/* Edges that came while their pin was masked are lost: nobody gets them later. */
static void
ioapic_mmio_write(struct vcpu *v, uint64_t offset, unsigned size, uint64_t value)
{
	struct pc_apic *p = apic_of(v->domain);
	bool wired = pit_is_wired(p);

	if (size == 8 && !(offset & 7)) {
		ioapic_mmio_write(v, offset, 4, (uint32_t)value);
		ioapic_mmio_write(v, offset + 4, 4, value >> 32);
		return;
	}
	if (!is_ioapic_register(offset, size))
		return;
	ioapic_write(&p->ioapic, offset, (uint32_t)value);
	if (pit_is_wired(p) && !wired)
		pc_forget_edges(&p->pc);
}

static const struct mmio_range mmio[] = {
	{ IOAPIC_BASE, IOAPIC_SIZE, "I/O APIC", ioapic_mmio_read, ioapic_mmio_write },
	{ LAPIC_BASE, LAPIC_SIZE, "local APIC", lapic_mmio_read, lapic_mmio_write },
	{ PAM_BASE, PAM_SIZE, "PAM", pam_mmio_read, pam_mmio_write },
	{ 0 },
};

/* ---- ACPI ---- */

static uint32_t
pm_port_read(struct domain *d, uint16_t at, unsigned size)
{
	return pm_read(&apic_of(d)->pm, at - PM_BASE, size, domain_now(d));
}

/* Of the sleeping states there is one, and nobody wakes from it. */
static void
pm_port_write(struct domain *d, uint16_t at, unsigned size, uint32_t value)
{
	if (pm_write(&apic_of(d)->pm, at - PM_BASE, size, value, domain_now(d)) == PM_S5)
		domain_off(d, "powered off");
}

#define PORTS_MAX 24u
static struct io_range ports[PORTS_MAX]; /* the classic PC's, and three more tables */
static const struct io_range pm_ports[] = {
	{ PM_BASE, PM_TIMER, 2, "ACPI", pm_port_read, pm_port_write },
	{ PM_BASE + PM_TIMER, PM_END - PM_TIMER, 4, "ACPI", pm_port_read, pm_port_write },
	{ 0 },
};

static void
ports_init(void)
{
	const struct io_range *const tables[] = { pc_ports, pm_ports, pc_pci_ports,
						  firmware_ports };
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(tables); i++)
		for (const struct io_range *r = tables[i]; r->count; r++) {
			ASSERT(n + 1 < PORTS_MAX);
			ports[n++] = *r;
		}
}
INITCALL(39, ports_init); /* before io.c asks whose they are */

static size_t
acpi_tables(struct domain *d, uint8_t buf[ACPI_SIZE], uint32_t at)
{
	unsigned cpus = 0;

	for_each_vcpu(v, d) cpus++;
	return acpi_build(buf, at, cpus);
}

/* ---- lines ---- */

/* Whether a CPU has yet to take the last edge of the 8254. */
static bool
pit_waits(struct pc *pc)
{
	struct pc_apic *p = apic_of(pc->domain);
	unsigned vector = p->ioapic.entry[PIT_PIN] & ENTRY_VECTOR;

	if (!pit_is_wired(p))
		return pc_classic.waits(pc);
	for_each_vcpu(v, pc->domain)
	{
		if (lapic_of(v)->irr[vector / 32] >> vector % 32 & 1)
			return true;
	}
	return false;
}

static void
pit_pulse(struct pc *pc)
{
	struct ioapic *io = &apic_of(pc->domain)->ioapic;

	pc_classic.pulse(pc);
	ioapic_set(io, PIT_PIN, true);
	ioapic_set(io, PIT_PIN, false);
}

static const struct pc_wire wire = { pit_waits, pit_pulse };

/* The lines of the 8259s are those of the I/O APIC, but for the 8254's and the cascade's. */
static void
copy_lines(struct pc_apic *p)
{
	uint16_t now = (uint16_t)(p->pc.pic.chip[0].lines | p->pc.pic.chip[1].lines << 8);
	uint16_t changed = (now ^ p->lines) & (uint16_t) ~(1u << PIT_IRQ | 1u << PIC_CASCADE);

	for (unsigned irq = 0; changed >> irq; irq++)
		if (changed >> irq & 1)
			ioapic_set(&p->ioapic, irq, now >> irq & 1);
	p->lines = now;
}

static void
update_lines(struct domain *d)
{
	struct pc_apic *p = apic_of(d);
	struct apic_message m;

	pc_update_lines(d);
	pc_pci_lines(p);
	copy_lines(p);
	for_each_vcpu(v, d) pc_tick(v, p->pc.now);
	while (ioapic_next(&p->ioapic, &m))
		deliver(d, NULL, &m);
}

static bool
takes_8259(const struct vcpu *v)
{
	return !v->number && pic_pending(&pc_of(v->domain)->pic) && lapic_passes_8259(lapic_of(v));
}

static bool
pending(struct vcpu *v)
{
	return lapic_pending(lapic_of(v)) != LAPIC_NONE || takes_8259(v);
}

/* A timer whose last interrupt has been taken has a next one. */
static uint8_t
ack(struct vcpu *v)
{
	uint8_t vector;

	if (lapic_pending(lapic_of(v)) == LAPIC_NONE && takes_8259(v))
		vector = (uint8_t)pic_ack(&pc_of(v->domain)->pic);
	else
		vector = lapic_ack(lapic_of(v));
	platform_alarm(v->domain);
	return vector;
}

static uint64_t
deadline(struct domain *d)
{
	struct pc_apic *p = apic_of(d);
	uint64_t first = CLOCK_NEVER, at;

	_Static_assert(LAPIC_NEVER == CLOCK_NEVER, "");
	if (!pit_is_wired(p))
		first = pc_deadline(d);
	else if (!pit_waits(&p->pc))
		first = pc_next_edge(d);
	at = pc_pci_deadline(p);
	first = at < first ? at : first;
	at = pc_next_key(d);
	first = at < first ? at : first;
	for_each_vcpu(v, d)
	{
		at = pc_timer_deadline(v);
		first = at < first ? at : first;
	}
	return first;
}

/* ---- what CPUID says (SDM 2A "CPUID", APM 3 appendix E) ---- */

#define CPUID1_C_DEADLINE (1u << 24)
#define CPUID1_C_X2APIC   (1u << 21)
#define CPUID1_D_APIC     (1u << 9)
#define CPUID1_D_CORES    (1u << 28) /* more than one logical CPU in the package */

/* Each vCPU is a package of one core; what tells of cores and threads beside it says nothing. */
static void
show_cpuid(struct vcpu *v, uint32_t leaf)
{
	uint64_t *gpr = v->state.gpr, apic = lapic_of(v)->off ? 0 : CPUID1_D_APIC;

	switch (leaf) {
	case 1:
		gpr[RBX] = (gpr[RBX] & 0x00ffffff) | v->number << 24;
		gpr[RCX] |= CPUID1_C_X2APIC | (pc_has_deadlines() ? CPUID1_C_DEADLINE : 0);
		gpr[RDX] = (gpr[RDX] | apic) & ~(uint64_t)CPUID1_D_CORES;
		break;
	case 4:
		gpr[RAX] &= 0x3fff;
		break;
	case 0xb:
		gpr[RAX] = gpr[RBX] = 0;
		gpr[RDX] = v->number;
		break;
	case 0x80000001:
		gpr[RDX] |= apic;
		break;
	}
}

/* ---- the platform ---- */

static int
pc_apic_init(struct domain *d)
{
	struct pc_apic *p;
	mfn_t f;

	_Static_assert(sizeof(*p) <= PAGE_SIZE, "a PC with APICs is one frame");
	if (d->vcpu->next && !pc_has_startup()) {
		printf("platform=pc-apic: this build has one vCPU a guest: more come with Lab 5\n");
		return -EINVAL;
	}
	f = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(f))
		return -ENOMEM;
	d->machine = p = mfn_ptr(f);
	pc_make(&p->pc, d, &wire);
	for (struct vcpu *v = d->vcpu->next; v; v = v->next) {
		ASSERT(v->number < VCPUS_MAX);
		v->state.apic_base = APIC_BASE_OTHERS;
		startup_wait(v);
	}
	pm_init(&p->pm, domain_now(d));
	ioapic_init(&p->ioapic);
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		lapic_init(&p->lapic[i], (uint8_t)i, pc_has_deadlines());
	p->lapic[0].svr |= SVR_ENABLED;
	p->lapic[0].lvt[LVT_LINT0] = LVT_LEVEL | APIC_EXTINT << 8;
	p->lapic[0].lvt[LVT_LINT1] = LVT_LEVEL | APIC_NMI << 8;
	return firmware_init(d) ? -ENOMEM : pc_pci_init(p);
}

static uint8_t claims[LOW_PORTS];

static const struct platform pc_apic_platform = {
	.name = "pc-apic",
	.what = "a classic PC with a local APIC in each CPU, an I/O APIC, and a PCI bus",
	.init = pc_apic_init,
	.free = firmware_free,
	.ports = ports,
	.claims = claims,
	.mmio = mmio,
	.lines = update_lines,
	.pending = pending,
	.ack = ack,
	.deadline = deadline,
	.display = pc_display,
	.punctual = true,
	.disk = true,
	.signals = pc_signals,
	.priority = take_cr8,
	.cpuid = show_cpuid,
	.msr = x2apic_msr,
	.acpi = acpi_tables,
	.firmware = firmware_load,
};
SET_ADD(platforms, pc_apic_platform);
