/*
 * The consoles of the others. What one says comes out by lines, under its name; or, of the one that
 * is attached, as it is, and the keys go there. A guest may write into its ring what it likes at
 * any time: each index is read once.
 */
#include <guest/dom0/dom0.h>

#define ROUND 256u /* bytes before others have their turn */

struct domu *attached;

/*
 * Nothing that moves the cursor to where others have written. Each part of a line that it says
 * without another one between has its name in front: nobody speaks in another one's.
 */
static void
by_line(struct domu *u, char c)
{
	if (c == '\r' || (c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
		return;
	if (speaker != u)
		say("%s%s| ", speaker ? "\n" : "", u->name);
	out_bytes(&c, 1);
	speaker = c == '\n' ? NULL : u;
}

bool
console_serve(struct domu *u)
{
	volatile struct xen_console_ring *r = u->console;
	uint32_t at, count;

	if (!r)
		return false;
	at = r->out_cons;
	count = r->out_prod - at;
	if (!count || count > sizeof(r->out))
		return false;
	if (count > ROUND)
		count = ROUND;
	for (uint32_t n = 0; n < count; n++) {
		char c = (char)r->out[(at + n) % sizeof(r->out)];

		if (u == attached)
			out_bytes(&c, 1);
		else
			by_line(u, c);
	}
	r->out_cons = at + count;
	pv_send(u->console_port);
	return true;
}

/* As much as a ring holds: its page may be another one's, too, who lives, and writes on. */
void
console_rest(struct domu *u)
{
	for (unsigned n = 0; n < sizeof(u->console->out) / ROUND && console_serve(u); n++)
		;
}

void
console_attach(struct domu *u)
{
	struct domu *before = attached;

	attached = u;
	if (u) {
		say("%s has what you type; Ctrl-T comes back\n", u->name);
	} else if (before) {
		say("\n");
		shell_prompt();
	}
}

bool
console_type(char key)
{
	volatile struct xen_console_ring *r = attached->console;
	uint32_t at;

	if (!r)
		return true; /* nobody will ever take it */
	at = r->in_prod;
	if (at - r->in_cons >= sizeof(r->in))
		return false;
	r->in[at % sizeof(r->in)] = (uint8_t)key;
	r->in_prod = at + 1;
	pv_send(attached->console_port);
	return true;
}
