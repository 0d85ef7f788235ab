/*
 * What is expected, and what was: a line only where something is wrong, so that a guest's whole
 * output is short.
 */
#include <guest/pv/lib/check.h>

struct pv_frame last;
unsigned wrong;

void
caught(struct pv_frame *f)
{
	last = *f;
	f->rip = (uint64_t)try_back;
	f->rsp = try_rsp;
	f->cs = (f->cs & ~0xfffful) |
		(XEN_FLAT_CS64 & ~3u); /* an iret to others has come here, too */
	f->ss = XEN_FLAT_SS64;
	f->rflags &= ~0x40100ul; /* TF, AC */
}

void
check(bool good, const char *what, uint64_t got)
{
	wrong += !good;
	if (!good)
		pv_printf("WRONG %s: %lx\n", what, got);
}

void
raises(const char *what, void *fn, uint64_t argument, uint64_t vector, uint64_t error)
{
	bool came;

	last.vector = 99;
	came = try(fn, argument);
	check(came && last.vector == vector && last.error == error, what,
	      last.vector << 32 | last.error);
}

bool
has_word(const char *word)
{
	unsigned n;

	for (const char *line = pv_info->cmd_line; *line; line++) {
		for (n = 0; word[n] && line[n] == word[n]; n++)
			;
		if (!word[n])
			return true;
	}
	return false;
}

uint64_t
draw(uint64_t below)
{
	static uint64_t seed = 5;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}
