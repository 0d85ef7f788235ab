/*
 * The words of a ring's page, as a CPU reads and writes them: x86 does no more than the compiler.
 * Functions, so that a test can have others in their place, and a debugger stop at each access.
 */
#include <guest/pv/drivers/ring.h>

uint32_t
ring_load(const volatile uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

void
ring_store(volatile uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

void
ring_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
