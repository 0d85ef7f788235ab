/*
 * Programs with a guest of their own that ask for what they may not, or end at the wrong time: by
 * the word behind the name (tests/user.t). Status 0: each answer was the one that the ABI has.
 */
#include <user/lib/user.h>

#include <inc/errno.h>

#define PAGE   0x1000u
#define PAGES  16u
#define CODE   0x1000u
#define COM1   0x3f8
#define EXIT   0xf4
#define RAM_4G 0x100000000ul
#define KERNEL 0xffff828000100000ul

static uint8_t memory[PAGES * PAGE] __attribute__((aligned(PAGE)));
static struct run_page *const run = RUN_PAGE;

/* 32-bit code, as the manual has it. */
static const uint8_t says[] = {
	0x66, 0xba, 0xf8, 0x03, 0xb0, 'o', 0xee, 0xb0, '\n', 0xee, 0xb0, 0, 0xe6, EXIT
};                                                         /* o, newline to COM1; 0 to EXIT */
static const uint8_t spins[] = { 0xe6, 0x80, 0xeb, 0xfe }; /* out 80, al; jmp $ */
static const uint8_t faults[] = { 0x0f, 0x0b };            /* ud2, without an IDT */
static const uint8_t fills[] = {
	0xb9, 0, 0, 1, 0, 0xb0, 0xcc, 0xbf, 0, 0x20, 0, 0, 0xf3, 0xaa
}; /* its memory from 2000 on, and on */

static const char *
word(void)
{
	return (const char *)run->words;
}

static int64_t
give(uint64_t guest, uint64_t own, uint64_t bytes)
{
	struct user_memory m = { guest, own, bytes };

	return user_call(USER_SET_MEMORY, (uint64_t)&m, 0);
}

static int64_t
give_page(uint64_t guest, unsigned page)
{
	return give(guest, (uint64_t)memory + page * PAGE, PAGE);
}

static int64_t
begin(const uint8_t *code, size_t size)
{
	struct user_registers r = { .eip = CODE };
	int64_t err = user_call(USER_VM_CREATE, 0, 0);

	memset(memory, 0, sizeof(memory));
	memcpy(memory + CODE, code, size);
	if (!err)
		err = give(0, (uint64_t)memory, sizeof(memory));
	return err ? err : user_call(USER_SET_REGISTERS, (uint64_t)&r, 0);
}
#define BEGIN(code) begin(code, sizeof(code))

static bool
serve(void)
{
	if (run->reason != RUN_PORT_WRITE)
		return false;
	if (run->port == COM1)
		user_call(USER_SEND, run->data_out & 0xff, 0);
	else if (run->port == EXIT)
		user_call(USER_END, run->data_out & 0xff, 0);
	return run->port == COM1 || run->port == EXIT;
}

/* To its end; how many exits it had. */
static unsigned
to_the_end(void)
{
	unsigned exits = 0;

	while (!user_call(USER_RUN, 0, 0)) {
		exits++;
		run->done = serve();
	}
	return exits;
}

/* The line of the first answer that was another one, and it ends with that. */
#define WANT(what, answer)                                \
	do {                                              \
		if ((int64_t)(what) != (int64_t)(answer)) \
			user_exit(__LINE__);              \
	} while (0)

static void
too_early(void)
{
	WANT(user_call(USER_RUN, 0, 0), -ENOENT);
	WANT(give_page(0, 0), -ENOENT);
	WANT(user_call(USER_SET_REGISTERS, (uint64_t)memory, 0), -ENOENT);
	WANT(user_call(USER_IRQ_LINE, 1, 1), -ENOSYS);
}

static void
wild(void)
{
	uint64_t own = (uint64_t)memory;

	WANT(user_call(USER_VM_CREATE, 0, 0), 0);
	WANT(user_call(USER_VM_CREATE, 0, 0), -EBUSY);
	WANT(user_call(USER_IRQ_LINE, 1, 1), -ENOSYS); /* no device model yet */
	WANT(user_call(USER_SET_MEMORY, 0, 0), -EFAULT);
	WANT(user_call(USER_SET_MEMORY, KERNEL, 0), -EFAULT);
	WANT(user_call(USER_SET_MEMORY, USER_TOP - 8, 0), -EFAULT);
	WANT(user_call(USER_SET_REGISTERS, KERNEL, 0), -EFAULT);
	WANT(give(0, own, 0), -EINVAL);
	WANT(give(1, own, PAGE), -EINVAL);
	WANT(give(0, own + 8, PAGE), -EINVAL);
	WANT(give(0, own, PAGE + 1), -EINVAL);
	WANT(give(RAM_4G, own, PAGE), -EINVAL);
	WANT(give(RAM_4G - PAGE, own, 2 * PAGE), -EINVAL);
	WANT(give(0ul - PAGE, own, 2 * PAGE), -EINVAL);
	WANT(give(0, own, 0ul - PAGE), -EINVAL);
	WANT(give(0, own, RAM_4G), -EFAULT);
	WANT(give(0, 0, PAGE), -EFAULT);
	WANT(give(0, KERNEL & ~0xffful, PAGE), -EFAULT);
	WANT(give(0, 0ul - PAGE, PAGE), -EFAULT);
	WANT(give(0, (uint64_t)user_main & ~0xffful, PAGE), -EFAULT);
	WANT(give(0, (uint64_t)says & ~0xffful, PAGE), -EFAULT);
	WANT(give(0, USER_STACK, PAGE), -EFAULT);
	WANT(give(0, USER_RUN_PAGE, PAGE), -EFAULT);
	WANT(give(0, USER_LIMIT, PAGE), -EFAULT);
	WANT(give(0, own, USER_LIMIT - own), -EFAULT); /* it ends before */
	WANT(give_page(RAM_4G - PAGE, 0), 0);
	WANT(give_page(0, 0), -EEXIST);
	WANT(give_page(RAM_4G - PAGE, 1), -EEXIST);
	WANT(give(PAGE, own, 2 * PAGE), -EEXIST);
	WANT(give(RAM_4G - 2 * PAGE, own + PAGE, 2 * PAGE), -EEXIST);
	for (unsigned i = 1; i < USER_MEMORIES; i++)
		WANT(give_page(i * 0xa0000, i), 0); /* where a PC has ROMs, too */
	WANT(give_page(PAGE, 9), -ENOSPC);
	WANT(run->ram, USER_MEMORIES * PAGE);
}

static void
late(void)
{
	WANT(BEGIN(says), 0);
	WANT(user_call(USER_RUN, 0, 0), 0);
	WANT(user_call(USER_VM_CREATE, 0, 0), -EBUSY);
	WANT(give_page(0x100000, 3), -EBUSY);
	WANT(user_call(USER_SET_REGISTERS, (uint64_t)memory, 0), -EBUSY);
	run->done = serve();
	WANT(to_the_end(), 2);
	WANT(user_call(USER_RUN, 0, 0), -ENODATA);
	WANT(give_page(0x100000, 3), -EBUSY);
}

/* One after the other: the memory is the program's again each time. */
static void
flood(void)
{
	for (unsigned i = 0; i < 12; i++) {
		WANT(BEGIN(says), 0);
		WANT(memory[CODE], says[0]);
		if (i % 3)
			WANT(to_the_end(), 3);
		else
			user_call(USER_RUN, 0, 0); /* and its guest goes on without an answer */
		while (user_call(USER_RUN, 0, 0) != -ENODATA)
			run->done = serve();
	}
}

/* A guest has no IDT: it ends, and the program lives. */
static void
fault(void)
{
	WANT(BEGIN(faults), 0);
	WANT(to_the_end(), 0);
	WANT(*word() != '\0', 1);
}

/* What a guest does to its memory is in the program's; where that ends it asks for registers. */
static void
fill(void)
{
	WANT(BEGIN(fills), 0);
	WANT(user_call(USER_RUN, 0, 0), 0);
	WANT(run->reason, RUN_MMIO_WRITE);
	WANT(run->address, sizeof(memory));
	for (unsigned i = 2 * PAGE; i < sizeof(memory); i++)
		WANT(memory[i], 0xcc);
}

static void
spin(void)
{
	WANT(BEGIN(spins), 0);
	WANT(to_the_end(), 1);
}

static void
crash(void)
{
	WANT(BEGIN(says), 0);
	WANT(user_call(USER_RUN, 0, 0), 0);
	*(volatile char *)0 = 1;
}

static void
hang(void)
{
	WANT(BEGIN(says), 0);
	WANT(user_call(USER_RUN, 0, 0), 0);
	while (*(const volatile char *)run->words !=
	       'i') /* "its device model ...": how its guest has ended */
		;
	WANT(user_call(USER_RUN, 0, 0), -ENODATA);
}

static void
leave(void)
{
	WANT(BEGIN(says), 0);
	WANT(user_call(USER_RUN, 0, 0), 0);
	user_exit(0);
}

static void
unborn(void)
{
	WANT(BEGIN(says), 0);
}

static void
waits(void)
{
	WANT(BEGIN(says), 0);
	for (;;)
		user_call(USER_YIELD, 0, 0);
}

/* Its guest is stopped before it ran. */
static void
stopped(void)
{
	WANT(BEGIN(says), 0);
	while (!user_call(USER_SET_REGISTERS, (uint64_t)memory, 0))
		user_call(USER_YIELD, 0, 0);
	WANT(user_call(USER_RUN, 0, 0), -ENODATA);
	WANT(BEGIN(says), 0);
	WANT(to_the_end(), 3);
}

/* ... while the program is at work: its registers are what they were. */
static void
keeps(void)
{
	uint64_t rax = 0x5eed5eed5eed5eed;

	WANT(BEGIN(says), 0);
	__asm__ volatile("1: cmpb $'b', %1; jne 1b" /* "by the monitor's ..." */
			 : "+a"(rax)
			 : "m"(run->words[0]));
	WANT(rax, 0x5eed5eed5eed5eed);
	WANT(user_call(USER_RUN, 0, 0), -ENODATA);
}

/* Its guest has ended, and then another one: Zeno forgets it, and it has ended all the same. */
static void
outlives(void)
{
	WANT(BEGIN(says), 0);
	WANT(to_the_end(), 3);
	while (give_page(0x100000, 3) != -ENOENT)
		user_call(USER_YIELD, 0, 0);
	WANT(user_call(USER_RUN, 0, 0), -ENODATA);
}

int
user_main(void)
{
	static const struct {
		const char *name;
		void (*does)(void);
	} all[] = { { "too-early", too_early }, { "wild", wild },       { "late", late },
		    { "flood", flood },         { "fault", fault },     { "fill", fill },
		    { "spin", spin },           { "spins", spin },      { "crash", crash },
		    { "hang", hang },           { "leave", leave },     { "unborn", unborn },
		    { "waits", waits },         { "stopped", stopped }, { "keeps", keeps },
		    { "outlives", outlives } };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!user_same(all[i].name, word()))
			continue;
		all[i].does();
		return 0;
	}
	return -1;
}
