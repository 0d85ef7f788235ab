/*
 * Its own page, granted to itself: each exercise of the lab by one line or two. It ends with a
 * mapping that it has not given back.
 */
#include <guest/pv/grants/grants.h>

#define REF  8u
#define HOST XEN_GNTMAP_host_map
#define READ XEN_GNTMAP_readonly

static page_t page, window, bytes;

static const char *
use_of(void)
{
	uint16_t flags = pv_grants[REF].flags;

	return flags & XEN_GTF_writing ? "written" : flags & XEN_GTF_reading ? "read" : "free";
}

void
own(unsigned me)
{
	uint16_t self = (uint16_t)me;
	uint32_t handle = 0, second = 0;
	int first;

	say(page, "hello");
	pv_printf("before it is granted: %d\n", pv_map_grant(window, self, REF, HOST, &handle));
	pv_grant(REF, self, page, true);
	first = pv_map_grant(window, self, REF, HOST, &handle);
	pv_printf("to write what may be read: %d; to read: %d\n", first,
		  pv_map_grant(window, self, REF, HOST | READ, &handle));
	pv_printf("there: %s; the entry is %s\n", (char *)window, use_of());
	first = pv_unmap_grant(window, 0, handle);
	pv_printf("unmap: %d; once more: %d; the entry is %s\n", first,
		  pv_unmap_grant(window, 0, handle), use_of());
	own_again(window);
	first = pv_copy_grant(pv_granted(self, REF, 0), pv_own(bytes), 6, XEN_GNTCOPY_source_gref);
	pv_printf("copy: %d: %s\n", first, (char *)bytes);
	pv_map_grant(window, self, REF, HOST | READ, &second);
}
