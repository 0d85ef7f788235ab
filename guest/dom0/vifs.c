/*
 * Which domain has which network card, and what the store says of it.
 *
 *   /local/domain/0/backend/vif/DOMAIN/NUMBER  dom0's: that domain may read it
 *   /local/domain/DOMAIN/device/vif/NUMBER     that domain's own
 */
#include <guest/dom0/config.h>
#include <guest/dom0/netback.h>
#include <guest/dom0/nic.h>
#include <guest/pv/inet/inet.h>

struct vif vifs[VIFS];
static struct vif *behind = vifs; /* ... the last of those that are somebody's: each round asks */

void
vif_path(const struct vif *v, bool back, const char *key, char *path, size_t size)
{
	const char *slash = *key ? "/" : "";

	if (back)
		snprintf(path, size, "/local/domain/0/backend/vif/%u/%u%s%s", v->of->id, v->number,
			 slash, key);
	else
		snprintf(path, size, "/local/domain/%u/device/vif/%u%s%s", v->of->id, v->number,
			 slash, key);
}

static void
put(const struct vif *v, bool back, const char *key, const char *value)
{
	char path[PATH_SIZE];

	vif_path(v, back, key, path, sizeof(path));
	if (!daemon_write(path, value))
		say("dom0: the store takes no %s\n", path);
}

static void
put_number(const struct vif *v, bool back, const char *key, uint64_t n)
{
	char number[24];

	snprintf(number, sizeof(number), "%lu", n);
	put(v, back, key, number);
}

/* What its file says, or one by its place here. */
uint32_t
vif_address(const uint8_t *mac)
{
	for (const struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of && !memcmp(v->port.mac, mac, MAC_SIZE))
			return v->spec.ip ? v->spec.ip
					  : INET_IP(10, 0, 2, 128) + (uint32_t)(v - vifs);
	return 0;
}

/* The keys that xen-netfront reads. What is not there is not offered. */
static void
fill(const struct vif *v)
{
	char path[PATH_SIZE], mac[MAC_TEXT], ip[IP_TEXT];

	snprintf(path, sizeof(path), "/local/domain/0/backend/vif/%u", v->of->id);
	daemon_directory(path, 0, v->of->id);
	vif_path(v, true, "", path, sizeof(path));
	daemon_directory(path, 0, v->of->id);
	vif_path(v, false, "", path, sizeof(path));
	put(v, true, "frontend", path);
	put_number(v, true, "frontend-id", v->of->id);
	put(v, true, "online", "1");
	put_number(v, true, "handle", v->number);
	put(v, true, "mac", mac_text(v->port.mac, mac));
	if (v->spec.ip)
		put(v, true, "ip", ip_text(v->spec.ip, ip));
	put(v, true, "feature-rx-copy", "1");
	put(v, true, "feature-rx-flip", "0");
	put(v, true, "feature-sg", "1");
	put_number(v, true, "state", XEN_XENBUS_Initialising);
	vif_path(v, true, "", path, sizeof(path));
	put(v, false, "backend", path);
	put(v, false, "backend-id", "0");
	put_number(v, false, "handle", v->number);
	put(v, false, "mac", mac_text(v->port.mac, mac));
	put_number(v, false, "state", XEN_XENBUS_Initialising);
}

/* ---- they come and go ---- */

static bool
is_taken(const uint8_t *mac)
{
	for (const struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of && !memcmp(v->port.mac, mac, MAC_SIZE))
			return true;
	return own_has(mac);
}

const char *
vif_wrong(const struct vif_spec *s)
{
	return s->has_mac && is_taken(s->mac) ? "somebody else has that mac" : NULL;
}

/* The first number that it has no card of. */
static unsigned
free_number(const struct domu *u)
{
	unsigned number = 0;

	for (const struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u && v->number == number) {
			number++;
			v = vifs - 1;
		}
	return number;
}

/* Xen's own prefix, whose it is, and its number. */
static void
choose_mac(struct vif *v)
{
	const uint8_t mac[MAC_SIZE] = {
		0, 0x16, 0x3e, (uint8_t)(v->of->id >> 8), (uint8_t)v->of->id, (uint8_t)v->number
	};

	memcpy(v->port.mac, v->spec.has_mac ? v->spec.mac : mac, MAC_SIZE);
}

const char *
vif_attach(struct domu *u, const struct vif_spec *s)
{
	const char *wrong = vif_wrong(s);
	char path[PATH_SIZE];
	struct vif *v = vifs;

	if (wrong)
		return wrong;
	while (v < vifs + VIFS && v->of)
		v++;
	if (v == vifs + VIFS)
		return "dom0 has no place for more cards";
	*v = (struct vif){ .number = free_number(u),
			   .spec = *s,
			   .look = true,
			   .mine = XEN_XENBUS_Initialising,
			   .port.send = net_deliver_whole };
	v->of = u;
	behind = v < behind ? behind : v + 1;
	share_begin(&v->share, s->rate, pv_now());
	choose_mac(v);
	fill(v);
	vif_path(v, false, "state", path, sizeof(path));
	daemon_watch(path, &v->look);
	nic_begin(); /* without one there is nobody outside */
	return NULL;
}

void
vif_free(struct vif *v)
{
	char path[PATH_SIZE];

	netback_drop(v);
	daemon_unwatch(&v->look);
	for (unsigned back = 0; back < 2; back++) {
		vif_path(v, back, "", path, sizeof(path));
		daemon_remove(path);
	}
	v->of = NULL;
	while (behind > vifs && !behind[-1].of)
		behind--;
}

static struct vif *
find(const struct domu *u, unsigned number)
{
	for (struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u && v->number == number)
			return v;
	return NULL;
}

/* It is asked to let go of it; when it has, all is removed. */
bool
vif_detach(const struct domu *u, unsigned number)
{
	struct vif *v = find(u, number);

	if (!v)
		return false;
	put(v, true, "online", "0");
	v->leaving = v->look = true;
	if (v->mine == XEN_XENBUS_Connected) {
		v->mine = XEN_XENBUS_Closing;
		put_number(v, true, "state", v->mine);
	} else {
		v->mine = XEN_XENBUS_Closed;
	}
	return true;
}

/* ---- a domain's ---- */

/* Those that its file names. */
void
vifs_begin(struct domu *u, const struct config *c)
{
	for (unsigned n = 0; n < c->vifs; n++) {
		const char *wrong = vif_attach(u, &c->vif[n]);

		if (wrong)
			say("%s gets no vif: %s\n", u->name, wrong);
	}
}

bool
vifs_serve(struct domu *u)
{
	bool any = false;

	for (struct vif *v = vifs; v < behind; v++)
		if (v->of == u)
			any |= netback_serve(v);
	return any;
}

/* ns: when somebody may send more whom his rate holds back now; 0: nobody is. */
uint64_t
vifs_until(void)
{
	uint64_t until = 0;

	for (const struct vif *v = vifs; v < behind; v++)
		if (v->of && v->tx && v->until && (!until || v->until < until))
			until = v->until;
	return until;
}

void
vifs_end(struct domu *u)
{
	char path[PATH_SIZE];

	for (struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u)
			vif_free(v);
	snprintf(path, sizeof(path), "/local/domain/0/backend/vif/%u", u->id);
	daemon_remove(path);
}

void
vifs_list(const struct domu *u)
{
	char mac[MAC_TEXT];

	say("Idx Mac               State     Sent      Got     Lost  Refused Events\n");
	for (const struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u)
			say("%-3u %s %5u %8lu %8lu %8lu %8lu %6lu\n", v->number,
			    mac_text(v->port.mac, mac), v->mine, v->sent, v->got, v->lost,
			    v->refused, v->rung);
}

/* ---- rules ---- */

const char *
vif_rule(const struct domu *u, unsigned number, const char *words)
{
	struct vif *v = find(u, number);
	struct rule rule;
	const char *wrong;

	if (!v)
		return "it has no such card";
	if (!strcmp(words, "none ")) {
		v->spec.rules.count = 0;
		return NULL;
	}
	wrong = rule_read(&rule, words);
	return wrong ? wrong : rules_add(&v->spec.rules, &rule);
}

void
vif_rules(const struct domu *u, unsigned number)
{
	const struct vif *v = find(u, number);
	char words[RULE_WORDS];

	for (unsigned n = 0; v && n < v->spec.rules.count; n++) {
		rule_write(&v->spec.rules.of[n], words, sizeof(words));
		say("%8lu %s\n", v->spec.rules.of[n].fits, words);
	}
}
