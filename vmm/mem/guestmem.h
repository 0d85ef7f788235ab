/*
 * Guest memory by linear address (guestmem.c).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <inc/addr.h>
#include <vmm/mem/mmu.h>

struct vcpu;

/*
 * Walked in software. 0, or -EFAULT: there is no memory, or, with v->page_fault.pending, the
 * guest's page tables say no. `how` is made of ACCESS_ bits, a write's own is implied. Without it
 * the access is a supervisor's, as the CPU's own to descriptor tables are (SDM 3A 4.6).
 */
int gva_to_gpa(struct vcpu *v, gva_t a, unsigned how, gpa_t *out);
int gva_read_as(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t len);
int gva_write_as(struct vcpu *v, gva_t a, unsigned how, const void *buf, size_t len);
uint8_t *gva_byte(struct vcpu *v, gva_t a); /* through the direct map; NULL: no memory there */

/* How much of [a, a + len) lies in the page of a. */
static inline size_t
in_page(gva_t a, size_t len)
{
	size_t left = PAGE_SIZE - (a.v & PAGE_MASK);

	return len < left ? len : left;
}

/*
 * tlb.c: what the guest's TLB may no longer hold, the CPU's and the host's own (vmm/mem/tlb.h) must
 * not: all, or one page.
 */
void tlb_flush(struct vcpu *v);
void tlb_flush_all(struct domain *d); /* of each of its vCPUs */
