/*
 * The GDB stub's commands (kern/gdb/gdb.h says what it is).
 *
 * RSP = "Debugging with GDB", GDB 13, appendix E "GDB Remote Serial Protocol".
 */
#include <kern/gdb/packet.h>
#include <kern/thread.h>

#define ACTIONS_MAX 16 /* of one vCont */

bool gdb_enabled;

const struct gdb_target *gdb_target;
static bool expected;  /* gdb=wait, and no debugger has come yet */
static bool connected; /* a debugger has processes */
static bool waiting;   /* it has let them run, and waits for a stop reply */
static bool asked;     /* a monitor command is being answered */
struct gdb_thread gdb_current;

static char in[GDB_PACKET + 1];

void
gdb_print(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!waiting && !asked)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	reply("O");
	reply_bytes(text, strlen(text));
	reply_send();
}

/* ---- threads ---- */

static bool
covers(struct gdb_thread pattern, struct gdb_thread t)
{
	return (pattern.pid <= 0 || pattern.pid == t.pid) &&
	       (pattern.tid <= 0 || pattern.tid == t.tid);
}

/* The first thread that `pattern` covers. */
static bool
find(struct gdb_thread pattern, struct gdb_thread *found)
{
	struct gdb_thread t = { 0, 0 };

	while (gdb_target && gdb_target->next(&t))
		if (covers(pattern, t)) {
			*found = t;
			return true;
		}
	return false;
}

/* Makes gdb_current one that exists, if there is any. */
static bool
have_current(void)
{
	struct gdb_thread t;

	if (!find(gdb_current, &t) && !find((struct gdb_thread){ -1, -1 }, &t))
		return false;
	gdb_current = t;
	return true;
}

static void
reply_stop(struct gdb_thread t, int signal, const char *why)
{
	gdb_current = t;
	reply("T%02x%sthread:p%x.%x;", signal, why, t.pid, t.tid);
}

void
gdb_stopped(struct gdb_thread t, int signal, const char *why)
{
	if (!waiting || !find(t, &t))
		return;
	waiting = false;
	reply_stop(t, signal, why);
	reply_send();
}

void
gdb_exited(int pid, int code, int signal)
{
	if (waiting) {
		waiting = false;
		gdb_target->hold(false);
		reply("%c%02x;process:%x", signal ? 'X' : 'W', signal ? signal : code & 0xff, pid);
		reply_send();
	}
	connected = connected && have_current();
}

bool
gdb_connected(void)
{
	return connected || expected;
}

/* ---- commands ---- */

/* The debugger is new, or has lost its way: everything stops. No process is no stop. */
static void
do_status(const char *p)
{
	(void)p;
	if (!gdb_target) {
		reply("W00");
		return;
	}
	waiting = false;
	gdb_target->hold(!connected);
	if (!connected) {
		connected = !gdb_target->attach(-1);
		expected = expected && !connected;
	}
	if (have_current())
		reply_stop(gdb_current, GDB_SIGTRAP, "");
	else
		reply("W00");
}

static void
do_thread(const char *p)
{
	bool general = take(&p, 'g');
	struct gdb_thread pattern, t;

	if ((!general && !take(&p, 'c')) || !take_thread(&p, &pattern) || !find(pattern, &t)) {
		reply("E01");
		return;
	}
	if (general)
		gdb_current = t;
	reply("OK");
}

static void
do_alive(const char *p)
{
	struct gdb_thread pattern, t;

	reply(take_thread(&p, &pattern) && find(pattern, &t) ? "OK" : "E01");
}

struct action {
	bool step;
	struct gdb_thread threads;
};

/* Lets run what the actions cover; the first that covers a thread counts (RSP E.2 "vCont"). */
static void
resume(const struct action *actions, unsigned count)
{
	struct gdb_thread t = { 0, 0 };

	waiting = true;
	while (gdb_target->next(&t))
		for (unsigned i = 0; i < count; i++)
			if (covers(actions[i].threads, t)) {
				gdb_target->resume(t, actions[i].step);
				break;
			}
}

static void
do_vcont(const char *p)
{
	struct action actions[ACTIONS_MAX];
	unsigned count = 0;
	uint64_t signal;

	while (take(&p, ';') && count < ACTIONS_MAX) {
		struct action *a = &actions[count++];
		char what = *p ? *p++ : '\0';

		a->step = what == 's' || what == 'S';
		a->threads = (struct gdb_thread){ -1, -1 };
		/* A signal means nothing to a machine; it goes on without. */
		if ((!a->step && what != 'c' && what != 'C') ||
		    ((what == 'C' || what == 'S') && !take_hex(&p, &signal)) ||
		    (take(&p, ':') && !take_thread(&p, &a->threads))) {
			reply("E01");
			return;
		}
	}
	if (count && !*p)
		resume(actions, count);
	else
		reply("E01");
}

static void
do_continue(const char *p)
{
	resume(&(struct action){ false, { -1, -1 } }, 1);
}

static void
do_step(const char *p)
{
	resume(&(struct action){ true, gdb_current }, 1);
}

static void
detach_all(void)
{
	struct gdb_thread t;

	while (find((struct gdb_thread){ -1, -1 }, &t))
		gdb_target->detach(t.pid);
	connected = waiting = expected = false;
}

static void
do_detach(const char *p)
{
	struct gdb_thread t;
	uint64_t pid;

	if (!take(&p, ';'))
		detach_all();
	else if (take_hex(&p, &pid) && pid <= 0xffff &&
		 find((struct gdb_thread){ (int)pid, -1 }, &t))
		gdb_target->detach(t.pid);
	else {
		reply("E01");
		return;
	}
	connected = have_current();
	reply("OK");
}

static void
do_attach(const char *p)
{
	struct gdb_thread t;
	uint64_t pid;

	if (!take_hex(&p, &pid) || pid > 0xffff || !gdb_target || gdb_target->attach((int)pid) ||
	    !find((struct gdb_thread){ (int)pid, -1 }, &t)) {
		reply("E01");
		return;
	}
	connected = true;
	expected = false;
	reply_stop(t, 0, "");
}

static void
do_kill_process(const char *p)
{
	uint64_t pid;

	if (!take_hex(&p, &pid) || pid > 0xffff || !gdb_target)
		reply("E01");
	else
		reply_error(gdb_target->kill((int)pid));
	connected = have_current();
}

/* Has no answer. */
static void
do_kill(const char *p)
{
	(void)p;
	if (have_current())
		gdb_target->kill(gdb_current.pid);
	detach_all();
}

/* ---- q ---- */

static void
do_threads(const char *p)
{
	struct gdb_thread t = { 0, 0 };
	bool any = false;

	(void)p;
	while (gdb_target && gdb_target->next(&t)) {
		reply("%sp%x.%x", any ? "," : "m", t.pid, t.tid);
		any = true;
	}
	if (!any)
		reply("l");
}

static void
do_extra(const char *p)
{
	struct gdb_thread pattern, t;
	char words[100];

	if (!take_thread(&p, &pattern) || !find(pattern, &t)) {
		reply("E01");
		return;
	}
	gdb_target->describe(t, words, sizeof(words));
	reply_bytes(words, strlen(words));
}

static void
do_current(const char *p)
{
	(void)p;
	if (have_current())
		reply("QCp%x.%x", gdb_current.pid, gdb_current.tid);
}

bool
gdb_asks(struct gdb_thread *t)
{
	*t = gdb_current;
	return asked;
}

/* Collects what a command prints, and sends it on line by line; NUL: it has ended. */
static void
put(char c)
{
	static char text[128];
	static size_t length;

	text[length] = c;
	length += c != '\0';
	if (!length || (c && c != '\n' && length < sizeof(text) - 1))
		return;
	text[length] = '\0';
	length = 0;
	gdb_print("%s", text);
}

/* "monitor ..." in GDB: a line of our own monitor's. */
static void
do_command(const char *p)
{
	char text[256];
	size_t length = strlen(p) / 2;

	if (length >= sizeof(text) || !take_bytes(&p, (uint8_t *)text, length)) {
		reply("E01");
		return;
	}
	text[length] = '\0';
	if (!have_current())
		gdb_current = (struct gdb_thread){ 0, 0 };
	asked = true;
	monitor_run_for(text, put);
	put('\0');
	asked = false;
	reply("OK");
}

/* The same answer always. */
static const struct {
	const char *packet, *answer;
} constants[] = {
	{ "!", "OK" },
	{ "vCont?", "vCont;c;C;s;S" },
	{ "qsThreadInfo", "l" },
	{ "qAttached", "1" }, /* leaving detaches, and kills nobody */
	{ "qSupported",
	  "PacketSize=1000;multiprocess+;swbreak+;vContSupported+;qXfer:features:read+" },
};
_Static_assert(GDB_PACKET == 0x1000, "what qSupported says");

/*
 * The longest match is not looked for: no name is the start of one behind it. An unknown packet's
 * answer is empty (RSP E.1).
 */
static const struct {
	const char *name;
	void (*run)(const char *rest);
	bool needs_thread;
} commands[] = {
	{ "?", do_status, false },
	{ "H", do_thread, false },
	{ "T", do_alive, false },
	{ "g", do_read_registers, true },
	{ "p", do_read_register, true },
	{ "P", do_write_register, true },
	{ "m", do_read_memory, true },
	{ "M", do_write_memory, true },
	{ "Z", do_insert, true },
	{ "z", do_remove, true },
	{ "vCont", do_vcont, true },
	{ "vAttach;", do_attach, false },
	{ "vKill;", do_kill_process, false },
	{ "c", do_continue, true },
	{ "s", do_step, true },
	{ "D", do_detach, true },
	{ "k", do_kill, false },
	{ "qXfer:features:read:", do_features, false },
	{ "qfThreadInfo", do_threads, false },
	{ "qThreadExtraInfo,", do_extra, true },
	{ "qC", do_current, true },
	{ "qRcmd,", do_command, false },
};

static void
handle(const char *packet)
{
	bool before = waiting;

	for (unsigned i = 0; i < ARRAY_LEN(constants); i++)
		if (!strncmp(packet, constants[i].packet, strlen(constants[i].packet))) {
			reply("%s", constants[i].answer);
			reply_send();
			return;
		}
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
		size_t length = strlen(commands[i].name);

		if (strncmp(packet, commands[i].name, length))
			continue;
		if (commands[i].needs_thread && !have_current())
			reply("E01");
		else
			commands[i].run(packet + length);
		/* What has let processes run is answered when one stops. */
		if ((before || !waiting) && packet[0] != 'k')
			reply_send();
		return;
	}
	reply_send();
}

void
gdb_poll(void)
{
	if (!gdb_enabled)
		return;
	switch (gdb_line_poll(in)) {
	case GDB_GOT_PACKET:
		handle(in);
		break;
	case GDB_GOT_BREAK:
		if (gdb_target && waiting && have_current()) {
			gdb_target->hold(false);
			gdb_stopped(gdb_current, GDB_SIGINT, "");
		}
		break;
	case GDB_NOTHING:
		break;
	}
}
BETWEEN_TURNS(gdb_poll);

void
gdb_register(const struct gdb_target *t)
{
	gdb_target = t;
}

static void
gdb_init(void)
{
	const char *wish = cmdline_get("gdb", "");

	if (!*wish)
		return;
	if (strcmp(wish, "com2") && strcmp(wish, "wait")) {
		printf("gdb=%s is not known: gdb=com2, or gdb=wait to wait for a debugger\n", wish);
		return;
	}
	gdb_enabled = gdb_line_init();
	expected = gdb_enabled && !strcmp(wish, "wait");
	printf("gdb: %s\n", gdb_enabled ? "the stub listens on COM2" : "there is no COM2");
}
INITCALL(20, gdb_init);
