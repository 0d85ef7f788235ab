/*
 * A small teaching kernel for 32-bit machines: what its files offer each other, file by file.
 *
 * It runs in ring 0 of a bare machine, and unchanged in ring 1 under trap-and-emulate. So it uses
 * no instruction that shows the real machine without a trap (handouts: the 18): no pushf and popf,
 * no reading of CS and SS, no sgdt, sidt, sldt, str, smsw, lar, lsl, verr, verw.
 *
 * The kernel is never preempted: a clock tick inside of it is counted, and the process gives way on
 * its return to ring 3. Only what interrupt handlers share is guarded, by int_off() and int_on().
 */
#pragma once

#include <guest/lib/guest.h>
#include <guest/os/abi.h>

#define KB        0xc0000000u /* the kernel's base: physical 0 is mapped here */
#define PAGE      4096u
#define MAX_RAM   (32u << 20)
#define USER_TOP  0xbffff000u /* the end of a program's stack */
#define STACK_MAX (64 * PAGE)
#define STACK_GAP (16 * PAGE) /* a fault here is a stack that has grown too far */
#define USER_MIN  0x400000u
#define HEAP_MAX  0x40000000u

#define PROCS       64
#define FDS         16
#define KSTACK      8192
#define PROC_NAME   16
#define SYSCALL_INT 0x80
#define IRQ_BASE    0x20

#define round_up(x) (((x) + PAGE - 1) & ~(PAGE - 1))

/* What a trap leaves on the kernel's stack (trap.asm). */
struct trapframe {
	uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t gs, fs, es, ds;
	uint32_t vector, error;
	uint32_t eip, cs, eflags, esp, ss; /* esp and ss: from ring 3 only */
};

/* An address space and what may be in it: program, heap up to the break, stack. */
struct space {
	uint32_t *dir;
	uint32_t data; /* from here to brk a program may write */
	uint32_t brk;
};

enum file_kind { F_CONSOLE, F_INODE, F_PIPE };

struct file {
	unsigned refs;
	enum file_kind kind;
	unsigned flags; /* O_READ, O_WRITE, O_APPEND */
	uint32_t inum, offset;
	struct pipe *pipe;
};

enum proc_state { UNUSED, RUNNABLE, RUNNING, SLEEPING, ZOMBIE };

struct proc {
	enum proc_state state;
	int pid, status, killed;
	struct proc *parent;
	const void *channel; /* what it sleeps for */
	uint32_t *context;   /* its kernel stack while it does not run */
	struct trapframe *frame;
	struct space space;
	struct file *fd[FDS];
	uint32_t cwd; /* inum */
	char name[PROC_NAME];
};

/* boot.asm, os.ld, disk.asm */
extern uint32_t kernel_dir[1024], kernel_tables[MAX_RAM / PAGE];
extern char text_start[], data_start[], kernel_end[];
extern const char disk_image[], disk_image_end[];

/* trap.asm */
extern const uint32_t stubs[48];
void stub_syscall(void);
void trap_return(void);
void switch_stacks(uint32_t **old, uint32_t *new);
void load_tables(const void *gdtr, const void *idtr, uint32_t tr);
void cli(void);
void sti(void);
void wait_for_interrupt(void);
uint32_t read_cr2(void);
void load_cr3(uint32_t pa);
void set_cr4(uint32_t bits);
void flush_page(uint32_t va);
void copy(void *dst, const void *src, uint32_t bytes);
void clear(void *dst, uint32_t bytes);
void popf_pair(void);

/* main.c */
void panic(const char *why) __attribute__((noreturn));

/* segment.c */
#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS   0x1b
#define USER_DS   0x23
void segment_init(void);
void segment_kernel_stack(uint32_t esp); /* where the next trap from ring 3 starts */

/* trap.c */
extern volatile uint32_t ticks;
extern unsigned int_depth;
void int_off(void);
void int_on(void);
void trap_init(uint32_t hz);
void trap(struct trapframe *f);
uint32_t
clock_count(void); /* the counter of the 8254, which counts down whether interrupts are on or not */

/* frame.c */
void frame_init(uint32_t ram);
void *frame_get(void); /* a page of zeros, or NULL */
void frame_share(void *page);
void frame_put(void *page);
unsigned frame_refs(void *page);
uint32_t frame_count(void);

/* space.c */
extern const char stack_full[], no_memory[];
#define PTE_P   1u
#define PTE_W   2u
#define PTE_U   4u
#define PTE_PS  0x80u
#define PTE_COW 0x200u /* ours: shared until somebody writes */
#define ERR_P   1u     /* page-fault error code, SDM 3A 4.7 */
#define ERR_W   2u
#define ERR_U   4u
void space_init(uint32_t ram, int large_pages, int own_tables);
int space_new(struct space *s);
void space_load(const struct space *s); /* NULL: the kernel's own */
int space_map(struct space *s, uint32_t va, void *page, uint32_t bits);
int space_fork(struct space *child, struct space *parent);
void space_free(struct space *s);
const char *space_fault(struct space *s, uint32_t va, uint32_t error); /* NULL, or what is wrong */
int space_may(const struct space *s, uint32_t va, uint32_t bytes, int writes);
int space_string(const struct space *s, uint32_t va, uint32_t most);

/* proc.c */
extern struct proc *current;
void proc_first(void (*start)(void));
int proc_fork(void);
void proc_exit(int status) __attribute__((noreturn));
int proc_wait(uint32_t status);
int proc_kill(int pid);

/* sched.c */
extern struct proc procs[PROCS];
extern volatile int resched;
void sched_run(void) __attribute__((noreturn));
void sched_leave(void); /* current's state says why */
void sched_yield(void);
int sched_sleep(const void *channel); /* -1: it has been killed */
void sched_wake(const void *channel);
uint32_t *sched_new(struct proc *p, void (*start)(void));
uint32_t proc_stack_top(const struct proc *p);

/* exec.c */
int exec(const char *path, char *const *argv, int argc); /* argv: the kernel's copy */

/* fs.c */
void fs_init(void);
struct inode *inode_get(uint32_t inum);
uint32_t inode_new(unsigned type); /* inum, or 0 */
void inode_hold(uint32_t inum);
void inode_drop(uint32_t inum);
void inode_unlink(uint32_t inum); /* one name less */
void inode_cut(uint32_t inum);
int inode_read(uint32_t inum, void *dst, uint32_t offset, uint32_t bytes);
int inode_write(uint32_t inum, const void *src, uint32_t offset, uint32_t bytes);

/* path.c */
uint32_t path_find(const char *path); /* inum, or 0 */
uint32_t path_make(const char *path, unsigned type);
int path_remove(const char *path);
int same(const char *a, const char *b);

/* file.c */
struct file *file_new(enum file_kind kind, unsigned flags);
struct file *file_open(const char *path, unsigned flags);
struct file *file_share(struct file *f);
void file_close(struct file *f);
int file_read(struct file *f, void *dst, uint32_t bytes);
int file_write(struct file *f, const void *src, uint32_t bytes);

/* pipe.c */
int pipe_new(struct file **reader, struct file **writer);
void pipe_close(struct pipe *p, unsigned flags);
int pipe_read(struct pipe *p, char *dst, uint32_t bytes);
int pipe_write(struct pipe *p, const char *src, uint32_t bytes);

/* console.c */
int console_read(char *dst, uint32_t bytes);
int console_write(const char *src, uint32_t bytes);
void console_end(uint32_t code) __attribute__((noreturn));
void console_poll(void); /* from the clock's handler */

/* syscall.c, filecall.c */
void syscall(struct trapframe *f);
#define X(name) int sys_##name(uint32_t a, uint32_t b, uint32_t c);
SYSCALLS(X)
#undef X
