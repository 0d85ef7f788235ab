/*
 * `migrate` and `migrate-receive`: a domain is put away, not in a file of this dom0's but of
 * another one's (link.h), and brought back there from it. Both are jobs: the shell waits, all
 * others go on.
 */
#include <guest/dom0/job.h>
#include <guest/dom0/migrate.h>
#include <guest/dom0/nic.h>
#include <guest/dom0/sparse.h>

#define TABLES 80u /* pages that save writes at once, at most: tables and head */
#define FILE   "migration"

static struct link_frame queue[LINK_QUEUE];
static struct link line = { .queue = queue, .send = nic_send };

_Static_assert(IMAGE_MOST / IMAGE_PAGE + 2 + IMAGE_CONTEXT * ZENO_VCPUS < TABLES,
	       "what finish() puts");
_Static_assert(TABLES < LINK_PAGES, "and pages of memory beside them");

void
migrate_hears(const void *frame, size_t len)
{
	link_hears(&line, frame, len, pv_now());
}

uint64_t
migrate_until(void)
{
	return link_until(&line);
}

/* NULL, or why nobody can be reached. */
static const char *
reach(const char *mac)
{
	const char *wrong = nic_begin();

	if (wrong)
		return wrong;
	if (!mac_parse(mac, line.peer) || line.peer[0] & 1)
		return "that is no card's address: 52:54:00:12:34:57; `nic` there says it";
	memcpy(line.mine, nic_address(), MAC_SIZE);
	return NULL;
}

/* ---- from here ---- */

void
migrate_begin(uint64_t pages)
{
	link_open(&line, (uint32_t)pv_now(), pages, pv_now());
}

bool
migrate_room(void)
{
	return link_room(&line) > TABLES;
}

void
migrate_put(uint64_t at, const void *page)
{
	link_put(&line, at, page);
}

void
migrate_done(void)
{
	link_done(&line);
}

void
migrate_let_go(void)
{
	link_run(&line);
}

void
migrate_over(void)
{
	line.state = LINK_NONE;
}

enum link_state
migrate_state(const char **text)
{
	link_serve(&line, pv_now());
	*text = line.state == LINK_SILENCE ? "nobody answers there" : line.text;
	return line.state;
}

void
run_migrate(const char *word)
{
	const char *wrong = reach(shell_word(1));

	if (wrong)
		say("%s: %s\n", shell_word(1), wrong);
	else
		save_begin(word, shell_word(1), true);
}

/* ---- to here ---- */

static const char *
make(uint64_t pages)
{
	return pages <= SPARSE_MAX / PAGE ? sparse_make(FILE, pages * PAGE) : "it is too large";
}

static uint8_t *
page(uint64_t at)
{
	return sparse_page(sparse_find(FILE), at * PAGE, true);
}

void
run_migrate_receive(const char *word)
{
	const char *wrong = sparse_find(FILE) ? "`rm " FILE "` first" : reach(word);

	if (wrong) {
		say("%s: %s\n", word, wrong);
		return;
	}
	line.make = make;
	line.page = page;
	link_listen(&line, pv_now());
	job.state = JOB_HEARS;
	say("dom0 waits for %s; Ctrl-T ends that\n", word);
}

/* There is nothing of it any more but the answer to who asks again. */
static void
over(void)
{
	if (sparse_find(FILE))
		sparse_remove(FILE);
	job_over();
}

void
migrate_ready(const char *wrong)
{
	if (wrong) {
		link_refuse(&line, wrong);
		over();
		return;
	}
	link_ready(&line);
	job.state = JOB_HELD;
}

void
receive_step(void)
{
	const char *text;
	enum link_state state = migrate_state(&text);

	if (state == LINK_WHOLE && job.state == JOB_HEARS) {
		restore_begin(FILE, true);
	} else if (state == LINK_RUNS) {
		say("%s is here\n", job.head.name);
		control(ZENO_UNPAUSE, job.id, 0, 0);
		over();
	} else if (state == LINK_SILENCE && job.state == JOB_HELD) {
		say("%s is here, and stands still: nobody says that it has ended there. If it has: "
		    "`unpause %s`; if not: `destroy %s`\n",
		    job.head.name, job.head.name, job.head.name);
		over();
	} else if (state == LINK_REFUSED || state == LINK_SILENCE) {
		say("no domain has come: %s\n", text);
		over();
	}
}

bool
migrate_waits(void)
{
	return job.state == JOB_HEARS;
}

void
migrate_end_wait(void)
{
	link_refuse(&line, "nobody waits for it any more");
	say("no domain has come\n");
	over();
	shell_prompt();
}
