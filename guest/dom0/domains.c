/*
 * The domains that dom0 makes: from a file that says what one is to be, to its end.
 */
#include <guest/dom0/config.h>
#include <guest/dom0/dom0.h>
#include <guest/dom0/ide.h>
#include <guest/dom0/media.h>
#include <guest/dom0/nic.h>

#define PAGE 4096u

struct domu domus[DOMUS];
_Static_assert((int)CONFIG_PVH == (int)ZENO_PVH, "by the same numbers");
static uint8_t windows[DOMUS][2][PAGE] __attribute__((aligned(4096)));

int64_t
control(enum zeno_control op, uint64_t a, uint64_t b, uint64_t c)
{
	return pv_call(ZENO_CONTROL, op, a, b, c);
}

/* ---- its rings ---- */

/* A page of its, in place of one of dom0's own; NULL, after a line: it is no such page any more. */
static void *
map(const struct domu *u, unsigned n, uint64_t pfn)
{
	uint8_t *at = windows[u - domus][n];
	int64_t err = control(ZENO_MAP, u->id, pfn, (uint64_t)at | ZENO_MAP_WRITE);

	if (err)
		say("dom0: %s has no page for its %s: error %ld\n", u->name,
		    n ? "store" : "console", -err);
	return err ? NULL : at;
}

static void
unmap(const struct domu *u)
{
	for (unsigned n = 0; n < 2; n++) {
		uint8_t *at = windows[u - domus][n];

		pv_map(at, pv_page(at) << 12 | PTE_P | PTE_W | PTE_U | PTE_NX);
	}
}

static uint32_t
bind(unsigned id, uint32_t port)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = (uint16_t)id, .remote_port = port };

	return pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b) ? 0 : b.local_port;
}

static void
unbind(uint32_t port)
{
	struct xen_evtchn_close c = { port };

	if (port)
		pv_event_op(XEN_EVTCHNOP_close, &c);
}

/* There are as many places as there can be domains. */
static struct domu *
serve(const struct zeno_look *l)
{
	struct domu *u = domus;

	while (u->id)
		u++;
	*u = (struct domu){ .id = l->domid };
	snprintf(u->name, sizeof(u->name), "%s", l->name);
	snprintf(u->file, sizeof(u->file), "%s", l->note);
	u->lives = LIVES;
	u->since = pv_now();
	u->most = l->most;
	u->vcpus = l->vcpus;
	u->console = map(u, 0, l->console_pfn);
	u->store = map(u, 1, l->store_pfn);
	u->console_port = bind(u->id, l->console_port);
	u->store_port = bind(u->id, l->store_port);
	daemon_begins(u, l->ram);
	return u;
}

/* Nothing of it is left. */
void
domain_let_go(struct domu *u)
{
	int64_t err;

	if (attached == u)
		attached = NULL;
	vbds_end(u);
	vifs_end(u);
	daemon_ends(u);
	unbind(u->console_port);
	unbind(u->store_port);
	unmap(u);
	err = control(ZENO_RELEASE, u->id, 0, 0);
	if (err)
		say("dom0: %s is still there: error %ld\n", u->name, -err);
	u->id = 0;
}

/* ---- they come ---- */

/* What is wrong with a value in a configuration file. */
static void
wrong(const char *file, const struct config_place *at, const char *words, const char *of)
{
	say("%s:%u:%u: %s%s\n", file, at->line, at->column, words, of);
}

bool
domain_is_free(const char *name)
{
	for (const struct domu *u = domus; u < domus + DOMUS; u++)
		if (u->id && !strcmp(u->name, name))
			return false;
	return strcmp(name, "dom0") != 0;
}

static bool
disks_are_there(const char *file, const struct config *c)
{
	for (unsigned n = 0; n < c->disks; n++) {
		const char *words = vbd_wrong(NULL, &c->disk[n]);

		if (words) {
			say("%s:%u:%u: %s: %s\n", file, c->disk_at[n].line, c->disk_at[n].column,
			    c->disk[n].target, words);
			return false;
		}
	}
	return true;
}

static bool
vifs_are_free(const char *file, const struct config *c)
{
	for (unsigned n = 0; n < c->vifs; n++) {
		const char *words = vif_wrong(&c->vif[n]);

		if (words) {
			say("%s:%u:%u: %s\n", file, c->vif_at[n].line, c->vif_at[n].column, words);
			return false;
		}
	}
	return true;
}

/* What the file says of it; false, after a line. */
static bool
read_file(const char *name, struct config *c)
{
	struct config_wrong w;
	struct file f;
	bool there = file_find(name, &f);

	if (!there)
		say("there is no file %s; `ls` shows those that there are\n", name);
	else if (config_read(c, (const char *)f.bytes, f.size, &w))
		wrong(name, &w.at, w.words, "");
	else
		return true;
	return false;
}

bool
domain_devices(const char *name, struct config *c)
{
	return read_file(name, c) && disks_are_there(name, c) && vifs_are_free(name, c);
}

/* ... and the files that it names. */
static bool
read_config(const char *name, struct config *c, struct file *kernel, struct file *ramdisk)
{
	if (!read_file(name, c))
		return false;
	if (!domain_is_free(c->name))
		wrong(name, &c->name_at, "there is a domain of this name, ", c->name);
	else if (!file_find(c->kernel, kernel))
		wrong(name, &c->kernel_at, "there is no file ", c->kernel);
	else if (*c->ramdisk && !file_find(c->ramdisk, ramdisk))
		wrong(name, &c->ramdisk_at, "there is no file ", c->ramdisk);
	else if (!disks_are_there(name, c) || !vifs_are_free(name, c))
		return false;
	else if (c->type == CONFIG_PVH && c->vcpus > 1)
		wrong(name, &c->vcpus_at, "a PVH domain has one CPU here", "");
	else if (c->vcpus > ZENO_VCPUS)
		wrong(name, &c->vcpus_at, "a PV domain has at most 4 CPUs here", "");
	else
		return true;
	return false;
}

static const char *
why(int64_t err)
{
	switch (-err) {
	case ENOMEM:
		return "there is no memory for it, or no number";
	case ENODEV:
		return "its type wants AMD-V or VT-x of the machine, and LAB=all of Zeno";
	case ENOEXEC:
		return "that is no kernel that can be started";
	case EINVAL:
		return "its name or its memory is none that a domain can have";
	default:
		return "the monitor refuses";
	}
}

/* Of the machine's devices, those that dom0 does without itself. */
static void
give_machine(const struct domu *u, const struct config *c)
{
	int64_t err = 0;

	if ((c->ioports || c->irqs) && !media_used())
		ide_let_go();
	for (unsigned n = 0; n < c->ioports && !err; n++)
		err = control(ZENO_PORTS, u->id, c->ioport[n].first, c->ioport[n].last);
	for (unsigned n = 0; n < c->irqs && !err; n++)
		err = control(ZENO_LINE, u->id, c->irq[n], 0);
	if (err)
		say("%s gets no device: %s (error %ld)\n", u->name,
		    err == -EBUSY ? "dom0 or another one has it" : "it is none that dom0 can give",
		    -err);
}

struct domu *
domain_start(unsigned id, const struct config *c)
{
	struct zeno_look l;
	struct domu *u;

	control(ZENO_LOOK, id, (uint64_t)&l, 0);
	u = serve(&l);
	give_machine(u, c);
	vbds_begin(u, c);
	vifs_begin(u, c);
	driven_begin(u);
	if (c->cpu_weight)
		control(ZENO_WEIGHT, id, c->cpu_weight, 0);
	return u;
}

struct domu *
domain_create(const char *name)
{
	struct file kernel, ramdisk = { .bytes = NULL };
	struct zeno_create make = { .mib = 0 };
	struct config c;
	struct domu *u;
	int64_t id;

	if (!read_config(name, &c, &kernel, &ramdisk))
		return NULL;
	snprintf(make.note, sizeof(make.note), "%s", name);
	snprintf(make.name, sizeof(make.name), "%s", c.name);
	snprintf(make.words, sizeof(make.words), "%s", c.extra);
	make.kernel = (uint64_t)kernel.bytes;
	make.kernel_size = kernel.size;
	make.ramdisk = (uint64_t)ramdisk.bytes;
	make.ramdisk_size = ramdisk.bytes ? ramdisk.size : 0;
	make.mib = c.memory;
	make.vcpus = (uint32_t)c.vcpus;
	make.type = (uint32_t)c.type;
	out_flush(); /* the monitor says a line, too */
	id = control(ZENO_CREATE, (uint64_t)&make, 0, 0);
	if (id < 0) {
		say("%s: %s (error %ld)\n", c.name, why(id), -id);
		return NULL;
	}
	u = domain_start((unsigned)id, &c);
	control(ZENO_UNPAUSE, u->id, 0, 0);
	return u;
}

/* What one has that a dom0 has made that was here before, as its file says now. */
static void
give_devices(struct domu *u)
{
	struct config_wrong w;
	struct config c;
	struct file f;

	if (*u->file && file_find(u->file, &f) &&
	    !config_read(&c, (const char *)f.bytes, f.size, &w)) {
		vbds_begin(u, &c);
		vifs_begin(u, &c);
	}
}

/* Those of a dom0 that was here before; what has ended meanwhile is let go of. */
void
domains_init(void)
{
	struct zeno_look l;
	int64_t id = 0;

	while ((id = control(ZENO_LOOK, (uint64_t)id + 1, (uint64_t)&l, 0)) > 0)
		if (l.made) {
			struct domu *u = serve(&l);

			say("%s was here before\n", u->name);
			give_devices(u);
			driven_begin(u);
		}
	somebody_ended = true;
}

/* ---- all of them ---- */

bool
domains_serve(void)
{
	bool any = false;

	daemon_hears();
	any |= media_serve();
	any |= nic_serve();
	any |= job_serve();
	for (struct domu *u = domus; u < domus + DOMUS; u++) {
		if (!u->id)
			continue;
		any |= console_serve(u);
		any |= daemon_serve(u);
		any |= vbds_serve(u);
		any |= vifs_serve(u);
	}
	return any | ends_serve();
}

static unsigned
number(const char *word)
{
	unsigned n = 0;

	for (; *word >= '0' && *word <= '9' && n < 1000; word++)
		n = n * 10 + (unsigned)(*word - '0');
	return *word ? 0 : n;
}

struct domu *
domu_find(const char *word)
{
	for (struct domu *u = domus; u < domus + DOMUS; u++)
		if (u->id && (u->id == number(word) || !strcmp(u->name, word)))
			return u;
	say("dom0 has made no domain %s; `list` shows those that there are\n", word);
	return NULL;
}
