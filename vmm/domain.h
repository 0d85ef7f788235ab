/*
 * Domains and their virtual CPUs.
 */
#pragma once

#include <inc/addr.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/dev/pic.h>
#include <vmm/dev/pit.h>
#include <vmm/dev/rtc.h>
#include <vmm/dev/uart.h>
#include <vmm/exit.h>
#include <vmm/mem/mmu.h>
#include <vmm/x86/state.h>

#define DOMAIN_MAX    16
#define GUEST_RAM_MAX (1024ul << 20)

/* The last address of the classic guest's 4 GiB that is its own; above lies the VMM window (handouts/lab1a.md#the-window). */
#define WINDOW_SIZE    (4ul << 20)
#define WINDOW_DEFAULT (0x100000000ul - WINDOW_SIZE)
#define WINDOW_LOWEST  0xc0000000ul /* where it may move to: guest RAM ends below */
#define WINDOW_TABLES  2u           /* page tables of ours that it takes */

/*
 * One exit as it is remembered: a line of the trace, and of the last words of a guest. 64 of them make a
 * page. `effect` says what the handler did, in terms of a and b (exitlog.c turns it into words).
 */
enum effect {
	EFFECT_NONE,
	EFFECT_OUT,
	EFFECT_IN,
	EFFECT_IF,
	EFFECT_HALT,
	EFFECT_CR_READ,
	EFFECT_CR_WRITE,
	EFFECT_DR_READ,
	EFFECT_DR_WRITE,
	EFFECT_TABLE,
	EFFECT_SEGMENT,
	EFFECT_STOP,
	EFFECT_WRITE,
	EFFECT_READ,
	EFFECT_FAR,
	EFFECT_DELIVER,
	EFFECT_IRET,
	EFFECT_FILL,
};

struct exit_record {
	uint64_t seq; /* counts from 1 in each vCPU */
	uint64_t rip;
	uint64_t a, b;
	uint32_t error;
	uint16_t reason;  /* enum exit_reason */
	uint16_t insn_op; /* enum insn_op */
	uint8_t vector;
	uint8_t insn_len;
	uint8_t effect; /* enum effect */
	uint8_t ring;   /* the guest's CPL */
	uint8_t pad[16];
};
_Static_assert(sizeof(struct exit_record) == 64, "a page holds 64; the trace format depends on it");
#define EXIT_RING 64

struct exit_log {
	struct exit_record ring[EXIT_RING];
};

struct domain;
struct vcpu;

/*
 * The engine contract. run() enters the guest from v->state, returns after the first thing that is not the
 * guest's to do, with v->state true again and *e filled in. It never panics on what a guest did.
 */
struct engine {
	const char *name;
	const char *what;
	const char *base; /* the engine whose exit handlers serve where it has none; NULL: none */
	int (*init)(struct vcpu *v); /* allocates v->engine_data; 0, -ENOMEM, -ENODEV */
	void (*free)(struct vcpu *v);
	void (*load)(struct vcpu *v); /* before the first run() after another vCPU's */
	void (*run)(struct vcpu *v, struct exit *e);
	/* Brings an interrupt to the guest, whose IF is 1. RESUME, or the domain has ended. */
	enum verdict (*interrupt)(struct vcpu *v, uint8_t vector);
	/* d->window is another one now; NULL: the engine does not mind. Called in the middle of an exit. */
	void (*window_moved)(struct vcpu *v);
	/* The translation of the code at an address, or totals for 0, in lines from 0 on; NULL: it translates none. */
	bool (*show)(struct vcpu *v, uint64_t address, unsigned line, char *buf, size_t size);
	/* Reads from what show() tells of, by its address in the window; how much there is of it. NULL like show. */
	size_t (*peek)(struct vcpu *v, uint64_t address, void *buf, size_t len);
};

/* What a debugger has to do with a vCPU (gdb_run.c); all false without one. */
struct vcpu_debug {
	bool attached; /* the debugger has it */
	bool held;     /* ... and keeps it from running */
	bool parked;   /* could run, once it is no longer held */
	bool announce; /* the debugger is to be told that there is a new one */
	bool step;     /* stops after one instruction */
	bool waits;    /* stopped while it waited for an interrupt */
};

/* The host's own TLB (vmm/mem/tlb.h). */
#define TLB_ENTRIES 64u
struct tlb_entry {
	uint64_t
		tag; /* generation, linear page, and a bit for each kind of access that is allowed */
	uint8_t *page; /* in the direct map */
	const struct p2m_entry *frame;
	uint32_t gfn;
};
struct tlb {
	uint64_t generation; /* counts flushes, from bit 32 on */
	struct tlb_entry entry[TLB_ENTRIES];
};

struct vcpu {
	struct cpu_state state; /* one truth: what the guest would see */
	struct thread thread;
	struct domain *domain;
	const struct engine *engine;
	void *engine_data;
	uint64_t streamed; /* up to which exit the side channel has been told */
	uint64_t exits;    /* total; the next record's seq is exits + 1 */
	uint64_t exits_by[EXIT_COUNT];
	struct exit_log *log;     /* one frame */
	struct exit_record *last; /* the record of the exit being handled */
	bool sti_shadow;          /* interrupts stay off for one instruction: SDM 2B "STI" */
	struct vcpu_debug debug;
	struct page_fault page_fault; /* met by the host while it did something for the guest */
	struct tlb tlb;
};
_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "a vcpu is one frame");

enum p2m_type { P2M_NONE, P2M_RAM, P2M_MMIO, P2M_LOGDIRTY, P2M_FOREIGN, P2M_BALLOONED };

/* Why a frame is write-protected: a bit each in p2m_entry.track, an owner each in page_track_owners[]. */
enum page_track_why { TRACK_GDT, TRACK_LDT, TRACK_PAGE_TABLE, TRACK_CODE, TRACK_WHYS };

struct p2m_entry {
	uint32_t mfn;  /* 16 TiB of machine memory */
	uint8_t type;  /* enum p2m_type */
	uint8_t track; /* bit per enum page_track_why */
	uint16_t pad;
};
_Static_assert(sizeof(struct p2m_entry) == 8, "512 entries make a leaf page");
#define P2M_LEAF_ENTRIES 512

enum domain_state { DOMAIN_RUNNING, DOMAIN_ENDED };

struct domain {
	uint16_t id; /* 1..; 0 is the host */
	char name[24];
	enum domain_state state;
	uint64_t
		ram; /* bytes of guest-physical RAM, from address 0, with the hole at 640 KiB - 1 MiB */
	struct p2m_entry **p2m; /* one frame of pointers to leaf frames */
	mfn_t root;             /* the CPU's tables while it runs: slot 0 is the guest's 4 GiB */
	uint64_t flat[4];       /* its first four GiB while paging is off: linear = gpa */
	bool flush; /* the CPU may hold more in its TLB than the root allows now; see tlb_flush() */
	const struct mmu_mode *mmu; /* while paging is on; NULL: none in this build */
	void *mmu_data;
	uint64_t window; /* linear address of the VMM window */
	mfn_t window_page, window_tables[WINDOW_TABLES];
	unsigned window_moves;
	struct vcpu *vcpu; /* one vCPU until Lab 7 */

	/* The clock: guest time in ns is clock_ns() - clock_offset, and stands still while paused. */
	uint64_t clock_offset, clock_paused_at;
	bool clock_paused;

	struct uart uart;
	struct pic pic;
	struct pit pit;
	struct rtc rtc;
	uint64_t pit_edges;  /* how many of its edges IRQ 0 has been told */
	unsigned uart_polls; /* of its UART's line status, one after the other */
	const char *input;   /* what will be typed into its COM1; NUL-terminated, in `words` */
	char words[256];
	uint64_t unclaimed; /* accesses to ports that no device claims */

	char line[400]; /* console line being collected */
	unsigned line_len;
	unsigned
		quiet_at; /* the line's length at the last turn, and for how many turns it has been that */
	unsigned quiet_turns;
	char side[64]; /* bytes not yet told to the side channel */
	unsigned side_len;

	char end_reason[200]; /* why it ended, in words */
	unsigned exit_code;
	bool stopped; /* ended by domain_stop() */
	bool quiet;   /* says nothing on the console, not even how it ended */
};
_Static_assert(sizeof(struct domain) <= PAGE_SIZE, "a domain is one frame");

/* domain.c. The caller owns the result until domain_free(). Errors: -ENOMEM, -ENOENT, -ENOEXEC, -EINVAL. */
int domain_create(struct domain **out, const struct module *m, const char *words,
		  const struct engine *engine, uint64_t ram);
void domain_free(struct domain *d);
void domain_forget(void); /* frees the one that ended last, which is kept to be looked at */
struct domain *domain_find(unsigned id);
/* Ends the domain, once; says why in one line: what it did, where, and which handout explains it. */
void domain_stop(struct domain *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Orderly end: the guest wrote `code` to the debug exit port. */
void domain_exit(struct domain *d, unsigned code);
uint64_t domain_now(const struct domain *d); /* ns of the domain's own clock */
void domain_putc(struct domain *d, uint8_t byte);
void domain_flush(struct domain *d);
void domain_quiet(struct domain *d);

/* monitor.c: the boot module of this name; NULL: none. */
const struct module *module_find(const char *name);
/* The domain that argv[1] names, or the latest one; NULL: none. */
struct domain *monitor_domain(int argc, char **argv);

/* load.c: a multiboot 1 ELF32 image into guest RAM, registers as the specification's section 3.2 says. */
int load_guest(struct domain *d, const struct module *m, const char *words);

/* p2m.c */
int p2m_init(struct domain *d);
void p2m_free(struct domain *d);
struct p2m_entry *p2m_entry(struct domain *d, gfn_t g); /* NULL: beyond the table */
int p2m_set(struct domain *d, gfn_t g, mfn_t m, enum p2m_type type);
/*
 * A pointer to guest RAM through the direct map, good for `*len` bytes (cut at the frame's end), or NULL
 * where there is no RAM. The one way in which the host touches guest memory.
 */
void *gpa_ptr(struct domain *d, gpa_t a, size_t *len);
int gpa_read(struct domain *d, gpa_t a, void *buf, size_t len);        /* 0 or -EFAULT */
int gpa_write(struct domain *d, gpa_t a, const void *buf, size_t len); /* tells trace owners */

/* page_track.c: write-protects a guest frame in whatever MMU mode runs and calls the owner after each write. */
int page_track(struct domain *d, gfn_t g, enum page_track_why why);
void page_untrack(struct domain *d, gfn_t g, enum page_track_why why);
void page_track_written(struct domain *d, gpa_t a, size_t len);
void page_track_tell(struct domain *d, const struct p2m_entry *e, gpa_t a, size_t len);
struct page_track_owner {
	enum page_track_why why;
	void (*written)(struct domain *d, gpa_t a, size_t len);
};

/* mmu_flat.c: the MMU mode of a guest whose paging is off: linear = guest-physical. */
int mmu_flat_init(struct domain *d);
void mmu_flat_free(struct domain *d);
void mmu_flat_protect(struct domain *d, gfn_t g, bool readonly);

/* window.c: the VMM window, whatever MMU mode runs. */
int window_init(struct domain *d); /* 0, -ENOMEM; window_free() takes a half-made one too */
void window_free(struct domain *d);
/* Maps a frame at this offset in the window; the frame stays the caller's. U is never given. */
void window_map(struct domain *d, uint64_t offset, mfn_t f, pte_t flags);
/* Whether any byte of [linear, linear + len) lies in the VMM window. */
static inline bool
in_window(const struct domain *d, uint64_t linear, size_t len)
{
	return linear < d->window + WINDOW_SIZE && linear + len > d->window;
}
/*
 * Moves it away from addresses that the guest has use for: to the highest 4 MiB of the last GiB where its page tables, as
 * they are now, have nothing. 0, or -EBUSY: there are none, and the window stays.
 */
int window_move(struct domain *d);

/*
 * guestmem.c: guest memory by linear address, walked in software. 0, or -EFAULT: there is no memory, or, with
 * v->page_fault.pending, the guest's page tables say no. `how` is made of HOW_ bits, a write's own is implied. Without it
 * the access is a supervisor's, as the CPU's own to descriptor tables are (SDM 3A 4.6).
 */
int gva_to_gpa(struct vcpu *v, gva_t a, unsigned how, gpa_t *out);
int gva_read(struct vcpu *v, gva_t a, void *buf, size_t len);
int gva_write(struct vcpu *v, gva_t a, const void *buf, size_t len);
int gva_read_as(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t len);
int gva_write_as(struct vcpu *v, gva_t a, unsigned how, const void *buf, size_t len);
uint8_t *gva_byte(struct vcpu *v, gva_t a); /* through the direct map; NULL: no memory there */

/* tlb.c: what the guest's TLB may no longer hold, the CPU's and the host's own (vmm/mem/tlb.h) must not: all, or one page. */
void tlb_flush(struct domain *d);
void tlb_drop(struct vcpu *v, gva_t a);

/* run.c */
enum turn vcpu_turn(struct thread *t);
bool vcpu_ready(struct thread *t);
enum verdict exit_handle(struct vcpu *v, struct exit *e);
bool interrupt_comes_first(struct vcpu *v, uint64_t shadow_at, const struct exit *e);
/* Moves rip past the instruction of this exit. Call it only where the effect is complete. */
void vcpu_advance(struct vcpu *v, const struct exit *e);

/* dispatch.c: one handler per exit reason; a lab adds its own with EXIT_HANDLER. */
struct exit_handler {
	enum exit_reason reason;
	const char *engine; /* NULL: any */
	enum verdict (*handle)(struct vcpu *v, struct exit *e);
};
#define EXIT_HANDLER(reason_, engine_, fn)                                                 \
	static const struct exit_handler exit_handler_##fn##_##reason_ = { EXIT_##reason_, \
									   engine_, fn };  \
	SET_ADD(exit_handlers, exit_handler_##fn##_##reason_)
enum verdict exit_dispatch(struct vcpu *v, struct exit *e);
/* The end of a guest for what it did at this exit: the line names exit, rip, instruction, and `page`. */
enum verdict exit_stop(struct vcpu *v, const struct exit *e, const char *page, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* exitlog.c */
void exit_log(struct vcpu *v, const struct exit *e);
void exit_effect(struct vcpu *v, enum effect effect, uint64_t a, uint64_t b);
void exit_words(const struct exit_record *r, char *buf, size_t size);
void exit_print_last(struct vcpu *v, unsigned count);
void exit_summary(struct vcpu *v);
void exit_stream(struct vcpu *v); /* to the side channel, where trace=1 asks for it */
void exit_stream_interrupt(struct vcpu *v, uint8_t vector);
extern const char *const exit_names[EXIT_COUNT];
const char *exit_tag(unsigned reason);
unsigned exit_by_tag(const char *tag); /* enum exit_reason; EXIT_COUNT: none is called so */
const char *vector_short(unsigned vector);

/* Lab 1B, irq_lines.c: devices to 8259s. */
#define PIT_BACKLOG 16 /* edges that a late guest still gets; older ones are lost */
void platform_lines(struct domain *d);
int domain_input(struct domain *d); /* the next character for its COM1, -1: none */

/* io.c: the I/O bus. Accesses wider than a byte go bytewise to consecutive ports, as on an ISA bus. */
uint32_t io_read(struct domain *d, uint16_t port, unsigned size);
void io_write(struct domain *d, uint16_t port, unsigned size, uint32_t value);

/* engine.c: engines register themselves: SET_ADD(engines, te_engine). NULL: no such engine in this build. */
const struct engine *engine_find(const char *name);

/* gdb_run.c: a vCPU under a debugger. */
void debug_created(struct vcpu *v);
enum turn debug_park(struct vcpu *v);
void debug_ended(struct vcpu *v);
enum verdict debug_one_exit(struct vcpu *v);
