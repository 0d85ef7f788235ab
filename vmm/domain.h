/*
 * Domains: what a guest has beside its CPU.
 */
#pragma once

#include <inc/addr.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <vmm/mem/ram.h>
#include <vmm/vcpu.h>

struct mmu_mode;
struct module;
struct nested_format;
struct p2m_entry;
struct platform;
struct domain_service;

#define DOMAIN_MAX 16

/*
 * The last address of the classic guest's 4 GiB that is its own; above lies the VMM window
 * (handouts/lab1a.md#the-window).
 */
#define WINDOW_SIZE    (4ul << 20)
#define WINDOW_DEFAULT (0x100000000ul - WINDOW_SIZE)
#define WINDOW_NONE    (~0ul - 2 * WINDOW_SIZE) /* of a domain that has none */
#define WINDOW_LOWEST  0xc0000000ul             /* where it may move to: guest RAM ends below */
#define WINDOW_TABLES  2u                       /* page tables of ours that it takes */

enum domain_state { DOMAIN_RUNNING, DOMAIN_ENDED };

/* How often a guest touched a port that nobody has. */
#define UNCLAIMED_PORTS 8
struct port_count {
	uint16_t port;
	uint32_t count;
};

struct domain {
	uint16_t id; /* 1..; 0 is the host */
	char name[24];
	enum domain_state state;
	/* bytes of guest-physical RAM, from address 0, with the hole at 640 KiB - 1 MiB */
	uint64_t ram;
	struct ram_range map[RAM_RANGES]; /* which guest frames that is */
	struct p2m_entry ***p2m;          /* a frame of pointers to frames of pointers to leaves */
	const struct mmu_mode *mmu;       /* while paging is on; NULL: none in this build */
	const struct nested_format *nested_format; /* NULL: it has no nested tables */
	bool nested_less;     /* ... and they allow less than VT-x's CPU may remember */
	uint32_t page_frames; /* how many frames a first touch gives: 1, 512 or 262,144 */
	uint64_t touched;     /* frames that have been given so */
	bool logs_writes;     /* the dirty log is on */
	bool starved;         /* the machine had none: the next turn ends the domain */
	const struct mmu_mode *flat_mode; /* ... and off; NULL: the engine needs none */
	uint64_t window;                  /* linear address of the VMM window */
	mfn_t window_page, window_tables[WINDOW_TABLES];
	unsigned window_moves;
	struct vcpu *vcpu; /* the first one; the others by `next` */
	struct vcpu *ran;  /* had the last turn; NULL: none has */

	uint64_t clock_offset, paused_at; /* its time is clock_ns() - clock_offset, in ns */
	uint8_t paused; /* ... and its CPUs with it: a bit for each enum pauser who wants it so */

	const struct platform *platform; /* what kind of machine it is; NULL: none */
	void *machine;                   /* ... and the platform's own: its devices */
	void *pv;                        /* Xen's services (vmm/pv/shared.h); NULL: it has none */
	const struct domain_service *service; /* NULL: it has none */
	uint8_t changed;                      /* enum changed: by this access to a device */
	const struct module *disk;            /* of which it may change the bytes; NULL: none */
	bool keyboard;      /* what is typed for it goes to its keyboard, not to its COM1 */
	const char *input;  /* what will be typed; NUL-terminated, in `words` */
	bool input_any;     /* there are such words */
	bool input_awaited; /* ... behind prompts, or by a person who sees them: no need to guess */
	bool input_waits;   /* ... first for what *input begins with, up to a `|` */
	char heard[32];     /* its last characters, a ring */
	unsigned heard_count;
	char words[512];
	/* accesses to ports that no device claims; and by port, the first ones */
	uint64_t unclaimed;
	uint64_t dropped; /* writes to what is neither RAM nor a device's */
	struct port_count unclaimed_ports[UNCLAIMED_PORTS];

	char line[400]; /* console line being collected */
	unsigned line_len;
	/* the line's length at the last turn, and for how many turns it has been that */
	unsigned quiet_at;
	unsigned quiet_turns;
	char side[64]; /* bytes not yet told to the side channel */
	unsigned side_len;

	char end_reason[240]; /* why it ended, in words */
	unsigned exit_code;
	bool stopped;        /* ended by domain_stop() */
	bool reset;          /* ... since it has reset its machine */
	struct again *again; /* what it then starts from; NULL: that is its end */
	bool silent;         /* says nothing on the console, not even how it ended */
};
_Static_assert(sizeof(struct domain) <= PAGE_SIZE, "a domain is one frame");

/* v is each vCPU of domain d, which may still be without any. */
#define for_each_vcpu(v, d) for (struct vcpu *v = (d)->vcpu; v; v = v->next)

#define GUEST_MODULES 8u

/* What a domain is made of. */
struct domain_config {
	const struct module *module;
	const struct engine *engine;
	const struct mmu_mode *mmu; /* for paging; NULL: the engine's first that is in this build */
	const struct platform *platform; /* NULL: it has no devices */
	const struct module *disk;       /* NULL: none */
	const char *loader;   /* its name; NULL: the guest's words or its image say which */
	uint32_t page_frames; /* for struct domain; 0: 1 */
	bool keyboard;        /* for struct domain */
	bool xen, by_dom0;    /* it has Xen's services; dom0 has the other end of its rings */
	bool logs_writes;     /* from the loader's first byte on; of RAM that is given on demand */
	uint64_t ram;         /* bytes, whole pages, 2 MiB to what the engine takes */
	unsigned vcpus;       /* up to what the engine has */
	uint64_t weight;      /* for the scheduler; 0: WEIGHT_DEFAULT */
	unsigned resets;      /* so often it starts again when it has reset its machine */
	unsigned id;          /* ... with this number; 0: any */
	const char *words;    /* behind the module's own, for the guest */
	/* what a multiboot kernel finds in memory beside itself; the rest are NULL */
	const struct module *modules[GUEST_MODULES];
};

/* What a domain has beside its platform, of a part of Zeno that a lab joins: config.xen. */
struct domain_service {
	/* Its vCPUs are there, its image is not. 0; -ENOMEM; -EINVAL after a line. */
	int (*open)(struct domain *d, bool by_dom0);
	void (*close)(struct domain *d); /* ... are there still; open() may have failed */
};

/* create/create.c. The caller owns it up to domain_free(). -ENOMEM, -ENOENT, -ENOEXEC, -EINVAL. */
int domain_create(struct domain **out, const struct domain_config *config);
void domain_free(struct domain *d);
/* Frees the one that ended last, which is kept to be looked at. False: none is, `but` apart. */
bool domain_forget(const struct domain *but);
struct domain *domain_find(unsigned id);

/* words/end.c. Ends it, once, with a line: what it did, where, and which handout explains it. */
void domain_stop(struct domain *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Orderly end: the guest wrote `code` to the debug exit port. */
void domain_exit(struct domain *d, unsigned code);
void domain_off(struct domain *d, const char *how); /* the guest has "powered off", say */

/* domain.c. The machine had no frame for a touch of its RAM: its next turn ends it. */
void domain_starves(struct domain *d);
/* Each of its vCPUs has had its last turn. */
bool domain_is_over(const struct domain *d);
uint64_t domain_exits(const struct domain *d); /* of all its vCPUs */
uint64_t domain_now(const struct domain *d);   /* ns of the domain's own clock */

/* words/console.c */
void domain_putc(struct domain *d, uint8_t byte);
void domain_flush(struct domain *d);
void domain_quiet(struct domain *d);

/* dev/reset.c: config.resets; and when the last turn of a domain is over */
int reset_init(struct domain *d, const struct domain_config *c);
void reset_done(struct domain *d);
static inline bool
domain_restarts(const struct domain *d)
{
	return d->reset && d->again;
}

/* dev/typed.c */
void domain_input_init(struct domain *d, bool again); /* from input= of its words */
int domain_input(struct domain *d); /* the next character for its COM1, -1: none */
int domain_key(struct domain *d);   /* ... for its keyboard */
