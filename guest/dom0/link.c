/*
 * Pages that go from one Zeno to another: link.h.
 */
#include <guest/dom0/link.h>
#include <guest/pv/drivers/crc.h>
#include <guest/pv/lib/text.h>

#define MAGIC  0x676d695au /* "Zmig" */
#define WINDOW 8u          /* frames on their way: few, for a socket that is a cable holds ten */
#define HEAD   offsetof(struct link_frame, bytes)

enum kind { OPEN, DATA, DONE, RUN, ANSWER };

static size_t
length(const struct link_frame *f)
{
	bool has = f->kind == DATA || (f->kind == ANSWER && f->part == LINK_REFUSED);

	return HEAD + (has ? LINK_PART : 0);
}

static uint32_t
sum(const struct link_frame *f)
{
	static const uint8_t none[sizeof(f->crc)];
	const uint8_t *bytes = (const uint8_t *)f;
	size_t at = offsetof(struct link_frame, crc), behind = at + sizeof(f->crc);
	uint32_t crc = crc32(crc32(0, bytes, at), none, sizeof(none));

	return crc32(crc, bytes + behind, length(f) - behind);
}

static void
send(struct link *l, struct link_frame *f)
{
	memcpy(f->to, l->peer, MAC_SIZE);
	memcpy(f->from, l->mine, MAC_SIZE);
	f->type[0] = LINK_TYPE >> 8;
	f->type[1] = LINK_TYPE & 0xff;
	f->magic = MAGIC;
	f->session = l->session;
	f->crc = sum(f);
	l->send(f, length(f));
}

static void
begin(struct link *l, uint64_t now)
{
	l->state = LINK_OPENS;
	l->answered = l->sent = l->made = 0;
	l->silent = now + LINK_SILENT;
	l->again = 0;
	l->text[0] = '\0';
}

static void
refuse(struct link *l, const char *text)
{
	l->state = LINK_REFUSED;
	snprintf(l->text, sizeof(l->text), "%s", text);
}

/* ---- who sends ---- */

static struct link_frame *
next(struct link *l, enum kind kind, uint64_t at)
{
	struct link_frame *f = &l->queue[l->made % LINK_QUEUE];

	memset(f, 0, HEAD);
	f->kind = (uint16_t)kind;
	f->number = l->made++;
	f->at = at;
	return f;
}

void
link_open(struct link *l, uint32_t session, uint64_t pages, uint64_t now)
{
	begin(l, now);
	l->sends = true;
	l->session = session;
	l->pages = pages;
	next(l, OPEN, pages);
}

unsigned
link_room(const struct link *l)
{
	return (LINK_PAGES * LINK_PARTS - (l->made - l->answered)) / LINK_PARTS;
}

void
link_put(struct link *l, uint64_t at, const void *page)
{
	for (unsigned part = 0; part < LINK_PARTS; part++) {
		struct link_frame *f = next(l, DATA, at);

		f->part = part;
		memcpy(f->bytes, (const uint8_t *)page + part * LINK_PART, LINK_PART);
	}
}

void
link_done(struct link *l)
{
	next(l, DONE, 0);
}

void
link_run(struct link *l)
{
	next(l, RUN, 0);
}

/* What the other end says of itself is believed as far as it has been told so much. */
static void
answered(struct link *l, const struct link_frame *f, uint64_t now)
{
	uint32_t more = f->number - l->answered;
	enum kind last;

	if (more > l->sent - l->answered)
		return;
	l->silent = now + LINK_SILENT;
	if (more)
		l->again = now + LINK_AGAIN;
	l->answered = f->number;
	last = l->answered ? l->queue[(l->answered - 1) % LINK_QUEUE].kind : ANSWER;
	if (f->part == LINK_REFUSED) {
		char text[sizeof(l->text)];

		memcpy(text, f->bytes, sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		for (char *c = text; *c; c++)
			*c = *c >= ' ' && *c <= '~' ? *c : '.';
		if (l->state != LINK_READY && l->state != LINK_RUNS)
			refuse(l, text);
	} else if (l->state == LINK_OPENS && more) {
		l->state = LINK_TAKES;
	} else if (l->state == LINK_TAKES && last == DONE && f->part == LINK_READY) {
		l->state = LINK_READY;
	} else if (l->state == LINK_READY && last == RUN && f->part == LINK_RUNS) {
		l->state = LINK_RUNS;
	}
}

/* All that is answered, but not as it must be, is asked again: with what was said last. */
static void
go_on(struct link *l, uint64_t now)
{
	bool late = l->again && now >= l->again;

	if (late && l->answered == l->made)
		send(l, &l->queue[(l->made - 1) % LINK_QUEUE]);
	if (late)
		l->sent = l->answered;
	if (!late && l->sent == l->made && l->again)
		return;
	while (l->sent != l->made && l->sent - l->answered < WINDOW)
		send(l, &l->queue[l->sent++ % LINK_QUEUE]);
	if (late || !l->again)
		l->again = now + LINK_AGAIN;
}

/* ---- who takes ---- */

void
link_listen(struct link *l, uint64_t now)
{
	begin(l, now);
	l->sends = false;
	l->silent = 0; /* whoever comes comes when they like */
}

void
link_ready(struct link *l)
{
	l->state = LINK_READY;
}

void
link_refuse(struct link *l, const char *text)
{
	refuse(l, text);
}

static void
keep(struct link *l, const struct link_frame *f)
{
	uint8_t *page = f->at < l->pages && f->part < LINK_PARTS ? l->page(f->at) : NULL;

	if (f->at >= l->pages || f->part >= LINK_PARTS)
		refuse(l, "a page has no place");
	else if (!page)
		refuse(l, "there is no memory for it");
	else
		memcpy(page + f->part * LINK_PART, f->bytes, LINK_PART);
}

static void
take(struct link *l, const struct link_frame *f)
{
	const char *wrong = NULL;

	if (l->state == LINK_OPENS && f->kind == OPEN) {
		l->session = f->session;
		l->pages = f->at;
		l->state = LINK_TAKES;
		wrong = l->make(f->at);
	} else if (l->state == LINK_TAKES && f->kind == DATA) {
		keep(l, f);
	} else if (l->state == LINK_TAKES && f->kind == DONE) {
		l->state = LINK_WHOLE;
	} else if (l->state == LINK_READY && f->kind == RUN) {
		l->state = LINK_RUNS;
	} else if (l->state != LINK_REFUSED) {
		wrong = "that is not what comes next";
	}
	if (wrong)
		refuse(l, wrong);
}

static void
answer(struct link *l)
{
	static struct link_frame f;

	memset(&f, 0, sizeof(f));
	f.kind = ANSWER;
	f.number = l->made;
	f.part = l->state;
	if (l->state == LINK_REFUSED)
		snprintf((char *)f.bytes, sizeof(f.bytes), "%s", l->text);
	send(l, &f);
}

static void
came(struct link *l, const struct link_frame *f, uint64_t now)
{
	bool first = l->state == LINK_OPENS;

	if (first ? f->kind != OPEN : f->session != l->session || l->state == LINK_SILENCE)
		return;
	l->silent = now + LINK_SILENT;
	if (f->number == l->made) {
		l->made++;
		take(l, f);
	}
	answer(l);
}

/* ---- both ---- */

bool
link_hears(struct link *l, const void *frame, size_t len, uint64_t now)
{
	static struct link_frame f;

	if (l->state == LINK_NONE || len < HEAD)
		return false;
	memcpy(&f, frame, len < sizeof(f) ? len : sizeof(f));
	if (f.type[0] != LINK_TYPE >> 8 || f.type[1] != (LINK_TYPE & 0xff) || f.magic != MAGIC ||
	    memcmp(f.from, l->peer, MAC_SIZE) || len < length(&f) || f.crc != sum(&f))
		return false;
	if (!l->sends && f.kind != ANSWER)
		came(l, &f, now);
	else if (l->sends && f.kind == ANSWER && f.session == l->session)
		answered(l, &f, now);
	return true;
}

void
link_serve(struct link *l, uint64_t now)
{
	bool over = l->state == LINK_NONE || l->state == LINK_RUNS || l->state == LINK_REFUSED ||
		    l->state == LINK_SILENCE;

	if (over)
		return;
	if (l->silent && now >= l->silent && l->state != LINK_WHOLE)
		l->state = LINK_SILENCE;
	else if (l->sends)
		go_on(l, now);
}

uint64_t
link_until(const struct link *l)
{
	if (l->state == LINK_NONE)
		return 0;
	return l->sends && l->again < l->silent ? l->again : l->silent;
}
