/*
 * Numbers and layouts of inc/xen*.h beside those of Xen's public headers.
 */
#pragma once

#include "tap.h"

#define SAME(ours, theirs) is_u64((uint64_t)(ours), (uint64_t)(theirs), "%s", #theirs)
#define FIELD(s, ours, theirs)                                                        \
	(is_u64(offsetof(struct xen_##s, ours), offsetof(struct s, theirs),           \
		"%s.%s is where it is", #s, #theirs),                                 \
	 is_u64(sizeof(((struct xen_##s *)0)->ours), sizeof(((struct s *)0)->theirs), \
		"... and as long"))
#define SIZE(s) is_u64(sizeof(struct xen_##s), sizeof(struct s), "size of %s", #s)
