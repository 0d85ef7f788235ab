/* BUILD: kern/sched/thread.c kern/clock.c */
/*
 * Turns and their timer on a machine that stands still at any moment, as an emulator's does when
 * its own host is busy: whatever comes late, each turn has an end, and who sleeps is woken.
 *
 * The scheduler's and the clock's code is the host's. What it may not do here (sti, cli, hlt, in,
 * out, and rdtsc by prctl) faults, and the handler plays the machine: one interrupt line, an 8254
 * on it, and time, which goes on by itself.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include <kern/fpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/sched/sched.h>
#include <kern/trap.h>

#include "draw.h"
#include "tap.h"

#define MS       1000000ul
#define PIT_NS   838ul      /* a count */
#define TOO_LONG (200 * MS) /* a slice is 10 ms, a stall at most that; the next interrupt ends it */
#define LATE     (3 * MS)   /* SCHED_RATE, and a stretch in the guest */
#define TURNS    20000u

const uint8_t fpu_reset[512];
const uint64_t debug_reset[8];
enum cut sched_cut;
uint64_t sched_turns;

static struct {
	uint64_t now;
	bool on, pending; /* interrupts; one waits */
	/* Channel 0: in ns. Channel 2 counts from when it was loaded. */
	uint64_t due, period, loaded;
	uint8_t control, low, reads;
	bool half;
	uint16_t latched;
	void (*irq)(void *);
	bool stalls;
} m = { .due = CLOCK_NEVER };

static void
passes(uint64_t ns)
{
	m.now += ns;
	if (m.stalls && !draw(40))
		m.now += draw(10 * MS);
	if (m.now < m.due)
		return;
	m.pending = true;
	m.due = m.period ? m.now - (m.now - m.due) % m.period + m.period : CLOCK_NEVER;
}

static void
serve(void)
{
	passes(50);
	if (!m.on || !m.pending)
		return;
	m.pending = false;
	m.on = false;
	m.irq(NULL);
	m.on = true;
}

static void
out(uint16_t port, uint8_t value)
{
	uint64_t count;

	if (port == 0x43) {
		if (value == 0x80) {
			m.latched = (uint16_t)(0xffff - (m.now - m.loaded) / PIT_NS);
			return;
		}
		if (value >> 6)
			return;
		m.control = value;
		m.half = false;
		m.due = CLOCK_NEVER; /* 8254, "Mode 0": until the count is there */
	} else if (port == 0x42) {
		m.loaded = m.now;
	} else if (port == 0x40 && !m.half) {
		m.low = value;
		m.half = true;
	} else if (port == 0x40) {
		count = (uint64_t)(m.low | value << 8) * PIT_NS;
		m.period = m.control == 0x34 ? count : 0;
		m.due = m.now + count;
		m.half = false;
	}
}

static uint8_t
in(uint16_t port)
{
	return port == 0x42 ? (uint8_t)(m.latched >> 8 * (m.reads++ & 1)) : 0;
}

static void
instruction(int number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uint8_t *code = (const uint8_t *)r[REG_RIP];

	(void)number;
	(void)info;
	passes(20);
	r[REG_RIP]++;
	switch (*code) {
	case 0xfa: /* cli */
		m.on = false;
		break;
	case 0xfb: /* sti: it works behind the next instruction */
		m.on = true;
		if (code[1] != 0xf4)
			serve();
		break;
	case 0xf4: /* hlt */
		while (!m.pending)
			passes(m.due == CLOCK_NEVER ? MS : m.due > m.now ? m.due - m.now : 1);
		serve();
		break;
	case 0xe6: /* out and in, the port's number behind it or in dx */
	case 0xee:
		out(*code == 0xe6 ? code[1] : (uint16_t)r[REG_RDX], (uint8_t)r[REG_RAX]);
		r[REG_RIP] += *code == 0xe6;
		break;
	case 0xe4:
	case 0xec:
		r[REG_RAX] = in(*code == 0xe4 ? code[1] : (uint16_t)r[REG_RDX]);
		r[REG_RIP] += *code == 0xe4;
		break;
	case 0x0f: /* rdtsc, of 1 GHz */
		if (code[1] == 0x31) {
			r[REG_RIP]++;
			r[REG_RAX] = (uint32_t)m.now;
			r[REG_RDX] = (greg_t)(m.now >> 32);
			break;
		}
		/* fall through */
	default:
		printf("Bail out! what is %02x %02x at %p?\n", code[0], code[1], (void *)code);
		_exit(1);
	}
}

/* ---- what the two files want of the others ---- */

void
irq_register(unsigned line, void (*handler)(void *), void *arg)
{
	(void)line;
	(void)arg;
	m.irq = handler;
}

void
fpu_save(void *area)
{
	(void)area;
}
void
fpu_restore(const void *area)
{
	(void)area;
}
void
debug_registers_save(uint64_t dr[8])
{
	(void)dr;
}
void
debug_registers_restore(const uint64_t dr[8])
{
	(void)dr;
}
void
debug_registers_clear(void)
{
}
void
panic(const char *fmt, ...)
{
	bail_out("panic: %s", fmt);
}

void
watchdog_start(void)
{
}
void
monitor_input(void)
{
}
void
sched_join(struct thread *t)
{
	(void)t;
}
void
sched_leave(struct thread *t)
{
	(void)t;
}
void
sched_charge(struct thread *t, enum turn how)
{
	(void)t;
	(void)how;
	sched_turns++;
}
void
sched_charge_idle(void)
{
}
bool
sched_wakes(const struct thread *t)
{
	(void)t;
	return true;
}

void
sched_turns_to(struct thread *t, enum runs state, uint64_t now)
{
	(void)t;
	(void)state;
	(void)now;
}

struct thread *
sched_choose(struct thread *all, struct thread *last)
{
	struct thread *t = last;

	do {
		t = sched_after(all, t);
		if (t->state == THREAD_READY)
			return t;
	} while (t != last && (last || t->next));
	return NULL;
}

/* ---- one that spins, and one that sleeps ---- */

static uint64_t too_long, alone, latest, sleeps;

/* With interrupts on, for some instructions; somebody or something is to end that. */
static void
in_guest(void)
{
	alone += m.due == CLOCK_NEVER && !m.pending && !need_resched;
	m.on = true;
	for (unsigned n = (unsigned)draw(8); n; n--) {
		m.now += draw(100000);
		serve();
	}
	m.on = false;
}

/* A guest with a timer of its own at times; and a process of the host's works for it. */
static enum turn
spins(struct thread *t)
{
	uint64_t began = m.now;

	(void)t;
	if (draw(2))
		clock_sooner(clock_ns() + draw(10 * MS));
	for (unsigned n = m.stalls && !draw(3) ? (unsigned)draw(40) : 0; n; n--) {
		clock_runs();
		alone += m.due == CLOCK_NEVER && !m.pending;
		in_guest();
	}
	do
		in_guest();
	while (!need_resched && m.now - began < TOO_LONG);
	too_long += !need_resched;
	return TURN_AGAIN;
}

static enum turn
sleeps_on(struct thread *t)
{
	(void)t;
	sleeps++;
	return TURN_BLOCKED;
}

static bool
asked(struct thread *t)
{
	static uint64_t until;
	uint64_t now = clock_ns();

	if (until && now >= until) {
		latest = now - until > latest ? now - until : latest;
		until = 0;
		return true;
	}
	if (!until)
		until = now + draw(draw(2) ? 3 * MS : 40 * MS);
	t->deadline = until;
	return false;
}

static const struct thread_class spinner = { .name = "spins", .turn = spins },
				 sleeper = { .name = "sleeps", .turn = sleeps_on, .ready = asked };

static void
run(const char *what)
{
	static struct thread a, b;

	a = (struct thread){ .class = &spinner };
	b = (struct thread){ .class = &sleeper };
	threads = NULL;
	thread_add(&a);
	thread_add(&b);
	too_long = alone = latest = sleeps = 0;
	for (unsigned n = 0; n < TURNS; n++)
		if (!sched_step())
			sched_sleep();
	ok(!too_long && !alone, "%s: each turn has an end", what);
	if (too_long || alone)
		diag("%lu go on for ever; %lu times the guest runs, and nothing will come",
		     too_long, alone);
	ok(sleeps > TURNS / 20, "... and who sleeps is woken, %lu times", sleeps);
}

int
main(void)
{
	struct sigaction action = { .sa_sigaction = instruction,
				    .sa_flags = SA_SIGINFO | SA_NODEFER };

	plan(6);
	sigaction(SIGSEGV, &action, NULL);
	prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	clock_init();
	ok(clock_tsc_hz() > 990000000 && clock_tsc_hz() < 1010000000, "the clock is measured: %lu",
	   clock_tsc_hz());
	run("a machine that is punctual");
	ok(latest < LATE, "... at most %lu us late", latest / 1000);
	m.stalls = true;
	run("one that stands still at any moment");
	prctl(PR_SET_TSC, PR_TSC_ENABLE);
	return done_testing();
}
