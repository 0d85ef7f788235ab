/*
 * Several vCPUs of one domain: the first one starts the second, and both are tried together. With
 * `storm` in its words: four of them call anything at any time (storm.c).
 */
#include <guest/pv/cpus/cpus.h>

int guest_main(const struct xen_start_info *info);

volatile struct xen_vcpu_info *infos[CPUS];
unsigned came[CPUS][64];
static uint32_t ipi[2], timer, loop[2];
static uint8_t placed[4096] __attribute__((aligned(4096)));
static volatile struct xen_vcpu_runstate_info runstate; /* the second one's */
static struct xen_vcpu_time_info time_area;

int64_t
vcpu_op(unsigned op, uint64_t vcpu, const void *arg)
{
	return pv_call(XEN_vcpu_op, op, vcpu, (uint64_t)arg, 0);
}

void
give_up_turn(void)
{
	pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
}

void
sleep_until(uint64_t ns)
{
	while (pv_now() < ns)
		pv_poll(0, ns);
}

unsigned
who(const void *stack)
{
	uint64_t n = ((uint64_t)stack - (uint64_t)stacks) / STACK;

	return n < CPUS ? (unsigned)n : 0;
}

/* One that it sends itself meanwhile comes when the handler is over, and not within. */
static volatile unsigned nmis[CPUS], deep, deepest;

static void
nmi(unsigned me)
{
	deep++;
	deepest = deep > deepest ? deep : deepest;
	if (!nmis[me]++ && me)
		vcpu_op(XEN_VCPUOP_send_nmi, me, NULL);
	deep--;
}

static void
take(struct pv_frame *f)
{
	unsigned me = who(f);
	int port;

	if (f->vector == 2) {
		nmi(me);
		return;
	}
	if (f->vector != PV_EVENT) {
		pv_printf("exception %lu at %lx, of vCPU %u\n", f->vector, f->rip, me);
		pv_exit(1);
	}
	while ((port = pv_event_next_of(infos[me])) >= 0)
		came[me][port % 64]++;
}

/* Of this vCPU, until this port has come so often. */
static void
await(unsigned me, uint32_t port, unsigned often)
{
	infos[me]->upcall_mask = 1;
	while (came[me][port] < often) { /* block opens the mask */
		pv_block();
		infos[me]->upcall_mask = 1;
	}
	infos[me]->upcall_mask = 0;
}

/* ---- what it has before it begins ---- */

static uint32_t
bind(enum xen_evtchnop op, uint32_t vcpu, uint32_t virq)
{
	struct xen_evtchn_bind_virq v = { .virq = virq, .vcpu = vcpu };
	struct xen_evtchn_bind_ipi i = { .vcpu = vcpu };
	int64_t err = pv_event_op(op, op == XEN_EVTCHNOP_bind_ipi ? (void *)&i : (void *)&v);

	check(!err, "bound", (uint64_t)err);
	return op == XEN_EVTCHNOP_bind_ipi ? i.port : v.port;
}

static void
ports(void)
{
	struct xen_evtchn_alloc_unbound a = { XEN_DOMID_SELF, XEN_DOMID_SELF, 0 };
	struct xen_evtchn_bind_interdomain b = { .remote_dom = XEN_DOMID_SELF };
	struct xen_evtchn_bind_ipi nobody = { .vcpu = 31 };

	ipi[0] = bind(XEN_EVTCHNOP_bind_ipi, 0, 0);
	ipi[1] = bind(XEN_EVTCHNOP_bind_ipi, 1, 0);
	timer = bind(XEN_EVTCHNOP_bind_virq, 1, XEN_VIRQ_TIMER);
	check(pv_event_op(XEN_EVTCHNOP_bind_ipi, &nobody) == -ENOENT, "an IPI to nobody", 0);
	check(pv_status(ipi[1]).vcpu == 1 && pv_status(timer).vcpu == 1, "whose they are", timer);
	pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a);
	b.remote_port = loop[1] = a.port;
	check(!pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b), "a port to itself", b.local_port);
	loop[0] = b.local_port;
}

static void
places(void)
{
	struct xen_vcpu_register_vcpu_info p = { .mfn = pv_page(placed), .offset = 128 };
	uint64_t state = (uint64_t)&runstate, time = (uint64_t)&time_area;

	check(!vcpu_op(XEN_VCPUOP_register_vcpu_info, 1, &p), "another's vcpu_info", 0);
	infos[1] = (void *)(placed + 128);
	check(infos[1]->upcall_mask == 1 && infos[1]->upcall_pending, "... as it was, and pending",
	      infos[1]->upcall_mask);
	check(vcpu_op(XEN_VCPUOP_register_vcpu_info, 1, &p) == -EINVAL, "... but once", 0);
	check(!vcpu_op(XEN_VCPUOP_register_runstate_memory_area, 1, &state) &&
		      runstate.state == XEN_RUNSTATE_offline,
	      "another's runstate: down", runstate.state);
	check(!vcpu_op(XEN_VCPUOP_register_vcpu_time_memory_area, 1, &time), "another's time", 0);
}

/* ---- it begins ---- */

static void
make_root(void)
{
	__builtin_memcpy(root, (const void *)pv_info->pt_base, sizeof(root));
	__builtin_memset(&root[256], 0, 16 * sizeof(root[0]));
	check(!pv_read_only(root), "a page for its root", 0);
}

static int64_t
root_as_memory(void)
{
	return pv_map(root, pv_page(root) << 12 | PTE_P | PTE_W | PTE_U);
}

static void
descriptors(void)
{
	for (unsigned n = 0; n < CPUS; n++) {
		gdt[n][1] = 0x0040f20000000000ul | (GDT_LIMIT + n);
		gdt[n][2] = 0x0020fa0000000000ul; /* code of 64 bits */
		gdt[n][3] = 0x00cff2000000fffful;
		check(!pv_read_only(gdt[n]), "a page for its GDT", n);
	}
}

static void
begins(void)
{
	static uint64_t fs_word = 0xf5, gs_word = 0x65;
	struct xen_guest_context *g = context_for(1, second_entry);
	uint64_t *r[] = { &g->regs.rax, &g->regs.rcx, &g->regs.rdx, &g->regs.rbx,
			  &g->regs.rsp, &g->regs.rbp, &g->regs.rsi, &g->regs.rdi,
			  &g->regs.r8,  &g->regs.r9,  &g->regs.r10, &g->regs.r11,
			  &g->regs.r12, &g->regs.r13, &g->regs.r14, &g->regs.r15 };
	uint64_t value[16], xmm = 0x123456789abcdef0;

	for (unsigned n = 0; n < 16; n++) {
		if (n != 4)
			*r[n] = draw(~0ul);
		value[n] = *r[n];
	}
	__builtin_memcpy(&g->fpu[XMM0], &xmm, sizeof(xmm));
	g->regs.cs = 16;
	g->regs.ss = 24;
	g->fs_base = (uint64_t)&fs_word;
	g->gs_base_kernel = (uint64_t)&gs_word;
	g->debugreg[0] = (uint64_t)begins; /* which it may not watch as data, or it has none */
	g->debugreg[7] = 0xf0401;
	g->ctrlreg[3] = pv_page(root) << 12; /* which nobody has pinned, nor looked at */
	check(!vcpu_op(XEN_VCPUOP_initialise, 1, g), "initialise", 0);
	check(vcpu_op(XEN_VCPUOP_initialise, 1, g) == -EEXIST, "... but once", 0);
	check(root_as_memory(), "its root is no memory", 0);
	check(!vcpu_op(XEN_VCPUOP_is_up, 1, NULL), "it is not up yet", 0);
	check(!vcpu_op(XEN_VCPUOP_up, 1, NULL), "up", 0);
	check(!vcpu_op(XEN_VCPUOP_up, 1, NULL), "... again", 0);
	check(vcpu_op(XEN_VCPUOP_is_up, 1, NULL) == 1, "it is up", 0);
	while (!found_cs) /* which it writes last */
		give_up_turn();
	for (unsigned n = 0; n < 16; n++)
		check(found[n] == value[n], "a register", n);
	check(found_xmm[0] == xmm, "xmm0", found_xmm[0]);
	check(found_cr4 & 0x20 && found_cs == (16 | 3), "CR4, by its own code segment", found_cr4);
}

static uint64_t fs_seen, gs_seen, dr0_seen, dr7_seen;
static uint32_t limit_seen;

static void
look(void)
{
	__asm__ volatile("mov %%fs:0, %0; mov %%gs:0, %1" : "=r"(fs_seen), "=r"(gs_seen));
	__asm__ volatile("lsl %1, %0" : "=r"(limit_seen) : "r"(8 | 3));
	dr0_seen = (uint64_t)pv_call(XEN_get_debugreg, 0, 0, 0, 0);
	dr7_seen = (uint64_t)pv_call(XEN_get_debugreg, 7, 0, 0, 0);
}

static void
its_own(void)
{
	uint64_t frame = pv_page(gdt[0]), other = 0x0040f20000000000ul | 0x555, first;
	uint32_t limit;

	check(!pv_call(XEN_set_gdt, (uint64_t)&frame, 512, 0, 0), "set_gdt", 0);
	tell(look);
	__asm__ volatile("lsl %1, %0" : "=r"(limit) : "r"(8 | 3));
	check(fs_seen == 0xf5 && gs_seen == 0x65, "FS and GS", fs_seen);
	check(dr0_seen == (uint64_t)begins && !(dr7_seen & 0xf00ff), "its breakpoints", dr7_seen);
	check(limit_seen == GDT_LIMIT + 1 && limit == GDT_LIMIT, "each has its own GDT", limit);
	first = pv_page(gdt[1]) << 12 | 8;
	check(!pv_call(XEN_update_descriptor, first, other, 0, 0), "update_descriptor", 0);
	tell(look);
	__asm__ volatile("lsl %1, %0" : "=r"(limit) : "r"(8 | 3));
	check(limit_seen == 0x555 && limit == GDT_LIMIT, "another's descriptor", limit_seen);
	pv_printf("begun: registers, FPU, bases, GDT\n");
}

/* ---- events, time ---- */

#define ROUNDS 500u

static void
answer(void)
{
	for (unsigned n = 1; n <= ROUNDS; n++) {
		await(1, ipi[1], n);
		pv_send(ipi[0]);
	}
}

static void
ping_pong(void)
{
	order(answer);
	for (unsigned n = 1; n <= ROUNDS; n++) {
		pv_send(ipi[1]);
		await(0, ipi[0], n);
	}
	obeyed();
	check(came[0][ipi[1]] == 0 && came[1][ipi[0]] == 0, "an IPI to the wrong one", 0);
	pv_printf("IPIs: %u there, %u back\n", came[1][ipi[1]], came[0][ipi[0]]);
}

static uint64_t slept_until;

static void
sleep_once(void)
{
	struct xen_vcpu_set_singleshot_timer set = { .timeout_abs_ns = slept_until };

	check(vcpu_op(XEN_VCPUOP_set_singleshot_timer, 0, &set) == -EINVAL, "another's timer", 0);
	check(!vcpu_op(XEN_VCPUOP_set_singleshot_timer, 1, &set), "its own timer", 0);
	await(1, timer, 1);
	check(pv_now() >= slept_until, "not before its time", slept_until);
}

static void
poll_for(void)
{
	pv_poll(loop[1], 0);
}

static void
times(void)
{
	struct xen_vcpu_set_periodic_timer period = { 2 * MS };

	slept_until = pv_now() + 3 * MS;
	tell(sleep_once);
	check(!vcpu_op(XEN_VCPUOP_set_periodic_timer, 1, &period), "another's period", 0);
	while (came[1][timer] < 4)
		sleep_until(pv_now() + MS);
	check(!vcpu_op(XEN_VCPUOP_stop_periodic_timer, 1, NULL), "... no more", 0);
	check(!came[0][timer], "a VIRQ to the wrong one", came[0][timer]);
	check(time_area.system_time && !(time_area.version & 1), "its time, where it wants it",
	      time_area.version);
	pv_printf("times: its timer, its period\n");
}

static void
moves(void)
{
	struct xen_evtchn_bind_vcpu to = { loop[1], 1 }, nobody = { loop[1], 31 };
	struct xen_evtchn_unmask open = { loop[1] };
	unsigned before = came[1][loop[1]];

	pv_shared->mask[loop[1] / 64] |= 1ul << loop[1] % 64;
	order(poll_for);
	sleep_until(pv_now() + 2 * MS);
	pv_send(loop[0]);
	obeyed(); /* whose port it is says nothing of who waits for it */
	check(pv_event_op(XEN_EVTCHNOP_bind_vcpu, &nobody) == -ENOENT, "bound to nobody", 0);
	check(!pv_event_op(XEN_EVTCHNOP_bind_vcpu, &to), "bind_vcpu", 0);
	pv_event_op(XEN_EVTCHNOP_unmask, &open);
	while (came[1][loop[1]] == before)
		give_up_turn();
	check(!came[0][loop[1]], "a port that has moved", came[0][loop[1]]);
	pv_printf("ports: polled by one, moved to the other\n");
}

/* ---- memory ---- */

static uint64_t pages[2][512] __attribute__((aligned(4096)));
static uint8_t window[4096] __attribute__((aligned(4096)));

static void
watch(void)
{
	while (*(volatile uint64_t *)window != 2)
		;
}

static int64_t
flush(uint32_t cmd, uint64_t arg, const uint64_t *list)
{
	struct xen_mmuext_op op = { .cmd = cmd, .arg1 = arg, .arg2 = (uint64_t)list };

	return pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF);
}

static void
remote(void)
{
	const uint64_t both = 3;

	pages[0][0] = 1;
	pages[1][0] = 2;
	pv_map(window, pv_page(pages[0]) << 12 | PTE_P | PTE_U);
	order(watch);
	sleep_until(pv_now() + 15 * MS); /* it runs, and has it in its TLB */
	pv_call(XEN_update_va_mapping, (uint64_t)window, pv_page(pages[1]) << 12 | PTE_P | PTE_U, 0,
		0);
	check(!flush(XEN_MMUEXT_INVLPG_MULTI, (uint64_t)window, &both), "INVLPG_MULTI", 0);
	obeyed();
	check(!flush(XEN_MMUEXT_TLB_FLUSH_MULTI, 0, &both), "TLB_FLUSH_MULTI", 0);
	check(!flush(XEN_MMUEXT_INVLPG_ALL, (uint64_t)window, NULL), "INVLPG_ALL", 0);
	check(!flush(XEN_MMUEXT_TLB_FLUSH_ALL, 0, NULL), "TLB_FLUSH_ALL", 0);
	check(flush(XEN_MMUEXT_TLB_FLUSH_MULTI, 0, (void *)64) == -EINVAL, "a list that is nowhere",
	      0);
	check(flush(XEN_MMUEXT_INVLPG_MULTI, 0, (void *)64) == -EINVAL, "... of INVLPG's", 0);
	pv_printf("flushed: of both, of all\n");
}

static void
to_first_root(void)
{
	check(!pv_mmuext(XEN_MMUEXT_NEW_BASEPTR, pv_page((void *)pv_info->pt_base)), "another root",
	      0);
}

static void
roots(void)
{
	check(root_as_memory(), "the root that it has is no memory", 0);
	tell(to_first_root);
	check(!root_as_memory(), "... and is, when it has another one", 0);
	pv_printf("roots: each has its own\n");
}

/* ---- NMIs ---- */

static void
deaf(void)
{
	infos[1]->upcall_mask = 1;
	while (nmis[1] < 2)
		;
	infos[1]->upcall_mask = 0;
}

static void
asleep(void)
{
	while (nmis[1] < 3)
		pv_block();
}

static void
called(void)
{
	check(vcpu_op(XEN_VCPUOP_send_nmi, 1, stacks) == -EINVAL, "an NMI with words", 0);
	check(vcpu_op(XEN_VCPUOP_send_nmi, 9, NULL) == -ENOENT, "to nobody", 0);
	check(!vcpu_op(XEN_VCPUOP_send_nmi, 0, NULL) && nmis[0] == 1, "to itself", nmis[0]);
	order(deaf);
	check(!vcpu_op(XEN_VCPUOP_send_nmi, 1, NULL), "to the other", 0);
	obeyed();
	check(nmis[0] == 1 && nmis[1] == 2 && deepest == 1, "one behind the other", deepest);
	order(asleep);
	for (unsigned n = 0; n < 100 && (!n || runstate.state != XEN_RUNSTATE_blocked); n++)
		sleep_until(pv_now() + MS); /* it may be slow to come to its sleep */
	check(runstate.state == XEN_RUNSTATE_blocked, "seen asleep", runstate.state);
	check(!vcpu_op(XEN_VCPUOP_send_nmi, 1, NULL), "to one that sleeps", 0);
	obeyed();
	pv_printf("NMIs: %u, %u, two of them behind each other\n", nmis[0], nmis[1]);
}

/* ---- down and up ---- */

static volatile unsigned spins;
static volatile bool spinning;

static void
spin(void)
{
	while (spinning)
		spins++;
}

static void
down_itself(void)
{
	check(!vcpu_op(XEN_VCPUOP_down, 1, NULL), "down, itself", 0);
}

static void
downs(void)
{
	unsigned before, heard = came[1][ipi[1]];
	struct xen_vcpu_runstate_info state;

	spinning = true;
	order(spin);
	while (!spins || runstate.state != XEN_RUNSTATE_runnable) /* as it is seen to be */
		give_up_turn();
	check(!vcpu_op(XEN_VCPUOP_down, 1, NULL), "down, by another", 0);
	before = spins;
	sleep_until(pv_now() + 15 * MS);
	check(spins == before, "it stands still", spins);
	pv_send(ipi[1]);
	check(!vcpu_op(XEN_VCPUOP_up, 1, NULL), "up again", 0);
	while (spins == before)
		give_up_turn();
	spinning = false;
	obeyed();
	check(came[1][ipi[1]] == heard + 1, "what came meanwhile", came[1][ipi[1]]);
	order(down_itself);
	while (vcpu_op(XEN_VCPUOP_is_up, 1, NULL))
		give_up_turn();
	check(!vcpu_op(XEN_VCPUOP_get_runstate_info, 1, &state) &&
		      state.state == XEN_RUNSTATE_offline && runstate.state == state.state &&
		      state.time[XEN_RUNSTATE_offline] > 15 * MS &&
		      state.time[XEN_RUNSTATE_running],
	      "its runstate", state.state);
	check(!vcpu_op(XEN_VCPUOP_up, 1, NULL), "up once more", 0);
	obeyed();
	pv_printf("down and up: by another, by itself\n");
}

static void
end(void)
{
	pv_printf("%u wrong; the end\n", wrong);
	pv_exit(!!wrong);
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_take_traps();
	pv_events_init();
	pv_handler = take;
	infos[0] = pv_vcpu;
	for (unsigned n = 1; n < CPUS; n++)
		infos[n] = &pv_shared->vcpu_info[n];
	pv_unmask();
	descriptors();
	make_root();
	if (has_word("storm"))
		storm();
	refused();
	ports();
	places();
	begins();
	its_own();
	ping_pong();
	times();
	moves();
	remote();
	roots();
	called();
	downs();
	order(end); /* of the domain: by one for all */
	for (;;)
		;
}
