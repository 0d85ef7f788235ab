/*
 * What the parts of the guest share.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/memory.h>
#include <guest/pv/lib/text.h>

#define PAGE 4096u
#define FLAT (PTE_P | PTE_W | PTE_U)
#define MORE XEN_XENMEM_increase_reservation
#define LESS XEN_XENMEM_decrease_reservation
#define FILL XEN_XENMEM_populate_physmap

typedef uint8_t page_t[PAGE] __attribute__((aligned(4096)));

void is(int64_t got, int64_t wanted, const char *what);
bool is_zero(const void *page);
/* As long as nothing else is mapped there: the page's frame, which nothing leads to then. */
uint64_t take_out(void *page);
/* ... or another one: it is this page's from now on. */
void put_in(void *page, uint64_t mfn);
int64_t has(void); /* frames */
int64_t exchange(struct xen_memory_exchange *x);
/* Of one list for one of as many frames. */
struct xen_memory_exchange change_for(const uint64_t *in, unsigned in_order, uint64_t *out,
				      unsigned out_order, uint64_t frames);

void hostile(uint16_t me);  /* hostile.c */
void exchanges(void);       /* exchange.c */
void many(void);            /* many.c */
int rounds(uint64_t count); /* rounds.c: under the name dom0 */
void child(uint64_t seed);  /* ... and what it makes */
