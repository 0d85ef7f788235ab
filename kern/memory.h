/*
 * How the host's memory comes to life.
 */
#pragma once

/*
 * Boot allocator, final page tables, frame table, machine-to-phys table: in this order, since each
 * needs the one before. Call it right after bootinfo_init(); then trap_init(), whose stacks come
 * from the boot allocator; then frame_init(), so that a page allocator that faults is seen and
 * named.
 */
void memory_init(void);
