/* What the compiler is told beyond the language. */
#pragma once

/*
 * Rarely needed: out of line, so that the usual way through its caller saves no registers for it.
 */
#define COLD __attribute__((noinline, cold))
