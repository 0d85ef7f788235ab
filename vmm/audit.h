/*
 * Who changes tables that the CPU walks asks here for an audit. Nobody answers, unless the boot
 * option audit=N wants every Nth time looked at and this build has auditors (trials/audit).
 */
#pragma once

#include <stddef.h>

struct vcpu;

/* NULL: nobody. */
extern void (*audit_answers)(struct vcpu *v);

static inline void
audit_now_and_then(struct vcpu *v)
{
	if (audit_answers)
		audit_answers(v);
}
