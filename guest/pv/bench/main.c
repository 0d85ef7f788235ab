/*
 * What a PV guest's calls cost, in instructions: under QEMU's -icount the time stamp counter counts
 * them. Each row is measured RUNS times, from the guest to the guest and less what an empty one
 * takes; a line gives minimum, median and maximum, by what the row has done.
 */
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/memory.h>
#include <guest/pv/lib/samples.h>

int guest_main(const struct xen_start_info *info);

#define RUNS  200
#define PAGE  4096ul
#define READ  (PTE_P | PTE_U | 0x20)
#define WRITE (PTE_P | PTE_W | PTE_U | 0x60)
#define BATCH 32u

static uint64_t table[2 * 512] __attribute__((aligned(4096)));
static uint8_t page[PAGE] __attribute__((aligned(4096)));
static struct xen_mmu_update updates[BATCH];
static struct xen_multicall_entry calls[8], mappings[BATCH];
static uint64_t here, there, entry, samples[RUNS];
static uint32_t to_itself; /* a port */

/* ---- what is measured; pv_call() itself has ten instructions ---- */

static void
nothing(void)
{
}

static void
null_call(void)
{
	pv_call(XEN_xen_version, XEN_XENVER_version, 0, 0, 0);
}

static void
unknown_call(void)
{
	pv_call(63, 0, 0, 0, 0);
}

static void
multicall(void)
{
	pv_call(XEN_multicall, (uint64_t)calls, 8, 0, 0);
}

static void
map_same(void)
{
	pv_call(XEN_update_va_mapping, (uint64_t)page, entry | WRITE, 0, 0);
}

static void
map_other(void)
{
	pv_call(XEN_update_va_mapping, (uint64_t)page, entry | READ, 0, 0);
	pv_call(XEN_update_va_mapping, (uint64_t)page, entry | WRITE, 0, 0);
}

static void
map_and_flush(void)
{
	pv_call(XEN_update_va_mapping, (uint64_t)page, entry | READ, XEN_UVMF_INVLPG, 0);
	pv_call(XEN_update_va_mapping, (uint64_t)page, entry | WRITE, XEN_UVMF_INVLPG, 0);
}

static void
map_many(void)
{
	pv_call(XEN_multicall, (uint64_t)mappings, BATCH, 0, 0);
}

static void
update(unsigned count)
{
	static uint64_t turns;

	for (unsigned n = 0; n < count; n++)
		updates[n].val = entry | (turns & 1 ? READ : WRITE);
	turns++;
	pv_call(XEN_mmu_update, (uint64_t)updates, count, 0, XEN_DOMID_SELF);
}

static void
update_one(void)
{
	update(1);
}

static void
update_many(void)
{
	update(BATCH);
}

static void
update_m2p(void)
{
	pv_update(there | XEN_MMU_MACHPHYS_UPDATE, 1);
}

static void
pin_and_unpin(void)
{
	pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, here);
	pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, here);
}

static void
write_entry(void)
{
	static uint64_t turns;

	*(volatile uint64_t *)&table[7] = entry | (turns++ & 1 ? READ : WRITE);
}

static void
invlpg(void)
{
	pv_mmuext(XEN_MMUEXT_INVLPG_LOCAL, (uint64_t)page);
}

static void
flush(void)
{
	pv_mmuext(XEN_MMUEXT_TLB_FLUSH_LOCAL, 0);
}

static void
new_root(void)
{
	pv_mmuext(XEN_MMUEXT_NEW_BASEPTR, pv_page((void *)pv_info->pt_base));
}

static void
stack_switch(void)
{
	pv_call(XEN_stack_switch, XEN_FLAT_SS64, (uint64_t)page, 0, 0);
}

static void
set_base(void)
{
	pv_call(XEN_set_segment_base, XEN_SEGBASE_FS, (uint64_t)page, 0, 0);
}

/* Two bytes each, which their handler skips: of it and of the library's frame are 70 to 80. */
static void
undefined(void)
{
	__asm__ volatile("ud2");
}

static void
not_there(void)
{
	__asm__ volatile("movb (%%rax), %%al" : : "a"(0x1000) : "memory");
}

static void
take(struct pv_frame *f)
{
	if (f->vector == PV_EVENT)
		while (pv_event_next() >= 0)
			;
	else
		f->rip += 2;
}

static void
send_closed(void)
{
	pv_vcpu->upcall_mask = 1;
	pv_shared->pending[0] = 0;
	pv_vcpu->pending_sel = 0;
	pv_vcpu->upcall_pending = 0;
	pv_send(to_itself);
}

static void
send_open(void)
{
	pv_vcpu->upcall_mask = 0;
	pv_send(to_itself);
}

/* ---- grants, of its own to itself ---- */

#define REF     8u
#define SIXTEEN 16u

static uint8_t window[PAGE] __attribute__((aligned(4096)));
static struct xen_gnttab_map_grant_ref map_it;
static struct xen_gnttab_unmap_grant_ref unmap_it;
static struct xen_gnttab_copy copies[SIXTEEN];

static void
grant_map_unmap(void)
{
	pv_call(XEN_grant_table_op, XEN_GNTTABOP_map_grant_ref, (uint64_t)&map_it, 1, 0);
	unmap_it.handle = map_it.handle;
	pv_call(XEN_grant_table_op, XEN_GNTTABOP_unmap_grant_ref, (uint64_t)&unmap_it, 1, 0);
}

static void
grant_copy(void)
{
	pv_call(XEN_grant_table_op, XEN_GNTTABOP_copy, (uint64_t)copies, 1, 0);
}

static void
grant_copies(void)
{
	pv_call(XEN_grant_table_op, XEN_GNTTABOP_copy, (uint64_t)copies, SIXTEEN, 0);
}

/* Its own number is the one by which it finds what it has granted to whoever has that. */
static void
grants_init(void)
{
	uint16_t me = 0; /* as dom0 */
	int status;

	pv_grants_init();
	do {
		pv_grant(REF, me, page, false);
		map_it = (struct xen_gnttab_map_grant_ref){ .host_addr = (uint64_t)window,
							    .flags = XEN_GNTMAP_host_map,
							    .ref = REF,
							    .dom = me++ };
		status = (int)pv_grant_op(XEN_GNTTABOP_map_grant_ref, &map_it, 1);
	} while (!status && map_it.status && me < 16);
	me = map_it.dom;
	unmap_it.host_addr = map_it.host_addr;
	unmap_it.handle = map_it.handle;
	pv_grant_op(XEN_GNTTABOP_unmap_grant_ref, &unmap_it, 1);
	for (unsigned n = 0; n < SIXTEEN; n++)
		copies[n] = (struct xen_gnttab_copy){ .source = pv_granted(me, REF, 0),
						      .dest = pv_own(table + 512),
						      .len = PAGE,
						      .flags = XEN_GNTCOPY_source_gref };
}

/* ---- memory ---- */

static uint8_t lent[PAGE] __attribute__((aligned(4096)));
static uint64_t lent_frame;
static struct xen_memory_reservation one_frame = { .extent_start = (uint64_t)&lent_frame,
						   .nr_extents = 1,
						   .domid = XEN_DOMID_SELF };

static void
memory_back_and_new(void)
{
	pv_call(XEN_memory_op, XEN_XENMEM_decrease_reservation, (uint64_t)&one_frame, 0, 0);
	pv_call(XEN_memory_op, XEN_XENMEM_increase_reservation, (uint64_t)&one_frame, 0, 0);
}

static const struct row {
	const char *name;
	void (*run)(void);
	unsigned by;
} rows[] = {
	{ "null hypercall", null_call, 1 },
	{ "unknown hypercall", unknown_call, 1 },
	{ "multicall of 8, each", multicall, 8 },
	{ "update_va_mapping, the same", map_same, 1 },
	{ "update_va_mapping, W on and off", map_other, 2 },
	{ "... with INVLPG", map_and_flush, 2 },
	{ "... 32 in a multicall, each", map_many, BATCH },
	{ "mmu_update of 1", update_one, 1 },
	{ "mmu_update of 32, each", update_many, BATCH },
	{ "MACHPHYS_UPDATE", update_m2p, 1 },
	{ "write to a page table", write_entry, 1 },
	{ "unpin and pin L1, each entry", pin_and_unpin, 512 },
	{ "INVLPG_LOCAL", invlpg, 1 },
	{ "TLB_FLUSH_LOCAL", flush, 1 },
	{ "NEW_BASEPTR, the same", new_root, 1 },
	{ "stack_switch", stack_switch, 1 },
	{ "set_segment_base", set_base, 1 },
	{ "#UD to its handler, and iret", undefined, 1 },
	{ "#PF to its handler, and iret", not_there, 1 },
	{ "event to itself, masked", send_closed, 1 },
	{ "event to itself, upcall, iret", send_open, 1 },
	{ "grant map and unmap", grant_map_unmap, 1 },
	{ "grant copy of 4 KiB", grant_copy, 1 },
	{ "... 16 of them, each", grant_copies, SIXTEEN },
	{ "a frame back, and a new one", memory_back_and_new, 1 },
};

static uint64_t
once(void (*run)(void))
{
	uint64_t before = now();

	run();
	return now() - before;
}

static void
measure(const struct row *r)
{
	uint64_t none = once(nothing);

	none = once(nothing);
	for (unsigned n = 0; n < RUNS; n++)
		sample(samples, n, (once(r->run) - none) / r->by);
	pv_printf("%s: %lu %lu %lu\n", r->name, samples[0], samples[RUNS / 2], samples[RUNS - 1]);
}

static void
take_all(void)
{
	struct xen_evtchn_bind_ipi ipi = { 0 };

	pv_take_traps();
	pv_events_init();
	pv_handler = take;
	pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi);
	to_itself = ipi.port;
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	take_all();
	here = pv_page(table);
	there = here << 12 | 7 * 8;
	entry = pv_page(page) << 12;
	for (unsigned n = 0; n < 512; n++)
		table[n] = entry | READ;
	for (unsigned n = 0; n < BATCH; n++)
		updates[n].ptr = there + 8 * n;
	for (unsigned n = 0; n < BATCH; n++)
		mappings[n] = (struct xen_multicall_entry){
			XEN_update_va_mapping, 0, { (uint64_t)page, entry | (n & 1 ? WRITE : READ) }
		};
	for (unsigned n = 0; n < 8; n++)
		calls[n] = (struct xen_multicall_entry){ .op = XEN_xen_version };
	pv_map(table, here << 12 | READ);
	pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, here);
	pv_call(XEN_vm_assist, XEN_VMASST_CMD_enable, XEN_VMASST_TYPE_writable_pagetables, 0, 0);
	grants_init();
	lent_frame = pv_page(lent);
	pv_map(lent, 0);
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
		measure(&rows[n]);
	return 0;
}
