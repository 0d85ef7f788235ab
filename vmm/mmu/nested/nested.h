/*
 * The MMU mode of engines whose CPU walks two sets of tables: the guest's own, and below them
 * Zeno's, from guest-physical to machine addresses.
 *
 * Here these are flat: all of RAM is mapped when the domain is made, a page at a time, for a
 * domain's frames lie anywhere. The entries are those of the host's own paging with U=1, since the
 * CPU looks them up as a user's accesses (APM 2 15.25.5).
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#pragma once

#include <stdint.h>

#include <inc/addr.h>
#include <vmm/mem/mmu.h>

struct vcpu;

/*
 * Makes v->root, the top of the nested tables. 0 or -ENOMEM; the mode's free() takes a half-made
 * one.
 */
int nested_init(struct vcpu *v);

/* walk.c: the guest's own tables, walked in software. 0, or -EFAULT with *fault. */
int nested_walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault);
