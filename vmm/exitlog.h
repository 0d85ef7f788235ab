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

/* One exit as it is remembered: 64 of them make a page. */
struct exit_record {
	uint64_t seq; /* counts from 1 in each vCPU */
	uint64_t rip;
	uint64_t a, b;
	uint16_t reason; /* from here to error as in struct exit: copied in one word */
	uint8_t insn_len;
	uint8_t vector;
	uint32_t error;
	uint16_t insn_op; /* enum insn_op */
	uint16_t ss_attr; /* the guest's CPL is in it */
	uint8_t effect;   /* enum effect */
	uint8_t pad[19];
};
_Static_assert(sizeof(struct exit_record) == 64, "a page holds 64; the trace format depends on it");
#define EXIT_RING 64

struct exit_log {
	struct exit_record ring[EXIT_RING];
};

void exit_log(struct vcpu *v, const struct exit *e);
/* What the handler did, for the record of the exit at hand. The last word counts. */
static inline void
exit_effect(struct vcpu *v, enum effect effect, uint64_t a, uint64_t b)
{
	struct exit_record *r = v->last;

	r->effect = effect;
	r->a = a;
	r->b = b;
}

void exit_words(const struct exit_record *r, char *buf, size_t size);
void exit_print_last(struct vcpu *v, unsigned count);
void exit_summary(struct vcpu *v);
/*
 * To the side channel, where trace=1 or 2 asks for it: exit_streams is that number, 0: nobody
 * listens.
 */
extern unsigned exit_streams;
void exit_stream(struct vcpu *v);
void exit_stream_interrupt(struct vcpu *v, uint8_t vector);
extern const char *const exit_names[EXIT_COUNT];
const char *exit_tag(unsigned reason);
unsigned exit_by_tag(const char *tag); /* enum exit_reason; EXIT_COUNT: none is called so */
const char *vector_short(unsigned vector);
