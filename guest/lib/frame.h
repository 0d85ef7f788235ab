/*
 * What the stubs of guest/lib/stubs.inc leave on the stack, for handle().
 */
#pragma once

#include <stdint.h>

/* esp and ss are there only if the frame came from ring 3. */
struct frame {
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t eip, cs, eflags, esp, ss;
};

extern const uint32_t stubs[256];

void handle(struct frame *f); /* called by the stubs */
void leave_user(void) __attribute__((noreturn));
