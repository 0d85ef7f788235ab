/*
 * A domain's console: what the guest says, by lines, and what is typed for it.
 */
#include <vmm/dev/platform.h>
#include <vmm/domain.h>

#define QUIET_TURNS 100

static void
flush_side(struct domain *d)
{
	if (d->side_len && !d->quiet) {
		side_printf("@Z out d%u ", d->id);
		for (unsigned i = 0; i < d->side_len; i++)
			side_printf("%02x", (uint8_t)d->side[i]);
		side_printf("\n");
	}
	d->side_len = 0;
}

static void
flush_line(struct domain *d)
{
	if (!d->quiet)
		printf("d%u| %.*s\n", d->id, (int)d->line_len, d->line);
	d->line_len = 0;
}

/* Bytes go to the side channel as they are, and to the host's console by lines, under the guest's name. */
void
domain_putc(struct domain *d, uint8_t byte)
{
	d->side[d->side_len++] = (char)byte;
	if (byte >= ' ' && byte < 0x7f)
		d->line[d->line_len++] = (char)byte;
	else if (byte != '\n' && byte != '\r')
		d->line_len += snprintf(d->line + d->line_len, 5, "\\x%02x", byte);
	if (byte == '\n' || d->side_len == sizeof(d->side))
		flush_side(d);
	if (byte == '\n' || d->line_len + 5 > sizeof(d->line))
		flush_line(d);
}

/*
 * At the start of each turn: a guest that has said nothing for QUIET_TURNS turns (a second, if it is busy) in the middle
 * of a line waits; a prompt is no line. Turns, not time: a debugger may hold it for as long as it likes.
 */
void
domain_quiet(struct domain *d)
{
	if (!d->line_len || d->quiet_at != d->line_len) {
		d->quiet_at = d->line_len;
		d->quiet_turns = 0;
	} else if (++d->quiet_turns > QUIET_TURNS) {
		domain_flush(d);
	}
}

/* What has been collected and not shown yet. */
void
domain_flush(struct domain *d)
{
	flush_side(d);
	if (d->line_len)
		flush_line(d);
}

/*
 * The next character that is typed into its COM1, -1 if there is none: from input= of its words, `_` is the Enter key, `~` a space.
 * Nobody types before the guest listens: before it has enabled received-data interrupts, or polls (platform.c).
 */
int
domain_input(struct domain *d)
{
	if (!d->input || !*d->input || *d->input == ' ')
		return -1;
	switch (*d->input) {
	case '_':
		return d->input++, '\r';
	case '~':
		return d->input++, ' ';
	default:
		return *d->input++;
	}
}
