/*
 * A multiboot kernel's modules: files that lie in its memory when it starts (Multiboot
 * Specification 0.6.96, section 3.3 "mods_addr"). `start NAME module=A module=B` names boot modules
 * of Zeno's; each keeps the words that it was given there.
 */
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>

bool
has_modules(const struct domain_config *c)
{
	return c->modules[0];
}

/* The kernel's end is known, but not what it needs behind: as elsewhere, it has to look. */
const char *
load_modules(struct domain *d, const struct domain_config *c, uint64_t from, struct boot_page *p)
{
	unsigned n = 0;

	if (from < HIGH_RAM)
		from = HIGH_RAM;
	for (; n < GUEST_MODULES && c->modules[n]; n++) {
		const struct module *m = c->modules[n];

		from = (from + PAGE_SIZE - 1) & ~(uint64_t)PAGE_MASK;
		if (from + m->size > d->ram)
			return "there is no room for its modules: give it more with mem=";
		if (load_bytes(d, from, module_bytes(m), m->size))
			return "a module lies where the guest has no memory";
		snprintf(p->module_words[n], sizeof(p->module_words[n]), "%s", m->words);
		p->mods[n] = (struct multiboot_module){
			.start = (uint32_t)from,
			.end = (uint32_t)(from + m->size),
			.cmdline = INFO_GPA + offsetof(struct boot_page, module_words[n]),
		};
		from += m->size;
	}
	p->info.flags |= n ? MULTIBOOT_INFO_MODS : 0;
	p->info.mods_count = n;
	p->info.mods_addr = INFO_GPA + offsetof(struct boot_page, mods);
	return NULL;
}
