/*
 * What domains do with a CPU that they share: `WAY N`, where N is the loop that it spins in
 * (spin.asm); `serve N D` and `ask N D`, `call N D` or `seldom N D`, with domain D.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>

int guest_main(const struct xen_start_info *info);

#define MS   1000000ul
#define US   1000ul
#define TICK (10 * MS) /* of the monitor's */

#define SERVED 4u

void spin_1(uint64_t passes);
void spin_2(uint64_t passes);
void spin_3(uint64_t passes);
void spin_4(uint64_t passes);

static void (*spin)(uint64_t passes);
static unsigned came;
static uint16_t other; /* domain */

static void
take(struct pv_frame *f)
{
	check(f->vector == PV_EVENT, "an upcall", f->vector);
	while (pv_event_next() >= 0)
		came++;
}

static void
spin_until(uint64_t at)
{
	while (pv_now() < at)
		spin(10);
}

static void
sleep_until(uint64_t at)
{
	while (pv_now() < at) {
		pv_timer(at);
		pv_block();
	}
}

static void
spins(void)
{
	for (;;)
		spin(1000);
}

/* It has not wanted the CPU for long. */
static void
comes_late(void)
{
	sleep_until(pv_now() + 500 * MS);
	spins();
}

/* It is never there when the monitor's clock strikes, which is when some look who runs. */
static void
dodges(void)
{
	for (;;) {
		spin_until(pv_now() + TICK - 500 * US);
		sleep_until(pv_now() + 600 * US);
	}
}

static void
yields(void)
{
	for (;;) {
		spin(1);
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	}
}

static void
wakes(void)
{
	for (;;) {
		sleep_until(pv_now() + 50 * US);
		spin(1);
	}
}

static void
calls_itself(void)
{
	struct xen_evtchn_bind_ipi ipi = { 0 };

	check(!pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi), "bind_ipi", 0);
	for (;;) {
		pv_send(ipi.port);
		spin(1);
	}
}

/* Little to do, now and then: how late does it come to it? */
static void
is_brief(void)
{
	uint64_t worst = 0, late;

	for (unsigned n = 0; n < 50; n++) {
		uint64_t at = pv_now() + 7 * MS;

		sleep_until(at);
		late = pv_now() - at;
		worst = late > worst ? late : worst;
		spin_until(pv_now() + 100 * US);
	}
	pv_printf("woken 50 times, at most %lu us late\n", worst / US);
	pv_exit(0);
}

/* One end of a port between two, and each time the other one has sent there. */
static void
wait_at(uint32_t port, unsigned *had)
{
	while (came == *had)
		pv_poll(port, 0);
	*had = came;
}

/* A little work for each question; the port is the first one that is free, behind the timer's. */
static void
serves(void)
{
	struct xen_evtchn_alloc_unbound a = { XEN_DOMID_SELF, other, 0 };
	unsigned had = came;

	check(!pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a) && a.port == SERVED, "its port", a.port);
	for (;;) {
		wait_at(a.port, &had);
		spin(100);
		pv_send(a.port);
	}
}

static uint32_t
to_the_other(void)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = other, .remote_port = SERVED };

	while (pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b)) /* it is not there yet */
		pv_poll(0, pv_now() + MS);
	return b.local_port;
}

static void
asks(void)
{
	uint32_t port = to_the_other();
	unsigned had = came;

	for (;;) {
		pv_send(port);
		wait_at(port, &had);
		spin(1);
	}
}

/* ... and does not wait: for that many passes it has other work. */
static void
calls_each(uint64_t passes)
{
	uint32_t port = to_the_other();

	for (;;) {
		pv_send(port);
		spin(passes);
	}
}

static void
calls(void)
{
	calls_each(100);
}

/* When its turn has been long enough that another one may be let in at once. */
static void
calls_seldom(void)
{
	calls_each(2000);
}

/* Behind this word and a space; NULL: it is another word. */
static const char *
behind(const char *words, const char *word)
{
	while (*word && *words == *word)
		words++, word++;
	return !*word && *words == ' ' ? words + 1 : NULL;
}

int
guest_main(const struct xen_start_info *info)
{
	static void (*const spins_in[])(uint64_t) = { spin_1, spin_2, spin_3, spin_4 };
	static const struct {
		const char *name;
		void (*way)(void);
	} ways[] = {
		{ "spin", spins },          { "dodge", dodges },
		{ "yield", yields },        { "wake", wakes },
		{ "self", calls_itself },   { "brief", is_brief },
		{ "serve", serves },        { "ask", asks },
		{ "call", calls },          { "late", comes_late },
		{ "seldom", calls_seldom },
	};
	struct xen_evtchn_bind_virq b = { .virq = XEN_VIRQ_TIMER };
	const char *words = info->cmd_line, *number;

	pv_init(info);
	pv_events_init();
	pv_handler = take;
	check(!pv_event_op(XEN_EVTCHNOP_bind_virq, &b), "bind_virq", 0);
	pv_vcpu->upcall_mask = 0;
	while (*words == ' ')
		words++;
	for (unsigned n = 0; n < sizeof(ways) / sizeof(ways[0]); n++) {
		number = behind(words, ways[n].name);
		if (!number)
			continue;
		spin = spins_in[(*number - '1') % 4u];
		other = number[1] == ' ' ? (uint16_t)(number[2] - '0') : 0;
		ways[n].way();
	}
	pv_printf("no such way: %s\n", words);
	return 1;
}
