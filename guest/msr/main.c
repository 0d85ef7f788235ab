/*
 * Reads and writes model-specific registers, and says what became of it: those that a kernel for
 * this CPU looks for, EFER, and some that are not implemented or are the host's own.
 */
#include <guest/lib/guest.h>

uint32_t read_msr(uint32_t n, uint32_t value[2]);
uint32_t write_msr(uint32_t n, uint32_t low, uint32_t high);
void load_tables(const void *gdt, uint32_t gdt_limit, const void *idt, uint32_t idt_limit);
void on_gp(void);

static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
static uint64_t idt[14];

static const struct {
	uint32_t n;
	const char *name;
} msrs[] = {
	{ 0x0000008b, "patch level" },    { 0x00000179, "MCG_CAP" },
	{ 0xc0010000, "PERF_CTL0" },      { 0xc0010007, "PERF_CTR3" },
	{ 0xc0010015, "HWCR" },           { 0xc0010055, "interrupt pending" },
	{ 0xc0011029, "DE_CFG" },         { 0xc0000080, "EFER" },
	{ 0x0000001b, "APIC base" },      { 0x00000174, "SYSENTER_CS" },
	{ 0xc0000082, "LSTAR" },          { 0xc0000101, "GS base" },
	{ 0x00000017, "platform" },       { 0x000001a0, "MISC_ENABLE" },
	{ 0x40000000, "a hypervisor's" }, { 0xc0010008, "behind the counters" },
};

static const char *const ends[] = { "", ": #GP", ": #GP with an error code" };

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	const char *set = option(info, "efer");

	(void)magic;
	console_init();
	idt[13] = ((uint32_t)on_gp & 0xffff) | 8u << 16 | 0x8eull << 40 |
		  (uint64_t)((uint32_t)on_gp >> 16) << 48;
	load_tables(gdt, sizeof(gdt) - 1, idt, sizeof(idt) - 1);
	if (set) /* efer=1: system calls, 2: long mode, 3: a reserved bit */
		print(ends[write_msr(0xc0000080, *set == '1' ? 1 : *set == '2' ? 0x100 : 2, 0)]);
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		uint32_t value[2], fault = read_msr(msrs[i].n, value);

		print(msrs[i].name);
		print(" read");
		print(ends[fault]);
		if (!fault) {
			put(' ');
			print_hex(value[1]);
			print_hex(value[0]);
		}
		print(", written");
		print(ends[write_msr(msrs[i].n, 0, 0)]);
		put('\n');
	}
	return 0;
}
