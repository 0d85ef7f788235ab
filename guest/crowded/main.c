/*
 * A guest whose GDT and whose stack share a page, as in many a small kernel: every push writes to a
 * tracked frame, so the hypervisor emulates it. It must not be noticed.
 */
#include <guest/lib/guest.h>

void run_on_page(void *page, uint32_t gdt_limit, void (*body)(void));
uint32_t pushed_flags(void);
uint32_t pushed_selectors(void);
void store_system(void *where);
uint32_t popped(uint32_t flags);
uint32_t load_far_data(const void *pointer);
uint32_t read_through(uint32_t selector, uint32_t offset);

static uint32_t page[1024] __attribute__((aligned(4096)));

static uint32_t
fibonacci(uint32_t n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static void
say(const char *what, uint32_t value)
{
	print(what);
	print(" = ");
	print_hex(value);
	put('\n');
}

/* The last entry of the table, edited where the CPU will look for it next. */
static uint32_t
through_entry_based_at(const uint32_t *base)
{
	uint32_t at = (uint32_t)base;

	page[6] = at << 16 | 0xffff;
	page[7] = (at & 0xff000000) | 0x00409300 | (at >> 16 & 0xff);
	return read_through(24, 0);
}

static void
body(void)
{
	static const uint8_t text[] = "string instructions";
	static const uint32_t one = 0x11111111, two = 0x22222222;
	uint32_t *here = page + 256;

	say("fibonacci 10", fibonacci(10));
	say("pushf", pushed_flags());
	say("popf, pushf", popped(0x0cd7));
	say("push ds, push ss", pushed_selectors());
	store_system(here);
	say("sgdt, limit", here[0] & 0xffff);
	say("sgdt, base is the page", (here[0] >> 16 | here[1] << 16) == (uint32_t)page);
	say("smsw", here[2] & 0xffff);
	say("mov [mem], es", here[3] & 0xffff);
	memcpy(here, text, sizeof(text));
	print((const char *)here);
	put('\n');
	here[0] = 0x1234;
	here[1] = 0x10;
	say("les from the page", load_far_data(here));
	say("through an entry just written", through_entry_based_at(&one));
	say("and written again", through_entry_based_at(&two));
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	(void)magic, (void)info;
	console_init();
	page[2] = 0x0000ffff, page[3] = 0x00cf9b00;
	page[4] = 0x0000ffff, page[5] = 0x00cf9300;
	run_on_page(page, 31, body);
	print("and back on a stack of its own\n");
	return 0;
}
