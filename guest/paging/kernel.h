/*
 * The page tables of guest/paging: where they are, and how an entry of either size is read and
 * written.
 */
#pragma once

#include <guest/lib/guest.h>

#include "asm.h"

#define P  1u
#define W  2u
#define U  4u
#define A  0x20u
#define D  0x40u
#define PS 0x80u
#define NX (1ull << 63)

#define CR0_PG  0x80000000u
#define CR0_WP  0x10000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u

/* Physical memory that tests use; the kernel itself is at 1 MiB. */
#define PDPT       0x200000u /* one page for each address space */
#define PD         0x204000u /* four pages for each address space */
#define TABLES     0x220000u /* page tables, one after the other */
#define DATA       0x300000u
#define USER_PAGE  0x3f0000u
#define LARGE      0x400000u
#define SPACES_MAX 3u

#define TEST 0x40000000u /* linear addresses of the tests */

#define RET 0xc3u /* an instruction that can be jumped to */

extern int pae, nx;
extern uint32_t next_table;
extern unsigned space; /* the address space that pde_of() & co. mean */

uint64_t get(uint32_t at);
void set(uint32_t at, uint64_t entry);
uint32_t pde_of(uint32_t va);
uint32_t pte_of(uint32_t va); /* the table is made if there is none */
void map(uint32_t va, uint64_t entry);
uint32_t cr3_of(unsigned n);
void make_space(unsigned n); /* the low 4 MiB to themselves, for the kernel alone */

void say(const char *what, uint32_t value);

/* hostile.c */
void hostile(const char *name);

/* fuzz.c */
/* From operation `log` on, if that is not 0, each is told. */
void fuzz(uint32_t seed, uint32_t count, uint32_t log);
