/*
 * What a PV domain has beside its CPU: the page that it shares with Zeno. To the core this is its
 * platform, whose one interrupt is the upcall. Events, time and dom0 are parts, which labs join:
 * each has its own in the domain, and is asked at these moments.
 */
#pragma once

#include <inc/xen_events.h>
#include <vmm/domain.h>
#include <vmm/pv/builder.h>
#include <vmm/pv/grants.h>
#include <vmm/pv/vcpus.h>

#define PV_HELD (2u + PV_VCPUS) /* console, store, and each vcpu_info */

/* d->pv: one frame. */
struct hvm;
struct pv_events;
struct pv_domain {
	struct xen_shared_info *shared;
	struct pv_events *events; /* events/: NULL: this build has none */
	struct hvm *hvm;          /* hvm/: NULL: a PV kernel */
	mfn_t held[PV_HELD];      /* of the guest's own memory */
	unsigned held_count;
	uint16_t key; /* 1 + what was typed, and looked at before it was asked for; 0: nothing */
	uint8_t shutdown;  /* 1 + the reason that it gave for its end; 0: none */
	uint8_t suspended; /* 1 + the vCPU that has said so last; 0: none has */
	bool returns;      /* it was made empty, and nobody has let it go yet */
	uint32_t away;     /* frames that it has not, of those that it may have */
	uint32_t loose;    /* ... that it has, and no guest frame leads there: pv_place() */
	struct pv_grant_table grants;
};

static inline struct pv_domain *
pv_domain_of(const struct domain *d)
{
	return d->pv;
}

/* Each of these may be NULL. Errors are those of the domain's creation. */
struct pv_call;
struct pv_part {
	/* Before its vCPU, and what it shares with Zeno is there: 0, -ENOMEM. */
	int (*create)(struct domain *d);
	/* Its memory is there, and empty: what start_info says of ports goes into the plan. */
	int (*open)(struct domain *d, struct pv_plan *plan, bool by_dom0);
	/* The monitor has started it: 0, or an error after a line. */
	int (*begin)(struct domain *d);
	void (*free)(struct domain *d);          /* create() may have failed, or not have been */
	void (*runs)(struct vcpu *v, bool runs); /* it has the CPU; another one has it */
	/* Its page tables are to be taken apart: no frame of its is to be loose any more. */
	void (*gather)(struct domain *d);
	/*
	 * It has ended: nobody is to have memory of its any more (which may be asked twice); and
	 * then, when it has no page tables, nor is it to have anybody else's.
	 */
	void (*ended)(struct domain *d);
	void (*unmapped)(struct domain *d);
	/* So often as it uses a frame of any domain's, `step` is added to the frame's counts. */
	void (*count)(uint32_t step);
	/* One of sched_op's that the CPU alone does not know: -ENOSYS. */
	int64_t (*sched_op)(struct vcpu *v, struct pv_call *c);
};
#define PV_PART(part)      SET_ADD(pv_parts, part)
#define PV_PART_RUNS(part) SET_ADD(pv_parts_run, part) /* it has runs(): asked at each switch */

/* domain.c: before its vCPU; 0 or -ENOMEM. It goes with the domain: pv_domain_free(). */
int pv_domain_create(struct domain *d);
void pv_domain_free(struct domain *d);
int pv_domain_open(struct domain *d, struct pv_plan *plan, bool by_dom0);
int pv_domain_begin(struct domain *d);
void pv_domain_gather(struct domain *d);
void pv_domain_ended(struct domain *d);
void pv_domain_unmapped(struct domain *d);
void pv_domain_count(uint32_t step);
int64_t pv_domain_sched_op(struct vcpu *v, struct pv_call *c);
/* Memory of the guest's own that Zeno writes from now on: it stays what it is. False: it is not. */
bool pv_hold(struct vcpu *v, mfn_t m);
void pv_let_go(struct domain *d);
int pv_console_key(struct domain *d); /* services.c: what has been typed next; -1: nothing */

/* This vCPU has the CPU from now on (NULL: none of ours). */
extern struct vcpu *pv_running; /* NULL: none of ours */
void pv_runs(struct vcpu *v);

/* loader.c. What a domain is built from, and from whose files. */
struct pv_files {
	const uint8_t *kernel, *ramdisk;
	uint64_t kernel_size, ramdisk_size;
	const char *words;
	bool by_dom0;
	bool empty; /* to be brought back: no kernel, and its rings are here */
	uint64_t console_pfn, store_pfn;
};
int pv_load_files(struct domain *d, const struct pv_files *f);
