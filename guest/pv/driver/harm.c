/*
 * What a driver domain must not be able to do. `die=N`: it ends where it has written N words into
 * the store. `harm`: it takes the first ring that it is offered, and then does anything: to the
 * ring, the store, ports, lines, grants; and ends by a fault of its own. Whoever had a disk of it
 * waits, or has it closed; nothing else comes of it.
 */
#include <guest/dom0/pci.h>
#include <guest/pv/driver/driver.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/grants.h>
#include <guest/pv/lib/text.h>
#include <inc/control.h>

#define TIMES 4000u

static uint8_t window[4096] __attribute__((aligned(4096)));
static uint8_t own[4096] __attribute__((aligned(4096)));

void
harm_writes(void)
{
	static unsigned n;

	if (pv_number("die=") && ++n == pv_number("die="))
		pv_exit(1);
}

/* The first disk that is offered: its front end's ring, and a port there. */
static void
take_ring(struct vbd *v)
{
	struct xen_evtchn_bind_interdomain b = { .remote_port = 0 };
	char path[PATH_SIZE];
	uint64_t ref, port;

	for (;;) {
		store_waited = false; /* who waited for an answer has taken others' events, too */
		daemon_hears();
		disks_look();
		disks_serve();
		if (vbds[0].of && vbds[0].page)
			break;
		if (!disks_changed && !store_waited)
			pv_wait(&pv_info->store_evtchn, 1, 0);
	}
	back_path(&v->back, false, "ring-ref", path);
	if (daemon_read_number(path, &ref))
		pv_map_grant(window, (uint16_t)v->of->id, (uint32_t)ref, XEN_GNTMAP_host_map,
			     &v->handle);
	back_path(&v->back, false, "event-channel", path);
	if (daemon_read_number(path, &port)) {
		b.remote_dom = (uint16_t)v->of->id;
		b.remote_port = (uint32_t)port;
		pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b);
	}
}

/* Its own device's, its neighbours', and those of the machine's heart. */
static void
any_port(void)
{
	static const uint16_t ports[] = { 0x1f0, 0x1f7, 0x3f6, 0xcf8, 0xcfc, 0xc000, 0xc040,
					  0x20,  0x21,  0x64,  0x70,  0x3f8, 0x92,   0xcf9 };
	unsigned port = ports[draw(sizeof(ports) / sizeof(ports[0]))] + (unsigned)draw(8);

	if (draw(2))
		in8(port);
	else
		out8(port, (uint8_t)draw(256));
}

static void
any_line(void)
{
	struct xen_evtchn_bind_pirq b = { .pirq = (uint32_t)draw(17) };
	uint32_t line = (uint32_t)draw(17);

	switch (draw(4)) {
	case 0:
		line_bind(line, draw(2));
		break;
	case 1:
		line_done(line);
		break;
	case 2:
		line_let_go(line, 3 + (uint32_t)draw(8)); /* 1 and 2 it goes on with */
		break;
	default:
		pv_event_op(XEN_EVTCHNOP_bind_pirq, &b);
	}
}

static void
any_grant(void)
{
	uint16_t of = (uint16_t)draw(5);
	uint32_t ref = (uint32_t)draw(40), handle = (uint32_t)draw(8);

	if (!draw(3))
		pv_map_grant(window, of, ref, XEN_GNTMAP_host_map, &handle);
	else if (draw(2))
		pv_copy_grant(pv_granted(of, ref, 0), pv_own(own), (unsigned)draw(4097),
			      XEN_GNTCOPY_source_gref);
	else
		pv_copy_grant(pv_own(own), pv_granted(of, ref, (unsigned)draw(4096)),
			      (unsigned)draw(4097), XEN_GNTCOPY_dest_gref);
}

static void
any_word(const struct vbd *v)
{
	static const char *const keys[] = { "state", "sectors", "online", "info", "frontend" };
	char path[PATH_SIZE], number[24];

	back_path(&v->back, draw(4), keys[draw(sizeof(keys) / sizeof(keys[0]))], path);
	snprintf(number, sizeof(number), "%lu", draw(9));
	daemon_write(path, number);
}

/* As dom0, who it is not; by number, and a word of the ring's. */
static void
any_call(void)
{
	volatile uint32_t *word = (volatile uint32_t *)vbds[0].page;

	if (pv_call(ZENO_CONTROL, draw(12), draw(5), draw(0x400), draw(0x400)) != -EPERM)
		pv_printf("WRONG: a call that is dom0's\n");
	if (word)
		word[draw(1024)] = (uint32_t)draw(draw(2) ? 64 : ~0u);
}

void
harm(void)
{
	struct vbd *v = &vbds[0];

	take_ring(v);
	for (unsigned n = 0; n < TIMES; n++)
		switch (draw(8)) {
		case 0:
			any_port();
			break;
		case 1:
			any_line();
			break;
		case 2:
			any_grant();
			break;
		case 3:
			if (!draw(8))
				any_word(v);
			break;
		case 4:
			pv_send((uint32_t)draw(12));
			break;
		case 5:
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
			break;
		default:
			any_call();
		}
	pv_printf("nothing has come of it\n");
	__asm__ volatile("ud2");
}
