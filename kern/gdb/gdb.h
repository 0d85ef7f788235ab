/*
 * The kernel's own GDB stub, on COM2: GDB's remote protocol with the multiprocess extension.
 *
 * It shows what a target registers: processes and threads that the host runs. It knows nothing of
 * guests (vmm/debug/gdb.c shows each domain as a process and each vCPU as a thread), and it does
 * not show the host itself: for that there is QEMU's stub, which does not depend on what it looks
 * at.
 *
 * All-stop: when one thread stops, all that the debugger has are held. The host is not stopped: K>
 * answers.
 *
 * RSP = "Debugging with GDB", GDB 13, appendix E "GDB Remote Serial Protocol".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kern/kern.h>

#define GDB_PACKET  4096 /* bytes of a packet's body, both ways */
#define GDB_SIGINT  2    /* GDB's own signal numbers: RSP E.3 "Stop Reply Packets" */
#define GDB_SIGTRAP 5
#define GDB_SIGSEGV 11

/* A process and a thread of it, numbered from 1. 0 is any, -1 is all. */
struct gdb_thread {
	int pid, tid;
};

struct gdb_target {
	/*
	 * Moves *t on to the next thread that the debugger has; { 0, 0 } stands before the first.
	 * False: no more.
	 */
	bool (*next)(struct gdb_thread *t);
	/*
	 * Its target.xml: what registers this thread has, which another's mode or engine may not.
	 */
	const char *(*description)(struct gdb_thread t);
	/*
	 * Register n in the description's order: its size in bytes; 0: there is none. Unknown:
	 * *known = false.
	 */
	unsigned (*get_register)(struct gdb_thread t, unsigned n, uint8_t value[8], bool *known);
	int (*set_register)(struct gdb_thread t, unsigned n,
			    uint64_t value); /* -EINVAL: it can't be */
	size_t (*read)(struct gdb_thread t, uint64_t addr, void *buf,
		       size_t len); /* bytes it could */
	int (*write)(struct gdb_thread t, uint64_t addr, const void *buf, size_t len);
	int (*breakpoint)(struct gdb_thread t, uint64_t addr, bool insert);
	void (*hold)(bool everything); /* all that the debugger has; or all that there is */
	void (*resume)(struct gdb_thread t, bool step);
	int (*attach)(int pid);  /* and holds it; -1: the first that there is */
	void (*detach)(int pid); /* and lets it run */
	int (*kill)(int pid);
	void (*describe)(struct gdb_thread t, char *buf, size_t size);
};

/* gdb.c. What follows does nothing unless the command line says gdb=com2 or gdb=wait. */
extern bool gdb_enabled;
void gdb_register(const struct gdb_target *target);
bool gdb_connected(void); /* a debugger has processes; or is to get the first one (gdb=wait) */
void gdb_poll(void);      /* serves the line; between two turns */
/* A command of the monitor's runs for GDB, which looks at *t. */
bool gdb_asks(struct gdb_thread *t);
/* To the debugger's console. */
void gdb_print(const char *fmt, ...) PRINTF_LIKE(1, 2);
/*
 * A thread ({ -1, -1 }: any) has stopped; the target holds all the others. `why` is part of a stop
 * reply, "swbreak:;" or "".
 */
void gdb_stopped(struct gdb_thread t, int signal, const char *why);
/* A process is gone and no longer in the target's list: by itself with a code, or by a signal. */
void gdb_exited(int pid, int code, int signal);

/* gdb_line.c: COM2 and the frame of packets. */
enum gdb_event { GDB_NOTHING, GDB_GOT_PACKET, GDB_GOT_BREAK };
bool gdb_line_init(void); /* false: there is no COM2 */
/*
 * Takes in what has come. A packet's body, with a NUL behind it, is in `body`, its length in
 * *length.
 */
enum gdb_event gdb_line_poll(char body[GDB_PACKET + 1]);
void gdb_line_send(const char *body, size_t length);
