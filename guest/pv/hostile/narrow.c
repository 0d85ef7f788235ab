/*
 * A stack of 16 bits, at which an iret leaves bits of whoever makes it.
 */
#include <guest/pv/lib/check.h>

#define PAGE     4096ul
#define FLAT     (PTE_P | PTE_W | PTE_U)
#define FRAME_CS 0xe030

void do_iret(const uint64_t *words); /* asm.asm */
void narrow(void);

#define CODE32  0x00cffb000000ffffull
#define STACK16 0x0000f3000000ffffull
#define NARROW  0x00340000ul /* the guest's bits */

static uint8_t low[5][PAGE] __attribute__((aligned(4096))); /* tables of levels 3 to 1, code, GDT */
static uint64_t narrow_rsp;

static void
from_narrow(struct pv_frame *f)
{
	check(f->vector == 6 && (f->cs & 0xffff) == 0x0b, "32 bits run", f->vector << 32 | f->cs);
	narrow_rsp = f->rsp;
	f->cs = FRAME_CS;
	f->ss = 0xe02b;
	f->rip = (uint64_t)try_back;
	f->rsp = try_rsp;
}

static void
into_narrow(uint64_t ss)
{
	const uint64_t words[] = { 0, 0, 0, 0, 0x1000, 0x0b, 0x202, NARROW | 0x100, ss };

	do_iret(words);
}

void
narrow(void)
{
	uint64_t frame = pv_page(low[4]), *gdt = (uint64_t *)low[4];

	((uint64_t *)low[0])[0] = pv_page(low[1]) << 12 | FLAT;
	((uint64_t *)low[1])[0] = pv_page(low[2]) << 12 | FLAT;
	((uint64_t *)low[2])[1] = pv_page(low[3]) << 12 | PTE_P | PTE_U;
	low[3][0] = 0x0f, low[3][1] = 0x0b; /* ud2 */
	gdt[1] = CODE32, gdt[2] = STACK16;
	for (unsigned n = 0; n < 3; n++)
		pv_map(low[n], pv_page(low[n]) << 12 | PTE_P | PTE_U);
	check(!pv_update(pv_page((void *)pv_info->pt_base) << 12, pv_page(low[0]) << 12 | FLAT),
	      "memory below 4 GiB", 0);
	pv_read_only(gdt);
	check(!pv_call(XEN_set_gdt, (uint64_t)&frame, 3, 0, 0), "its GDT", 0);
	pv_handler = from_narrow;
	try(into_narrow, 0x13);
	check(narrow_rsp == (NARROW | 0x100), "rsp behind an iret to 16 bits", narrow_rsp);
	pv_handler = caught;
	pv_call(XEN_set_gdt, 0, 0, 0, 0);
}
