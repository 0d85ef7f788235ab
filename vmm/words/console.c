/*
 * A domain's console: what the guest says. What is typed for it is in dev/typed.c.
 */
#include <vmm/dev/typed.h>
#include <vmm/domain.h>

#define QUIET_TURNS 100

static void
flush_side(struct domain *d)
{
	if (d->side_len && !d->silent) {
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
	if (!d->silent)
		printf("d%u| %.*s\n", d->id, (int)d->line_len, d->line);
	d->line_len = 0;
}

/*
 * Bytes go to the side channel as they are, and to the host's console by lines, under the guest's
 * name; while a person sits at it, as they are.
 */
void
domain_putc(struct domain *d, uint8_t byte)
{
	bool raw = typed_shows(d, byte);

	typed_hears(d, byte);
	d->side[d->side_len++] = (char)byte;
	if (raw)
		; /* shown */
	else if (byte >= ' ' && byte < 0x7f)
		d->line[d->line_len++] = (char)byte;
	else if (byte != '\n' && byte != '\r')
		d->line_len += snprintf(d->line + d->line_len, 5, "\\x%02x", byte);
	if (byte == '\n' || d->side_len == sizeof(d->side))
		flush_side(d);
	if (!raw && (byte == '\n' || d->line_len + 5 > sizeof(d->line)))
		flush_line(d);
}

/*
 * At the start of each turn: a guest that has said nothing for QUIET_TURNS turns (a second, if it
 * is busy) in the middle of a line waits; a prompt is no line. Turns, not time: a debugger may hold
 * it for as long as it likes.
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
	typed_ends_line(d);
	if (d->line_len)
		flush_line(d);
}
