/*
 * The store's requests about rights: whose a node is, and who else may do what there.
 */
#include <guest/dom0/store.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

static const char letters[] = "nrwb"; /* by enum: none, STORE_READ, STORE_WRITE, both */

int
store_get_perms(struct store_ask *a)
{
	const struct store_node *n;
	int err = store_look(a, &n), at = 0;

	for (unsigned k = 0; !err && k < n->perms.count; k++)
		at += snprintf(a->store->answer + at, sizeof(a->store->answer) - (size_t)at, "%c%u",
			       letters[n->perms.of[k].may], n->perms.of[k].domid) +
		      1;
	return err ? err : at;
}

/* "b7" */
static int
read_perm(struct store_perm *p, const char *text, size_t len)
{
	uint32_t domid = 0;

	for (p->may = 0; p->may < 4 && letters[p->may] != text[0]; p->may++)
		;
	if (p->may == 4 || len < 2 || len > 6)
		return -EINVAL;
	for (size_t k = 1; k < len; k++) {
		if (text[k] < '0' || text[k] > '9')
			return -EINVAL;
		domid = domid * 10 + (uint32_t)(text[k] - '0');
	}
	if (domid >= XEN_DOMID_SELF)
		return -EINVAL;
	p->domid = (uint16_t)domid;
	return 0;
}

static int
read_perms(struct store_perms *perms, const char *text, size_t left)
{
	perms->count = 0;
	while (left) {
		size_t len = 0;
		int err;

		while (len < left && text[len])
			len++;
		if (len == left)
			return -EINVAL;
		if (perms->count == STORE_PERMS)
			return -ENOSPC;
		err = read_perm(&perms->of[perms->count++], text, len);
		if (err)
			return err;
		text += len + 1;
		left -= len + 1;
	}
	return perms->count ? 0 : -EINVAL;
}

/* The owner's alone; who owns it, only dom0 can change. */
int
store_set_perms(struct store_ask *a)
{
	const struct store_node *n;
	struct store_perms perms;
	struct store_tree changed;
	int err = store_take_path(a);

	if (!err)
		err = store_find(a, STORE_WRITE, &n);
	if (!err)
		err = read_perms(&perms, a->rest, a->rest_len);
	if (err)
		return err;
	if (a->client->domid && n->perms.of[0].domid != a->client->domid)
		return -EACCES;
	if (a->client->domid && perms.of[0].domid != a->client->domid)
		return -EPERM;
	changed = tree_share(a->tree);
	err = tree_set_perms(&changed, a->store->path, &perms, ++a->store->generation);
	return store_commit(a, &changed, err, STORE_SET);
}
