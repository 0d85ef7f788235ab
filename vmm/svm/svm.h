/*
 * The engine svm: AMD-V. The guest runs in the CPU's guest mode, in whatever mode it likes, and
 * comes back at what the VMCB says that it must not do alone.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#pragma once

#include <vmm/engine.h>
#include <vmm/mmu/nested/nested.h>
#include <vmm/mmu/nested/tags.h>
#include <vmm/svm/rules.h>
#include <vmm/svm/vmcb.h>
#include <vmm/vcpu.h>
#include <vmm/x86/insn.h>

/* fetch.c: an instruction that made an exit, and all that it was found by. */
#define SVM_KNOWN   8u
#define SVM_UNKNOWN (~0ul)
struct svm_known {
	uint64_t at; /* svm_known_at(); SVM_UNKNOWN: there is none */
	uint64_t cr0, cr3;
	uint16_t cs_attr;
	struct nested_trail trail;
	const uint64_t *from; /* the guest's bytes, in the direct map */
	uint64_t bytes;
	struct insn insn;
} __attribute__((aligned(256))); /* so that a shift finds one */

/* A vCPU's: one frame. */
struct svm {
	struct svm_known known[SVM_KNOWN];
	struct vmcb *vmcb; /* v->control, too: vmcb_of() */
	hpa_t vmcb_at;
	hpa_t host_state; /* svm_host_state() */
	struct tag asid;
	uint64_t dr7; /* the guest's; the VMCB's has what may be armed */
	/* mmu=shadow: CPU walks Zeno's tables, and these are the guest's own while it runs */
	bool shadowed;
	struct svm_own {
		uint64_t cr0, cr3, cr4, efer;
	} own;
	struct svm_entered {
		uint64_t rip, cr3, event;
	} entered;          /* what the VMCB had at the entry */
	bool switched_task; /* ... and CR3 is another one now */
	uint32_t tsc_aux;   /* the guest's, which no VMCB has; nor has one these */
	uint64_t cr8, apic_base, xcr0;
	bool hides_lme;                /* the guest's EFER.LME is not in the VMCB */
	uint8_t shadow_kept;           /* exits in a row for which the CPU did not tell of it */
	uint8_t before[SVM_VMCB_USED]; /* for a debugger: the VMCB as the guest was entered last */
};
_Static_assert(sizeof(struct svm) <= 4096, "one frame");

static inline struct svm *
svm_of(struct vcpu *v)
{
	return v->engine_data;
}

static inline struct vmcb *
vmcb_of(const struct vcpu *v)
{
	return v->control;
}

/*
 * features.c: the CPU writes the next rip into the VMCB (CPUID 8000000A, EDX bit 3). QEMU 7.2 does
 * not.
 */
extern bool svm_has_nrip;

/* features.c: what the rules of VMRUN ask this CPU for; true once SVM is on. */
extern struct svm_cpu svm_cpu;
void svm_ask_cpu(void);

/* capability.c: NULL, or what this CPU lacks, in a line. */
const char *svm_probe(void);
/*
 * Turns SVM on, once, with a page for the host's state. 0, -ENOMEM, or -ENOSYS while that is not
 * written.
 */
int svm_turn_on(void);
/* What VMSAVE left of the host: FS, GS, TR, LDTR and the MSRs of syscall and sysenter. */
hpa_t svm_host_state(void);

/* controls.c: what must exit. */
void svm_set_controls(struct vmcb *b);
void svm_make_maps(void);

/* Into the VMCB what every entry takes there. */
static inline void
svm_registers_to_vmcb(struct vcpu *v)
{
	struct vmcb *b = vmcb_of(v);
	const struct cpu_state *s = &v->state;

	b->rax = s->gpr[RAX];
	b->rsp = s->gpr[RSP];
	b->rip = s->rip;
	b->rflags = s->rflags;
}

/* state.c: that, and the groups that have changed; and back what every exit needs. */
void svm_state_to_vmcb(struct vcpu *v);
void svm_state_from_vmcb(struct vcpu *v);
void svm_fetch(struct vcpu *v, unsigned groups);

/*
 * enter.asm: VMRUN with these general registers, of which RAX and RSP are the VMCB's; they have the
 * guest's when it returns.
 */
void svm_enter(uint64_t gpr[GPR_COUNT], hpa_t vmcb, hpa_t host_state);

/*
 * fetch.c: the instruction at rip, behind an exit, with its name and length in *e, too. Good until
 * the next one is asked for. NULL: its bytes are not there, or are none, and this is EXIT_OTHER.
 */
static inline const struct insn *svm_instruction(struct vcpu *v, struct exit *e);
const struct insn *svm_look_for(struct vcpu *v, struct exit *e, struct svm_known *k);
/* Whether it is this one; else it is EXIT_OTHER. */
static inline void svm_must_be(struct vcpu *v, struct exit *e, unsigned op);
void svm_look_whether(struct vcpu *v, struct exit *e, unsigned op);
void svm_forget_instructions(struct svm *s);
const struct insn *svm_insn(struct vcpu *v); /* for access_insn() */

/* exits.c: what the VMCB says of the exit, in neutral words. */
void svm_translate(struct vcpu *v, struct exit *e);

/* show.c: all fields in words, or those whose name begins so; 0. */
int svm_show_vmcb(const struct vmcb *b, const char *wish);

/* shadow.c: mmu=shadow. */
int svm_shadow_init(struct vcpu *v);
void svm_shadow_enter(struct vcpu *v);
void svm_shadow_leave(struct vcpu *v);
bool svm_shadow_translate(struct vcpu *v, struct exit *e); /* false: an exit like any other */

/* event.c */
enum injection svm_inject(struct vcpu *v, const struct event *event);
void svm_window(struct vcpu *v);
/* Of sti and mov ss the VMCB does not tell which one it is; both hold interrupts back. */
void svm_sti_shadow_to_vmcb(struct vcpu *v);
/* That, and what the CPU was delivering when it came back, to be delivered again. */
void svm_take_back(struct vcpu *v);

/* debug.c: what a debugger wants to exit; before an entry under it; what such an exit was. */
void svm_debug_controls(struct vcpu *v);
void svm_debug_entry(struct vcpu *v);
void svm_debug_exit(struct vcpu *v, struct exit *e);
int svm_injected(struct vcpu *v);

/* Where the CPU has fetched from, and a bit too much of it where it cuts that to 32 bits. */
static inline uint64_t
svm_known_at(const struct vmcb *b)
{
	return b->cs.base + b->rip;
}

static inline bool
svm_is_known(const struct svm_known *k, const struct vmcb *b)
{
	const struct nested_trail *t = &k->trail;

	if (k->cs_attr != b->cs.attr || k->cr3 != b->cr3 || k->cr0 != b->cr0)
		return false;
	if (*t->at[0] != t->value[0] || *t->at[1] != t->value[1] ||
	    (t->length > 2 && (*t->at[2] != t->value[2] || *t->at[3] != t->value[3])))
		return false;
	return k->bytes == *k->from;
}

static inline const struct insn *
svm_found(struct exit *e, const struct insn *i)
{
	e->insn_op = i->op;
	e->insn_len = i->len;
	return i;
}

static inline const struct insn *
svm_instruction(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = vmcb_of(v);
	uint64_t at = svm_known_at(b);
	struct svm_known *k = &svm_of(v)->known[at % SVM_KNOWN];

	return k->at == at && svm_is_known(k, b) ? svm_found(e, &k->insn) : svm_look_for(v, e, k);
}

static inline void
svm_must_be(struct vcpu *v, struct exit *e, unsigned op)
{
	const struct vmcb *b = vmcb_of(v);
	uint64_t at = svm_known_at(b);
	const struct svm_known *k = &svm_of(v)->known[at % SVM_KNOWN];

	if (k->at == at && svm_is_known(k, b) && k->insn.op == op)
		svm_found(e, &k->insn);
	else
		svm_look_whether(v, e, op); /* last, so that the usual way saves no register */
}
