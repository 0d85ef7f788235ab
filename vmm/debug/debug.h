/*
 * What the run loop tells a debugger, and asks it (gdb_run.c). Without one, nothing happens.
 */
#pragma once

#include <kern/thread.h>
#include <vmm/exit.h>

struct vcpu;

void debug_created(struct vcpu *v);
enum turn debug_park(struct vcpu *v);
void debug_release(struct vcpu *v); /* no longer held: lets it run if it was parked */
void debug_ended(struct vcpu *v);
enum verdict debug_one_exit(struct vcpu *v);
