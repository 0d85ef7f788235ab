/*
 * Guarded stacks: below each one lies a page that is never mapped, so that an overflow is a fault
 * and not somebody else's data.
 */
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>

#define STACKS_MAX  16
#define STACK_FLAGS (PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX)

static struct {
	uint64_t guard;
	const char *name;
} stacks[STACKS_MAX];
static unsigned stack_count;
static uint64_t next_stack = STACK_AREA;

extern char boot_stack_guard[];

uint64_t
stack_alloc(unsigned pages, const char *name)
{
	uint64_t guard = next_stack, va = guard + PAGE_SIZE;

	ASSERT(stack_count < STACKS_MAX);
	for (unsigned i = 0; i < pages; i++, va += PAGE_SIZE) {
		mfn_t f = frame_alloc(FRAME_HOST, OWNER_HOST);

		if (!mfn_ok(f) || page_map(host_root, va, f, STACK_FLAGS))
			panic("no memory for the stack of %s", name);
	}
	stacks[stack_count].guard = guard;
	stacks[stack_count++].name = name;
	next_stack = va;
	return va;
}

static bool
in_page(uint64_t va, uint64_t page)
{
	return va >= page && va < page + PAGE_SIZE;
}

const char *
stack_guard_name(uint64_t va)
{
	if (in_page(va, (uint64_t)boot_stack_guard))
		return "the host";
	for (unsigned i = 0; i < stack_count; i++)
		if (in_page(va, stacks[i].guard))
			return stacks[i].name;
	return NULL;
}
