/*
 * The smallest kernel that proves entry.asm, kernel.ld and the compile flags: linked like the real
 * one, it says over COM1 what it finds in the high half, and ends the machine.
 */
#include <kern/cpu.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/boot/multiboot.h>

extern char __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern char __data_start[], __bss_start[], __bss_end[], __kernel_end[];
extern char boot_stack_guard[], boot_stack_top[];
SET_DECLARE(monitor);
SET_DECLARE(engines);

static const char *const words[] = { "zero", "one", "two" }; /* addresses in read-only data */
int initialised = 0x1234;
static uint64_t in_bss[512];

static int
nothing(int argc, char **argv)
{
	return argc + (argv != NULL);
}
MONITOR_COMMAND(nothing, "nothing", "", "does nothing");

static void
put(const char *s)
{
	for (; *s; s++) {
		while (!(inb(0x3fd) & 0x20))
			;
		outb(0x3f8, (uint8_t)*s);
	}
}

static void
put_hex(const char *name, uint64_t v)
{
	char digits[17];

	for (int i = 15; i >= 0; i--, v >>= 4)
		digits[i] = "0123456789abcdef"[v & 15];
	digits[16] = 0;
	put(name);
	put("=");
	put(digits);
	put("\n");
}

static unsigned
monitor_commands(void)
{
	unsigned n = 0;

	set_foreach (struct monitor_command *, c, monitor)
		n += c->run == nothing;
	return n;
}

static uint64_t
bss_sum(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ARRAY_LEN(in_bss); i++)
		sum |= ((volatile uint64_t *)in_bss)[i];
	return sum;
}

void kernel_main(uint32_t magic, uint64_t info);

void
kernel_main(uint32_t magic, uint64_t info)
{
	const struct multiboot_info *mb = hpa_ptr(hpa(info));
	char here;

	/* 115200 8n1 */
	outb(0x3fb, 0x83);
	outb(0x3f8, 1);
	outb(0x3f9, 0);
	outb(0x3fb, 0x03);
	put("high: kernel_main\n");
	put_hex("magic", magic);
	put_hex("rip-slot", (uint64_t)&kernel_main >> 39);
	put_hex("on-boot-stack", &here > boot_stack_guard + 4096 && &here < boot_stack_top);
	put_hex("guard-page-aligned", !((uint64_t)boot_stack_guard & 4095));
	put_hex("initialised", (uint64_t) * (volatile int *)&initialised);
	put_hex("bss", bss_sum());
	put_hex("monitor", monitor_commands());
	put_hex("engines", (uint64_t)(__stop_set_engines - __start_set_engines));
	put_hex("efer", rdmsr(MSR_EFER) & ~0x400ul & 0xffff);
	put_hex("cr0", read_cr0());
	put_hex("cr4", read_cr4());
	put_hex("flags", mb->flags & 0x4d);
	put((mb->flags & MULTIBOOT_INFO_CMDLINE) ? (const char *)hpa_ptr(hpa(mb->cmdline)) : "-");
	put("\n");
	put(words[(magic & 3)]);
	put("\nhigh: end\n");
	while (!(inb(0x3fd) & 0x40)) /* LSR.TEMT: the last byte has left the UART */
		;
	outl(0xf4, 0);
	for (const char *s = "Shutdown"; *s; s++)
		outb(0x8900, (uint8_t)*s);
	for (;;)
		__asm__ volatile("cli; hlt");
}
