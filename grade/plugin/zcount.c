/*
 * zcount: a TCG plugin that counts guest instructions and ends a run after N of them.
 *
 * Arguments: out=FILE    the result, a file that the caller reads with the layout below
 *            limit=N     end the run before the block in which instruction N would be
 *            halts=N     end the run when the CPU goes to sleep for the Nth time
 *            start=ADDR  count from the first execution of this linear address
 *            exact=1     count each instruction, not each block
 *            point=ADDR  ADDR begins a preemption point (up to 8 of these): from the first on, the
 *                        longest stretch of high instructions without a point or a low one is kept
 *            watch=ADDR  count executions of the instruction at ADDR (up to 32 of these)
 *            known=FILE  ... inside of a guest by VMRUN alone; and count the blocks there that are
 *                        this file's bytes, each once
 *            known_at=ADDR  ... which lies, or would, at this linear address
 *
 * The result is a shared mapping: the reader sees it grow while the machine runs, and it is whole
 * even if the emulator is killed.
 *
 * A block is counted when it is entered, so a block that faults halfway counts in full; exact=1
 * counts up to and including the faulting instruction, at the price of an addition each.
 */

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The part of QEMU's plugin interface that we use, version 1 (QEMU 4.2 to 8.2; from 9.0 on QEMU
 * speaks version 2 and later and has no *_inline functions of this form). Declared here because
 * Debian ships the loader but not the header. qemu_plugin_version tells QEMU which one we mean:
 * it refuses to load the plugin if it no longer speaks it.
 */
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_idle_cb(qemu_plugin_id_t id,
				       void (*cb)(qemu_plugin_id_t, unsigned int));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr,
						uint64_t imm);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int, void *), int flags,
					    void *data);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
			       char **argv);

#define MAGIC      0x31544e554f435aULL   /* "ZCOUNT1" */
#define HIGH_HALF  0xffff800000000000ULL /* to HIGH_END: the host's, as it is Xen's */
#define HIGH_END   0xffff880000000000ULL
#define MAX_WATCH  32
#define MAX_POINT  8
#define MAX_BEHIND 16
#define RING       64

enum verdict { RUNNING = 0, LIMIT_INSTRUCTIONS = 1, LIMIT_HALTS = 2 };

/* grade/zeno/machines/counts.py reads this: change both. All fields are 64 bits wide. */
struct result {
	uint64_t magic;
	uint64_t verdict;
	uint64_t low;  /* instructions of others, below the host's addresses and above */
	uint64_t high; /* instructions at the host's */
	uint64_t boot; /* what `low` was when the high half was first entered */
	uint64_t entered_high;
	uint64_t halts;
	uint64_t started;
	uint64_t blocks; /* blocks executed; the last one is ring[(blocks - 1) % RING] */
	uint64_t n_watch;
	uint64_t watch_addr[MAX_WATCH];
	uint64_t watch_count[MAX_WATCH];
	uint64_t ring_addr[RING];
	uint64_t ring_size[RING];
	uint64_t longest;      /* stretch without a preemption point, in instructions */
	uint64_t longest_from; /* the first block of it, the point's own */
	uint64_t longest_to;   /* and its last one */
	uint64_t known;        /* blocks */
};
_Static_assert(sizeof(struct result) == 8 * (14 + 2 * MAX_WATCH + 2 * RING), "counts.py");

static struct result *res;
static uint64_t limit = UINT64_MAX;
static uint64_t halt_limit = UINT64_MAX;
static uint64_t start_addr;
static bool exact;
static uint64_t points[MAX_POINT];
static unsigned n_points;
static struct {
	bool on;
	uint64_t length, from;
} stretch;
static struct {
	const uint8_t *bytes; /* NULL: nobody asks */
	bool *seen;           /* a block that begins there */
	uint64_t size, at;
	bool inside;                 /* of a guest */
	uint64_t behind[MAX_BEHIND]; /* each VMRUN */
	unsigned n_behind;
} known;

/*
 * _exit, not exit: this is the CPU's thread, and exit handlers of the main thread would run under
 * its feet. Nothing is lost: the result is a mapping, and characters are written at _exit.
 */
static void
finish(enum verdict verdict)
{
	res->verdict = verdict;
	_exit(0);
}

/*
 * A block's address and size travel in the callback's one pointer: 54 bits of a canonical address
 * (the sign comes back with the shift) and 10 bits for a size that is at most 512.
 */
#define SIZE_BITS 10

static void *
pack(uint64_t addr, uint64_t size)
{
	return (void *)(uintptr_t)(addr << SIZE_BITS | size);
}

static bool
is_high(uint64_t addr)
{
	return addr >= HIGH_HALF && addr < HIGH_END;
}

/* A low block is guest code, where interrupts are on. */
static void
stretch_runs(uint64_t addr, uint64_t size)
{
	if (!is_high(addr)) {
		stretch.length = 0;
		return;
	}
	if (!stretch.length)
		stretch.from = addr;
	stretch.length += size;
	if (stretch.length <= res->longest)
		return;
	res->longest = stretch.length;
	res->longest_from = stretch.from;
	res->longest_to = addr;
}

/* A kernel's code is high; or it goes on behind a VMRUN, wherever that is. */
static bool
is_host(uint64_t addr)
{
	for (unsigned i = 0; i < known.n_behind; i++)
		if (known.behind[i] == addr)
			return true;
	return is_high(addr);
}

static void
point_runs(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	stretch.on = true;
	stretch.length = 0;
}

static void
block_runs(unsigned int cpu, void *data)
{
	intptr_t packed = (intptr_t)data;
	uint64_t addr = (uint64_t)(packed >> SIZE_BITS);
	uint64_t size = (uint64_t)packed & ((1 << SIZE_BITS) - 1);

	(void)cpu;
	if (!res->started) {
		if (addr != start_addr)
			return;
		res->started = 1;
		res->low = res->high = 0;
		memset(res->watch_count, 0, sizeof(res->watch_count));
	}
	if (known.inside)
		known.inside = !is_host(addr);
	if (is_high(addr) && !res->entered_high) {
		res->entered_high = 1;
		res->boot = res->low;
	}
	if (res->low + res->high + size > limit)
		finish(LIMIT_INSTRUCTIONS);
	if (!exact) {
		if (is_high(addr))
			res->high += size;
		else
			res->low += size;
	}
	if (stretch.on)
		stretch_runs(addr, size);
	res->ring_addr[res->blocks % RING] = addr;
	res->ring_size[res->blocks % RING] = size;
	res->blocks++;
}

/* ---- inside of a guest ---- */

static void
enters(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	known.inside = true;
}

static void
watch_inside(unsigned int cpu, void *count)
{
	(void)cpu;
	*(uint64_t *)count += known.inside;
}

/* Any prefixes, then 0f 01 d8 (APM volume 3, VMRUN). */
static bool
is_vmrun(const struct qemu_plugin_insn *insn)
{
	size_t size = qemu_plugin_insn_size(insn);

	return size >= 3 &&
	       !memcmp((const uint8_t *)qemu_plugin_insn_data(insn) + size - 3, "\x0f\x01\xd8", 3);
}

static void
look_for_vmrun(struct qemu_plugin_insn *insn)
{
	uint64_t behind = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn);
	unsigned i = 0;

	if (!is_vmrun(insn))
		return;
	while (i < known.n_behind && known.behind[i] != behind)
		i++;
	if (i == MAX_BEHIND)
		return;
	known.behind[i] = behind;
	if (i == known.n_behind)
		known.n_behind++;
	qemu_plugin_register_vcpu_insn_exec_cb(insn, enters, QEMU_PLUGIN_CB_NO_REGS, NULL);
}

/* A guest's block that is the file's. */
static void
look_for_known(const struct qemu_plugin_tb *tb, size_t n)
{
	uint64_t first = qemu_plugin_tb_vaddr(tb) - known.at;

	if (!known.inside || first >= known.size || known.seen[first])
		return;
	for (size_t i = 0; i < n; i++) {
		const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t at = qemu_plugin_insn_vaddr(insn) - known.at;
		size_t size = qemu_plugin_insn_size(insn);

		if (at >= known.size || size > known.size - at ||
		    memcmp(known.bytes + at, qemu_plugin_insn_data(insn), size))
			return;
	}
	known.seen[first] = true;
	res->known++;
}

static bool
map_known(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	void *bytes = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &status) == 0)
		bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED) {
		perror(path);
		return false;
	}
	close(fd);
	known.bytes = bytes;
	known.size = (uint64_t)status.st_size;
	known.seen = calloc(known.size, sizeof(*known.seen));
	return known.seen != NULL;
}

/* ---- blocks ---- */

static void
translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint64_t addr = qemu_plugin_tb_vaddr(tb);
	uint64_t *counter = is_high(addr) ? &res->high : &res->low;

	(void)id;
	for (unsigned i = 0; i < n_points; i++)
		if (points[i] == addr)
			qemu_plugin_register_vcpu_tb_exec_cb(tb, point_runs, QEMU_PLUGIN_CB_NO_REGS,
							     NULL);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, block_runs, QEMU_PLUGIN_CB_NO_REGS, pack(addr, n));
	if (known.bytes)
		look_for_known(tb, n);
	if (!exact && res->n_watch == 0 && !known.bytes)
		return;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (exact)
			qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64,
								   counter, 1);
		if (known.bytes)
			look_for_vmrun(insn);
		for (uint64_t w = 0; w < res->n_watch; w++)
			if (qemu_plugin_insn_vaddr(insn) != res->watch_addr[w])
				continue;
			else if (known.bytes)
				qemu_plugin_register_vcpu_insn_exec_cb(insn, watch_inside,
								       QEMU_PLUGIN_CB_NO_REGS,
								       &res->watch_count[w]);
			else
				qemu_plugin_register_vcpu_insn_exec_inline(
					insn, QEMU_PLUGIN_INLINE_ADD_U64, &res->watch_count[w], 1);
	}
}

/*
 * The CPU's thread also wakes and sleeps again for QEMU's own work, such as the monitor's "info
 * registers": that is no new sleep of the guest, which ran nothing.
 */
static void
sleeps(qemu_plugin_id_t id, unsigned int cpu)
{
	static uint64_t blocks_before;

	(void)id;
	(void)cpu;
	if (!res->started || res->blocks == blocks_before)
		return;
	blocks_before = res->blocks;
	if (++res->halts >= halt_limit)
		finish(LIMIT_HALTS);
}

static bool
map_result(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof(*res)) < 0) {
		perror(path);
		return false;
	}
	res = mmap(NULL, sizeof(*res), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (res == MAP_FAILED) {
		perror(path);
		return false;
	}
	memset(res, 0, sizeof(*res));
	res->magic = MAGIC;
	return true;
}

static bool
take_argument(const char *arg)
{
	const char *eq = strchr(arg, '=');
	uint64_t value;
	char *end;

	if (!eq)
		return false;
	if (!strncmp(arg, "known=", 6))
		return map_known(arg + 6);
	value = strtoull(eq + 1, &end, 0);
	if (*end || end == eq + 1)
		return false;
	if (!strncmp(arg, "limit=", 6)) {
		limit = value;
	} else if (!strncmp(arg, "halts=", 6)) {
		halt_limit = value;
	} else if (!strncmp(arg, "start=", 6)) {
		start_addr = value;
		res->started = 0;
	} else if (!strncmp(arg, "known_at=", 9)) {
		known.at = value;
	} else if (!strncmp(arg, "exact=", 6)) {
		exact = value != 0;
	} else if (!strncmp(arg, "point=", 6) && n_points < MAX_POINT) {
		points[n_points++] = value;
	} else if (!strncmp(arg, "watch=", 6) && res->n_watch < MAX_WATCH) {
		res->watch_addr[res->n_watch++] = value;
	} else {
		return false;
	}
	return true;
}

int
qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4) && !map_result(argv[i] + 4))
			return -1;
	if (!res) {
		fprintf(stderr, "zcount: the argument out=FILE is missing\n");
		return -1;
	}
	res->started = 1;
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "out=", 4) && !take_argument(argv[i])) {
			fprintf(stderr, "zcount: what is \"%s\"?\n", argv[i]);
			return -1;
		}
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_vcpu_idle_cb(id, sleeps);
	return 0;
}
