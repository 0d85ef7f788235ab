/*
 * What kernels with a CPU of their own have beside the library of the PV guests.
 */
#pragma once

#include <guest/pv/lib/events.h>
#include <inc/xen_hvm.h>

#define PVH_UPCALL 0xf3u /* the vector that they choose for it: start.asm */

/* start.asm: hypercalls as others would make them: ring 3, code of 32 bits. */
int64_t pvh_user_call(uint64_t number);
extern uint8_t pvh_user_back[]; /* where int 128 is to go on, with its answer in rax */
int64_t pvh_call32(uint64_t number);

void pvh_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4]); /* eax, ebx, ecx, edx */
int64_t pvh_memory_op(unsigned op, const void *arg);
/* A page of its own shows one of Zeno's from then on. */
int64_t pvh_show(enum xen_mapspace space, uint64_t idx, uint64_t gfn);
int64_t pvh_param(unsigned index, uint64_t *value); /* hvm_op get_param */
int64_t pvh_set_callback(uint64_t value);
/* As pv_events_init(), and upcalls by the vector above: pv_handler gets them. */
void pvh_events_init(void);
