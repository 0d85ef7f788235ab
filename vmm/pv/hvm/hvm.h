/*
 * Xen's services for a guest on svm or vmx (`start ... xen=1`): a CPU and page tables of its own,
 * and beside them hypercalls, events and time as a PV kernel has them, by the same code.
 *
 * Its devices' platform is wrapped: there is one interrupt more, the upcall, with a vector that the
 * guest chooses, and no acknowledgement; it waits as long as the guest's vcpu_info says so.
 */
#pragma once

#include <inc/xen_hvm.h>
#include <vmm/dev/platform.h>
#include <vmm/pv/events/events.h>
#include <vmm/pv/pv.h>

/* Behind its RAM, where nobody else has anything: frames by which Zeno serves it. */
enum hvm_page { HVM_CONSOLE, HVM_STORE, HVM_PAGES };

/* A domain's: one frame. */
struct hvm {
	struct platform platform; /* that the core sees: that of its devices, and these services */
	const struct platform *base;
	exit_handle_fn *const *engine; /* its engine's handlers, by reason */
	exit_handle_fn *handlers[EXIT_COUNT];
	struct pv *pv; /* of its vCPU */
	struct pv_types *types;
	uint32_t port[HVM_PAGES];
	uint64_t shared_at; /* the guest frame that shows the shared page; HVM_NOWHERE: none */
	uint64_t grants_at[PV_GRANT_FRAMES]; /* ... each of its grant table's */
	uint64_t turn;                       /* 1 + sched_turns when it was last shown the time */
	uint64_t said;                       /* that it calls from code that is not 64 bits wide */
	uint8_t vector;                      /* of its upcall; 0: none yet */
	bool told; /* ... and it has had that, and nobody has looked since */
};
_Static_assert(sizeof(struct hvm) <= PAGE_SIZE, "one frame");
#define HVM_NOWHERE ~0ul

static inline struct hvm *
hvm_of(const struct domain *d)
{
	return pv_domain_of(d)->hvm;
}

static inline uint64_t
hvm_page_gfn(const struct domain *d, enum hvm_page page)
{
	return (d->ram >> PAGE_SHIFT) + page;
}

/*
 * So many frames behind its RAM, and from 4 GiB on, may show something: each may take Zeno two
 * frames for tables. A Linux that has PCI's host bridge finds nothing below 4 GiB that is free.
 */
#define HVM_BEHIND (512ul << 20 >> PAGE_SHIFT)
#define HVM_HIGH   (1ul << 32 >> PAGE_SHIFT)
/* memory.c: where something of others' may be shown: RAM, or behind it where no device is. */
bool hvm_may_show(const struct domain *d, uint64_t g);
/* Another frame, or none, comes behind g. 0; -EBUSY: what is there is used; -ENOMEM. */
int hvm_take_away(struct domain *d, gfn_t g);

/* grants.c: map and unmap what others grant; and all of that is none of the p2m's any more. */
int64_t hvm_grant_op(struct vcpu *v, struct pv_call *c);
void hvm_grants_forget(struct domain *d);

/* memory.c: how Zeno reaches what its pointers and its frames' numbers say. */
extern const struct pv_far hvm_far;
int64_t hvm_memory_op(struct vcpu *v, struct pv_call *c);
mfn_t hvm_frame_granted(uint16_t owner, uint64_t number); /* struct pv_grants */

/* calls.c */
enum verdict hvm_exit_hypercall(struct vcpu *v, struct exit *e);
enum verdict hvm_exit_cpuid(struct vcpu *v, struct exit *e);
bool hvm_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value);

/* hvm.c: an upcall waits, and the guest has said by which vector. */
bool hvm_upcall_is_due(struct vcpu *v);
bool hvm_hears(struct vcpu *v); /* struct pv_far */
