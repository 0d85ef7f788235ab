/*
 * `restore`: a domain that was saved goes on. Whatever is wrong with its image, nothing is left of
 * it then.
 */
#include <guest/dom0/config.h>
#include <guest/dom0/job.h>
#include <guest/dom0/migrate.h>

static struct config config; /* what its file says of its devices */

/* Zeno lets go of it behind its last turn. */
static void
undo(void)
{
	job_hide();
	if (!job.id)
		return;
	control(ZENO_DESTROY, job.id, 0, 0);
	while (control(ZENO_RELEASE, job.id, 0, 0) == -EBUSY)
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
}

static void
end(const char *wrong)
{
	if (wrong) {
		say("%s: %s\n", job.name, wrong);
		undo();
	}
	if (job.away)
		migrate_ready(wrong);
	else
		job_over();
}

/* ---- before there is a domain ---- */

/*
 * An image may name any file of dom0's: it has what that one gives if it is the domain that the
 * file is about. What a device of the machine's knew of it is in no image.
 */
static const char *
file_wrong(void)
{
	if (strcmp(config.name, job.head.name) || config.type != CONFIG_PV)
		return "its file is another domain's";
	if (config.memory != job.head.frames >> 8 || config.vcpus != job.head.vcpus)
		return "its file says another memory, or other CPUs";
	if (config.ioports || config.irqs)
		return "its file gives it a device of the machine's";
	return NULL;
}

static bool
get_table(void *to)
{
	const void *page = stream_get(&job.stream);

	if (page)
		memcpy(to, page, PAGE);
	return page;
}

static const char *
read_head(void)
{
	const char *wrong = stream_open(&job.stream, job.name, false, 1);

	if (wrong)
		return wrong;
	if (!stream_seek(&job.stream, 0) || !get_table(job.head_page))
		return "it can't be read";
	wrong = image_wrong(job.head_page, stream_bytes(&job.stream));
	if (!wrong && !domain_is_free(job.head.name))
		wrong = "there is a domain of its name";
	if (!wrong && !domain_devices(job.head.file, &config))
		wrong = "its devices are not to be had";
	return wrong ? wrong : file_wrong();
}

/* Each kind is one, and there is as much memory as the head says. */
static const char *
read_tables(void)
{
	uint64_t data = 0;

	if (!stream_seek(&job.stream, 1) || !job_each_table(get_table))
		return "it can't be read";
	for (uint64_t pfn = 0; pfn < job.head.frames; pfn++)
		data += *job_kind(pfn) / IMAGE_DATA & 1;
	if (job.stream.crc != job.head.crc_tables)
		return "it has been altered: its tables have another sum";
	if (data != job.head.data)
		return "its tables say what no domain is like";
	return NULL;
}

static const char *
make(void)
{
	struct zeno_create c = { .empty = 1,
				 .mib = job.head.frames >> 8,
				 .vcpus = job.head.vcpus,
				 .console_pfn = job.head.console_pfn,
				 .store_pfn = job.head.store_pfn,
				 .ns = job.head.ns };
	int64_t id;

	memcpy(c.name, job.head.name, sizeof(c.name));
	memcpy(c.note, job.head.file, sizeof(c.note));
	out_flush(); /* the monitor says a line, too */
	id = control(ZENO_CREATE, (uint64_t)&c, 0, 0);
	job.id = id > 0 ? (unsigned)id : 0;
	if (!job.id)
		return id == -ENOMEM ? "there is no memory for it, or no number"
				     : "the monitor refuses";
	return job_know_frames();
}

/* ---- its memory ---- */

static const char *
get_page(uint64_t pfn)
{
	unsigned kind = *job_kind(pfn);
	uint64_t *page;
	void *from;

	if (!(kind & IMAGE_DATA)) /* a new one is of zeros */
		return NULL;
	page = job_show(pfn, true);
	from = stream_get(&job.stream);
	if (!page || !from)
		return page ? "it can't be read" : "the monitor does not take its memory";
	memcpy(page, from, PAGE);
	return !(kind & IMAGE_TYPE) || job_convert(page, kind & IMAGE_TYPE, job_mfn)
		       ? NULL
		       : "a page table of its leads to memory that it has not";
}

static const char *
fill_p2m(void)
{
	for (uint64_t pfn = 0; pfn < job.head.frames; pfn += PER_PAGE) {
		uint64_t *words = job_show(job.p2m[pfn / PER_PAGE], true);

		for (unsigned n = 0; words && n < PER_PAGE && pfn + n < job.head.frames; n++)
			words[n] = job_mfn(pfn + n);
		if (!words)
			return "its p2m is in memory that it has not";
	}
	return NULL;
}

/* As a builder would; its kernel knows all else still. */
static const char *
fill_info(const struct zeno_look *l)
{
	struct xen_start_info *info = (void *)job_show(job.head.info_pfn, true);

	if (!info)
		return "its start_info is in memory that it has not";
	info->nr_pages = job.head.frames;
	info->shared_info = l->shared << 12;
	info->flags = 0;
	info->store_mfn = job_mfn(job.head.store_pfn);
	info->console_mfn = job_mfn(job.head.console_pfn);
	info->store_evtchn = l->store_port;
	info->console_evtchn = l->console_port;
	return NULL;
}

/* ---- it goes on ---- */

static const char *
pin_tables(void)
{
	for (uint64_t pfn = 0; pfn < job.head.frames; pfn++)
		if (*job_kind(pfn) & IMAGE_PINNED &&
		    pv_call(ZENO_CONTROL, ZENO_PIN, job.id, pfn, *job_kind(pfn) & IMAGE_TYPE))
			return "what it says are page tables are none";
	return NULL;
}

static const char *
begin_vcpus(void)
{
	for (unsigned n = job.head.vcpus; n--;) {
		struct xen_guest_context *g = &job.context[n].cpu;

		if (n && !g->ctrlreg[3])
			continue;
		if (!n)
			g->regs.rdx = job_mfn(job.head.info_pfn);
		if (!job_convert_context(g, job_mfn) ||
		    pv_call(ZENO_CONTROL, ZENO_BEGIN, job.id, n, (uint64_t)g))
			return "what its vCPUs were doing none can do";
	}
	return NULL;
}

static const char *
finish(void)
{
	struct zeno_look l;
	const char *wrong = NULL;

	if (job.stream.crc != job.head.crc_data)
		wrong = "it has been altered: its memory has another sum";
	control(ZENO_LOOK, job.id, (uint64_t)&l, 0);
	if (!wrong)
		wrong = fill_p2m();
	if (!wrong)
		wrong = fill_info(&l);
	job_hide();
	if (!wrong)
		wrong = pin_tables();
	return wrong ? wrong : begin_vcpus();
}

/* More than its file gives it, or anybody has, is a person's to give. */
static void
give_weight(void)
{
	uint64_t most = config.cpu_weight ? config.cpu_weight : WEIGHT_DEFAULT;

	if (job.head.weight <= most)
		control(ZENO_WEIGHT, job.id, job.head.weight, 0);
	else
		say("its weight was %u: sched-credit gives it more than %lu\n", job.head.weight,
		    most);
}

void
restore_step(void)
{
	const char *wrong = NULL;

	for (unsigned n = 0; n < AT_ONCE && job.pfn < job.head.frames && !wrong; n++)
		wrong = get_page(job.pfn++);
	if (!wrong && job.pfn < job.head.frames)
		return;
	if (!wrong)
		wrong = finish();
	if (!wrong) {
		if (!job.away)
			say("%s is back\n", job.head.name);
		domain_start(job.id, &config);
		give_weight();
		if (!job.away)
			control(ZENO_UNPAUSE, job.id, 0, 0);
	}
	end(wrong);
}

void
restore_begin(const char *name, bool away)
{
	const char *wrong;

	snprintf(job.name, sizeof(job.name), "%s", name);
	job.state = JOB_LOADS;
	job.away = away;
	wrong = read_head();
	if (!wrong)
		wrong = job_tables();
	if (!wrong)
		wrong = read_tables();
	if (!wrong)
		wrong = make();
	if (!wrong && !stream_seek(&job.stream, image_tables(&job.head)))
		wrong = "it can't be read";
	if (wrong)
		end(wrong);
}

void
run_restore(const char *word)
{
	restore_begin(word, false);
}
