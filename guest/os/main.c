/* The kernel's start and its end. */
#include <guest/os/os.h>

#define MULTIBOOT_MEMORY \
	1u /* Multiboot 0.6.96 section 3.3: words 1 and 2 are KiB of low and high memory */
#define MULTIBOOT_WORDS 4u /* word 4 is the command line */
#define MIB             (1u << 20)
#define EXIT_PANIC      99

static char words[512], script[512];

void
panic(const char *why)
{
	print("kernel: ");
	print(why);
	put('\n');
	console_end(EXIT_PANIC);
}

/* The boot loader's text lies anywhere in RAM, also where frames are going to be. */
static void
save_words(const uint32_t *info)
{
	const char *s = info[0] & MULTIBOOT_WORDS ? (const char *)(info[4] + KB) : "";

	for (unsigned i = 0; i < sizeof(words) - 1 && s[i]; i++)
		words[i] = s[i];
}

/* lib's option() reads the boot information, so it gets one of our own. */
static const char *
word(const char *key)
{
	const uint32_t info[5] = { [0] = MULTIBOOT_WORDS, [4] = (uint32_t)words };

	return option(info, key);
}

/*
 * A command line has neither spaces nor line ends to spare: `_` is a space in script=, `+` ends a
 * line.
 */
static void
unfold(const char *s)
{
	for (unsigned i = 0; s[i] && s[i] != ' '; i++)
		script[i] = s[i] == '_' ? ' ' : s[i] == '+' ? '\n' : s[i];
}

/* A word's value; `otherwise` where it is missing or the clock could not do it. */
static uint32_t
number(const char *s, uint32_t otherwise)
{
	uint32_t n = 0;

	for (; s && *s >= '0' && *s <= '9' && n < 100000; s++)
		n = n * 10 + (uint32_t)(*s - '0');
	return n >= 20 && n <= 10000 ? n : otherwise;
}

/* The first process, still in the kernel: it becomes the shell. */
static void
start(void)
{
	char *argv[] = { "sh", "/etc/script", NULL, NULL };
	const char *given = word("script");
	int argc = 2;

	int_depth = 0;
	if (word("shell")) {
		argc = 1;
	} else if (given) {
		unfold(given);
		argv[1] = script[0] == '/' ? script : "-c";
		argv[2] = script[0] == '/' ? NULL : script;
		argc = script[0] == '/' ? 2 : 3;
	}
	if (exec("/bin/sh", argv, argc) < 0)
		panic("there is no /bin/sh");
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	uint32_t ram = 16 * MIB;
	int large;

	(void)magic;
	if (info[0] & MULTIBOOT_MEMORY)
		ram = MIB + info[2] * 1024;
	ram = ram < MAX_RAM ? ram & ~(PAGE - 1) : MAX_RAM;
	save_words(info);
	console_init();
	segment_init();
	trap_init(number(word("hz"), 100));
	large = option_is(word("pse"), "1");
	space_init(ram, large, option_is(word("own"), "1"));
	frame_init(ram);
	fs_init();
	print("A small OS. The kernel is mapped by pages of ");
	print(large ? "4 MiB.\n" : "4 KiB.\n");
	proc_first(start);
	sched_run();
}
