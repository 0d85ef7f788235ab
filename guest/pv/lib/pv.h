/*
 * The small library of the PV guests: hypercalls, a console, handlers, tables.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <inc/xen.h>

/* start.asm: by number; and by the page that the monitor has filled. */
int64_t pv_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
extern uint8_t virt_base[]; /* where pfn 0 is mapped: pv.ld */
extern uint8_t hypercall_page[];
int64_t pv_call_by_page(unsigned number, uint64_t a, uint64_t b, uint64_t c);

/* What a handler finds, lowest address first (start.asm). */
struct pv_frame {
	uint64_t r15, r14, r13, r12, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rax;
	uint64_t vector;
	uint64_t rcx, r11;
	uint64_t error, rip, cs, rflags, rsp, ss;
};

/* lib.c */
extern const struct xen_start_info *pv_info;
void pv_init(const struct xen_start_info *info); /* first of all */
bool pv_is_dom0(void); /* as which it has no rings, and may more than others */
void pv_exit(int code) __attribute__((noreturn));
void pv_print(const char *text);
void pv_printf(const char *fmt, ...)
	__attribute__((format(__printf__, 1, 2))); /* %s %c %d %u %x %lx */
unsigned pv_number(const char *name);              /* behind it in the guest's words; 0 */
uint64_t pv_page(const void *va);                  /* its machine frame */
int64_t pv_map(void *va, uint64_t entry);          /* update_va_mapping */
int64_t pv_read_only(const void *page);            /* what Xen wants of descriptors */
int64_t pv_update(uint64_t at, uint64_t entry);    /* mmu_update of one; machine addresses */
int64_t pv_mmuext(unsigned cmd, uint64_t arg);     /* mmuext_op of one */
#define PTE_P  1ul
#define PTE_W  2ul
#define PTE_U  4ul
#define PTE_NX (1ul << 63)

/* A guest's own; where the handler returns, the guest goes on. NULL: any exception is the end. */
extern void (*pv_handler)(struct pv_frame *f);
void pv_take_traps(void);
