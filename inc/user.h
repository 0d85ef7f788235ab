/*
 * The ABI of the host's ring-3 programs, which are called envs (kern/env/, user/): their memory,
 * their system calls, and the run page by which a device model and Zeno speak of a guest's exits.
 *
 * A system call is `int USER_VECTOR`: the number in rax, arguments in rdi and rsi, the result in
 * rax, all other registers as they were. The way in is that of a fault and of an interrupt, so
 * there is one. `syscall` would be quicker on a real CPU, but its MSRs are a guest's while a guest
 * runs (svm loads them with each entry), and it is an entry to ring 0 on the caller's stack. The
 * vector is that of `into`, which 64-bit code has not, so nothing else comes by it, and its gate is
 * open to ring 3 anyway (kern/trap.c). A program has no FPU: an instruction of it is #NM.
 */
#pragma once

#include <stdint.h>

#define USER_VECTOR      4
#define USER_CALL_LENGTH 2 /* bytes of the instruction */

/*
 * A program's memory: its segments from USER_BASE on, a stack below a page that is not there, the
 * run page.
 */
#define USER_BASE      0x400000ul
#define USER_LIMIT     0x5f0000ul /* where segments end */
#define USER_STACK     0x5fa000ul
#define USER_STACK_TOP 0x5fe000ul
#define USER_RUN_PAGE  0x5ff000ul
#define USER_TOP       0x600000ul

#define USER_LINE 120 /* characters of one line for the console */

/*
 * Errors are negative, with the numbers of inc/errno.h; a number that is none of these is -ENOSYS.
 */
enum user_call {
	USER_EXIT,  /* (status) does not return */
	USER_PRINT, /* (text, length) a line for the host's console; -EFAULT, -E2BIG */
	USER_YIELD, /* () the turn is over */

	/* For a device model alone, whose guest stands still meanwhile. -ENOSYS to others. */
	USER_RUN, /* () the answer to the last exit is in the run page; returns with the next one */
	USER_IRQ_LINE, /* (line, level) returns whether a request of that line was waiting before; -EINVAL */
	USER_SEND, /* (byte) the guest's COM1 has sent it */
	/*
	 * (device) a byte that is typed for the guest's COM1, 0, or at its keyboard, 1; -EAGAIN;
	 * -ENODEV: nobody types there
	 */
	USER_RECEIVE,
	USER_CPU, /* () how much of its limit it has used since this exit, in thousandths */
	USER_END, /* (code) the guest has ended itself */
	USER_STOP, /* (text, length) the guest has asked for what its machine can't do; -EFAULT, -E2BIG */
	/*
	 * (port) a write to it is no exit any more: the guest goes on, what it wrote is lost, and
	 * `rings` is one more. Behind the last of some rings comes an exit of any reason, RUN_TIME
	 * before the guest's next turn or sleep at the latest. USER_NO_BELL: none; -EINVAL
	 */
	USER_BELL,
	USER_DISK,  /* () sectors of the guest's disk; 0: it has none */
	USER_LOAD,  /* (sector, 512 bytes) from the disk; -EINVAL: it has no such one; -EFAULT */
	USER_STORE, /* (sector, 512 bytes) to the disk; the same */

	/*
	 * For the control shell alone (vmm/control/), which the monitor's `shell` starts. -ENOSYS
	 * to others. A guest is meant by its number; -ENOENT: there is none.
	 */
	/*
	 * () a character that was typed; waits for it. -ENODATA: the guest that has the console has
	 * ended
	 */
	USER_KEY,
	/* (text, length) to the console, without a name: printable, \n, \b; as USER_PRINT */
	USER_WRITE,
	/*
	 * (words, length) what stands behind the monitor's `start`, a NUL behind each word: the
	 * guest's number; -EFAULT, -E2BIG, what domain_create() says
	 */
	USER_START,
	USER_LOOK,   /* (guest, struct user_guest *) -ENOENT, -EFAULT */
	USER_PAUSE,  /* (guest) its CPUs and its clock stand still; -ENODATA: it has ended */
	USER_RESUME, /* (guest) ... and go on */
	USER_KILL,   /* (guest) it ends */
	USER_ATTACH, /* (guest) the console is its COM1's; 0: the host's again */
	/*
	 * (character) for COM1 of the guest that has the console; -EAGAIN: it has not taken what
	 * came before; -ENOENT: none has it; -ENODATA: it has ended
	 */
	USER_TYPE,

	/*
	 * For what the monitor's `run` starts: a guest of its own, with one CPU, whose memory is
	 * the program's. It is made, given memory and registers, and run; from its first exit on
	 * the program is its device model, with all of a device model's calls. -EBUSY: too late.
	 */
	/*
	 * () on this CPU's engine, in flat 32-bit protected mode, with no memory yet. -EBUSY: it
	 * has one that has not ended; -ENODEV: no engine is here that gives memory by nested
	 * tables; -ENOMEM
	 */
	USER_VM_CREATE,
	/*
	 * (struct user_memory *) -ENOENT: it has no guest; -EFAULT: not its own to write, or on the
	 * stack; -EINVAL: no whole pages, beyond 4 GiB, or none; -EEXIST: the guest has memory
	 * there, or this memory is a guest's already; -ENOSPC: this was done USER_MEMORIES times
	 */
	USER_SET_MEMORY,
	USER_SET_REGISTERS, /* (struct user_registers *) -ENOENT, -EFAULT */
	/* USER_RUN is vcpu_run. -ENOENT; -ENODATA: the guest has ended, and `words` say how. */
};

#define USER_MEMORIES 8

/* Pages of the program's segments are the guest's RAM, too, as long as it is there. */
struct user_memory {
	uint64_t guest; /* where they are to be, guest-physical */
	uint64_t own;   /* where they are in the program */
	uint64_t bytes;
};

/* What a guest begins with; the rest is as a boot loader leaves it (Multiboot 0.6.96, 3.2). */
struct user_registers {
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t eip;
};

/* What USER_LOOK says of a guest. */
struct user_guest {
	uint64_t ram, exits; /* bytes; of all its CPUs */
	uint64_t ns;         /* by its own clock, which stands still while it is paused */
	enum { GUEST_RUNS, GUEST_PAUSED, GUEST_ENDED } state;
	char name[24], engine[8];
	char end[80]; /* how it ended, cut to this; "": it has not */
};

enum run_reason {
	RUN_PORT_WRITE, /* by `data_out` */
	RUN_PORT_READ,  /* answered by `data_in` */
	RUN_TIME,       /* the time is there that `deadline` said, or its bell has rung */
	/* As the first two, of registers in memory, at `address`; wider ones come in parts. */
	RUN_MMIO_WRITE,
	RUN_MMIO_READ,
};

#define RUN_WORDS    64
#define RUN_STRING   512 /* bytes */
#define USER_NO_BELL 0x10000u
#define RUN_NEVER    UINT64_MAX

/*
 * The run page. What Zeno says it has said for itself, too: it never reads its own half again. The
 * device model's half it reads once, when USER_RUN is called, and checks the copy.
 */
struct run_page {
	/*
	 * Zeno's half: one access to ports or registers, at most 4 bytes wide; a string that is
	 * written to one port, element by element; or the time.
	 */
	uint32_t reason; /* enum run_reason */
	uint16_t port;
	uint8_t size; /* of an element: 1, 2, 4 */
	uint8_t pad;
	uint32_t data_out; /* of a string: its first element */
	uint32_t count;    /* elements: 1, of a string more */
	uint64_t now;      /* the guest's clock, in ns */
	uint64_t ram;      /* bytes of its memory, from the first exit on */
	uint64_t address;  /* guest-physical, of RUN_MMIO_; a multiple of `size` */
	uint64_t rings;    /* of its bell (USER_BELL), ever; any exit may bring more */
	/* The device model's half. */
	uint32_t data_in;
	/*
	 * Elements that a device took: of a string the first ones, the rest comes again; 0: no
	 * device has this port; never above `count`.
	 */
	uint32_t done;
	uint64_t deadline;     /* when RUN_TIME is to come, by the guest's clock; RUN_NEVER */
	char words[RUN_WORDS]; /* Zeno's: what stood behind the program's name */
	uint8_t string
		[RUN_STRING]; /* Zeno's: `count` elements, one behind the other, if more than 1 */
};
