/* The instructions of guest/pager that C cannot say. */
#pragma once

#include <stdint.h>

void
load_tables(void); /* a GDT, and an IDT with one gate: #PF, which calls page_fault() and returns */
void paging_on(uint32_t directory);
void load_cr3(uint32_t directory);
void flush_page(uint32_t address); /* INVLPG */
