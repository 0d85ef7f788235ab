/*
 * The translation cache in words: `tc` in the monitor and GDB. Totals, or one block beside its
 * translation.
 */
#include <inc/errno.h>
#include <vmm/bt/bt.h>
#include <vmm/words/monitor.h>

#define BYTES_SHOWN 18u

static void
hex(char *to, size_t size, const uint8_t *bytes, unsigned n)
{
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < n && i < BYTES_SHOWN; i++)
		used += (size_t)snprintf(to + used, size - used, "%02x", bytes[i]);
	if (n > BYTES_SHOWN)
		snprintf(to + used, size - used, "+%u", n - BYTES_SHOWN);
}

/* What a call-out or a stub of a map's entry is for. */
static void
purpose(struct vcpu *v, const struct bt_block *b, const struct bt_map *m, char *to, size_t size)
{
	static const char *const callouts[] = {
		[BT_CALLOUT] = "call-out",
		[BT_MISS] = "call-out where the table has no entry",
		[BT_PREDICTION] = "call-out, the first time",
		[BT_POLL] = "call-out if an interrupt waits",
	};
	uint8_t stub[BT_STUB_SIZE];
	uint32_t target;

	if (m->kind != BT_CHAIN) {
		bool told = m->kind < ARRAY_LEN(callouts) && callouts[m->kind];

		snprintf(to, size, "%s", told ? callouts[m->kind] : "");
		return;
	}
	bt_code_read(bt_of(v), b->at + m->at, stub, sizeof(stub));
	memcpy(&target, stub + 5, sizeof(target));
	if (m + 1 < b->map + b->maps && m[1].kind == BT_PREDICTION && !target)
		snprintf(to, size, "to the prediction, which there is not yet");
	else
		snprintf(to, size, "to %08x, %s", target,
			 stub[0] == 0xcd ? "not chained" : "chained");
}

/* The line about entry `n` of the block's map. */
static void
entry_line(struct vcpu *v, const struct bt_block *b, unsigned n, char *buf, size_t size)
{
	const struct bt_map *m = &b->map[n];
	unsigned end = n + 1 < b->maps ? b->map[n + 1].at : b->len;
	char ours[48], theirs[48] = "", words[48];
	uint8_t bytes[BYTES_SHOWN], guest[EXIT_INSN_MAX];
	uint32_t eip = b->eip + m->guest;
	const char *name = "";
	struct insn i;
	size_t got;

	bt_code_read(bt_of(v), b->at + m->at, bytes,
		     end - m->at < BYTES_SHOWN ? end - m->at : BYTES_SHOWN);
	hex(ours, sizeof(ours), bytes, end - m->at);
	purpose(v, b, m, words, sizeof(words));
	if (m->guest < b->guest_len && m->kind <= BT_CALLOUT &&
	    (!n || b->map[n - 1].guest != m->guest)) {
		got = bt_fetch(v, bt_of(v)->cs_base + eip, ACCESS_FETCH | ACCESS_PROBE, guest,
			       sizeof(guest));
		if (!decode(&i, guest, got, MODE32)) {
			hex(theirs, sizeof(theirs), guest, i.len);
			name = insn_name(i.op);
		}
	}
	snprintf(buf, size, "  %08x %-16s %-16s %08x %s%s%s", eip, name, theirs,
		 bt_address(v, b->at + m->at), ours, *words ? "  " : "", words);
}

static void
block_line(struct vcpu *v, const struct bt_block *b, char *buf, size_t size)
{
	snprintf(buf, size,
		 "%08x: %u bytes, %u of translation at %08x, entered %u times by the host%s%s",
		 b->eip, b->guest_len, b->len, bt_address(v, b->at), b->entries,
		 b->flags & BT_COMPARED ? ", compared" : "",
		 bt_is_hot(bt_of(v), b->eip) ? ", hot" : "");
}

/*
 * The operation with `rank` others ahead of it by their call-outs; among equals in their own order.
 * 0: none.
 */
static unsigned
at_rank(const struct bt_stats *s, unsigned rank)
{
	for (unsigned op = 1; op < INSN_OP_COUNT; op++) {
		unsigned ahead = 0;

		for (unsigned other = 1; other < INSN_OP_COUNT; other++)
			ahead += s->callouts[other] > s->callouts[op] ||
				 (s->callouts[other] == s->callouts[op] && other < op);
		if (s->callouts[op] && ahead == rank)
			return op;
	}
	return 0;
}

static bool
totals(struct vcpu *v, unsigned line, char *buf, size_t size)
{
	const struct bt *bt = bt_of(v);
	const struct bt_stats *s = &bt->stats;
	unsigned op = 0;

	switch (line) {
	case 0:
		snprintf(buf, size, "%u blocks, %u of %u bytes of code; %u mixed frames",
			 bt->blocks, bt->code_used, BT_CODE_SIZE, bt->mixed_count);
		return true;
	case 1:
		snprintf(
			buf, size,
			"%lu blocks translated from %lu bytes, %lu invalidated, %lu compared; flushed %lu times",
			s->translated, s->guest_bytes, s->invalidated, s->compared, s->flushes);
		return true;
	case 2:
		snprintf(
			buf, size,
			"%lu stubs chained in %lu batches, %lu returns predicted, %lu lookups missed, %lu steps to a boundary, %lu polls",
			s->chained, s->batches, s->predictions, s->misses, s->steps, s->polls);
		return true;
	default:
		op = at_rank(s, line - 3);
		if (!op)
			return false;
		snprintf(buf, size, "  %8u call-outs for %s", s->callouts[op], insn_name(op));
		return true;
	}
}

/* The block that begins at eip; if none does, one with an instruction there. NULL: none has. */
static const struct bt_block *
block_with(struct bt *bt, uint32_t eip)
{
	const struct bt_block *b = bt_lookup(bt, eip);

	for (unsigned n = bt->blocks; !b && n; n--)
		if (!(bt_block(bt, n)->flags & BT_DEAD) &&
		    eip - bt_block(bt, n)->eip < bt_block(bt, n)->guest_len)
			b = bt_block(bt, n);
	return b;
}

/*
 * Line by line, from 0: about the block at eip, about all of the cache for eip 0. False: there are
 * no more.
 */
bool
bt_show(struct vcpu *v, uint64_t eip, unsigned line, char *buf, size_t size)
{
	const struct bt_block *b;

	if (!eip)
		return totals(v, line, buf, size);
	b = block_with(bt_of(v), (uint32_t)eip);
	if (!b || line > b->maps) {
		snprintf(buf, size, "no block has %08lx", eip);
		return !b && !line;
	}
	if (line)
		entry_line(v, b, line - 1, buf, size);
	else
		block_line(v, b, buf, size);
	return true;
}

/* The engine contract: the cache's code, as far as it is in use. */
size_t
bt_peek(struct vcpu *v, uint64_t address, void *buf, size_t len)
{
	uint64_t at = address - bt_address(v, 0), used = bt_of(v)->code_used;

	if (at >= used)
		return 0;
	len = len < used - at ? len : used - at;
	bt_code_read(bt_of(v), (uint32_t)at, buf, len);
	return len;
}

static int
tc(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc - 1, argv + 1);
	char line[200];
	uint64_t eip = 0;

	if (!d)
		return MONITOR_SAID;
	if (!d->vcpu->engine->show) {
		printf("d%u: %s has no translation cache\n", d->id, d->vcpu->engine->name);
		return 0;
	}
	if (argc > 1 && parse_u64(argv[1], &eip))
		return -EINVAL;
	for (unsigned i = 0; d->vcpu->engine->show(d->vcpu, eip, i, line, sizeof(line)); i++)
		printf("%s\n", line);
	return 0;
}
MONITOR_COMMAND(tc, "tc", "[ADDR [ID]]", "the translation cache, or the block at ADDR");
