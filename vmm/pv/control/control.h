/*
 * Domain control: dom0, and what it may do with other domains (inc/control.h).
 *
 * dom0 is the PV guest that the person at the monitor has started under that name; none can be
 * started beside it. Others know it as domain 0. It makes domains out of files in its memory,
 * serves their consoles and stores through pages of theirs that it maps, and lets go of them when
 * they have ended. When it ends itself, all that it has mapped is given back, and its domains go
 * on: the next dom0 finds them.
 */
#pragma once

#include <inc/control.h>
#include <vmm/pv/shared.h>

struct pv_call;
struct pv_types;

/* control.c. By the number that guests use: 0 is dom0. NULL: there is none. */
struct domain *pv_domain_named(uint16_t domid);
struct domain *pv_dom0(void); /* NULL: none is there */
/* A domain that the monitor starts may be dom0; 0, or -EBUSY after a line. It is freed. */
int pv_control_begin(struct domain *d);
void pv_control_forget(struct domain *d);
int64_t pv_call_control(struct vcpu *v, struct pv_call *c);

/* What a domain is built from, and from whose files. */
struct pv_files {
	const uint8_t *kernel, *ramdisk;
	uint64_t kernel_size, ramdisk_size;
	const char *words;
	bool by_dom0;
};
int pv_load_files(struct domain *d, const struct pv_files *f); /* loader.c */

/* make.c. CREATE, behind whose back the host's own root is loaded: a number, or an error. */
int64_t pv_make(struct vcpu *v, const struct zeno_create *c);

/* foreign.c. MAP: 0; -EINVAL: a page table of its, or of dom0's, or no page; -EAGAIN: once more. */
int pv_foreign_map(struct vcpu *v, struct domain *d, uint64_t pfn, uint64_t va, unsigned *budget);
/* How many entries of v's lead to frames of this domain; all other domains': they are none then. */
uint64_t pv_foreign_entries(struct vcpu *v, const struct domain *of);
void pv_foreign_drop(struct vcpu *v);
