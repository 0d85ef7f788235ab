/*
 * What a frame costs, in instructions of all who have to do with it: under QEMU's -icount the time
 * stamp counter counts them, and the CPU is never idle meanwhile. Minimum, median and maximum of
 * so many; and how often each end was rung for a hundred frames.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>
#include <guest/pv/net/net.h>

#define RUNS   100
#define FLIGHT 16u
#define WAIT   1000000000ul /* ns; only a lost frame takes that long */

static uint64_t samples[RUNS];
static const uint8_t dom0[MAC_SIZE] = { 0, 0x16, 0x3e };

static inline uint64_t
now(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void
sort(void)
{
	for (unsigned n = 1; n < RUNS; n++)
		for (unsigned k = n; k && samples[k - 1] > samples[k]; k--) {
			uint64_t one = samples[k];

			samples[k] = samples[k - 1];
			samples[k - 1] = one;
		}
}

/* Only its head is made anew in a page that has been sent before. */
static void
send_one(const uint8_t *to, unsigned type)
{
	uint8_t *page;

	while (!(page = net_page(&card)))
		net_push(&card);
	memcpy(page, to, MAC_SIZE);
	memcpy(page + MAC_SIZE, card.mac, MAC_SIZE);
	put16(page + 12, type);
	check(!net_send(&card, NET_FRAME), "it is sent", 0);
}

/*
 * So many frames, until all have come back; or, of a type that nobody answers, until dom0 has them.
 */
static void
send_all(const uint8_t *to, unsigned type, unsigned flight)
{
	uint64_t until = pv_now() + WAIT, want = card.got + flight;
	size_t len;

	for (unsigned n = 0; n < flight; n++)
		send_one(to, type);
	net_push(&card);
	while (pv_now() < until) {
		if (type == ETH_LOOP ? card.got == want : net_sent_all(&card))
			return;
		if (!net_take(&card, &len))
			net_sleep(&card, until);
	}
	check(false, "it comes back", type);
}

static void
row(const char *name, const uint8_t *to, unsigned type, unsigned flight)
{
	uint64_t rang = card.rang, rung = card.rung;

	send_all(to, type, flight); /* the ways there are known then */
	for (unsigned n = 0; n < RUNS; n++) {
		uint64_t from = now();

		send_all(to, type, flight);
		samples[n] = (now() - from) / flight;
	}
	sort();
	pv_printf("%s: %lu %lu %lu\n", name, samples[0], samples[RUNS / 2], samples[RUNS - 1]);
	pv_printf("%s, events of 100: %lu out, %lu in\n", name,
		  (card.rang - rang) * 100 / (RUNS * flight),
		  (card.rung - rung) * 100 / (RUNS * flight));
}

void
bench(const uint8_t *peer)
{
	row("frame to dom0", dom0, ETH_NOBODY, 1);
	row("... 16 in flight, each", dom0, ETH_NOBODY, FLIGHT);
	row("frame to dom0 and back", dom0, ETH_LOOP, 1);
	row("... 16 of them, each", dom0, ETH_LOOP, FLIGHT);
	row("frame to a domain and back", peer, ETH_LOOP, 1);
	row("... 16 to it, each", peer, ETH_LOOP, FLIGHT);
}
