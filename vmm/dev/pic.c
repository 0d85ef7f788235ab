/*
 * Two 8259As in cascade. pic.h says what is modelled, and 8259A which edition.
 */
#include <vmm/dev/pic.h>

#define ICW1_IC4     0x01 /* ICW4 is needed */
#define ICW1_SNGL    0x02 /* no ICW3 */
#define ICW1_LTIM    0x08 /* level triggered, all lines */
#define ICW1         0x10 /* this write to the even port is ICW1 */
#define ICW4_AEOI    0x02
#define ICW4_SFNM    0x10 /* special fully nested mode */
#define OCW2_LEVEL   0x07
#define OCW2_EOI     0x20
#define OCW2_SL      0x40 /* the level is named */
#define OCW2_R       0x80 /* rotate */
#define OCW3         0x08 /* this write to the even port is OCW3 */
#define OCW3_RIS     0x01
#define OCW3_RR      0x02
#define OCW3_P       0x04 /* poll */
#define OCW3_SMM     0x20
#define OCW3_ESMM    0x40
#define POLL_REQUEST 0x80
#define SPURIOUS     7
#define CASCADE_BIT  (1u << PIC_CASCADE)
#define NO_REQUEST   -1

enum { MASTER, SLAVE };

static uint8_t
level_lines(const struct pic_chip *c)
{
	return (c->icw1 & ICW1_LTIM) ? 0xff : c->elcr;
}

/* How far behind the top of the priority order an IR is, 0-7. */
static unsigned
rank(const struct pic_chip *c, unsigned ir)
{
	return (ir - c->lowest - 1) & 7;
}

/* The most urgent IR in set, or NO_REQUEST. */
static int
highest(const struct pic_chip *c, uint8_t set)
{
	unsigned first = (c->lowest + 1u) & 7;
	unsigned turned = (unsigned)(set >> first | set << (8 - first)) & 0xff;

	return turned ? (int)((first + (unsigned)__builtin_ctz(turned)) & 7) : NO_REQUEST;
}

/*
 * The request that INT stands for. One in service holds back its own level and all below; in
 * special mask mode not if it is masked (8259A "Special Mask Mode").
 */
static int
request(const struct pic *p, unsigned which)
{
	const struct pic_chip *c = &p->chip[which];
	uint8_t blocking = c->isr;
	int ir, serving;

	ir = highest(c, c->irr & ~c->imr);
	if (c->special_mask)
		blocking &= ~c->imr;
	/* 8259A "Special Fully Nested Mode" a: a slave in service isn't locked out. */
	if (which == MASTER && (c->icw4 & ICW4_SFNM))
		blocking &= ~CASCADE_BIT;
	serving = highest(c, blocking);
	if (serving != NO_REQUEST && rank(c, serving) <= rank(c, ir))
		return NO_REQUEST;
	return ir;
}

/* Mostly nothing does, and that is asked on every way into a guest. */
static inline bool
asks(const struct pic *p, unsigned which)
{
	return p->chip[which].irr & ~p->chip[which].imr && request(p, which) != NO_REQUEST;
}

/* An input changes: IRR follows a level, and is set by an edge's rise and cleared by its fall. */
static void
set_input(struct pic_chip *c, unsigned ir, bool level)
{
	uint8_t bit = 1u << ir;

	if (!level) {
		c->irr &= ~bit;
		c->lines &= ~bit;
		return;
	}
	if ((level_lines(c) & bit) || !(c->lines & bit))
		c->irr |= bit;
	c->lines |= bit;
}

/* The slave's INT pin is the master's IR2. */
static void
cascade(struct pic *p)
{
	set_input(&p->chip[MASTER], PIC_CASCADE, p->noise || asks(p, SLAVE));
}

/* After a change of LTIM or ELCR: what is level triggered shows its line. */
static void
sample_levels(struct pic_chip *c)
{
	uint8_t levels = level_lines(c);

	c->irr = (c->irr & ~levels) | (c->lines & levels);
}

/* An acknowledged request goes into service; with AEOI it is over at once. */
static void
serve(struct pic_chip *c, unsigned ir)
{
	uint8_t bit = 1u << ir;

	if (!(level_lines(c) & bit))
		c->irr &= ~bit;
	if (!(c->icw4 & ICW4_AEOI))
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = ir;
}

void
pic_set_irq(struct pic *p, unsigned line, bool level)
{
	if (line == PIC_CASCADE)
		p->noise = level;
	else
		set_input(&p->chip[line >> 3 & 1], line & 7, level);
	cascade(p);
}

bool
pic_pending(const struct pic *p)
{
	return asks(p, MASTER);
}

/* Takes what the slave asks for, and lets its INT fall: the next request is an edge again. */
static int
serve_slave(struct pic *p)
{
	int ir = request(p, SLAVE);

	if (ir != NO_REQUEST) {
		serve(&p->chip[SLAVE], ir);
		set_input(&p->chip[MASTER], PIC_CASCADE, false);
	}
	cascade(p);
	return ir;
}

int
pic_ack(struct pic *p)
{
	struct pic_chip *master = &p->chip[MASTER];
	int ir = request(p, MASTER);

	/* 8259A "Interrupt Sequence": no request at the first INTA is answered as an IR7. */
	if (ir == NO_REQUEST)
		return master->base + SPURIOUS;
	serve(master, ir);
	if (ir != PIC_CASCADE)
		return master->base + ir;
	ir = serve_slave(p);
	return p->chip[SLAVE].base + (ir == NO_REQUEST ? SPURIOUS : ir);
}

/* 8259A "Initialization Command Words 1 and 2", what happens automatically: a to f. */
static void
write_icw1(struct pic_chip *c, uint8_t value)
{
	c->icw1 = value;
	c->irr = 0; /* the edge sense circuit is reset: a line that is high must fall first */
	c->isr = 0;
	c->imr = 0;
	c->lowest = 7;
	c->special_mask = 0;
	c->rotate_aeoi = 0;
	c->read_isr = 0;
	c->poll = 0;
	if (!(value & ICW1_IC4))
		c->icw4 = 0;
	c->icw_next = 2;
	sample_levels(c);
}

static void
write_ocw2(struct pic_chip *c, uint8_t value)
{
	int ir = value & OCW2_LEVEL;

	if (!(value & OCW2_EOI)) {
		if ((value & OCW2_R) && (value & OCW2_SL))
			c->lowest = ir; /* set priority */
		else if (!(value & OCW2_SL))
			c->rotate_aeoi = !!(value & OCW2_R);
		return;
	}
	/*
	 * A non-specific EOI ends the most urgent in service; 8259A "Special Mask Mode": one that
	 * is masked is not cleared by it.
	 */
	if (!(value & OCW2_SL))
		ir = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);
	if (ir == NO_REQUEST)
		return;
	c->isr &= ~(1u << ir);
	if (value & OCW2_R)
		c->lowest = ir;
}

static void
write_ocw3(struct pic_chip *c, uint8_t value)
{
	if (value & OCW3_P)
		c->poll = 1;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
	if (value & OCW3_ESMM)
		c->special_mask = !!(value & OCW3_SMM);
}

/* The odd port: the rest of the initialisation sequence, then OCW1. */
static void
write_odd(struct pic_chip *c, uint8_t value)
{
	uint8_t last = (c->icw1 & ICW1_IC4) ? 4 : 0;

	switch (c->icw_next) {
	case 2:
		c->base = value & 0xf8;
		c->icw_next = (c->icw1 & ICW1_SNGL) ? last : 3;
		break;
	case 3:
		c->icw3 = value;
		c->icw_next = last;
		break;
	case 4:
		c->icw4 = value;
		c->icw_next = 0;
		break;
	default:
		c->imr = value;
		break;
	}
}

static void
write_elcr(struct pic_chip *c, uint8_t value, uint8_t mask)
{
	c->elcr = value & mask;
	sample_levels(c);
}

void
pic_write(struct pic *p, uint16_t port, uint8_t value)
{
	struct pic_chip *c = &p->chip[(port & ~1u) == PIC_SLAVE ? SLAVE : MASTER];

	if (port == PIC_ELCR)
		write_elcr(&p->chip[MASTER], value, PIC_ELCR_MASK0);
	else if (port == PIC_ELCR + 1)
		write_elcr(&p->chip[SLAVE], value, PIC_ELCR_MASK1);
	else if ((port & ~1u) != PIC_MASTER && (port & ~1u) != PIC_SLAVE)
		return;
	else if (port & 1)
		write_odd(c, value);
	else if (value & ICW1)
		write_icw1(c, value);
	else if (value & OCW3)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
	cascade(p);
}

/* 8259A "Poll Command": the next read is an acknowledge, of this chip alone. */
static uint8_t
poll(struct pic *p, unsigned which)
{
	struct pic_chip *c = &p->chip[which];
	int ir = request(p, which);

	c->poll = 0;
	if (ir == NO_REQUEST)
		return 0;
	if (which == SLAVE) {
		serve_slave(p);
	} else {
		serve(c, ir);
		cascade(p);
	}
	return POLL_REQUEST | ir;
}

uint8_t
pic_read(struct pic *p, uint16_t port)
{
	unsigned which = (port & ~1u) == PIC_SLAVE ? SLAVE : MASTER;
	const struct pic_chip *c = &p->chip[which];

	if ((port & ~1u) == PIC_ELCR)
		return p->chip[port & 1].elcr;
	if ((port & ~1u) != PIC_MASTER && (port & ~1u) != PIC_SLAVE)
		return 0xff;
	if (c->poll)
		return poll(p, which);
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

void
pic_init(struct pic *p)
{
	struct pic_chip chip = { .imr = 0xff, .lowest = 7, .icw1 = ICW1 | ICW1_IC4, .icw4 = 1 };

	*p = (struct pic){ .version = PIC_VERSION, .chip = { chip, chip } };
	p->chip[MASTER].base = 0x08;
	p->chip[MASTER].icw3 = CASCADE_BIT;
	p->chip[SLAVE].base = 0x70;
	p->chip[SLAVE].icw3 = PIC_CASCADE;
}
