/*
 * Memory that dom0 has and uses for nothing yet, by pages.
 */
#pragma once

#include <stddef.h>

void *page_take(void); /* of zeros; NULL: there is none left */
void page_give(void *page);
size_t pages_left(void);
