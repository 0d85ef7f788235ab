/* What the compiler is told beyond the language. */
#pragma once

/*
 * Rarely needed: out of line, so that the usual way through its caller saves no registers for it.
 */
#define COLD __attribute__((noinline, cold))

/* Out of line for the same reason, but not so rare that it may be slow: COLD code is made small. */
#define APART __attribute__((noinline))

/* One body for two ways that differ in an argument: each has no more of it than it needs. */
#define INLINED inline __attribute__((always_inline))
