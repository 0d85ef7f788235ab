/* BUILD: guest/pv/lib/events.c -fno-sanitize=all -O2 */
/*
 * pv_event_next() of the PV guests' library: an event comes before each of its instructions in
 * turn, and none is lost. The CPU steps (RFLAGS.TF), and the handler of SIGTRAP is who sends, as
 * xen.h says that it is done. Without sanitizers: each instruction of theirs would be a signal,
 * too.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include <guest/pv/lib/events.h>

#include "tap.h"

#define TF    0x100
#define PORTS 256u
#define NEVER ~0u
#define MOST  5000u /* instructions of one upcall */

const uint64_t pv_event_entry = 0;
const struct xen_start_info *pv_info;
uint8_t virt_base[1];

int64_t
pv_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return 0;
}

int64_t
pv_map(void *va, uint64_t entry)
{
	return 0;
}

static volatile unsigned step, at; /* the event comes before instruction `at` */
static volatile unsigned sent;     /* ... at this port */
static volatile bool stepping, begun, too_many;

static void
send(unsigned port)
{
	uint64_t bit = 1ul << port % 64, floor = 1ul << port / 64;

	if (pv_shared->pending[port / 64] & bit)
		return;
	pv_shared->pending[port / 64] |= bit;
	if (pv_shared->mask[port / 64] & bit || pv_vcpu->pending_sel & floor)
		return;
	pv_vcpu->pending_sel |= floor;
	pv_vcpu->upcall_pending = 1;
}

static void
on_signal(int signal, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	begun |= regs[REG_RIP] == (greg_t)pv_event_next_of;
	if (begun && step++ == at)
		send(sent);
	too_many |= step > MOST;
	if (stepping && step <= at && !too_many)
		regs[REG_EFL] |= TF;
	else
		regs[REG_EFL] &= ~(greg_t)TF;
}

/* One upcall, from its first instruction to its last; how often each port was taken. */
static void
upcall(unsigned *came)
{
	int port;

	step = 0;
	begun = false;
	stepping = at != NEVER;
	raise(SIGUSR1);
	while ((port = pv_event_next()) >= 0)
		came[port]++;
	stepping = false;
}

static void
begin(const unsigned *first)
{
	memset((void *)pv_shared, 0, 4096);
	for (; *first; first++)
		send(*first);
}

/* With these pending, another one comes before instruction n: false if there are not so many. */
static bool
one(const unsigned *first, unsigned port, unsigned n, unsigned *lost, unsigned *twice)
{
	unsigned came[PORTS] = { 0 };
	bool among = false, reached;

	begin(first);
	at = n;
	sent = port;
	upcall(came);
	reached = step > n;
	at = NEVER;
	while (pv_vcpu->upcall_pending) /* as soon as it lets them in */
		upcall(came);
	for (; *first; first++) {
		among |= *first == port;
		*lost += !came[*first];
		*twice += *first != port && came[*first] > 1;
	}
	*lost += reached && !came[port];
	*twice += came[port] > (among ? 2u : 1u);
	for (unsigned word = 0; word < PORTS / 64; word++)
		*lost += pv_shared->pending[word] != 0;
	return reached;
}

int
main(void)
{
	static const unsigned firsts[][4] = { { 3 }, { 200, 70, 3 } };
	static const unsigned others[] = { 3, 4, 2, 71, 130 };
	const struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	unsigned lost = 0, twice = 0, tried = 0;

	sigaction(SIGTRAP, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
	for (unsigned i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++)
		for (unsigned k = 0; k < sizeof(others) / sizeof(others[0]); k++)
			for (unsigned n = 0; one(firsts[i], others[k], n, &lost, &twice); n++)
				tried++;
	ok(tried > 500 && !too_many, "an event before each of %u instructions", tried);
	is_u64(lost, 0, "none is lost");
	is_u64(twice, 0, "none is taken twice");
	return done_testing();
}
