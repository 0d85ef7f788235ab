/*
 * The first program of everybody who meets KVM: it makes a guest, gives it a few pages of its own
 * memory, puts code and a text there, runs it, and answers its exits (inc/user.h; handouts/guide.md
 * has the way of one of them). The text is what stands behind its name.
 */
#include <user/lib/user.h>

#define PAGE    0x1000u
#define MEMORY  (16 * PAGE)
#define CODE_AT 0x1000u /* in the guest */
#define TEXT_AT 0x2000u
#define COM1    0x3f8
#define EXIT    0xf4

extern const uint8_t guest_begin[], guest_end[]; /* guest.asm */

static uint8_t memory[MEMORY] __attribute__((aligned(PAGE)));

static int
failed(const char *what, int64_t err)
{
	struct user_text t = { .len = 0 };

	text_add(&t, what);
	text_add(&t, ": error ");
	text_number(&t, (uint64_t)-err);
	user_call(USER_PRINT, (uint64_t)t.text, t.len);
	return 1;
}

/* An exit: whether there is a device that took it. Ports that nobody has read as ones. */
static bool
serve(const struct run_page *run)
{
	if (run->reason != RUN_PORT_WRITE)
		return false;
	switch (run->port) {
	case COM1:
		user_call(USER_SEND, run->data_out & 0xff, 0);
		return true;
	case EXIT:
		user_call(USER_END, run->data_out & 0xff, 0);
		return true;
	default:
		return false;
	}
}

int
user_main(void)
{
	static const struct user_memory ram = { 0, (uint64_t)memory, MEMORY };
	static const struct user_registers start = { .eip = CODE_AT,
						     .esi = TEXT_AT,
						     .esp = MEMORY };
	struct run_page *run = RUN_PAGE;
	const char *text = *run->words ? run->words : "Hello from memory that is a program's.\n";
	int64_t err = user_call(USER_VM_CREATE, 0, 0);

	if (err)
		return failed("vm_create", err);
	err = user_call(USER_SET_MEMORY, (uint64_t)&ram, 0);
	if (err)
		return failed("set_memory", err);
	memcpy(memory + CODE_AT, guest_begin, (size_t)(guest_end - guest_begin));
	memcpy(memory + TEXT_AT, text, strlen(text) + 1);
	user_call(USER_SET_REGISTERS, (uint64_t)&start, 0);

	while (!user_call(USER_RUN, 0, 0))
		run->done = serve(run);
	return 0;
}
