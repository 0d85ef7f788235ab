/*
 * Exit handlers (dispatch.c), and the end of a guest (words/end.c).
 */
#pragma once

#include <kern/kern.h>
#include <vmm/exit.h>
#include <vmm/mem/mmu.h>

struct engine;
struct vcpu;

typedef enum verdict exit_handle_fn(struct vcpu *v, struct exit *e);

/* One handler per exit reason; a lab adds its own with EXIT_HANDLER. */
struct exit_handler {
	enum exit_reason reason;
	const char *engine; /* NULL: any */
	exit_handle_fn *handle;
};
#define EXIT_HANDLER(reason_, engine_, fn)                                                 \
	static const struct exit_handler exit_handler_##fn##_##reason_ = { EXIT_##reason_, \
									   engine_, fn };  \
	SET_ADD(exit_handlers, exit_handler_##fn##_##reason_)
/* All handlers of an engine, by reason; a vCPU keeps its own (v->handlers). */
exit_handle_fn *const *exit_handlers_of(const struct engine *engine);
enum verdict exit_dispatch(struct vcpu *v, struct exit *e);
enum verdict exit_cpuid(struct vcpu *v, struct exit *e); /* that for any engine: exits/cpuid.c */
/* settle.c */
enum verdict mmu_settle(struct vcpu *v, const struct exit *e, enum mmu_outcome outcome);
/* The end of a guest for what it did: the line names exit, rip, instruction, and `page`. */
enum verdict exit_stop(struct vcpu *v, const struct exit *e, const char *page, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/*
 * A limit of Zeno's, or of an engine's. A kernel that meets one is stopped, for to go on wrongly is
 * worse. A program's is its kernel's to judge: it gets this fault, and nothing else happens.
 */
enum verdict exit_limit(struct vcpu *v, const struct exit *e, unsigned vector, uint32_t error,
			const char *page, const char *fmt, ...) PRINTF_LIKE(6, 7);
