/*
 * dom0's store with three clients, and memory that is counted: what it answers to a request.
 */
#pragma once

#include <string.h>

#include <guest/dom0/store_ring.h>

#include "tap.h"

#define SHARE (256u << 10) /* bytes of each */

static unsigned alive; /* pieces of memory */
static size_t has[STORE_DOMAINS];
static uint16_t payer;

struct piece {
	size_t size;
	uint16_t of;
	_Alignas(16) char bytes[];
};

uint16_t
store_pays(uint16_t domid)
{
	uint16_t before = payer;

	payer = domid;
	return before;
}

void *
store_alloc(size_t size)
{
	struct piece *p = has[payer] + size <= SHARE ? malloc(sizeof(*p) + size) : NULL;

	if (!p)
		return NULL;
	*p = (struct piece){ size, payer };
	has[payer] += size;
	alive++;
	return p->bytes;
}

void
store_free(void *bytes)
{
	struct piece *p;

	if (!bytes)
		return;
	p = (struct piece *)((char *)bytes - offsetof(struct piece, bytes));
	has[p->of] -= p->size;
	alive--;
	free(p);
}

static struct store store;
static struct store_client *clients[3]; /* dom0, and domains 1 and 2 */
static uint32_t transaction;            /* the last one that was begun */

static void
begin(void)
{
	store_init(&store);
	for (uint16_t n = 0; n < 3; n++)
		clients[n] = store_introduce(&store, n);
}

static void
end(const char *what)
{
	store_end(&store);
	is_u64(alive, 0, "%s: all memory is given back", what);
}

/* The first message, NULs as bars; "" for none. An event begins with '!'. */
static const char *
hear(unsigned who, char to[5000])
{
	struct store_message *m = clients[who]->first;
	char *at = to;

	*at = 0;
	if (!m)
		return to;
	if (m->head.type == XEN_XS_WATCH_EVENT)
		*at++ = '!';
	for (uint32_t n = 0; n < m->head.len; n++)
		*at++ = m->bytes[n] ? m->bytes[n] : '|';
	*at = 0;
	store_sent(clients[who]);
	return to;
}

/* Bars are NULs; "@" as transaction: the last one. */
static void
ask(unsigned who, uint32_t type, uint32_t tx, const char *payload)
{
	struct xen_xsd_sockmsg head = { type, 77, tx, (uint32_t)strlen(payload) };
	char *bytes = malloc(head.len + 1); /* exactly: a byte more is seen */

	for (uint32_t n = 0; n < head.len; n++)
		bytes[n] = payload[n] == '|' ? 0 : payload[n];
	bytes = realloc(bytes, head.len ? head.len : 1);
	store_request(&store, clients[who], &head, bytes);
	free(bytes);
}

#define LAST 0xffffffffu

static void
asked(unsigned who, uint32_t type, uint32_t tx, const char *payload, const char *want)
{
	char got[5000];

	ask(who, type, tx == LAST ? transaction : tx, payload);
	hear(who, got);
	if (type == XEN_XS_TRANSACTION_START && *got != 'E')
		transaction = (uint32_t)atoi(got);
	if (!ok(!strcmp(got, want) || (*want == '#' && transaction), "d%u %u %.60s: %.40s", who,
		type, payload, want))
		diag("got %s", got);
}

__attribute__((unused)) static void
heard(unsigned who, const char *want)
{
	char got[5000];

	if (!ok(!strcmp(hear(who, got), want), "d%u hears %.60s", who, *want ? want : "nothing"))
		diag("got %s", got);
}

#define DIR   XEN_XS_DIRECTORY
#define READ  XEN_XS_READ
#define WRITE XEN_XS_WRITE
#define MKDIR XEN_XS_MKDIR
#define RM    XEN_XS_RM
#define GET   XEN_XS_GET_PERMS
#define SET   XEN_XS_SET_PERMS
#define WATCH XEN_XS_WATCH
#define START XEN_XS_TRANSACTION_START
#define END   XEN_XS_TRANSACTION_END
