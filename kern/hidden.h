/*
 * Compiled in front of every file of the kernel (-include): declares all that follows hidden, so
 * that `extern` objects are reached RIP-relative too. -fvisibility=hidden alone covers definitions
 * only, and the rest would be reached through a GOT.
 */
#pragma GCC visibility push(hidden)
