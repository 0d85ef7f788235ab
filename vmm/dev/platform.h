/*
 * The devices of a classic PC and its interrupt lines (platform.c).
 */
#pragma once

struct domain;

/* Lab 1B, irq_lines.c: devices to 8259s. */
#define PIT_BACKLOG 16 /* edges that a late guest still gets; older ones are lost */
void platform_lines(struct domain *d);
