/*
 * dom0: the first PV domain, which makes the others, and serves their consoles and their store.
 *
 * One loop does all of it, and nothing in it waits: it looks at each ring, at the keys, at who has
 * ended, and sleeps when there is nothing more to do. An upcall only ends that sleep.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include <guest/dom0/store_ring.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/text.h>
#include <inc/control.h>
#include <inc/errno.h>

#define DOMUS     16u
#define PATH_SIZE 100u /* bytes of a path of dom0's own in the store, its NUL, too */

/* A domain that dom0 has made; id 0: none. */
struct domu {
	unsigned id;
	char name[24];
	volatile struct xen_console_ring *console; /* NULL: it is not to be had */
	volatile struct store_page *store;
	uint32_t console_port, store_port; /* dom0's own; 0: none */
	struct store_client *client;
	struct store_ring wire;
	char file[64];  /* that says what it is to be; empty: nobody knows */
	bool kept;      /* it has ended, and nobody has let go of it */
	bool away;      /* it has suspended, and may run on another machine */
	bool unasked;   /* it has suspended without being asked, which has been said */
	unsigned lives; /* how often it may still be made anew ... */
	uint64_t since; /* ... and since when: ends.c */
	uint64_t most;  /* bytes of memory that it may have */
	unsigned vcpus; /* that it was made with */
};
#define LIVES 5u
extern struct domu domus[DOMUS];

/* out.c: dom0's own console. What is said goes out when it is flushed, or there is much of it. */
void out_init(void);
void out_bytes(const char *bytes, size_t len);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_flush(void);
int key_next(void); /* -1: none */
/* Whether this one has been typed, with which she comes back: what was before it is gone then. */
bool key_skip_to(int key);
/* Whose line is not over yet, so that nobody ends it as his own; NULL: nobody's, or dom0's own. */
extern const struct domu *speaker;

/* files.c: those of the ramdisk, an archive "newc". False: there is none such, or no more. */
struct file {
	const char *name;
	const uint8_t *bytes;
	size_t size;
};
bool file_find(const char *name, struct file *f);
bool file_next(struct file *f); /* the first, if f->name is NULL */

extern bool somebody_ended; /* main.c: or may have */

/* domains.c */
int64_t control(enum zeno_control op, uint64_t a, uint64_t b, uint64_t c);
void domains_init(void);
struct domu *domain_create(const char *file); /* NULL, after a line: it is not made */
void domain_let_go(struct domu *u);
struct config;
bool domain_is_free(const char *name);
bool domain_devices(const char *file, struct config *c); /* false, after a line: not to be had */
/* One that Zeno has made, and that is paused still: it is served, and has its devices. */
struct domu *domain_start(unsigned id, const struct config *c);
struct domu *domu_find(const char *word); /* by name or number; NULL, after a line */
bool domains_serve(void); /* rings, and who has ended. Whether there was something to do */

/* ends.c: what becomes of those that end. Whether somebody has. */
bool ends_serve(void);
void ends_destroy(struct domu *u);

/* consoles.c: of the others. */
#define ESCAPE 0x14 /* Ctrl-T */
extern struct domu *attached;
bool console_serve(struct domu *u);
void console_rest(struct domu *u);   /* what it has said to its end */
void console_attach(struct domu *u); /* NULL: dom0's own has the keys again */
bool console_type(char key);         /* to whom they go; false: there is no room */

/* daemon.c: the store. */
void daemon_init(void);
void daemon_begins(struct domu *u, uint64_t ram); /* bytes of memory that it has */
void daemon_ends(struct domu *u);
bool daemon_serve(struct domu *u);
void daemon_show(const char *path);
void daemon_asks(struct domu *u, const char *what);      /* "poweroff", "reboot" */
void daemon_wants(struct domu *u, uint64_t ram);         /* it is to have so much memory */
void daemon_wants_vcpus(struct domu *u, unsigned count); /* it is to use so many, the first ones */
/* dom0's own requests, by whole paths: whether it was done. */
bool daemon_write(const char *path, const char *value);
bool daemon_remove(const char *path);
/* It is there, one domain's own; another one may read it, and whatever is made below. */
bool daemon_directory(const char *path, unsigned owner, unsigned reader);
bool daemon_read(const char *path, char *to, size_t size); /* false: too long, too */
bool daemon_read_number(const char *path, uint64_t *number);
/* *seen becomes true at once, and whenever something is changed there. */
bool daemon_watch(const char *path, bool *seen);
void daemon_unwatch(const bool *seen);
void daemon_hears(void); /* in each round */

/* shell.c */
void shell_init(void);
bool shell_serve(void);
void shell_prompt(void);            /* it has the console again */
const char *shell_word(unsigned n); /* of the command: 0 is behind its name; NULL: no more */
/* things.c: commands. */
void run_disks(const char *word);
void run_nic(const char *word);
void run_dmesg(const char *word);
void run_xenstore_write(const char *word);
void run_crc(const char *word);
void run_cat(const char *word);
void run_ls(const char *word);
void run_truncate(const char *word);
void run_rm(const char *word);
/* netshell.c: more of them. */
void run_network_attach(const char *word);
void run_network_detach(const char *word);
void run_network_list(const char *word);
void run_vif_rule(const char *word);

/* job.c, save.c, restore.c: putting away. Whether there was something to do; the shell waits. */
bool job_serve(void);
bool job_busy(void);
uint64_t job_until(void); /* when it is to be asked again; 0: whenever something comes */
bool save_takes(const struct domu *u);
void run_save(const char *word);
void run_restore(const char *word);
/* migrate.c: the same by way of another machine. */
void run_migrate(const char *word);
void run_migrate_receive(const char *word);
bool migrate_waits(void);    /* for one that is to come ... */
void migrate_end_wait(void); /* ... whoever waits does not want to any more */
void migrate_hears(const void *frame, size_t len);

/* vbds.c: disks for domains. Why one can't have it; NULL: it can, or has. */
struct disk;
const char *vbd_wrong(const struct domu *u, const struct disk *d);
/* ... for dom0 itself, and what is below it. */
struct medium;
const char *vbd_medium(const struct disk *d, struct medium *m);
const char *vbd_attach(struct domu *u, const struct disk *d);
bool vbd_detach(const struct domu *u, const char *name); /* false: it has no such */
void vbds_begin(struct domu *u, const struct config *c);
void vbds_end(struct domu *u);
bool vbds_serve(struct domu *u);
void vbds_list(const struct domu *u);
void driven_begin(struct domu *back); /* driven.c: it may be the back end that disks wait for */

/* vifs.c: network cards for domains. As those of disks. */
struct vif_spec;
const char *vif_wrong(const struct vif_spec *s);
const char *vif_attach(struct domu *u, const struct vif_spec *s);
bool vif_detach(const struct domu *u, unsigned number); /* false: it has no such */
void vifs_begin(struct domu *u, const struct config *c);
void vifs_end(struct domu *u);
bool vifs_serve(struct domu *u);
void vifs_list(const struct domu *u);
uint64_t vifs_until(void);
/* One more for what goes and comes, or "none" any more. NULL, or what is wrong, in words. */
const char *vif_rule(const struct domu *u, unsigned number, const char *words);
void vif_rules(const struct domu *u, unsigned number);
uint32_t vif_address(const uint8_t *mac); /* whose card that is; 0: nobody's */

/* own.c: dom0's own address on the bridge. */
void own_begin(void);
bool own_has(const uint8_t *mac);

/* alloc.c: what nobody has had yet of a domain's share. */
size_t alloc_left(uint16_t domid);
