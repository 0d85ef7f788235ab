/*
 * What a debugger does to a vCPU. gdb_hold.c holds it and lets it run, gdb_run.c steps and stops
 * it, gdb.c shows it, commands.c tells of it in words. None of it does anything until a debugger is
 * attached.
 */
#pragma once

#include <kern/gdb/gdb.h>
#include <vmm/domain.h>
#include <vmm/vcpu.h>

#define FIRST_TID 1 /* GDB counts threads from 1 */

static inline struct gdb_thread
gdb_thread_of(const struct vcpu *v)
{
	return (struct gdb_thread){ v->domain->id, FIRST_TID + (int)v->number };
}

/* The vCPU that GDB means, or NULL. */
struct vcpu *gdb_vcpu(struct gdb_thread t);

/* gdb.c: where the next instruction is, in linear addresses. */
uint64_t debug_pc(struct vcpu *v);

/* gdb_hold.c, gdb_run.c: the operations of struct gdb_target that let vCPUs run and stop. */
void debug_hold(bool everything);
void debug_resume(struct gdb_thread t, bool step);
int debug_attach(int pid);
void debug_detach(int pid);
int debug_kill(int pid);
int debug_breakpoint(struct gdb_thread t, uint64_t addr, bool insert);
void debug_forget_breakpoints(struct domain *d);
/*
 * Stop at exits: a reason's tag or an instruction's name; "any"; NULL: at none. -EINVAL: there is
 * no such.
 */
int debug_stop_on_exit(const char *what);

/* landing.c: where the next step leads when TF does not follow. */
struct insn;
bool debug_landing(struct vcpu *v, const struct insn *insn, uint64_t *at);
