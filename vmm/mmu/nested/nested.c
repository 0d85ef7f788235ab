/*
 * What the modes "flat" and "nested" have in common: roots, write protection, and the guest's own
 * tables, which the CPU walks by itself.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/nested/nested.h>

#define ENTRIES        512u
#define PDPTE_RESERVED 0x1e6ul

int
nested_init(struct vcpu *v, struct nested_format *format)
{
	struct vcpu *first = v->domain->vcpu;
	uint32_t r[4];

	cpuid(0x80000008, 0, r);
	format->address_bits = r[0] & 0xff;
	v->mmu_data = host_page();
	if (!v->mmu_data)
		return -ENOMEM;
	if (v != first) {
		v->root = first->root;
		return 0;
	}
	v->root = frame_alloc(FRAME_HOST, v->domain->id);
	if (!mfn_ok(v->root))
		return -ENOMEM;
	v->domain->nested_format = format;
	v->domain->nested_less = true; /* an ended guest's may have begun at the same frame */
	if (nested_hole(v->domain))
		return -ENOMEM;
	return v->domain->mmu->nested_init(v);
}

void
nested_free(struct vcpu *v)
{
	if (mfn_ok(v->root) && v == v->domain->vcpu)
		root_free(v->root);
	v->root = MFN_NONE;
	host_page_put(v->mmu_data);
	v->mmu_data = NULL;
}

/*
 * The CPU walks the guest's tables itself. But where Zeno has done the write to a control register
 * and PAE's topmost entries are in registers, it loads these, too, and refuses reserved bits (SDM
 * 3A 4.4.1, table 4-8). AMD's CPU in guest mode reads them with each walk, and looks at their bits
 * there (APM 2 15.25.10); QEMU's even marks them as accessed, which Intel's would refuse.
 */
int
nested_load(struct vcpu *v)
{
	unsigned width = v->domain->nested_format->address_bits;
	struct cpu_state *s = &v->state;
	uint64_t pdpte[4];

	tlb_flush(v);
	if (!v->engine->pae_registers || !(s->cr0 & CR0_PG) || !(s->cr4 & CR4_PAE) ||
	    s->efer & EFER_LMA)
		return 0;
	if (gpa_read(v->domain, gpa(s->cr3 & 0xffffffe0), pdpte, sizeof(pdpte)))
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_LEN(pdpte); i++)
		if (pdpte[i] & PTE_P && pdpte[i] & (PDPTE_RESERVED | ~0ul << width))
			return -EINVAL;
	memcpy(s->pdpte, pdpte, sizeof(pdpte));
	return 0;
}

/* Nobody asks for it: write protection is for the mode "nested" (Lab 5), and for shadows. */
void
nested_protect(struct domain *d, gfn_t g)
{
	panic("d%u: its MMU mode protects no frame", d->id);
}

const char *
nested_wrong(struct domain *d, gpa_t a)
{
	static char words[120];
	pte_t entry = mfn_to_hpa(d->vcpu->root).v;

	for (int level = 4; level; level--) {
		unsigned i = a.v >> (PAGE_SHIFT + 9 * (level - 1)) & (ENTRIES - 1);
		const char *wrong;

		entry = ((pte_t *)hpa_ptr(hpa(PTE_ADDR(entry))))[i];
		wrong = entry ? d->nested_format->wrong(entry, level) : NULL;
		if (wrong) {
			snprintf(words, sizeof(words), "level %d: %lx: %s", level, entry, wrong);
			return words;
		}
		if (!(entry & PTE_P) || (level < 4 && entry & PTE_PS))
			break;
	}
	return "each entry on the way is right";
}

/* 512 or 262,144 frames from `first` on are RAM, and lie so in the machine; nobody tracks one. */
static bool
in_a_row(struct domain *d, uint64_t first, uint64_t count)
{
	const struct p2m_entry *e = p2m_entry(d, gfn(first));
	uint64_t to = e ? e->mfn : 1;

	for (uint64_t i = 0; i < count; i++) {
		e = i % P2M_LEAF_ENTRIES ? e + 1 : p2m_entry(d, gfn(first + i));
		if (i % PREEMPT_WORK == PREEMPT_WORK - 1)
			preempt_point();
		if (!e || e->type != P2M_RAM || e->track || to % count || e->mfn != to + i)
			return false;
	}
	return true;
}

unsigned
nested_row(struct domain *d, gfn_t g, unsigned largest)
{
	unsigned level = largest;

	while (level > 1 && !in_a_row(d, g.v & ~(FRAMES_OF(level) - 1), FRAMES_OF(level)))
		level--;
	return level;
}

void
nested_nothing(struct vcpu *v)
{
}

void
nested_invlpg(struct vcpu *v, gva_t a)
{
	tlb_drop(v, a);
}

bool
nested_in_use(struct vcpu *v, gva_t a)
{
	return false; /* there is no window to be moved */
}

bool
nested_show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size)
{
	struct page_fault fault;
	gpa_t at;

	if (line)
		return false;
	if (nested_walk(v, a, ACCESS_PROBE, &at, &fault))
		snprintf(buf, size, "%lx leads nowhere: #PF(%x)", a.v, fault.error);
	else
		snprintf(buf, size, "%lx leads to guest-physical %lx", a.v, at.v);
	return true;
}
