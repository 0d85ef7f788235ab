/*
 * A device that another domain has of ours: the end that gives it, whatever it is.
 *
 *   /local/domain/0/backend/TYPE/DOMAIN/NUMBER  dom0's: that domain may read it
 *   /local/domain/DOMAIN/device/TYPE/NUMBER     that domain's own
 */
#pragma once

#include <guest/dom0/dom0.h>
#include <guest/pv/drivers/states.h>

struct backend;

struct backend_kind {
	const char *type; /* vbd, vif */
	/* By what the front end has written; or why it is closed to it. */
	const char *(*connect)(struct backend *b);
	void (*drop)(struct backend *b); /* ... is undone, as far as it was done */
	bool skips; /* once its ring is there, its front end says that it is connected */
};

struct backend {
	struct domu *of; /* whose; NULL: nobody's */
	const struct backend_kind *kind;
	unsigned number; /* as the other end knows it */
	unsigned beyond; /* ... and what is more in the name of our own place */
	char name[16];   /* as a person does: xvda, vif 0 */
	enum xen_xenbus_state mine;
	bool look;    /* the front end's state may be another one */
	bool leaving; /* when it is closed, it is gone */
	bool told;    /* why it was closed */
};

/* Where the store has our own place: "/local/domain/0/", or, as any domain may say, "". */
extern const char backends_at[];

/* In the store: of the back end, or of the front end. */
void back_path(const struct backend *b, bool back, const char *key, char path[PATH_SIZE]);
void back_put(const struct backend *b, bool back, const char *key, const char *value);
void back_put_number(const struct backend *b, bool back, const char *key, uint64_t n);
bool front_number(const struct backend *b, const char *key, uint64_t *number);

/* Whether there was something to do for the handshake. */
bool back_shake(struct backend *b);
void back_close(struct backend *b, const char *why); /* which is said once */
bool back_left(struct backend *b); /* it was asked to let go, and has: that is said */

/* A page that it grants, in place of ours at `at`; NULL: it grants none, and ours is there. */
void *back_map(const struct backend *b, uint8_t *at, uint64_t ref, uint32_t *handle);
void back_unmap(uint8_t *at, uint32_t handle);
/* Our port for that domain's; 0: it is not for us. */
uint32_t back_bind(const struct backend *b, uint64_t port);
void back_unbind(uint32_t *port); /* 0: none */

/*
 * backstore.c. A device comes in three steps, between which its kind says what it is: the first
 * keys of ours, the last ones of ours and the first ones of the front end's, and the state of that.
 */
void back_begin(const struct backend *b);
void back_offer(const struct backend *b);
void back_wait(struct backend *b);
void back_leave(struct backend *b);  /* it is asked to let go of it */
void back_remove(struct backend *b); /* with all that the store has of it */
void backs_remove(const struct backend_kind *kind, const struct domu *u); /* the last one is gone */

/* driven.c: those that another domain gives, by their kind's type. */
bool driven_has(const struct domu *u, const char *type, unsigned number);
bool driven_detach(const struct domu *u, const char *type, unsigned number);
bool driven_serve(void);
void driven_end(const struct domu *u);
void driven_list(const struct domu *u, const char *type);
