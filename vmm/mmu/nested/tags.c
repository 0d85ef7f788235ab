/*
 * The numbers that a CPU tags translations with: ASIDs on AMD-V, VPIDs on VT-x.
 *
 * A vCPU that needs its translations forgotten takes another number, and those under the old one
 * are never found again. When all have been used the CPU forgets everything, once, and they begin
 * anew: a new generation. Whoever has a number of an older one takes another before it runs.
 */
#include <vmm/mmu/nested/tags.h>

bool
tag_take(struct tags *all, struct tag *mine)
{
	bool recycled = !all->next || all->next >= all->count;

	if (recycled) {
		all->generation++;
		all->next = 2; /* 0 is the host's, 1 of a structure that is no vCPU's (trials/) */
	}
	mine->number = all->next++;
	mine->generation = all->generation;
	return recycled;
}
