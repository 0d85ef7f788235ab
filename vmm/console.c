/*
 * A domain's console: what the guest says, by lines, and what is typed for it.
 */
#include <vmm/dev/platform.h>
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
 * name.
 */
void
domain_putc(struct domain *d, uint8_t byte)
{
	d->heard[d->heard_count++ % sizeof(d->heard)] = (char)byte;
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
	if (d->line_len)
		flush_line(d);
}

/*
 * input=TEXT types the text; `_` is the Enter key, `~` a space. input=PROMPT|TEXT waits until the
 * guest has said the prompt, and input=PROMPT|TEXT|PROMPT|TEXT does so again.
 */
void
domain_input_init(struct domain *d)
{
	for (d->input = d->words; *d->input; d->input++)
		if (!strncmp(d->input, "input=", 6)) {
			d->input += 6;
			break;
		}
	for (const char *s = d->input; *s && *s != ' '; s++)
		d->input_prompts |= *s == '|';
	d->input_waits = d->input_prompts;
}

/* What a character of input= stands for. */
static char
meant(char c)
{
	return c == '_' ? '\r' : c == '~' ? ' ' : c;
}

/* Whether what the guest has said ends with what stands at d->input, which is taken then. */
static bool
prompted(struct domain *d)
{
	unsigned n = 0;

	while (d->input[n] && d->input[n] != '|' && d->input[n] != ' ')
		n++;
	if (n > sizeof(d->heard) || n > d->heard_count)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (d->heard[(d->heard_count - n + i) % sizeof(d->heard)] != meant(d->input[i]))
			return false;
	d->input += d->input[n] == '|' ? n + 1 : n;
	d->input_waits = false;
	d->heard_count = 0; /* the next prompt is another one */
	return true;
}

/*
 * The next character that is typed into its COM1, -1 if there is none. Nobody types before the
 * guest listens: before it has enabled received-data interrupts, or polls (pc.c).
 */
int
domain_input(struct domain *d)
{
	if (!d->input || (d->input_waits && !prompted(d)))
		return -1;
	if (*d->input == '|') {
		d->input++;
		d->input_waits = true;
		return -1;
	}
	if (!*d->input || *d->input == ' ')
		return -1;
	return meant(*d->input++);
}
