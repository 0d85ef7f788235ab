/*
 * What a guest is started with where nobody says otherwise: its image may.
 */
#include <vmm/dev/platform.h>
#include <vmm/engine.h>
#include <vmm/load/load.h>

SET_DECLARE(loaders);

void
load_defaults(struct domain_config *c)
{
	c->engine = engine_default();
	c->platform = platform_find("pc");
	set_foreach (const struct loader *, l, loaders)
		if (l->takes(c->module)) {
			c->loader = l->name;
			c->engine = engine_find(l->engine);
			c->platform = NULL; /* it knows that it has none */
		}
}
