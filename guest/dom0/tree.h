/*
 * The store's tree: nodes with a name, a value, permissions and children. Trees share their nodes:
 * a copy of a whole tree is one more reference to its root, and whoever changes a node that others
 * have, too, changes a copy of it and of all above it. So a transaction has a tree of its own for
 * nothing, and a change that fails halfway is thrown away as a whole. Pure.
 *
 * A path is absolute, valid and at most STORE_DEPTH names long: whoever calls has looked.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define STORE_DOMAINS 17u /* the domains that there can be, dom0 among them */
#define STORE_DEPTH   32u /* names of a path: what goes down the tree by recursion ends */
#define STORE_PERMS   8u

enum { STORE_READ = 1, STORE_WRITE = 2 };

/* The first is the owner, and what all others may do; the others are one domain's each. */
struct store_perm {
	uint16_t domid;
	uint8_t may;
};
struct store_perms {
	unsigned count;
	struct store_perm of[STORE_PERMS];
};

struct store_node {
	uint32_t refs;       /* of parents and trees */
	uint32_t count;      /* of children */
	uint32_t len;        /* of its value */
	uint64_t generation; /* another one whenever its value or its permissions changed */
	uint64_t listed;     /* ... when its list of children did */
	struct store_node **child;
	uint8_t *value;
	struct store_perms perms;
	char name[];
};

struct store_tree {
	struct store_node *root;
	uint32_t owned[STORE_DOMAINS]; /* nodes, by their owner */
};

/* 0 or -ENOMEM. The root is dom0's; all may read it. */
int tree_make(struct store_tree *t);
struct store_tree tree_share(const struct store_tree *t);
void tree_drop(struct store_tree *t);

/* The node; NULL: there is none. */
const struct store_node *tree_find(const struct store_tree *t, const char *path);
/* ... or else the nearest one above; *there is how much of the path is there. */
const struct store_node *tree_nearest(const struct store_tree *t, const char *path, size_t *there);

/*
 * Changes: 0, -ENOMEM, -ENOENT (what must be there is not). `generation` is one that no node has.
 * After an error the tree is good for nothing but tree_drop().
 */
int tree_create(struct store_tree *t, const char *path, const struct store_perms *perms,
		uint64_t generation);
int tree_set_value(struct store_tree *t, const char *path, const void *bytes, size_t len,
		   uint64_t generation);
int tree_set_perms(struct store_tree *t, const char *path, const struct store_perms *perms,
		   uint64_t generation);
int tree_remove(struct store_tree *t, const char *path, uint64_t generation);
/*
 * A domain is no more, and neither is what it had, with all below. No other tree has nodes of this
 * one's: so that it takes no memory, and can't fail.
 */
void tree_forget(struct store_tree *t, uint16_t domid, uint64_t generation);

/* ---- what whoever links this has ---- */

/* Who has what is asked for from now on, out of his share; who had it before. */
uint16_t store_pays(uint16_t domid);
void *store_alloc(size_t size); /* NULL: no memory */
void store_free(void *p);       /* NULL, too */
