/*
 * What the ways of starting a classic guest share (load.c, coreboot.c).
 */
#pragma once

#include <kern/map.h>
#include <kern/boot/multiboot.h>
#include <kern/paging.h>
#include <vmm/domain.h>
#include <vmm/vcpu.h>

#define LOW_RAM_END 0x9fc00u /* above lies what firmware keeps for itself (firmware.c) */
#define LOW_RAM_TOP 0xa0000u
#define HIGH_RAM    0x100000u

/* Where the boot information goes: the last page but one of conventional memory. */
#define INFO_GPA 0x9e000u

struct boot_page {
	struct multiboot_info info;
	struct multiboot_mmap map[2];
	struct multiboot_module mods[GUEST_MODULES];
	char loader[16];
	char words[512];
	char module_words[GUEST_MODULES][128];
};
_Static_assert(sizeof(struct boot_page) <= PAGE_SIZE, "one page");

#define LOAD_STEP (1ul << 20) /* bytes that are copied between two preemption points */

static inline const uint8_t *
module_bytes(const struct module *m)
{
	return m->view ? (const uint8_t *)m->view : hpa_ptr(hpa(m->paddr));
}

/* What is wrong, of a guest that has memory on demand. */
#define LOAD_NO_MEMORY "the machine has no frame left for its memory"

/* gpa_write() of a whole part of an image (load.c). */
int load_bytes(struct domain *d, uint64_t at, const uint8_t *from, uint64_t size);
void firmware_data(struct domain *d); /* firmware.c */
void coreboot_table(struct domain *d);
void start_registers(struct cpu_state *s, uint16_t cs, uint16_t ds); /* load.c */
const char *load_find(const char *name); /* load.c: the loader of this name; NULL: none */
int linux_load(struct domain *d, const struct module *m, const char *words);
int load_refuse(const struct module *m, const char *why); /* -ENOEXEC, after a line */
/* linux.c: ACPI's tables, where firmware leaves them; *rsdp stays, if the platform has none. */
int load_acpi(struct domain *d, uint32_t *rsdp);

/* words.c */
#define MODULE_OPTIONS 8
struct module_options {
	char text[MODULE_OPTIONS][32];
	char *argv[MODULE_OPTIONS]; /* from the third on, as behind `start NAME`; how many in all */
};
int module_options(const struct module *m, struct module_options *o);
const char *module_own_words(const struct module *m); /* behind its path and options */

/* modules.c: NULL, or what is wrong. From `from` up, each on pages of its own. */
const char *load_modules(struct domain *d, const struct domain_config *c, uint64_t from,
			 struct boot_page *p);
bool has_modules(const struct domain_config *c);

/*
 * Another way to start a kernel: SET_ADD(loaders, pv_loader). An engine's own, which its image asks
 * for; or, without an engine, one that boot= alone names.
 */
struct loader {
	const char *name, *engine;
	bool (*takes)(const struct module *m);
	int (*load)(struct domain *d, const struct domain_config *c); /* as load_guest() */
};
/* defaults.c: engine, platform and loader of c->module where nobody names them. */
void load_defaults(struct domain_config *c);

/*
 * load.c: an image into guest RAM, and registers as its loader has them: multiboot, coreboot or
 * linux; NULL: as boot= at the beginning of the words says, else multiboot.
 */
int load_guest(struct domain *d, const struct domain_config *c);
