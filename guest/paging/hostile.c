/*
 * Page tables that nobody in his right mind would make: hostile=NAME. Those that return 0 must run
 * as on the bare machine; the others must end the guest, and nobody else.
 */
#include "kernel.h"

#define WINDOW  0xffc00000u
#define CROWD   300u /* address spaces, more than there may be shadows */
#define NOWHERE 0x70000000u

/* The walk itself leads to where there is no memory. */
static void
nowhere(void)
{
	write_cr3(NOWHERE);
}

/* Every entry of the page directory leads to the page directory. */
static void
itself(void)
{
	for (uint32_t i = 0; i < 1024; i++)
		*(volatile uint32_t *)(PD + i * 4) = PD | U | W | P;
	write_cr3(PD);
}

/* A page that the host has elsewhere: guest-physical memory ends before it. */
static void
beyond(void)
{
	map(TEST, 0x3fff0000 | U | W | P);
	kernel_access(ACCESS_WRITE, TEST, 0x12345678);
	user_access(ACCESS_WRITE, TEST + 4, 0x12345678);
	say("beyond memory: faults", faults);
}

/*
 * Many page directories, all in use in turn: the shadows that there are room for are never enough.
 */
static void
crowd(void)
{
	uint32_t wrong = 0;

	for (uint32_t round = 0; round < 3; round++)
		for (uint32_t i = 0; i < CROWD; i++) {
			uint32_t pd = 0x500000 + i * 8192, pt = pd + 4096;

			if (!round) {
				memcpy((void *)pd, (void *)PD, 4096);
				memset((void *)pt, 0, 4096);
				((volatile uint32_t *)pd)[TEST >> 22] = pt | U | W | P;
				*(volatile uint32_t *)pt = (DATA + i % 16 * 4096) | U | W | P;
			}
			write_cr3(pd);
			kernel_access(ACCESS_WRITE, TEST + i * 4 % 4096, pd);
			wrong += kernel_access(ACCESS_READ, DATA + i % 16 * 4096 + i * 4 % 4096,
					       0) != pd;
		}
	say("crowd: wrong", wrong);
}

/* The addresses of the VMM window, mapped to the guest's own memory. */
static void
window(void)
{
	map(WINDOW, DATA | U | W | P);
	*(volatile uint32_t *)DATA = 0x77777777;
	kernel_access(ACCESS_WRITE, WINDOW + 4, 0x88888888);
	say("window: read", kernel_access(ACCESS_READ, WINDOW, 0));
	say("window: written", *(volatile uint32_t *)(DATA + 4));
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = { { "nowhere", nowhere },
		{ "itself", itself },
		{ "beyond", beyond },
		{ "crowd", crowd },
		{ "window", window } };

void
hostile(const char *name)
{
	for (uint32_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if (option_is(name, attacks[i].name)) {
			for (uint32_t at = 0x400000; at < 0x800000; at += 4096)
				map(at, at | W | P);
			attacks[i].run();
		}
}
