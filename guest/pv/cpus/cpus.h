/*
 * A PV guest of several vCPUs: the second one does what the first one tells it, one thing at a
 * time.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>
#include <inc/xen_vcpu.h>

#define MS        1000000ul
#define EINVAL    22
#define EEXIST    17
#define ENOENT    2
#define EFAULT    14
#define CPUS      4u
#define STACK     8192u
#define XMM0      160u /* its place in fxsave's area */
#define GDT_LIMIT 0x777u

/* main.c */
int64_t vcpu_op(unsigned op, uint64_t vcpu, const void *arg);
void give_up_turn(void);
void sleep_until(uint64_t ns); /* of the first vCPU, by its poll */
extern volatile struct xen_vcpu_info *infos[CPUS];
extern unsigned came[CPUS][64];  /* upcalls' ports, by vCPU */
unsigned who(const void *stack); /* which vCPU's that is */

/* asm.asm: where the second one begins. What it found, by the numbers of PUSHA's registers. */
extern uint8_t second_entry[], storm_entry[];
extern volatile uint64_t found[16], found_xmm[2], found_cr4;
extern volatile uint16_t found_cs;
extern uint64_t stacks[CPUS][STACK / 8];
void second_main(void) __attribute__((noreturn));
void storm_main(void) __attribute__((noreturn));

/* second.c: a good context of vCPU n, which begins there; the second one's orders. */
struct xen_guest_context *context_for(unsigned n, void *entry);
extern uint64_t gdt[CPUS][512], root[512];
void order(void (*fn)(void)); /* it has begun with that, or will soon */
void obeyed(void);            /* it is done */
void tell(void (*fn)(void));  /* both */

/* refused.c, storm.c */
void refused(void);
void storm(void);
