/*
 * The VMM window: the part of a classic guest's 4 GiB of linear addresses that is Zeno's (DESIGN,
 * "Address map and descriptors").
 *
 * The host trusts nothing in it and keeps no address and no secret there. Under te it holds one page, read-only,
 * which says whose guest this is; bt will put its translation cache here. Truncated segments keep a
 * guest from reading it (where the CPU checks limits); paging keeps it from writing it, everywhere.
 */
#pragma once

#include <stdint.h>

#define WINDOW_MAGIC   0x6f6e657a /* "zeno" */
#define WINDOW_VERSION 1

struct window_page {
	uint32_t magic;
	uint32_t version;
	uint32_t domain;
};
