/*
 * The domain builder's end in Zeno: it fills a domain's memory, and says what the vCPU begins with.
 */
#include <inc/errno.h>
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/builder.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

/* Asked for each entry of a table, too. */
static uint8_t *
page(void *ctx, uint64_t pfn)
{
	static unsigned asked;
	size_t len = PAGE_SIZE;

	if (++asked % PREEMPT_WORK == 0)
		preempt_point();
	return gpa_ptr(ctx, gfn_to_gpa(gfn(pfn)), &len);
}

static uint64_t
frame_number(void *ctx, uint64_t pfn)
{
	return p2m_entry(ctx, gfn(pfn))->mfn;
}

static const struct pv_ops ops = { .page = page, .mfn = frame_number };

void
pv_flat_registers(struct cpu_state *s)
{
	const uint16_t any = ATTR_P | ATTR_S | ATTR_RW | ATTR_A | 3 << 5;

	start_registers(s, 0, 0);
	memset(s->seg, 0, sizeof(s->seg));
	s->seg[SEG_CS] = (struct segment){ .sel = XEN_FLAT_CS64,
					   .attr = any | ATTR_CODE | ATTR_L | ATTR_G,
					   .limit = 0xffffffff };
	s->seg[SEG_SS] = (struct segment){ .sel = XEN_FLAT_SS64,
					   .attr = any | ATTR_DB | ATTR_G,
					   .limit = 0xffffffff };
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s->rflags = FLAG_ONE | FLAG_IF;
}

static void
registers(struct cpu_state *s, const struct pv_start *start, mfn_t root)
{
	pv_flat_registers(s);
	s->cr3 = mfn_to_hpa(root).v;
	s->rip = start->rip;
	s->gpr[RSP] = start->rsp;
	s->gpr[RSI] = start->rsi;
}

/* The hole is in each root: Zeno's own tables, and the M2P as guests see it. */
static int
know_hole(struct vcpu *v)
{
	pte_t *hole = pv_of(v)->types->hole;
	mfn_t m2p = pv_m2p_table();

	if (!mfn_ok(m2p))
		return -ENOMEM;
	memcpy(hole, root_slot(host_root, HOLE_FIRST_SLOT), sizeof(pv_of(v)->types->hole));
	hole[0] = mfn_to_hpa(m2p).v | PTE_P | PTE_U | PTE_A | PTE_NX;
	return 0;
}

/* What is to be in its memory, and where. 0, or -ENOEXEC after a line. */
static int
make_plan(struct pv_plan *plan, struct pv_image *image, const struct domain *d,
	  const struct pv_files *f)
{
	uint64_t pages = d->ram >> PAGE_SHIFT;
	const char *wrong;

	*plan = (struct pv_plan){ .console_pfn = f->console_pfn, .store_pfn = f->store_pfn };
	if (f->empty)
		return f->console_pfn < pages && f->store_pfn < pages ? 0 : -EINVAL;
	wrong = pv_read_image(image, f->kernel, f->kernel_size);
	if (!wrong)
		wrong = pv_make_plan(plan, image, pages, f->ramdisk, f->ramdisk_size);
	if (wrong)
		printf("%s: not a guest that can be started: %s\n", d->name, wrong);
	return wrong ? -ENOEXEC : 0;
}

/* Whoever has had an empty one made says what it begins with, of its first vCPU, too. */
static int
begin(struct domain *d, const struct pv_files *f, const struct pv_plan *plan)
{
	struct vcpu *v = d->vcpu;
	int err = know_hole(v);
	struct pv_start start;

	if (f->empty) { /* all ports masked, as Xen's tools have it: which are not its kernel says */
		memset(pv_domain_of(d)->shared->mask, 0xff, sizeof(pv_domain_of(d)->shared->mask));
		pv_of(v)->initialised = false;
		v->state.activity = ACTIVITY_WAITS_FOR_SIPI;
		return err;
	}
	start = pv_build(plan, &ops, d, mfn_to_hpa(ptr_mfn(pv_domain_of(d)->shared)).v, f->words);
	if (!err)
		err = pv_types_begin(v, mfn(frame_number(d, start.root_pfn)));
	registers(&v->state, &start, v->root);
	return err;
}

int
pv_load_files(struct domain *d, const struct pv_files *f)
{
	struct vcpu *v = d->vcpu;
	struct pv_image image;
	struct pv_plan plan;
	int err = make_plan(&plan, &image, d, f);

	if (err)
		return err;
	err = pv_domain_create(d);
	if (!err && v->next && !pv_domain_of(d)->events) {
		printf("%s: to start a second vCPU is one of Lab 7's calls: vcpus=1\n", d->name);
		return -EINVAL;
	}
	for (struct vcpu *each = v; each && !err; each = each->next)
		err = pv_create(each);
	if (!err)
		err = pv_domain_open(d, &plan, f->by_dom0);
	return err ? err : begin(d, f, &plan);
}

static int
pv_load(struct domain *d, const struct domain_config *c)
{
	const struct module *m = c->module, *initrd = c->modules[0];
	struct pv_files files = {
		.kernel = hpa_ptr(hpa(m->paddr)),
		.kernel_size = m->size,
		.ramdisk = initrd ? hpa_ptr(hpa(initrd->paddr)) : NULL,
		.ramdisk_size = initrd ? initrd->size : 0,
	};
	char words[512];
	int err;

	if (strcmp(c->engine->name, "pv")) {
		printf("%s: a PV kernel, by its notes: engine=pv\n", m->name);
		return -EINVAL;
	}
	if (d->platform) {
		printf("%s: a PV kernel has no platform\n", m->name);
		return -EINVAL;
	}
	snprintf(words, sizeof(words), "%s%s%s", module_own_words(m), *c->words ? " " : "",
		 c->words);
	files.words = words;
	err = pv_load_files(d, &files);
	return err ? err : pv_domain_begin(d);
}

static bool
takes(const struct module *m)
{
	return pv_is_image(hpa_ptr(hpa(m->paddr)), m->size);
}

static const struct loader pv_loader = {
	.name = "pv", .engine = "pv", .takes = takes, .load = pv_load
};
SET_ADD(loaders, pv_loader);
