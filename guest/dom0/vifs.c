/*
 * Which domain has which network card, and what the store says of it (backend.h).
 */
#include <guest/dom0/config.h>
#include <guest/dom0/netback.h>
#include <guest/dom0/nic.h>
#include <guest/pv/inet/inet.h>

struct vif vifs[VIFS];
static struct vif *behind = vifs; /* ... the last of those that are somebody's: each round asks */

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
fill(struct vif *v)
{
	char mac[MAC_TEXT], ip[IP_TEXT];
	struct backend *b = &v->back;

	back_begin(b);
	back_put_number(b, true, "handle", b->number);
	back_put(b, true, "mac", mac_text(v->port.mac, mac));
	if (v->spec.ip)
		back_put(b, true, "ip", ip_text(v->spec.ip, ip));
	back_put(b, true, "feature-rx-copy", "1");
	back_put(b, true, "feature-rx-flip", "0");
	back_put(b, true, "feature-sg", "1");
	back_offer(b);
	back_put_number(b, false, "handle", b->number);
	back_put(b, false, "mac", mac_text(v->port.mac, mac));
	back_wait(b);
}

/* ---- they come and go ---- */

static bool
is_taken(const uint8_t *mac)
{
	for (const struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of && !memcmp(v->port.mac, mac, MAC_SIZE))
			return true;
	return own_has(mac) || driven_has_mac(mac);
}

const char *
vif_wrong(const struct vif_spec *s)
{
	return s->has_mac && is_taken(s->mac) ? "somebody else has that mac" : NULL;
}

static struct vif *
find(const struct domu *u, unsigned number)
{
	for (struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u && v->back.number == number)
			return v;
	return NULL;
}

/* The first number that it has no card of. */
static unsigned
free_number(const struct domu *u)
{
	unsigned number = 0;

	while (find(u, number) || driven_has(u, netback.type, number))
		number++;
	return number;
}

/* Xen's own prefix, whose it is, and its number. */
static void
choose_mac(const struct domu *u, unsigned number, const struct vif_spec *s, uint8_t *to)
{
	const uint8_t mac[MAC_SIZE] = {
		0, 0x16, 0x3e, (uint8_t)(u->id >> 8), (uint8_t)u->id, (uint8_t)number
	};

	memcpy(to, s->has_mac ? s->mac : mac, MAC_SIZE);
}

const char *
vif_attach(struct domu *u, const struct vif_spec *s)
{
	const char *wrong = vif_wrong(s);
	uint8_t mac[MAC_SIZE];
	struct vif *v = vifs;

	if (wrong)
		return wrong;
	choose_mac(u, free_number(u), s, mac);
	if (*s->backend)
		return driven_attach_card(u, free_number(u), mac, s->backend);
	while (v < vifs + VIFS && v->of)
		v++;
	if (v == vifs + VIFS)
		return "dom0 has no place for more cards";
	*v = (struct vif){ .back = { .kind = &netback,
				     .number = free_number(u),
				     .look = true,
				     .mine = XEN_XENBUS_Initialising },
			   .spec = *s,
			   .port.send = net_deliver_whole };
	v->of = u;
	snprintf(v->back.name, sizeof(v->back.name), "vif %u", v->back.number);
	behind = v < behind ? behind : v + 1;
	share_begin(&v->share, s->rate, pv_now());
	memcpy(v->port.mac, mac, MAC_SIZE);
	fill(v);
	nic_begin(); /* without one there is nobody outside */
	return NULL;
}

void
vif_free(struct vif *v)
{
	netback.drop(&v->back);
	back_remove(&v->back);
	while (behind > vifs && !behind[-1].of)
		behind--;
}

/* It is asked to let go of it; when it has, all is removed. */
bool
vif_detach(const struct domu *u, unsigned number)
{
	struct vif *v = find(u, number);

	if (!v)
		return driven_detach(u, netback.type, number);
	back_leave(&v->back);
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
	for (struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u)
			vif_free(v);
	backs_remove(&netback, u);
}

void
vifs_list(const struct domu *u)
{
	char mac[MAC_TEXT];

	say("Idx Mac               State     Sent      Got     Lost  Refused Events\n");
	for (const struct vif *v = vifs; v < vifs + VIFS; v++)
		if (v->of == u)
			say("%-3u %s %5u %8lu %8lu %8lu %8lu %6lu\n", v->back.number,
			    mac_text(v->port.mac, mac), v->back.mine, v->sent, v->got, v->lost,
			    v->refused, v->rung);
	driven_list(u, netback.type);
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
