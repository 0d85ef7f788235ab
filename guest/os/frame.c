/* Page frames: a list of free ones, and for each how many page tables (or others) use it. */
#include <guest/os/os.h>

static uint16_t refs[MAX_RAM / PAGE];
static uint32_t *free_list, free_count;

static uint32_t
number(const void *page)
{
	return ((uint32_t)page - KB) / PAGE;
}

void
frame_put(void *page)
{
	uint32_t *link = page;

	if ((uint32_t)page % PAGE || (char *)page < kernel_end || !refs[number(page)])
		panic("a frame is freed that is not in use");
	if (--refs[number(page)])
		return;
	*link = (uint32_t)free_list;
	free_list = link;
	free_count++;
}

void *
frame_get(void)
{
	uint32_t *page = free_list;

	if (!page)
		return NULL;
	free_list = (uint32_t *)*page;
	free_count--;
	refs[number(page)] = 1;
	clear(page, PAGE);
	return page;
}

void
frame_share(void *page)
{
	refs[number(page)]++;
}

unsigned
frame_refs(void *page)
{
	return refs[number(page)];
}

uint32_t
frame_count(void)
{
	return free_count;
}

/* All from the kernel's end to the end of RAM. What lies below 1 MiB is left alone. */
void
frame_init(uint32_t ram)
{
	for (uint32_t va = KB + ram - PAGE; va >= (uint32_t)kernel_end; va -= PAGE) {
		refs[number((void *)va)] = 1;
		frame_put((void *)va);
	}
}
