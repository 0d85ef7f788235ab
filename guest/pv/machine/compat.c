/*
 * A PV kernel's syscall, and its user's, by code that is 32 bits wide: no hypercall, and none of
 * those that its kernel answers. Xen has it #UD where there is no callback for such a one, in a
 * code segment of its own (0xe023); an Intel CPU raises #UD itself, in the one that it is in.
 */
#include <guest/pv/machine/machine.h>

#define LOW    0x1000u
#define CODE32 0x00cf9a000000fffful
#define DATA   0x00cf92000000fffful
#define SEL    0x10u
#define UD     6

static uint64_t tables[3][512] __attribute__((aligned(4096)));
static uint64_t descriptors[512] __attribute__((aligned(4096)));
static uint8_t stack[4096] __attribute__((aligned(4096)));
static uint8_t code[4096] __attribute__((aligned(4096))) = { 0x0f, 0x05, 0x0f, 0x0b };

static uint64_t
entry(const void *va, uint64_t flags)
{
	return pv_page(va) << 12 | PTE_P | PTE_U | flags;
}

/* The code, and a stack, below 4 GiB. */
static void
map_low(void)
{
	uint64_t root = pv_page((void *)pv_info->pt_base) << 12;

	tables[0][1] = entry(code, 0);
	tables[0][2] = entry(stack, PTE_W);
	tables[1][0] = entry(tables[0], PTE_W);
	tables[2][0] = entry(tables[1], PTE_W);
	for (unsigned n = 0; n < 3; n++)
		check(!pv_map(tables[n], entry(tables[n], 0)), "read-only", n);
	check(!pv_update(root, entry(tables[2], PTE_W)), "memory below 4 GiB", root);
}

void
compat(void)
{
	struct xen_callback_register r = { .type = 2, .address = (uint64_t)failsafe };
	uint64_t frame = pv_page(descriptors);

	descriptors[1] = descriptors[3] = DATA;
	descriptors[2] = CODE32;
	pv_read_only(descriptors);
	map_low();
	check(!pv_call(XEN_set_gdt, (uint64_t)&frame, 512, 0, 0), "a GDT", frame);
	check(!pv_call(XEN_callback_op, 0, (uint64_t)&r, 0, 0), "its user's syscall", 0);
	for (unsigned rpl = 0; rpl < 4; rpl += 3) {
		const uint64_t words[] = { 0, 0, 0, 0, LOW, SEL | rpl, 0x202, LOW + 8192, 0xe02b };

		last.vector = 99;
		try(do_iret, (uint64_t)words);
		check(last.vector == UD && last.rip == LOW &&
			      ((last.cs & 0xffff) == (0xe020 | rpl) ||
			       (last.cs & 0xffff) == (SEL | rpl)),
		      rpl ? "a user's syscall in 32 bits" : "a kernel's", last.vector);
	}
	pv_call(XEN_set_callbacks, 0, 0, 0, 0);
}
