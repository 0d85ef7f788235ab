/*
 * The store's client.
 */
#include <guest/pv/drivers/xenbus.h>
#include <guest/pv/lib/text.h>

bool
xenbus_begin(struct xenbus *x)
{
	memset(x, 0, sizeof(*x));
	x->ring = pv_machine_page(pv_info->store_mfn);
	return x->ring != NULL;
}

/* Upcalls are masked: a port stays pending until it is looked at here. */
void
pv_wait(const uint32_t *ports, unsigned count, uint64_t until)
{
	struct xen_sched_poll p = { (uint64_t)ports, count, until };

	pv_call(XEN_sched_op, XEN_SCHEDOP_poll, (uint64_t)&p, 0, 0);
	while (pv_event_next() >= 0)
		;
}

static void
wait(void)
{
	pv_send(pv_info->store_evtchn);
	pv_wait(&pv_info->store_evtchn, 1, 0);
}

/* ---- bytes ---- */

static void
give(struct xenbus *x, const void *bytes, uint32_t len)
{
	volatile struct xen_store_ring *r = x->ring;
	uint32_t at = r->req_prod;

	for (uint32_t n = 0; n < len; n++, at++) {
		while (at - r->req_cons >= XEN_STORE_RING) {
			r->req_prod = at;
			wait();
		}
		r->req[at % XEN_STORE_RING] = ((const uint8_t *)bytes)[n];
	}
	r->req_prod = at;
}

static void
take(struct xenbus *x, void *bytes, uint32_t len)
{
	volatile struct xen_store_ring *r = x->ring;
	uint32_t at = r->rsp_cons;

	for (uint32_t n = 0; n < len; n++, at++) {
		while (r->rsp_prod == at) {
			r->rsp_cons = at;
			wait();
		}
		((uint8_t *)bytes)[n] = r->rsp[at % XEN_STORE_RING];
	}
	r->rsp_cons = at;
}

/* ---- messages ---- */

/* The token is behind the path. One that is known already is known once. */
static void
note_event(struct xenbus *x)
{
	const char *token = x->answer + strlen(x->answer) + 1;
	unsigned free = XENBUS_WATCHES;

	if (token > x->answer + x->len)
		return;
	for (unsigned n = 0; n < XENBUS_WATCHES; n++) {
		if (!strcmp(x->token[n], token))
			return;
		if (!*x->token[n])
			free = n;
	}
	if (free < XENBUS_WATCHES)
		snprintf(x->token[free], sizeof(x->token[free]), "%s", token);
}

static bool
hear(struct xenbus *x, struct xen_xsd_sockmsg *head)
{
	take(x, head, sizeof(*head));
	x->broken = head->len > XEN_STORE_PAYLOAD;
	if (x->broken)
		return false;
	take(x, x->answer, head->len);
	x->len = head->len;
	x->answer[x->len] = 0;
	return true;
}

static int
error_of(const char *word)
{
	static const struct {
		const char *word;
		int error;
	} errors[] = { { "ENOENT", ENOENT }, { "EACCES", EACCES }, { "EAGAIN", EAGAIN },
		       { "EEXIST", EEXIST }, { "EINVAL", EINVAL }, { "ENOMEM", ENOMEM },
		       { "ENOSPC", ENOSPC }, { "EPERM", EPERM },   { "EBUSY", EBUSY } };

	for (unsigned n = 0; n < sizeof(errors) / sizeof(errors[0]); n++)
		if (!strcmp(errors[n].word, word))
			return -errors[n].error;
	return -EIO;
}

/* A request of these two texts, of which the first has its NUL; events come before its answer. */
static int
ask(struct xenbus *x, enum xen_xsd_sockmsg_type type, uint32_t tx, const char *first,
    const char *second, uint32_t len)
{
	struct xen_xsd_sockmsg head = { .type = type, .req_id = ++x->request, .tx_id = tx };
	uint32_t first_len = (uint32_t)strlen(first) + 1;

	if (x->broken)
		return -EIO;
	head.len = first_len + len;
	give(x, &head, sizeof(head));
	give(x, first, first_len);
	give(x, second, len);
	pv_send(pv_info->store_evtchn);
	for (;;) {
		if (!hear(x, &head))
			return -EIO;
		if (head.type == XEN_XS_WATCH_EVENT) {
			note_event(x);
			continue;
		}
		if (head.req_id == x->request && head.type == XEN_XS_ERROR)
			return error_of(x->answer);
		x->broken = head.req_id != x->request || head.type != type;
		return x->broken ? -EIO : 0;
	}
}

bool
xenbus_heard(struct xenbus *x, const char *token)
{
	struct xen_xsd_sockmsg head;

	while (!x->broken && x->ring->rsp_prod != x->ring->rsp_cons)
		if (hear(x, &head) && head.type == XEN_XS_WATCH_EVENT)
			note_event(x);
	for (unsigned n = 0; n < XENBUS_WATCHES; n++)
		if (!strcmp(x->token[n], token)) {
			*x->token[n] = 0;
			return true;
		}
	return false;
}

/* ---- what is asked ---- */

static void
join(char *path, const char *dir, const char *key)
{
	snprintf(path, XENBUS_PATH, "%s%s%s", dir, *dir && *key ? "/" : "", key);
}

int
xenbus_read(struct xenbus *x, uint32_t tx, const char *dir, const char *key)
{
	char path[XENBUS_PATH];

	join(path, dir, key);
	return ask(x, XEN_XS_READ, tx, path, "", 0);
}

int
xenbus_list(struct xenbus *x, const char *dir)
{
	return ask(x, XEN_XS_DIRECTORY, 0, dir, "", 0);
}

int
xenbus_write(struct xenbus *x, uint32_t tx, const char *dir, const char *key, const char *value)
{
	char path[XENBUS_PATH];

	join(path, dir, key);
	return ask(x, XEN_XS_WRITE, tx, path, value, (uint32_t)strlen(value));
}

int
xenbus_remove(struct xenbus *x, uint32_t tx, const char *path)
{
	return ask(x, XEN_XS_RM, tx, path, "", 0);
}

/* The answer's. */
static int
read_number(const struct xenbus *x, uint64_t *number)
{
	uint64_t n = 0;

	for (uint32_t k = 0; k < x->len; k++) {
		if (x->answer[k] < '0' || x->answer[k] > '9' || n > UINT64_MAX / 10 - 1)
			return -EINVAL;
		n = n * 10 + (uint64_t)(x->answer[k] - '0');
	}
	*number = n;
	return x->len ? 0 : -EINVAL;
}

int
xenbus_read_number(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
		   uint64_t *number)
{
	int err = xenbus_read(x, tx, dir, key);

	return err ? err : read_number(x, number);
}

int
xenbus_write_number(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
		    uint64_t number)
{
	char value[24];

	snprintf(value, sizeof(value), "%lu", number);
	return xenbus_write(x, tx, dir, key, value);
}

int
xenbus_start(struct xenbus *x, uint32_t *tx)
{
	uint64_t number = 0;
	int err = ask(x, XEN_XS_TRANSACTION_START, 0, "", "", 0);

	if (!err && x->len) /* it is a text with its NUL */
		x->len -= x->answer[x->len - 1] == 0;
	err = err ? err : read_number(x, &number);
	*tx = (uint32_t)number;
	return err;
}

int
xenbus_end(struct xenbus *x, uint32_t tx, bool commit)
{
	return ask(x, XEN_XS_TRANSACTION_END, tx, commit ? "T" : "F", "", 0);
}

int
xenbus_watch(struct xenbus *x, const char *path, const char *token)
{
	return ask(x, XEN_XS_WATCH, 0, path, token, (uint32_t)strlen(token) + 1);
}

int
xenbus_unwatch(struct xenbus *x, const char *path, const char *token)
{
	return ask(x, XEN_XS_UNWATCH, 0, path, token, (uint32_t)strlen(token) + 1);
}
