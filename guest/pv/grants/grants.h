/*
 * What the parts of the guest share.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/text.h>

#define PAGE 4096u
#define MS   1000000ul
#define FLAT (PTE_P | PTE_W | PTE_U)

typedef uint8_t page_t[PAGE] __attribute__((aligned(4096)));

void is(int64_t got, int64_t wanted, const char *what);
void say(void *to, const char *text);
void own_again(void *window); /* its own page is there again */
uint64_t number_behind(const char *words, const char *name);

void own(unsigned me);                    /* own.c */
void hostile(unsigned me, unsigned peer); /* hostile.c */
void attacks(unsigned me, unsigned peer); /* attacks.c */
int rounds(uint64_t count);               /* rounds.c: under the name dom0 */
void child(void);                         /* ... and what it makes */
