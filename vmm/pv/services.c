/*
 * What a guest asks of its monitor beside memory, traps and time: its console, who is there, and
 * its end.
 */
#include <inc/errno.h>
#include <kern/thread.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

#define CHUNK   PV_CONSOLE_AT_ONCE
#define VERSION (4u << 16 | 17) /* of the ABI: the public headers' */

int
pv_console_key(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);
	int byte = pd->key ? pd->key - 1 : domain_input(d);

	pd->key = 0;
	return byte;
}

static int64_t
console_read(struct vcpu *v, uint64_t to, uint32_t room)
{
	char line[CHUNK] = "";
	uint32_t n = 0;
	int byte;

	if (room > sizeof(line))
		room = sizeof(line);
	if (pv_write(v, to, line, room)) /* what has been typed is not lost */
		return -EFAULT;
	while (n < room && (byte = pv_console_key(v->domain)) >= 0)
		line[n++] = (char)byte;
	return pv_write(v, to, line, n) ? -EFAULT : (int64_t)n;
}

int64_t
pv_call_console_io(struct vcpu *v, struct pv_call *c)
{
	uint32_t left = (uint32_t)c->arg[1], n = left < CHUNK ? left : CHUNK;
	uint8_t bytes[CHUNK];

	if ((uint32_t)c->arg[0] == XEN_CONSOLEIO_read)
		return console_read(v, c->arg[2], left);
	if ((uint32_t)c->arg[0] != XEN_CONSOLEIO_write)
		return -ENOSYS;
	if (pv_read(v, bytes, c->arg[2], n))
		return -EFAULT;
	for (uint32_t i = 0; i < n; i++)
		domain_putc(v->domain, bytes[i]);
	pv_charge(&c->budget, n * (PV_BATCH / CHUNK)); /* each byte may be a line of its own */
	c->arg[1] = left - n;
	c->arg[2] += n;
	c->again = left > n;
	return 0;
}

/* Linux starts with neither missing. */
#define FEATURES (1u << XEN_FEAT_mmu_pt_update_preserve_ad | 1u << XEN_FEAT_gnttab_map_avail_bits)

/* Apart, so that those that answer by a number need no frame. */
APART int64_t
pv_features(struct vcpu *v, uint64_t at, uint32_t submap)
{
	struct xen_feature_info info;

	if (pv_read(v, &info, at, sizeof(info)))
		return -EFAULT;
	if (info.submap_idx)
		return -EINVAL;
	info.submap = submap;
	return pv_write(v, at, &info, sizeof(info));
}

int64_t
pv_call_xen_version(struct vcpu *v, struct pv_call *c)
{
	static const char extra[16] = "-zeno", capabilities[1024] = "xen-3.0-x86_64";

	switch ((uint32_t)c->arg[0]) {
	case XEN_XENVER_version:
		return VERSION;
	case XEN_XENVER_extraversion:
		return pv_write(v, c->arg[1], extra, sizeof(extra));
	case XEN_XENVER_capabilities:
		return pv_write(v, c->arg[1], capabilities, sizeof(capabilities));
	case XEN_XENVER_get_features:
		return pv_features(v, c->arg[1], FEATURES);
	case XEN_XENVER_pagesize:
		return PAGE_SIZE;
	default:
		return -ENOSYS;
	}
}

int64_t
pv_tell_map(struct vcpu *v, uint64_t at, const struct xen_e820 all[], uint32_t count)
{
	struct xen_memory_map map;

	if (pv_read(v, &map, at, sizeof(map)))
		return -EFAULT;
	if (map.nr_entries < count)
		return -EINVAL;
	map.nr_entries = count;
	if (pv_write(v, map.buffer, all, count * sizeof(*all)) ||
	    pv_write(v, at, &map, sizeof(map)))
		return -EFAULT;
	return 0;
}

int64_t
pv_call_memory_op(struct vcpu *v, struct pv_call *c)
{
	const struct xen_machphys_mapping m2p = {
		.v_start = XEN_VIRT_START,
		.v_end = XEN_VIRT_START + frame_count * sizeof(uint64_t),
		.max_mfn = frame_count - 1,
	};
	const struct xen_e820 all = { .size = v->domain->ram,
				      .type = XEN_E820_RAM }; /* one piece */
	uint16_t domid;

	switch ((uint32_t)c->arg[0]) {
	case XEN_XENMEM_current_reservation:
	case XEN_XENMEM_maximum_reservation:
		if (pv_read(v, &domid, c->arg[1], sizeof(domid)))
			return -EFAULT;
		return domid == XEN_DOMID_SELF ? (int64_t)(v->domain->ram >> PAGE_SHIFT) : -EPERM;
	case XEN_XENMEM_memory_map:
		return pv_tell_map(v, c->arg[1], &all, 1);
	case XEN_XENMEM_machphys_mapping:
		return pv_write(v, c->arg[1], &m2p, sizeof(m2p));
	default:
		return -ENOSYS;
	}
}

/* ---- the scheduler ---- */

static int64_t
shut_down(struct vcpu *v, struct pv_call *c)
{
	static const char *const words[] = {
		[XEN_SHUTDOWN_poweroff] = "powered off",
		[XEN_SHUTDOWN_reboot] = "has asked for a reboot",
		[XEN_SHUTDOWN_suspend] = "it asks to be put away, and nobody is there who does it",
		[XEN_SHUTDOWN_crash] = "it says that it has crashed",
	};
	uint32_t reason;

	if (pv_read(v, &reason, c->arg[1], sizeof(reason)))
		return -EFAULT;
	if (reason >= ARRAY_LEN(words))
		return -EINVAL;
	if (reason == XEN_SHUTDOWN_suspend) {
		int64_t result = pv_domain_sched_op(v, c);

		if (result != -ENOSYS)
			return result;
	}
	c->verdict = STOP;
	pv_domain_of(v->domain)->shutdown = (uint8_t)(reason + 1);
	if (reason <= XEN_SHUTDOWN_reboot)
		domain_off(v->domain, words[reason]);
	else
		domain_stop(v->domain, "%s", words[reason]);
	return 0;
}

int64_t
pv_call_sched_op(struct vcpu *v, struct pv_call *c)
{
	switch ((uint32_t)c->arg[0]) {
	case XEN_SCHEDOP_yield:
		need_resched = true;
		return 0;
	case XEN_SCHEDOP_shutdown:
		return shut_down(v, c);
	default:
		return pv_domain_sched_op(v, c);
	}
}
