/*
 * Every exit leaves a record: counted by reason, kept in a ring, told in words when the guest ends,
 * and streamed to the side channel where the command line says trace=1 or trace=2.
 */
#include <kern/trap.h>
#include <vmm/domain.h>
#include <vmm/exitlog.h>
#include <vmm/vcpu.h>
#include <vmm/x86/insn.h>

const char *const exit_names[EXIT_COUNT] = {
#define EXIT(name, words) [EXIT_##name] = words,
	EXIT_REASONS(EXIT)
#undef EXIT
};

const char *const exit_tags[EXIT_COUNT] = {
#define EXIT(name, words) [EXIT_##name] = #name,
	EXIT_REASONS(EXIT)
#undef EXIT
};

/* In any case of letters. */
unsigned
exit_by_tag(const char *tag)
{
	unsigned reason = 0, i;

	for (; reason < EXIT_COUNT; reason++) {
		for (i = 0; tag[i] && (tag[i] & ~0x20) == (exit_tags[reason][i] & ~0x20); i++)
			;
		if (!tag[i] && !exit_tags[reason][i])
			break;
	}
	return reason;
}

unsigned exit_streams; /* 1: in words, 2: with all details */

static void
stream_init(void)
{
	const char *level = cmdline_get("trace", "0");

	exit_streams = !strcmp(level, "2") ? 2 : !strcmp(level, "1");
}
INITCALL(50, stream_init);

/* Before its first exit a vCPU has a record as well, which nobody shows. */
void
exit_log_init(struct vcpu *v)
{
	for (unsigned i = 0; i < EXIT_RING; i++)
		v->log[i].next = &v->log[(i + 1) % EXIT_RING];
	v->last = &v->log[EXIT_RING - 1];
}

/* What a handler did: for a program, and in words, which take a, then b. */
static const struct {
	const char *tag, *format;
} effects[] = {
	[EFFECT_NONE] = { "-", NULL },
	[EFFECT_OUT] = { "OUT", ": port %lx <- %lx" },
	[EFFECT_IN] = { "IN", ": port %lx -> %lx" },
	[EFFECT_IF] = { "IF", ": IF=%lu" },
	[EFFECT_HALT] = { "HALT", ": halts" },
	[EFFECT_CR_READ] = { "CR_READ", ": cr%lu -> %08lx" },
	[EFFECT_CR_WRITE] = { "CR_WRITE", ": cr%lu <- %08lx" },
	[EFFECT_DR_READ] = { "DR_READ", ": dr%lu -> %08lx" },
	[EFFECT_DR_WRITE] = { "DR_WRITE", ": dr%lu <- %08lx" },
	[EFFECT_TABLE] = { "TABLE", ": table at %08lx, limit %04lx" },
	[EFFECT_SEGMENT] = { "SEGMENT", ": segment register %lu <- %04lx" },
	[EFFECT_STOP] = { "STOP", ": the guest is stopped" },
	[EFFECT_WRITE] = { "WRITE", ": emulated a write of %lu bytes at %08lx" },
	[EFFECT_READ] = { "READ", ": emulated a read of %lu bytes at %08lx" },
	[EFFECT_FAR] = { "FAR", ": to %04lx:%08lx" },
	[EFFECT_DELIVER] = { "DELIVER", ": vector %02lx to its handler at %08lx" },
	[EFFECT_IRET] = { "IRET", ": back to %04lx:%08lx" },
	[EFFECT_FILL] = { "FILL", ": hidden fault at %08lx, filled" },
};

/* "#GP" or "IRQ 0": the trap that brought us here, in a trace's few columns. */
const char *
vector_short(unsigned vector)
{
	static const char names[][4] = { "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM",
					 "#DF", "#9",  "#TS", "#NP", "#SS", "#GP", "#PF", "#15",
					 "#MF", "#AC", "#MC", "#XM", "#20", "#CP" };

	if (vector < ARRAY_LEN(names))
		return names[vector];
	if (vector >= NO_TRAP)
		return "no trap";
	return vector == CALLOUT_VECTOR ? "call-out" : vector_name(vector);
}

/* One exit in words: "exit 7: #GP at 00100010, cli: IF=0". */
void
exit_words(const struct exit_record *r, uint64_t seq, char *buf, size_t size)
{
	const struct exit *e = &r->exit;
	const char *trap = vector_short(e->vector);
	char effect[64] = "";

	if (r->effect < ARRAY_LEN(effects) && effects[r->effect].format)
		snprintf(effect, sizeof(effect), effects[r->effect].format, r->a, r->b);
	if (e->reason == EXIT_MMU && !r->effect)
		snprintf(buf, size, "exit %lu: %s at %08lx, %s, address %08lx", seq, trap, e->rip,
			 insn_name(e->insn_op), e->gva);
	else
		snprintf(buf, size, "exit %lu: %s at %08lx, %s%s", seq, trap, e->rip,
			 e->insn_len ? insn_name(e->insn_op) : exit_names[e->reason], effect);
}

/* The last `count` exits, oldest first. One place is the next one's. */
void
exit_print_last(struct vcpu *v, unsigned count)
{
	uint64_t n = count < EXIT_RING ? count : EXIT_RING - 1;
	uint64_t at = (uint64_t)(v->last - v->log) + EXIT_RING;
	char line[128];

	if (n > v->exits)
		n = v->exits;
	while (n--) {
		exit_words(&v->log[(at - n) % EXIT_RING], v->exits - n, line, sizeof(line));
		printf("  %s\n", line);
	}
}

void
exit_summary(struct vcpu *v)
{
	printf("d%u %s: %lu exits\n", v->domain->id, v->domain->name, v->exits);
	for (unsigned i = 0; i < EXIT_COUNT; i++)
		if (v->exits_by[i])
			printf("  %8lu  %s\n", v->exits_by[i], exit_names[i]);
}

/*
 * Every field of the record for a program (grade/zeno/tracing/trace.py), and the guest's state
 * behind the exit: where it goes on, its IF, and whether interrupts are held off by an sti.
 */
static void
exit_details(const struct vcpu *v, char *buf, size_t size)
{
	const struct exit_record *r = v->last;
	const struct exit *e = &r->exit;
	const char *effect = r->effect < ARRAY_LEN(effects) ? effects[r->effect].tag : NULL;

	snprintf(buf, size,
		 " | vec=%x err=%x ring=%u effect=%s a=%lx b=%lx next=%08lx if=%u shadow=%u "
		 "insn=%s",
		 e->vector, e->error, r->ring, effect ? effect : "?", r->effect ? r->a : 0,
		 r->effect ? r->b : e->gva, v->state.rip, !!(v->state.rflags & FLAG_IF),
		 v->state.sti_shadow, e->insn_len ? insn_name(e->insn_op) : "-");
}

/*
 * An interrupt of the guest's own came to its handler, behind its last exit: not an exit, but part
 * of the story.
 */
void
exit_stream_interrupt(struct vcpu *v, uint8_t vector)
{
	if (exit_streams > 1)
		side_printf("@Z int d%u %lu %x %08lx\n", v->domain->id, v->exits, vector,
			    v->state.rip);
}

/*
 * The finished record, for whoever listens on the side channel: trace=1 in words, trace=2 with the
 * details behind.
 */
void
exit_stream(struct vcpu *v)
{
	const struct exit *e = &v->last->exit;
	char line[128], details[160] = "";

	if (v->streamed == v->exits) /* a host interrupt has no record */
		return;
	v->streamed = v->exits;
	exit_words(v->last, v->exits, line, sizeof(line));
	if (exit_streams > 1)
		exit_details(v, details, sizeof(details));
	side_printf("@Z exit d%u %lu %s %08lx %u %s%s\n", v->domain->id, v->exits,
		    exit_tags[e->reason], e->rip, e->insn_len, line, details);
}
