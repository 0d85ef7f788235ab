/*
 * A domain that dom0 makes: out of a kernel and a ramdisk in dom0's own memory, by the loaders that
 * the monitor's `start` has (loader.c; vmm/load/pvh of one with a CPU of its own).
 *
 * The builder wants a file in one piece, and dom0's frames lie anywhere. So its pages are mapped
 * one behind the other, read-only, in a root that lives for this call. All of dom0's vCPUs wait
 * meanwhile, and nobody else writes its frames: what has been checked is what is used.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/dev/platform.h>
#include <vmm/engine.h>
#include <vmm/load/load.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/pv.h>

#define VIEW     (1ul << 39) /* in that root: its second slot */
#define FILE_MAX (256ul << 20)
#define MIB_MAX  4096u
_Static_assert(ZENO_VCPUS == PV_VCPUS, "as dom0 is told");

static const struct zeno_create *asked; /* by the call that is being done */

static int
load(struct domain *d, const struct domain_config *c)
{
	const struct module *ramdisk = c->modules[0];
	const struct pv_files files = { .kernel = module_bytes(c->module),
					.kernel_size = c->module->size,
					.ramdisk = ramdisk ? module_bytes(ramdisk) : NULL,
					.ramdisk_size = ramdisk ? ramdisk->size : 0,
					.words = module_own_words(c->module),
					.by_dom0 = true,
					.empty = asked->empty,
					.console_pfn = asked->console_pfn,
					.store_pfn = asked->store_pfn };

	return pv_load_files(d, &files);
}

static bool
takes(const struct module *m)
{
	return false; /* nobody comes to it by what an image says */
}

static const struct loader dom0_loader = {
	.name = "dom0's", .engine = "pv", .takes = takes, .load = load
};
SET_ADD(loaders, dom0_loader);

/* A file of the guest's from `*next` on, which moves behind it. 0, -EFAULT, -ENOMEM, -E2BIG. */
static int
show(struct vcpu *v, mfn_t root, uint64_t va, uint64_t size, const char **bytes, uint64_t *next)
{
	uint64_t page = va & ~(uint64_t)PAGE_MASK, end = va + size;
	int err = 0;

	if (size > FILE_MAX)
		return -E2BIG;
	if (!pv_is_guests(va, size))
		return -EFAULT;
	*bytes = size ? (const char *)(*next + (va & PAGE_MASK)) : NULL;
	for (; size && page < end && !err; page += PAGE_SIZE, *next += PAGE_SIZE) {
		const pte_t *entry = pv_entry(pv_of(v)->kernel_root, page);

		if ((page >> PAGE_SHIFT) % PREEMPT_WORK == 0)
			preempt_point();
		if (!entry || (*entry & (PTE_P | PTE_U)) != (PTE_P | PTE_U))
			return -EFAULT;
		err = page_map(root, *next, hpa_to_mfn(hpa(PTE_ADDR(*entry))), PTE_P | PTE_NX);
	}
	return err;
}

/* A CPU of its own, by what this machine has, and a PC's devices. 0, or -ENODEV. */
static int
choose_machine(struct domain_config *config)
{
	static const char *const names[] = { "svm", "vmx" };

	config->engine = NULL;
	for (unsigned n = 0; n < ARRAY_LEN(names) && !config->engine; n++) {
		const struct engine *e = engine_find(names[n]);

		config->engine = e && !e->probe() ? e : NULL;
	}
	config->platform = platform_find("pc-apic");
	config->loader = load_find("pvh");
	config->xen = config->by_dom0 = true;
	return config->engine && config->platform && config->loader ? 0 : -ENODEV;
}

static int64_t
make(struct vcpu *v, const struct zeno_create *c, mfn_t root)
{
	char words[sizeof(c->words) + 8];
	struct module kernel = { .words = words, .size = c->kernel_size };
	struct module ramdisk = { .words = "", .size = c->ramdisk_size };
	struct domain_config config = { .module = &kernel,
					.engine = v->engine,
					.loader = dom0_loader.name,
					.ram = c->mib << 20,
					.vcpus = c->vcpus,
					.words = "" };
	uint64_t next = VIEW;
	struct domain *d;
	int err = c->type == ZENO_PVH ? choose_machine(&config) : 0;

	if (!err)
		err = show(v, root, c->kernel, kernel.size, &kernel.view, &next);
	if (!err)
		err = show(v, root, c->ramdisk, ramdisk.size, &ramdisk.view, &next);
	if (err)
		return err;
	config.modules[0] = ramdisk.size ? &ramdisk : NULL;
	snprintf(kernel.name, sizeof(kernel.name), "%s", c->name);
	snprintf(words, sizeof(words), "x -- %s", c->words); /* as behind its path, all its own */
	write_cr3(mfn_to_hpa(root).v);
	asked = c;
	err = domain_create(&d, &config);
	write_cr3(mfn_to_hpa(host_root).v);
	return err ? err : (int64_t)d->id;
}

/* A name is a word: the monitor prints it. */
static bool
is_name(const char *name, size_t size)
{
	size_t n = 0;

	while (n < size && name[n] > ' ' && name[n] <= '~')
		n++;
	return n && n < size && !name[n] && strcmp(name, "dom0");
}

int64_t
pv_make(struct vcpu *v, const struct zeno_create *c)
{
	mfn_t root;
	int64_t id;

	if (!is_name(c->name, sizeof(c->name)) || c->words[sizeof(c->words) - 1] ||
	    c->note[sizeof(c->note) - 1] || c->mib > MIB_MAX || !c->vcpus || c->vcpus > PV_VCPUS ||
	    c->type > ZENO_PVH || (c->empty && c->type != ZENO_PV))
		return -EINVAL;
	domain_forget(NULL); /* which loads another root, and comes first in domain_create() */
	write_cr3(mfn_to_hpa(host_root).v);
	v->flush = true; /* its own comes back with the next entry */
	root = root_new();
	if (!mfn_ok(root))
		return -ENOMEM;
	id = make(v, c, root);
	root_free(root);
	return id;
}
