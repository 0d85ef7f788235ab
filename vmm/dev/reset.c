/*
 * A guest that resets its machine: by a port of its devices, or by a triple fault. That ends it;
 * with on-reset=restart it starts again from its module, as another guest with the number of the
 * old one. What it has written to its disk is there.
 */
#include <inc/errno.h>
#include <vmm/domain.h>
#include <kern/frame.h>

struct again {
	struct domain_config config; /* of the next one */
	char words[sizeof(((struct domain *)NULL)->words)];
};
_Static_assert(sizeof(struct again) <= PAGE_SIZE, "one frame");

int
reset_init(struct domain *d, const struct domain_config *c)
{
	struct again *a = c->resets ? host_page() : NULL;

	if (!c->resets)
		return 0;
	if (!a)
		return -ENOMEM;
	d->again = a;
	a->config = *c;
	snprintf(a->words, sizeof(a->words), "%s", c->words);
	a->config.words = a->words;
	a->config.id = d->id;
	a->config.resets--;
	return 0;
}

void
reset_done(struct domain *d)
{
	struct again *a = d->again;
	unsigned id = d->id;
	int err;

	if (!domain_restarts(d))
		return;
	d->again = NULL; /* the old one goes, and its words are still needed */
	err = domain_create(&d, &a->config);
	if (err)
		printf("d%u: it can't start again: error %d\n", id, -err);
	host_page_put(a);
}
