/*
 * Who types into a guest's COM1, or, with keys=keyboard, at its keyboard: the words that it was
 * started with, and a person.
 *
 * input=TEXT types the text; `_` is the Enter key, `~` a space. input=PROMPT|TEXT waits until the
 * guest has said the prompt, and input=PROMPT|TEXT|PROMPT|TEXT does so again.
 *
 * A person sits at the guest that the monitor waits for (`start`, `console`). She has the line as
 * soon as the guest listens and has no words coming, or types something then. From there on all
 * keys are the guest's but one, and what it says is shown as it comes, not by lines: a prompt is no
 * line, and a shell moves the cursor.
 */
#include <kern/host.h>
#include <vmm/dev/typed.h>
#include <vmm/domain.h>
#include <vmm/vcpu.h>
#include <vmm/words/monitor.h>

#define CTRL(c)   ((c)&0x1f)
#define ESCAPE    CTRL(']')
#define INTERRUPT CTRL('C')
#define BELL      7
#define ESC       0x1b
#define SHIFT_OUT 0x0e
/* For a terminal: a sequence that is not over is (ECMA-48 "CANCEL"), plain ASCII, no attributes. */
#define PLAIN "\x18\x0f\x1b(B\x1b[m"
#define KEYS  1024u /* a power of two */

static struct {
	unsigned id;   /* the guest that the monitor waits for, or has last; 0: there is none */
	bool waits;    /* it does */
	bool listens;  /* it has asked for a key, and there was none */
	bool attached; /* the person has its line */
	bool typed;    /* ... and has used it */
	bool mid_line; /* the cursor is not where a line begins */
	bool wild;     /* what her terminal has been told may have more to it than text */
	unsigned first, next;
	char keys[KEYS];
} person;

static void
attach(struct domain *d)
{
	if (person.attached)
		return;
	person.attached = true;
	d->input_awaited = true;
	printf("d%u: its %s has what you type; Ctrl-] comes back here, `console d%u` goes "
	       "there\n",
	       d->id, d->keyboard ? "keyboard" : "COM1", d->id);
	printf("%.*s", (int)d->line_len, d->line);
	person.mid_line = d->line_len;
	d->line_len = 0;
}

bool
typed_shows(struct domain *d, uint8_t byte)
{
	if (!person.attached || person.id != d->id)
		return false;
	console_putc(byte);
	person.mid_line = byte != '\n';
	person.wild |= byte == ESC || byte == SHIFT_OUT || byte >= 0x80;
	return true;
}

void
typed_ends_line(struct domain *d)
{
	if (person.attached && person.id == d->id)
		printf("%s%s", person.wild ? PLAIN : "", person.mid_line ? "\n" : "");
	person.mid_line = person.wild = false;
}

/* Its CPUs look for it. False: so many keys are not taken yet that this one is lost. */
static bool
press(struct domain *d, int c)
{
	if (person.next - person.first == KEYS)
		return false;
	person.keys[person.next++ % KEYS] = (char)c;
	for_each_vcpu(v, d) thread_due(&v->thread);
	return true;
}

/* A key that is the monitor's is returned; -1: it is the guest's. */
static int
key(struct domain *d, int c)
{
	if (!person.attached && (!person.listens || c == INTERRUPT))
		return c;
	if (person.attached && (c == ESCAPE || (c == INTERRUPT && !person.typed))) {
		typed_ends_line(d);
		return INTERRUPT;
	}
	attach(d);
	person.typed = true;
	if (!press(d, c))
		console_putc(BELL);
	return -1;
}

/* What the monitor gets of the console while it waits. */
static int
keys(void)
{
	struct domain *d;
	int c;

	while ((c = console_getc()) >= 0 && (d = domain_find(person.id)) &&
	       d->state == DOMAIN_RUNNING) {
		c = key(d, c);
		if (c >= 0)
			break;
	}
	return c;
}

static bool
ended(void *arg)
{
	struct domain *d = domain_find(person.id);

	return !d || (domain_is_over(d) && !domain_restarts(d));
}

/* What she has typed for a guest before she left it is still its. */
static void
sit_down(struct domain *d)
{
	if (person.id != d->id)
		memset(&person, 0, sizeof(person));
	person.id = d->id;
	person.listens = person.typed = false;
}

static void
wait(struct domain *d, bool at_once)
{
	sit_down(d);
	person.waits = true;
	if (at_once) {
		attach(d);
		person.typed = true;
	}
	monitor_getc = keys;
	monitor_wait(ended, NULL, false);
	monitor_getc = console_getc;
	person.waits = person.attached = false;
}

void
typed_lend(struct domain *d)
{
	struct domain *before = domain_find(person.id);

	if (before)
		typed_ends_line(before);
	person.attached = false;
	if (!d)
		return;
	sit_down(d);
	attach(d);
}

bool
typed_press(uint8_t c)
{
	struct domain *d = domain_find(person.id);

	return d && press(d, c);
}

void
typed_wait(struct domain *d)
{
	wait(d, false);
}

static int
console(int argc, char **argv)
{
	struct domain *d = monitor_domain(argc, argv);

	if (!d)
		return MONITOR_SAID;
	if (d->state == DOMAIN_ENDED) {
		printf("d%u has ended\n", d->id);
		return MONITOR_SAID;
	}
	wait(d, true);
	return 0;
}
MONITOR_COMMAND(console, "console", "[ID]", "type to a guest's COM1; Ctrl-] comes back");

/* ---- the words ---- */

void
domain_input_init(struct domain *d, bool again)
{
	if (person.id == d->id && !again) /* who had this number before */
		memset(&person, 0, sizeof(person));
	for (d->input = d->words; *d->input; d->input++)
		if (!strncmp(d->input, "input=", 6)) {
			d->input += 6;
			break;
		}
	d->input_any = *d->input;
	d->input_awaited = again && person.id == d->id && person.attached;
	for (const char *s = d->input; *s && *s != ' '; s++)
		d->input_awaited |= *s == '|';
	d->input_waits = d->input_awaited;
}

/* What a character of input= stands for. */
static char
meant(char c)
{
	return c == '_' ? '\r' : c == '~' ? ' ' : c;
}

/* The words that come are typed, or, where a `|` comes, a prompt is waited for. */
static void
go_on(struct domain *d)
{
	d->input_waits = *d->input == '|';
	if (!d->input_waits)
		return;
	d->input++;
	d->heard_count = 0; /* the next prompt is another one */
}

/* Whether what the guest has said ends with the first n characters at d->input. */
static bool
says(const struct domain *d, unsigned n)
{
	if (n > sizeof(d->heard) || n > d->heard_count)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (d->heard[(d->heard_count - n + i) % sizeof(d->heard)] != meant(d->input[i]))
			return false;
	return true;
}

/*
 * A prompt is taken when it is said, not when the guest listens: two that it says at once are two.
 */
void
typed_hears(struct domain *d, uint8_t byte)
{
	unsigned n = 0;

	d->heard[d->heard_count++ % sizeof(d->heard)] = (char)byte;
	if (!d->input_waits)
		return;
	while (d->input[n] && d->input[n] != '|' && d->input[n] != ' ')
		n++;
	if (!says(d, n))
		return;
	d->input += d->input[n] == '|' ? n + 1 : n;
	go_on(d);
}

/* Nothing is typed: who waits for it sits down at once, unless words were typed up to here. */
static int
silence(struct domain *d)
{
	if (person.id != d->id || !person.waits)
		return -1;
	person.listens = true;
	if (!d->input_any)
		attach(d);
	return -1;
}

/*
 * The next character that is typed, -1 if there is none. Nobody types before the guest listens:
 * before it has enabled received-data interrupts, or polls (pc.c).
 */
static int
typed(struct domain *d)
{
	char c;

	if (person.id == d->id && person.first != person.next)
		return (uint8_t)person.keys[person.first++ % KEYS];
	if (!d->input || d->input_waits)
		return -1;
	if (!*d->input || *d->input == ' ')
		return silence(d);
	c = meant(*d->input++);
	go_on(d);
	return c;
}

int
domain_input(struct domain *d)
{
	return d->keyboard ? -1 : typed(d);
}

int
domain_key(struct domain *d)
{
	return d->keyboard ? typed(d) : -1;
}
