/*
 * PAM: what is read between 768 KiB and 1 MiB, ROM or RAM, and whether writes come to the RAM; of
 * 13 segments each for itself (440FX 3.2.17 "PAM[6:0]: Programmable Attribute Map Registers").
 *
 *	RE WE	reads	writes
 *	0  0	ROM	nowhere
 *	1  0	RAM	nowhere
 *	0  1	ROM	RAM: exits, one at a time
 *	1  1	RAM	RAM
 *
 * This RAM is not of what mem= gives: on a PC it lies behind the hole, and nothing else leads to
 * it. It has its frames when a segment shows them first. All but the last kind is to the p2m a
 * frame that nobody writes. With shadows PAM does
 * nothing: a frame of RAM is one as long as its domain is.
 */
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/firmware/firmware.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mmu/nested/nested.h>

#define PAM_0     0x59 /* its upper half: f0000-fffff; the lower one is reserved */
#define PAM_READ  1u
#define PAM_WRITE 2u
#define SEGMENTS  12u /* of 16 KiB, two to a register from PAM1 on */
#define SEGMENT   4u  /* frames */
#define FIRST     (PAM_BASE >> PAGE_SHIFT)

/* A mode with nested tables has entered something everywhere: ROM, or ones. */
void
pam_init(struct domain *d)
{
	for (unsigned i = 0; d->nested_format && i < PAM_FRAMES; i++)
		apic_of(d)->firmware->rom[i] = p2m_entry(d, gfn(FIRST + i))->mfn;
}

/* What the p2m has as RAM is freed with it. */
void
pam_free(struct domain *d)
{
	struct firmware *f = apic_of(d)->firmware;

	for (unsigned i = 0; i < PAM_FRAMES; i++)
		if (f->ram[i] && f->how[i] != (PAM_READ | PAM_WRITE))
			frame_put(mfn(f->ram[i]));
}

static unsigned
register_says(const struct pci *p, unsigned frame)
{
	unsigned n = frame / SEGMENT, at = PAM_0, shift = 4;

	if (n < SEGMENTS) {
		at += 1 + n / 2;
		shift *= n % 2;
	}
	return pci_config(p, PCI_HOST_BRIDGE, at, 1) >> shift & (PAM_READ | PAM_WRITE);
}

static void
show(struct domain *d, unsigned i, unsigned how)
{
	struct firmware *f = apic_of(d)->firmware;
	mfn_t m = mfn(f->rom[i]);

	if (how && !f->ram[i]) {
		m = frame_alloc(FRAME_GUEST, d->id);
		if (!mfn_ok(m) && domain_forget(d))
			m = frame_alloc(FRAME_GUEST, d->id);
		if (!mfn_ok(m)) {
			domain_starves(d);
			return;
		}
		f->ram[i] = (uint32_t)m.v;
	}
	f->how[i] = (uint8_t)how;
	m = mfn(how & PAM_READ ? f->ram[i] : f->rom[i]);
	if (f->ram[i])
		m2p_set(mfn(f->ram[i]), M2P_INVALID);
	if (p2m_set(d, gfn(FIRST + i), m, how == (PAM_READ | PAM_WRITE) ? P2M_RAM : P2M_ONES))
		panic("d%u: the p2m has lost a table", d->id); /* ROM stood in it */
	nested_changed(d, gfn(FIRST + i));
}

void
pam_update(struct domain *d)
{
	struct firmware *f = apic_of(d)->firmware;

	for (unsigned i = 0; d->nested_format && i < PAM_FRAMES; i++) {
		unsigned how = register_says(&apic_of(d)->pci, i);

		if (how != f->how[i])
			show(d, i, how);
	}
}

/* Of what the p2m has nothing for: Zeno reads frames that are entered by themselves. */
uint64_t
pam_mmio_read(struct vcpu *v, uint64_t offset, unsigned size)
{
	return ~0ull;
}

/* Within a page: a frame that is not entered as RAM. */
void
pam_mmio_write(struct vcpu *v, uint64_t offset, unsigned size, uint64_t value)
{
	const struct firmware *f = apic_of(v->domain)->firmware;
	unsigned i = offset >> PAGE_SHIFT;

	if (f->how[i] == PAM_WRITE)
		memcpy((uint8_t *)mfn_ptr(mfn(f->ram[i])) + (offset & PAGE_MASK), &value, size);
	else
		v->domain->dropped++;
}
