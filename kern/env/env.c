/*
 * Envs: how one is entered, what its traps mean, and what it may ask for.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/env/env.h>
#include <kern/frame.h>
#include <kern/fpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/traps.h>

/*
 * Of the host's page of descriptors (kern/gdt.c): these two are there while an env runs, and no
 * guest of ring 1 does.
 */
#define USER_SS     0xe02b
#define USER_CS     0xe033
#define USER_CODE64 0x0020fb0000000000ul /* P, DPL 3, code, readable, accessed; L */
#define USER_DATA   0x00cff3000000fffful /* P, DPL 3, data, writable, accessed */
#define RPL_MASK    7ul
#define GDT_AT(sel) (*(volatile uint64_t *)(GDT_WINDOW + ((sel) & ~RPL_MASK)))

#define STACK_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_NX)

static struct env *has_cpu; /* took it last; an engine may have it since */

static int
new_page(struct env *e, uint64_t va, struct run_page **out)
{
	void *page = host_page();

	if (!page)
		return -ENOMEM;
	if (page_map(e->root, va, ptr_mfn(page), STACK_FLAGS)) {
		host_page_put(page);
		return -ENOMEM;
	}
	if (out)
		*out = page;
	return 0;
}

int
env_create(struct env **out, const char *name, const void *image, uint64_t size)
{
	struct env *e = host_page();
	uint64_t entry = 0;
	int err = 0;

	if (!e)
		return -ENOMEM;
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->root = root_new();
	if (!mfn_ok(e->root))
		err = -ENOMEM;
	if (!err)
		err = env_load(e, image, size, &entry);
	for (uint64_t va = USER_STACK; va < USER_STACK_TOP && !err; va += PAGE_SIZE)
		err = new_page(e, va, NULL);
	if (!err)
		err = new_page(e, USER_RUN_PAGE, &e->page);
	if (err) {
		env_free(e);
		return err;
	}
	e->frame = (struct ring_frame){ .rip = entry,
					.cs = USER_CS,
					.rflags = FLAG_IF | FLAG_ONE,
					.rsp = USER_STACK_TOP - 8, /* as behind a call */
					.ss = USER_SS };
	*out = e;
	return 0;
}

/* Takes a half-made one, too. */
void
env_free(struct env *e)
{
	int level;

	if (mfn_ok(e->root)) {
		for (uint64_t va = USER_BASE; va < USER_TOP; va += PAGE_SIZE) {
			const pte_t *entry = page_entry(e->root, va, &level);

			if (entry && *entry & PTE_P)
				frame_put(hpa_to_mfn(hpa(PTE_ADDR(*entry))));
		}
		if (PTE_ADDR(read_cr3()) == mfn_to_hpa(e->root).v)
			write_cr3(mfn_to_hpa(host_root).v);
		root_free(e->root);
	}
	host_page_put(e);
}

void
env_end(struct env *e, const char *fmt, ...)
{
	va_list ap;

	if (*e->end)
		return;
	va_start(ap, fmt);
	vsnprintf(e->end, sizeof(e->end), fmt, ap);
	va_end(ap);
}

/*
 * What engines have of the CPU that an env wants otherwise. It does not meet the breakpoints of the
 * thread in whose turn it runs. A late #DB of its own takes the stack that it is on: its frame has
 * room below (kern/trap.c).
 */
static APART void
take_cpu(struct env *e)
{
	uint64_t efer = rdmsr(MSR_EFER);

	__asm__ volatile("mov %0, %%dr7" : : "r"((uint64_t)DR7_RESET));
	/* Where an engine's guests may syscall, that leads into the engine. */
	if (efer & EFER_SCE)
		wrmsr(MSR_EFER, efer & ~(uint64_t)EFER_SCE);
	write_cr4(read_cr4() & ~(uint64_t)CR4_TSD); /* a guest of an outer ring may have set it */
	gdt_set_ldt(0, 0);
	/*
	 * 64-bit code needs no data segments, and what a guest in ring 1 has left is its own: FS's
	 * and GS's bases, too, which stay behind a null selector on AMD (APM 2 4.5.3).
	 */
	__asm__ volatile("mov %w0, %%fs; mov %w0, %%gs" : : "r"(HOST_DS));
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs" : : "r"(0));
	trap_debug_stack(false);
	tss_set_rsp0((uint64_t)(e + 1));
	ring_exit = env_leave;
	has_cpu = e;
}

/*
 * An engine that has had the CPU since has set ring_exit, but hardware's exits change root and CR0
 * by themselves. An env has no FPU: its registers are those of the thread in whose turn it runs.
 */
static inline void
open(struct env *e)
{
	uint64_t cr0 = read_cr0(), root = mfn_to_hpa(e->root).v;

	if (read_cr3() != root)
		write_cr3(root);
	if ((cr0 & (CR0_TS | CR0_AM)) != CR0_TS)
		write_cr0((cr0 | CR0_TS) & ~(uint64_t)CR0_AM);
	if (has_cpu != e || ring_exit != env_leave)
		take_cpu(e);
	GDT_AT(USER_CS) = USER_CODE64;
	GDT_AT(USER_SS) = USER_DATA;
	clock_runs(); /* whoever runs can be interrupted: an alarm may have come before */
}

/* A guest in ring 1 could take these for itself. */
static inline void
close(void)
{
	GDT_AT(USER_CS) = 0;
	GDT_AT(USER_SS) = 0;
	trap_debug_late = false;
}

static COLD enum env_event
fault(struct env *e, uint64_t vector, uint64_t error)
{
	char words[96], at[32] = "";

	error_code_words((unsigned)vector, error, words, sizeof(words));
	if (vector == VEC_PF)
		snprintf(at, sizeof(at), " at %lx", read_cr2());
	env_end(e, "killed by %s%s%s%s, rip %lx", vector_name((unsigned)vector), at,
		*words ? ": " : "", words, e->frame.rip);
	return ENV_ENDED;
}

static enum env_event
other_trap(struct env *e)
{
	const struct ring_frame *f = &e->frame;

	/* handouts/emulators.md#iret-vm: what QEMU's iret allows is none of ours */
	if (f->rflags & FLAG_VM) {
		env_end(e, "killed by an iret with VM set, which only QEMU allows, rip %lx",
			f->rip);
		return ENV_ENDED;
	}
	if (f->vector - IRQ_BASE < IRQ_COUNT) {
		irq((unsigned)f->vector);
		return ENV_IRQ;
	}
	if (f->vector == VEC_NMI) {
		watchdog_fired();
		return ENV_IRQ;
	}
	return fault(e, f->vector, f->error);
}

/*
 * To its next trap. Nothing of the env's can make the entry fail: its rip, for one, is where its
 * memory is.
 */
enum env_event
env_run(struct env *e)
{
	uint64_t failure;

	open(e);
	failure = env_enter(&e->frame, e->regs);
	close();
	if (failure)
		return fault(e, (uint32_t)failure, failure >> 32);
	if (e->frame.vector == USER_VECTOR && !(e->frame.rflags & FLAG_VM))
		return ENV_CALL;
	return other_trap(e);
}

/*
 * Its tables alone say what it has, and what of it may be written: no address of its own is ever
 * used as one of the host's.
 */
static int
copy(const struct env *e, uint64_t va, char *to, const char *from, size_t len)
{
	pte_t rights = PTE_P | (from ? PTE_W : 0);

	if (va < USER_BASE || va > USER_TOP || len > USER_TOP - va)
		return -EFAULT;
	for (size_t done = 0, part; done < len; done += part) {
		uint64_t in_page = (va + done) & PAGE_MASK;
		int level;
		const pte_t *entry = page_entry(e->root, va + done, &level);
		char *at;

		if (!entry || (*entry & rights) != rights)
			return -EFAULT;
		at = (char *)hpa_ptr(hpa(PTE_ADDR(*entry))) + in_page;
		part = PAGE_SIZE - in_page < len - done ? PAGE_SIZE - in_page : len - done;
		memcpy(from ? at : to + done, from ? from + done : at, part);
	}
	return 0;
}

int
env_read(const struct env *e, void *to, uint64_t from, size_t len)
{
	return copy(e, from, to, NULL, len);
}

int
env_write(const struct env *e, uint64_t to, const void *from, size_t len)
{
	return copy(e, to, NULL, from, len);
}

mfn_t
env_frame(const struct env *e, uint64_t va)
{
	int level;
	const pte_t *entry = page_entry(e->root, va, &level);

	if (va < USER_BASE || va >= USER_LIMIT || !entry || (~*entry & (PTE_P | PTE_W)))
		return MFN_NONE;
	return hpa_to_mfn(hpa(PTE_ADDR(*entry)));
}

int
env_line(const struct env *e, char to[USER_LINE + 1], uint64_t from, uint64_t len)
{
	int err = len > USER_LINE ? -E2BIG : env_read(e, to, from, len);

	if (err)
		return err;
	for (uint64_t i = 0; i < len; i++)
		if (to[i] < ' ' || to[i] > '~')
			to[i] = '?';
	to[len] = '\0';
	return 0;
}

bool
env_call(struct env *e)
{
	char line[USER_LINE + 1];
	int64_t result = 0;

	switch (e->regs[ENV_RAX]) {
	case USER_EXIT:
		env_end(e, "ended, status %ld", (int64_t)e->regs[ENV_RDI]);
		break;
	case USER_PRINT:
		result = env_line(e, line, e->regs[ENV_RDI], e->regs[ENV_RSI]);
		if (!result)
			printf("%s: %s\n", e->name, line);
		break;
	case USER_YIELD:
		need_resched = true;
		break;
	default:
		return false;
	}
	e->regs[ENV_RAX] = (uint64_t)result;
	return true;
}
