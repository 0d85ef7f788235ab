/*
 * A domain that has somebody at the other end of its rings: it speaks and listens by its console,
 * and asks its store. A q ends it, an r asks to be started again. `harm=WORD`: it breaks the rings'
 * protocols, and sees that it is left alone; or ends in other ways.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <inc/xen_rings.h>

int guest_main(const struct xen_start_info *info);

static volatile struct xen_console_ring *console;
static volatile struct xen_store_ring *store;
static char said[4096]; /* what the store has answered */
static uint32_t answer_type, answer_len;

/* Until then, or something has come: upcalls are masked, and a port stays pending up to here. */
static void
wait(uint32_t port, uint64_t until)
{
	pv_send(port);
	pv_poll(port, until);
	while (pv_event_next() >= 0)
		;
}

/* ---- the console ---- */

static void
put(char c)
{
	uint32_t at = console->out_prod;

	while (at - console->out_cons >= sizeof(console->out)) {
		wait(pv_info->console_evtchn, 0);
	}
	console->out[at % sizeof(console->out)] = (uint8_t)c;
	console->out_prod = at + 1;
}

static void
tell(const char *a, const char *b, const char *c)
{
	const char *const parts[] = { a, b, c };

	for (unsigned i = 0; i < 3; i++)
		for (const char *s = parts[i]; *s; s++)
			put(*s);
	pv_send(pv_info->console_evtchn);
}

/* Up to its end, which is a carriage return. */
static void
hear(char *line, unsigned size)
{
	unsigned len = 0;

	for (;;) {
		uint32_t at = console->in_cons;
		char c;

		if (console->in_prod == at) {
			wait(pv_info->console_evtchn, 0);
			continue;
		}
		c = (char)console->in[at % sizeof(console->in)];
		console->in_cons = at + 1;
		pv_send(pv_info->console_evtchn);
		if (c == '\r')
			break;
		if (len < size - 1)
			line[len++] = c;
	}
	line[len] = 0;
}

/* ---- the store ---- */

static void
send_bytes(const void *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		while (store->req_prod - store->req_cons >= XEN_STORE_RING) {
			wait(pv_info->store_evtchn, 0);
		}
		store->req[store->req_prod % XEN_STORE_RING] = ((const uint8_t *)bytes)[i];
		store->req_prod++;
	}
}

static void
take_bytes(void *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		while (store->rsp_prod == store->rsp_cons) {
			wait(pv_info->store_evtchn, 0);
		}
		((uint8_t *)bytes)[i] = store->rsp[store->rsp_cons % XEN_STORE_RING];
		store->rsp_cons++;
	}
}

static void
hear_store(void)
{
	struct xen_xsd_sockmsg head;

	take_bytes(&head, sizeof(head));
	answer_type = head.type;
	answer_len = head.len;
	take_bytes(said, head.len);
	said[head.len] = 0;
}

/* A request of one text, or of two; the answer is in `said`. */
static void
ask(uint32_t type, const char *a, const char *b)
{
	struct xen_xsd_sockmsg head = { .type = type, .req_id = 7 };
	uint32_t len_a = 0, len_b = 0;

	while (a[len_a])
		len_a++;
	while (b[len_b])
		len_b++;
	/* a value has no NUL behind it, a token has one */
	len_b += type == XEN_XS_WATCH;
	head.len = len_a + 1 + len_b;
	send_bytes(&head, sizeof(head));
	send_bytes(a, len_a + 1);
	send_bytes(b, len_b);
	pv_send(pv_info->store_evtchn);
	hear_store();
}

static void
try_store(void)
{
	static const char *const names[] = {
		[XEN_XS_WATCH_EVENT] = "event ", [XEN_XS_ERROR] = "error "
	};

	ask(XEN_XS_READ, "name", "");
	tell("my name in the store is ", said, "\n");
	ask(XEN_XS_WRITE, "data/colour", "green");
	ask(XEN_XS_READ, "data/colour", "");
	tell("data/colour is ", said, "\n");
	ask(XEN_XS_DIRECTORY, "data", "");
	tell("data has ", said, "\n");
	ask(XEN_XS_READ, "/local/domain/0/name", "");
	tell("my monitor's friend is ", said, "\n");
	ask(XEN_XS_WRITE, "/local/domain/0/name", "me");
	tell("... whose name is not mine to write: ", said, "\n");
	ask(XEN_XS_WATCH, "data", "token");
	hear_store();
	ask(XEN_XS_WRITE, "data/colour", "blue");
	if (answer_type != XEN_XS_WATCH_EVENT) /* either comes first */
		hear_store();
	tell(answer_type == XEN_XS_WATCH_EVENT ? names[XEN_XS_WATCH_EVENT] : "no event ", said,
	     "\n");
}

/* ---- harm ---- */

/* A request with a value of so many bytes; its answer's type. */
static uint32_t
put_in(uint32_t tx, const char *path, uint32_t value)
{
	struct xen_xsd_sockmsg head = { .type = XEN_XS_WRITE, .tx_id = tx };
	static char bytes[2048];
	uint32_t len = 0;

	while (path[len])
		len++;
	head.len = len + 1 + value;
	send_bytes(&head, sizeof(head));
	send_bytes(path, len + 1);
	send_bytes(bytes, value);
	pv_send(pv_info->store_evtchn);
	hear_store();
	return answer_type;
}

static uint32_t
number(const char *digits)
{
	uint32_t n = 0;

	while (*digits >= '0' && *digits <= '9')
		n = n * 10 + (uint32_t)(*digits++ - '0');
	return n;
}

/* All that it can have: nodes with long names and values, in transactions, too. */
static void
hoard(void)
{
	static char path[1200];
	uint32_t tx = 0;

	for (unsigned n = 0; n < sizeof(path) - 1; n++)
		path[n] = 'x';
	for (unsigned round = 0; round < 9; round++) {
		for (unsigned n = 0; n < 1100 && !store->error; n++) {
			for (unsigned k = 0, rest = n; k < 4; k++, rest /= 10)
				path[k] = (char)('0' + rest % 10);
			if (put_in(tx, path, 2048) == XEN_XS_ERROR)
				break;
		}
		pv_printf("hoard %u: %s %u\n", round, said, store->error);
		if (store->error)
			break;
		ask(XEN_XS_TRANSACTION_START, "", "");
		tx = number(said);
	}
}

/* A word of a ring's is another one: by a little, or by anything. */
static void
shift(volatile uint32_t *word)
{
	*word += (uint32_t)(draw(4) ? draw(2100) - 20 : draw(~0u));
}

/* Its own ports, and those of dom0, whichever these are. */
static void
any_port(void)
{
	struct xen_evtchn_close c = { (uint32_t)draw(6) };
	struct xen_evtchn_alloc_unbound a = { .dom = XEN_DOMID_SELF };
	struct xen_evtchn_bind_interdomain b = { .remote_port = (uint32_t)draw(40) };

	switch (draw(9)) {
	case 0:
		pv_event_op(XEN_EVTCHNOP_close, &c);
		break;
	case 1:
		pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a);
		break;
	case 2:
		pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b);
		break;
	default:
		pv_send((uint32_t)draw(8));
	}
}

/* Anything, in the rings and beside them. */
static void
anything(void)
{
	volatile uint32_t *const words[] = { &console->in_cons,  &console->in_prod,
					     &console->out_cons, &console->out_prod,
					     &store->rsp_cons,   &store->rsp_prod };

	for (unsigned n = 0; n < 3000; n++)
		switch (draw(8)) {
		case 0:
			shift(words[draw(6)]);
			break;
		case 1:
			console->out[draw(sizeof(console->out))] = (uint8_t)draw(256);
			break;
		case 2: /* the next request, or a part of it */
			for (uint64_t k = draw(60); k; k--)
				store->req[store->req_prod++ % XEN_STORE_RING] =
					(uint8_t)(draw(3) ? 0 : draw(24));
			break;
		case 3:
			store->req[draw(XEN_STORE_RING)] = (uint8_t)draw(256);
			break;
		case 4:
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
			break;
		default:
			any_port();
		}
}

/* It listens to nobody any more. */
static void
sleep(void)
{
	for (;;)
		pv_poll(0, 0);
}

static void
shut_down(uint32_t reason)
{
	pv_call(XEN_sched_op, XEN_SCHEDOP_shutdown, (uint64_t)&reason, 0, 0);
}

/* A request that its monitor's friend takes the first half of, and another one the second. */
static void
half(void)
{
	struct xen_xsd_sockmsg head = { .type = XEN_XS_WRITE, .req_id = 9, .len = 3007 };
	static char bytes[3000];
	char line[8];

	send_bytes(&head, sizeof(head));
	send_bytes("data/x", 7);
	send_bytes(bytes, 1500);
	pv_send(pv_info->store_evtchn);
	tell("half> ", "", "");
	hear(line, sizeof(line));
	send_bytes(bytes, 1500);
	pv_send(pv_info->store_evtchn);
	hear_store();
	tell("the other half: ", said, "\n");
}

/* It ends as it is asked to. */
static void
obey(void)
{
	ask(XEN_XS_WATCH, "control/shutdown", "token");
	for (;;) {
		while (answer_type != XEN_XS_WATCH_EVENT)
			hear_store();
		ask(XEN_XS_READ, "control/shutdown", "");
		while (answer_type == XEN_XS_WATCH_EVENT)
			hear_store();
		if (said[0] == 'p')
			pv_exit(0);
		if (said[0] == 'r')
			shut_down(XEN_SHUTDOWN_reboot);
	}
}

static void
harm(void)
{
	if (has_word("harm=hoard")) {
		hoard();
		tell("all is mine> ", "", "");
		sleep();
	}
	while (has_word("harm=deaf")) { /* its ring says that it is full of keys */
		console->in_cons = console->in_prod - sizeof(console->in);
		tell("deaf> ", "", "");
		pv_poll(0, pv_now() + 10000000);
	}
	if (has_word("harm=console")) { /* more than the ring has, and it never stops */
		for (uint32_t n = 0; n < 100; n++) {
			console->out_prod = console->out_cons + 2049 + n * 0x10001;
			console->in_cons = console->in_prod + n * 0x7fffff;
			pv_send(pv_info->console_evtchn);
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
		}
		pv_printf("still here\n");
		pv_exit(0);
	}
	if (has_word("harm=any")) {
		anything();
		pv_printf("nothing has come of it\n");
		pv_exit(0);
	}
	if (has_word("harm=half"))
		half();
	if (has_word("obey"))
		obey();
	if (has_word("harm=reboot"))
		shut_down(XEN_SHUTDOWN_reboot);
	if (has_word("harm=fault"))
		__asm__ volatile("ud2");
	if (has_word("harm=store")) {
		for (uint32_t n = 0; n < sizeof(store->req); n++)
			store->req[n] = (uint8_t)(n * 37);
		store->req_prod = store->req_cons + 4097;
		pv_send(pv_info->store_evtchn);
		while (!store->error)
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
		pv_printf("the store is closed to me: %u\n", store->error);
		pv_exit(0);
	}
	if (has_word("harm=talk"))
		for (;;)
			tell("A", "A", "A");
}

int
guest_main(const struct xen_start_info *info)
{
	char line[60];

	pv_init(info);
	pv_events_init();
	console = pv_machine_page(info->console_mfn);
	store = pv_machine_page(info->store_mfn);
	harm();
	try_store();
	do {
		tell("domu> ", "", "");
		hear(line, sizeof(line));
		tell("you said ", line, "\n");
		if (line[0] == 'r')
			shut_down(XEN_SHUTDOWN_reboot);
	} while (line[0] != 'q');
	return 0;
}
