/*
 * The log of a vCPU's exits: what happened, for the trace and for the last words of a guest
 * (exitlog.c).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vmm/exit.h>
#include <vmm/vcpu.h>

/* What a handler did, in terms of a and b of the record (exitlog.c turns it into words). */
enum effect {
	EFFECT_NONE,
	EFFECT_OUT,
	EFFECT_IN,
	EFFECT_IF,
	EFFECT_HALT,
	EFFECT_CR_READ,
	EFFECT_CR_WRITE,
	EFFECT_DR_READ,
	EFFECT_DR_WRITE,
	EFFECT_TABLE,
	EFFECT_SEGMENT,
	EFFECT_STOP,
	EFFECT_WRITE,
	EFFECT_READ,
	EFFECT_FAR,
	EFFECT_DELIVER,
	EFFECT_IRET,
	EFFECT_FILL,
};

/* One exit as it is remembered: what the engine has made of it, and what the handler did. */
struct exit_record {
	struct exit exit;
	uint64_t a, b;            /* exit_effect() */
	struct exit_record *next; /* the ring's */
	uint8_t effect;           /* enum effect */
	uint8_t ring;             /* the guest's CPL, where somebody streams */
};
#define EXIT_RING (PAGE_SIZE / sizeof(struct exit_record))

void exit_log_init(struct vcpu *v);

/* Where the next exit goes: v->exit. One that gets no record leaves the place to the next. */
static inline struct exit *
exit_place(struct vcpu *v)
{
	return v->exit = &v->last->next->exit;
}

/* A host interrupt gets no record, for it is not the guest's doing: two runs number exits alike. */
static inline void
exit_log(struct vcpu *v, struct exit *e)
{
	uint16_t reason = e->reason;

	v->exits_by[reason]++;
	if (reason == EXIT_IRQ)
		return;
	v->exits++;
	v->last = (struct exit_record *)e; /* it begins with the exit */
	((struct exit_record *)e)->effect = EFFECT_NONE;
}

/* What the handler did, for the record of the exit at hand. The last word counts. */
static inline void
exit_effect(struct vcpu *v, enum effect effect, uint64_t a, uint64_t b)
{
	struct exit_record *r = v->last;

	r->effect = effect;
	r->a = a;
	r->b = b;
}

void exit_words(const struct exit_record *r, uint64_t seq, char *buf, size_t size);
void exit_print_last(struct vcpu *v, unsigned count);
void exit_summary(struct vcpu *v);
/* To the side channel, where trace=1 or 2 asks for it: exit_streams is that; 0: nobody listens. */
extern unsigned exit_streams;
void exit_stream(struct vcpu *v);
void exit_stream_interrupt(struct vcpu *v, uint8_t vector);
extern const char *const exit_names[EXIT_COUNT], *const exit_tags[EXIT_COUNT];
unsigned exit_by_tag(const char *tag); /* enum exit_reason; EXIT_COUNT: none is called so */
const char *vector_short(unsigned vector);
