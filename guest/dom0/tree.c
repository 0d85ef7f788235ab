/*
 * The store's tree: tree.h.
 */
#include <guest/dom0/tree.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

/* ---- nodes ---- */

/* Out of its owner's share, whoever writes: of a share whose domain is gone nothing is in use. */
static void *
alloc_of(const struct store_perms *perms, size_t size)
{
	uint16_t before = store_pays(perms->of[0].domid);
	void *p = store_alloc(size);

	store_pays(before);
	return p;
}

static struct store_node *
node_make(const char *name, size_t len, const struct store_perms *perms, uint64_t generation)
{
	struct store_node *n = alloc_of(perms, sizeof(*n) + len + 1);

	if (!n)
		return NULL;
	memset(n, 0, sizeof(*n));
	n->refs = 1;
	n->generation = n->listed = generation;
	n->perms = *perms;
	memcpy(n->name, name, len);
	n->name[len] = 0;
	return n;
}

static void
node_put(struct store_node *n)
{
	if (--n->refs)
		return;
	for (uint32_t k = 0; k < n->count; k++)
		node_put(n->child[k]);
	store_free(n->child);
	store_free(n->value);
	store_free(n);
}

/* Its value is these bytes, or nothing. */
static int
node_fill(struct store_node *n, const void *bytes, size_t len)
{
	uint8_t *value = len ? alloc_of(&n->perms, len) : NULL;

	if (len && !value)
		return -ENOMEM;
	if (len)
		memcpy(value, bytes, len);
	store_free(n->value);
	n->value = value;
	n->len = (uint32_t)len;
	return 0;
}

/* The children of another one, with room for one more. */
static int
node_adopt(struct store_node *n, const struct store_node *from)
{
	n->child = alloc_of(&n->perms, (from->count + 1) * sizeof(struct store_node *));
	if (!n->child)
		return -ENOMEM;
	for (; n->count < from->count; n->count++) {
		n->child[n->count] = from->child[n->count];
		n->child[n->count]->refs++;
	}
	return 0;
}

/* The node here is nobody else's. */
static int
node_own(struct store_node **at)
{
	struct store_node *n = *at, *copy;

	if (n->refs == 1)
		return 0;
	copy = node_make(n->name, strlen(n->name), &n->perms, n->generation);
	if (!copy)
		return -ENOMEM;
	copy->listed = n->listed;
	if (node_fill(copy, n->value, n->len) || node_adopt(copy, n)) {
		node_put(copy);
		return -ENOMEM;
	}
	node_put(n);
	*at = copy;
	return 0;
}

static uint32_t *
counter(struct store_tree *t, const struct store_perms *perms)
{
	static uint32_t nobody;

	return perms->of[0].domid < STORE_DOMAINS ? &t->owned[perms->of[0].domid] : &nobody;
}

/* ---- trees ---- */

int
tree_make(struct store_tree *t)
{
	memset(t, 0, sizeof(*t));
	t->root = node_make("", 0, &(struct store_perms){ 1, { { 0, STORE_READ } } }, 1);
	if (!t->root)
		return -ENOMEM;
	t->owned[0] = 1;
	return 0;
}

struct store_tree
tree_share(const struct store_tree *t)
{
	t->root->refs++;
	return *t;
}

void
tree_drop(struct store_tree *t)
{
	if (t->root)
		node_put(t->root);
	t->root = NULL;
}

/* The name that *path begins with, which then begins behind it. */
static size_t
next_name(const char **path, const char **name)
{
	while (**path == '/')
		++*path;
	*name = *path;
	while (**path && **path != '/')
		++*path;
	return (size_t)(*path - *name);
}

static struct store_node **
child_of(const struct store_node *n, const char *name, size_t len)
{
	for (uint32_t k = 0; k < n->count; k++)
		if (strlen(n->child[k]->name) == len && !memcmp(n->child[k]->name, name, len))
			return &n->child[k];
	return NULL;
}

const struct store_node *
tree_nearest(const struct store_tree *t, const char *path, size_t *there)
{
	const struct store_node *n = t->root;
	const char *at = path, *name;
	size_t len;

	for (*there = 0; (len = next_name(&at, &name)); *there = (size_t)(at - path)) {
		struct store_node **child = child_of(n, name, len);

		if (!child)
			return n;
		n = *child;
	}
	*there = strlen(path);
	return n;
}

const struct store_node *
tree_find(const struct store_tree *t, const char *path)
{
	size_t there;
	const struct store_node *n = tree_nearest(t, path, &there);

	return path[there] ? NULL : n;
}

/* ---- changes ---- */

/*
 * The node, which is this tree's own then, and so are all above. With `name` its parent, and the
 * last name of the path.
 */
static int
own(struct store_tree *t, const char *path, const char **last, struct store_node **found)
{
	struct store_node **at = &t->root;
	const char *name;
	size_t len;
	int err;

	while (!(err = node_own(at))) {
		*found = *at;
		len = next_name(&path, &name);
		if (!len || (last && !*path))
			break;
		at = child_of(*at, name, len);
		if (!at)
			return -ENOENT;
	}
	if (!err && last)
		*last = name;
	return err;
}

int
tree_create(struct store_tree *t, const char *path, const struct store_perms *perms,
	    uint64_t generation)
{
	struct store_node *parent, *n, **child;
	const char *name;
	int err = own(t, path, &name, &parent);

	if (err)
		return err;
	child = alloc_of(&parent->perms, (parent->count + 1) * sizeof(*child));
	n = child ? node_make(name, strlen(name), perms, generation) : NULL;
	if (!n) {
		store_free(child);
		return -ENOMEM;
	}
	++*counter(t, perms);
	if (parent->count)
		memcpy(child, parent->child, parent->count * sizeof(*child));
	store_free(parent->child);
	parent->child = child;
	parent->child[parent->count++] = n;
	parent->listed = generation;
	return 0;
}

int
tree_set_value(struct store_tree *t, const char *path, const void *bytes, size_t len,
	       uint64_t generation)
{
	struct store_node *n;
	int err = own(t, path, NULL, &n);

	if (err)
		return err;
	n->generation = generation;
	return node_fill(n, bytes, len);
}

int
tree_set_perms(struct store_tree *t, const char *path, const struct store_perms *perms,
	       uint64_t generation)
{
	struct store_node *n;
	int err = own(t, path, NULL, &n);

	if (err)
		return err;
	--*counter(t, &n->perms);
	++*counter(t, perms);
	n->perms = *perms;
	n->generation = generation;
	return 0;
}

static void
count_down(struct store_tree *t, const struct store_node *n)
{
	--*counter(t, &n->perms);
	for (uint32_t k = 0; k < n->count; k++)
		count_down(t, n->child[k]);
}

int
tree_remove(struct store_tree *t, const char *path, uint64_t generation)
{
	struct store_node *parent, **child;
	const char *name;
	int err = own(t, path, &name, &parent);

	if (err)
		return err;
	child = child_of(parent, name, strlen(name));
	if (!child)
		return -ENOENT;
	count_down(t, *child);
	node_put(*child);
	parent->count--;
	memmove(child, child + 1,
		(size_t)((uint8_t *)&parent->child[parent->count] - (uint8_t *)child));
	parent->listed = generation;
	return 0;
}

/* Whether a domain is named in it. */
static int
is_named(const struct store_node *n, uint16_t domid)
{
	for (unsigned k = 0; k < n->perms.count; k++)
		if (n->perms.of[k].domid == domid)
			return 1;
	return 0;
}

static void
strike_out(struct store_tree *t, struct store_node *n, uint16_t domid)
{
	struct store_perms *p = &n->perms;
	unsigned kept = 1;

	for (unsigned k = 1; k < p->count; k++)
		if (p->of[k].domid != domid)
			p->of[kept++] = p->of[k];
	p->count = kept;
}

static void
forget(struct store_tree *t, struct store_node *n, uint16_t domid, uint64_t generation)
{
	uint32_t kept = 0, count = n->count;

	if (is_named(n, domid)) {
		strike_out(t, n, domid);
		n->generation = generation;
	}
	for (uint32_t k = 0; k < count; k++) {
		struct store_node *child = n->child[k];

		if (child->perms.of[0].domid == domid) {
			count_down(t, child);
			node_put(child);
			continue;
		}
		forget(t, child, domid, generation);
		n->child[kept++] = child;
	}
	n->count = kept;
	if (kept != count)
		n->listed = generation;
}

void
tree_forget(struct store_tree *t, uint16_t domid, uint64_t generation)
{
	if (t->root->perms.of[0].domid == domid)
		tree_set_perms(t, "/", &(struct store_perms){ 1, { { 0, STORE_READ } } },
			       generation);
	forget(t, t->root, domid, generation);
}
