/*
 * The error numbers that Zeno's functions return, negated. The values are those of the Xen ABI
 * (xen/include/public/errno.h), so that a hypercall can return them as they are.
 */
#pragma once

#if __STDC_HOSTED__
#include <errno.h>
#else
enum {
	EPERM = 1,
	ENOENT = 2,
	ESRCH = 3,
	EIO = 5,
	ENXIO = 6,
	E2BIG = 7,
	ENOEXEC = 8,
	EAGAIN = 11,
	ENOMEM = 12,
	EACCES = 13,
	EFAULT = 14,
	EBUSY = 16,
	EEXIST = 17,
	ENODEV = 19,
	EINVAL = 22,
	ENOSPC = 28,
	ERANGE = 34,
	ENOSYS = 38,
	ENODATA = 61,
	ETIME = 62,
	EOVERFLOW = 75,
	EOPNOTSUPP = 95,
};
#endif
