/*
 * What the files of this guest share.
 */
#pragma once

#include <guest/pv/lib/check.h>
#include <guest/pv/lib/events.h>

extern unsigned came[64];
void take_events(struct pv_frame *f);
uint32_t bind_virq(uint32_t virq);

/* hostile.c: does the harm of these words; false: they speak of none. */
bool harm(const char *words);
