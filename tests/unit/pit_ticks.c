/* BUILD: vmm/dev/pit.c */
/*
 * The 8254 beside an oracle: a channel that ticks. Every pulse is one call of tick(), straight from
 * the flow of the datasheet's "Mode Definitions" (pit.c names it); it shares no arithmetic with the
 * model.
 */
#include "draw.h"
#include "pit.h"
#include "tap.h"

struct ticking {
	unsigned mode, ce, cr, reload;
	bool out, gate, loaded, armed, trigger, pending, half_high, late, strobed;
};

static void
tick_load(struct ticking *c)
{
	c->ce = c->mode == 3 ? c->cr & ~1u : c->cr;
	c->late = c->mode == 3 && (c->cr & 1) && c->half_high;
	c->loaded = true;
	c->pending = false;
	c->strobed = false;
}

static void
tick_mode3(struct ticking *c)
{
	if (c->ce > 2 || (c->ce == 2 && c->late)) {
		c->ce -= 2;
		return;
	}
	c->half_high = !c->half_high;
	c->out = c->half_high;
	tick_load(c);
}

static void
tick(struct ticking *c)
{
	bool start_now = c->trigger && c->armed;

	c->trigger = false;
	if (c->mode == 1 || c->mode == 5) {
		if (start_now) {
			tick_load(c);
			c->out = c->mode == 5;
			return;
		}
	} else if (c->pending && (!c->loaded || c->mode == 0 || c->mode == 4)) {
		c->half_high = true;
		c->out = c->mode != 0; /* a strobe lasts one pulse, loaded or not */
		tick_load(c);
		return;
	} else if (start_now && (c->mode == 2 || c->mode == 3)) {
		c->half_high = true;
		c->out = true;
		tick_load(c);
		return;
	} else if (!c->gate) {
		return;
	}
	if (!c->loaded)
		return;
	if (c->mode == 3) {
		tick_mode3(c);
	} else if (c->mode == 2) {
		if (c->ce == 1)
			tick_load(c);
		else
			c->ce--;
		c->out = c->ce != 1;
	} else {
		c->ce = (c->ce - 1) & 0xffff;
		if (c->mode <= 1)
			c->out |= c->ce == 0;
		else
			c->out = c->ce != 0 || c->strobed;
		c->strobed |= c->ce == 0;
	}
}

/* One random thing done to both at pulse k, on channel 2. */
static void
random_step(struct ticking *c)
{
	unsigned n = 2 + draw(draw(4) ? 12 : 300);
	bool open;

	switch (draw(4)) {
	case 0:
		*c = (struct ticking){ .mode = draw(6), .gate = c->gate, .ce = c->ce };
		c->out = c->mode != 0;
		out(PIT_CONTROL, CW(2, BOTH, c->mode, 0));
		break;
	case 1:
		c->cr = n;
		c->armed = c->pending = true;
		if (c->mode == 0) {
			c->out = false;
			c->loaded = false;
		}
		count(2, n);
		break;
	default:
		open = draw(2);
		c->trigger |= open && !c->gate;
		if (!open && c->loaded && (c->mode == 2 || c->mode == 3))
			c->out = true;
		c->gate = open;
		gate(open);
		break;
	}
}

int
main(void)
{
	struct ticking c = { .mode = 2, .out = true };
	unsigned long wrong_out = 0, wrong_value = 0, wrong_edges = 0, edges, first = 0;
	bool last = true;

	pit_init(&p, 0);
	k = START;
	gate(false);
	out(PIT_CONTROL, CW(2, BOTH, 2, 0));
	edges = p.ch[2].edges;
	for (unsigned i = 0; i < 40000; i++) {
		if (c.mode != 5 || !c.pending || draw(3))
			random_step(&c);
		edges += c.out && !last;
		last = c.out;
		for (unsigned steps = 1 + draw(20); steps; steps--) {
			k++;
			tick(&c);
			edges += c.out && !last;
			last = c.out;
			if (pit_out(&p, 2, ns(k)) != c.out) {
				wrong_out++;
				first = first ? first : i;
			}
			if (c.loaded && latched(2) != (c.ce & 0xffff)) {
				wrong_value++;
				first = first ? first : i;
			}
		}
		in(PIT_PORT_B); /* brings the state up to k */
		wrong_edges += p.ch[2].edges != edges;
	}
	is_u64(wrong_out, 0, "against a ticking model: OUT, 40000 random steps");
	is_u64(wrong_edges, 0, "against a ticking model: rising edges");
	is_u64(wrong_value, 0, "against a ticking model: the counter");
	if (first)
		diag("first difference at step %lu", first);
	return done_testing();
}
