/*
 * `save`: a domain suspends, its memory goes to a file or a drive, and it is gone. Until all of
 * that is written, it is there: whatever goes wrong, it goes on where it was.
 */
#include <guest/dom0/job.h>
#include <guest/dom0/migrate.h>
#include <guest/pv/lib/memory.h>

#define PATIENCE 30000000000ul /* ns, for its answer */
#define MS       1000000u
#define P2M_MOST (PAGE / sizeof(uint32_t))

/* It goes on, and is told that it was not put away. */
static void
fail(const char *words)
{
	say("%s is not %s: %s\n", job.u->name, job.away ? "migrated" : "saved", words);
	if (job.opened)
		stream_undo(&job.stream);
	if (job.away)
		migrate_over();
	job_hide();
	if (job.state == JOB_SAVES || job.state == JOB_SENT)
		control(ZENO_UNPAUSE, job.id, true, 0);
	else if (job.state == JOB_ASKED)
		daemon_asks(job.u, "");
	job_over();
}

/* ---- it begins ---- */

static const char *
know_contexts(void)
{
	for (unsigned n = 0; n < job.head.vcpus; n++) {
		struct xen_guest_context *g = &job.context[n].cpu;
		int64_t err = pv_call(ZENO_CONTROL, ZENO_CONTEXT, job.id, n, (uint64_t)g);

		if (err == -ENOENT && n) /* it has never begun */
			continue;
		if (err || !job_convert_context(g, job_pfn))
			return "what its vCPUs do can't be told";
	}
	job.head.info_pfn = job_pfn(job.context[0].cpu.regs.rdx);
	return job.head.info_pfn == FRAME_NONE ? "it does not say where its start_info is" : NULL;
}

/* By its own tables: which guest frame is there; FRAME_NONE. */
static uint64_t
walk(uint64_t root, uint64_t va)
{
	uint64_t pfn = job_pfn(root);

	for (unsigned shift = 39; shift >= 12 && pfn != FRAME_NONE; shift -= 9) {
		const uint64_t *table = job_show(pfn, false);
		uint64_t entry = table ? table[va >> shift & (PER_PAGE - 1)] : 0;

		pfn = entry & PTE_P ? job_pfn((entry & 0x000ffffffffff000ul) >> 12) : FRAME_NONE;
	}
	return pfn;
}

/* Its p2m says what Zeno says: so whoever brings it back knows what to write there. */
static const char *
know_p2m(const struct zeno_look *l)
{
	if (!l->p2m_cr3)
		return "it does not say where its p2m is";
	for (uint64_t pfn = 0; pfn < job.head.frames; pfn += PER_PAGE) {
		uint64_t at = walk(XEN_CR3_FRAME(l->p2m_cr3), l->p2m_vaddr + pfn * sizeof(pfn));
		const uint64_t *words = at == FRAME_NONE ? NULL : job_show(at, false);

		if (!words)
			return "its p2m is not where it says";
		job.p2m[pfn / PER_PAGE] = (uint32_t)at;
		for (unsigned n = 0; n < PER_PAGE && pfn + n < job.head.frames; n++)
			if (words[n] != job_mfn(pfn + n))
				return "its p2m does not say what it has";
	}
	return NULL;
}

static const char *
begin(const struct zeno_look *l)
{
	const char *wrong = NULL;

	memset(job.head_page, 0, PAGE);
	memcpy(job.head.magic, IMAGE_MAGIC, sizeof(job.head.magic));
	job.head.version = IMAGE_VERSION;
	job.head.frames = l->most >> 12;
	job.head.console_pfn = l->console_pfn;
	job.head.store_pfn = l->store_pfn;
	job.head.ns = l->ns;
	job.head.vcpus = l->vcpus;
	job.head.weight = (uint32_t)l->weight;
	snprintf(job.head.name, sizeof(job.head.name), "%s", l->name);
	snprintf(job.head.file, sizeof(job.head.file), "%s", job.u->file);
	if (l->ram != l->most)
		return "a balloon of its has memory: give it back with mem-set first";
	if (job.head.frames > IMAGE_MOST)
		return "it has more than 1024 MiB";
	wrong = job_tables();
	if (!wrong)
		wrong = job_know_frames();
	for (uint64_t pfn = 0; pfn < job.head.frames && !wrong; pfn++)
		if (job_mfn(pfn) == FRAME_NONE)
			wrong = "some of its memory is none of its guest frames";
	if (!wrong)
		wrong = know_contexts();
	if (!wrong)
		wrong = know_p2m(l);
	if (!wrong && job.away)
		stream_open_away(&job.stream, image_tables(&job.head) + job.head.frames);
	else if (!wrong)
		wrong = stream_open(&job.stream, job.name, true,
				    image_tables(&job.head) + job.head.frames);
	job.opened = !wrong;
	if (!wrong && !stream_seek(&job.stream, image_tables(&job.head)))
		wrong = "it can't be written";
	return wrong;
}

/* ---- its memory ---- */

static bool
is_zero(const uint64_t *page)
{
	unsigned n = 0;

	while (n < PER_PAGE && !page[n])
		n++;
	return n == PER_PAGE;
}

static const char *
put_page(uint64_t pfn)
{
	static uint64_t copy[PER_PAGE] __attribute__((aligned(4096)));
	uint64_t w = job.frames[pfn / PER_PAGE][pfn % PER_PAGE];
	unsigned type = ZENO_FRAME_TYPE(w);
	const uint64_t *page = job_show(pfn, false);

	if (!page)
		return "its memory can't be read";
	*job_kind(pfn) = (uint8_t)(type | (w & ZENO_FRAME_PINNED ? IMAGE_PINNED : 0));
	if (type) {
		memcpy(copy, page, PAGE);
		page = copy;
		if (!job_convert(copy, type, job_pfn))
			return "a page table of its leads to what is not its own";
	}
	if (is_zero(page))
		return NULL;
	*job_kind(pfn) |= IMAGE_DATA;
	job.head.data++;
	return stream_put(&job.stream, page) ? NULL : "it can't be written, or there is no room";
}

static bool
put_table(void *page)
{
	return stream_put(&job.stream, page);
}

/* The head comes last, and behind all else: with it it is an image. */
static bool
finish(void)
{
	struct stream *s = &job.stream;

	job.head.crc_data = s->crc;
	if (!stream_seek(s, 1) || !job_each_table(put_table))
		return false;
	job.head.crc_tables = s->crc;
	job.head.crc = image_sum(job.head_page);
	return stream_flush(s) && stream_seek(s, 0) && stream_put(s, job.head_page) &&
	       stream_flush(s);
}

/* NULL, or why whoever was to take it takes it no more. Of a file: NULL. */
static const char *
lost(void)
{
	const char *text;
	enum link_state state = job.away ? migrate_state(&text) : LINK_NONE;

	return state == LINK_REFUSED || state == LINK_SILENCE ? text : NULL;
}

/* What has been put away is not here any more. */
static void
let_it_end(void)
{
	job.u->kept = true; /* nobody else lets go of it */
	control(ZENO_DESTROY, job.id, true, 0);
	job.state = JOB_ENDS;
}

static void
go_on(void)
{
	const char *wrong = NULL;

	for (unsigned n = 0; n < AT_ONCE && job.pfn < job.head.frames && !wrong; n++) {
		wrong = lost();
		if (!wrong && job.away && !migrate_room())
			return;
		if (!wrong)
			wrong = put_page(job.pfn++);
	}
	if (!wrong && job.pfn < job.head.frames)
		return;
	job_hide();
	if (!wrong && !finish())
		wrong = "it can't be written, or there is no room";
	if (wrong) {
		fail(wrong);
	} else if (job.away) {
		migrate_done();
		job.state = JOB_SENT;
	} else {
		let_it_end();
	}
}

/* ---- to another machine ---- */

static void
wait_for_answer(void)
{
	const char *text, *wrong = lost();

	if (wrong) {
		fail(wrong);
	} else if (migrate_state(&text) == LINK_READY) {
		migrate_let_go();
		job.state = JOB_TOLD;
	}
}

/* It is the other one's: here it never runs again, but for somebody who has looked there. */
static void
wait_for_its_end(void)
{
	const char *text;
	enum link_state state = migrate_state(&text);

	if (state == LINK_RUNS) {
		say("%s stood still for %lu ms\n", job.u->name, (pv_now() - job.since) / MS);
		let_it_end();
	} else if (state == LINK_SILENCE) {
		say("%s is there, but nobody says that it runs; it stands still here, too. If it has "
		    "come: `destroy %s`; if not: `unpause %s`\n",
		    job.u->name, job.u->name, job.u->name);
		job.u->away = true;
		migrate_over();
		job_over();
	}
}

/* Nobody is disturbed for one that would not be taken. */
static void
call(void)
{
	const char *text, *wrong = lost();

	if (wrong) {
		fail(wrong);
	} else if (migrate_state(&text) == LINK_TAKES) {
		job.state = JOB_ASKED;
		daemon_asks(job.u, "suspend");
	}
}

/* ---- steps ---- */

static void
let_go(void)
{
	uint64_t pages = image_tables(&job.head) + job.head.data;

	say("%s is %s %s: %lu KiB\n", job.u->name, job.away ? "at" : "saved in", job.name,
	    pages * 4);
	domain_let_go(job.u);
	job_over();
}

void
save_step(void)
{
	struct zeno_look l;
	const char *wrong;
	bool there = job.u->id == job.id &&
		     control(ZENO_LOOK, job.id, (uint64_t)&l, 0) == (int64_t)job.id;

	if (!there || (job.state != JOB_ENDS && l.state == ZENO_ENDED)) {
		say("it has ended, and is not saved\n");
		if (job.opened)
			stream_undo(&job.stream);
		if (job.away)
			migrate_over();
		job_over();
	} else if (job.state == JOB_CALLS) {
		call();
	} else if (job.state == JOB_SAVES) {
		go_on();
	} else if (job.state == JOB_SENT) {
		wait_for_answer();
	} else if (job.state == JOB_TOLD) {
		wait_for_its_end();
	} else if (job.state == JOB_ENDS) {
		if (l.state == ZENO_ENDED)
			let_go();
	} else if (l.state == ZENO_PAUSED && l.why == ZENO_SUSPEND) {
		job.state = JOB_SAVES;
		job.until = 0;
		job.since = pv_now();
		wrong = begin(&l);
		if (wrong)
			fail(wrong);
	} else {
		wrong = lost();
		if (wrong || pv_now() >= job.until)
			fail(wrong ? wrong : "it does not answer");
	}
}

bool
save_takes(const struct domu *u)
{
	return job.state != JOB_NONE && job.u == u;
}

void
save_begin(const char *domain, const char *to, bool away)
{
	struct domu *u = domu_find(domain);
	struct zeno_look l;

	if (!u || control(ZENO_LOOK, u->id, (uint64_t)&l, 0) != u->id)
		return;
	if (l.type != ZENO_PV || l.state == ZENO_ENDED || l.state == ZENO_PAUSED) {
		say("%s: a PV domain can be saved that runs\n", u->name);
		return;
	}
	job.u = u;
	job.id = u->id;
	snprintf(job.name, sizeof(job.name), "%s", to);
	job.away = away;
	job.until = pv_now() + PATIENCE;
	job.state = away ? JOB_CALLS : JOB_ASKED;
	if (!away) {
		daemon_asks(u, "suspend");
		return;
	}
	job.head.frames = l.most >> 12;
	job.head.vcpus = l.vcpus;
	migrate_begin(image_tables(&job.head) + job.head.frames);
}

void
run_save(const char *word)
{
	save_begin(word, shell_word(1), false);
}
