/*
 * A driver domain's kernel: driver.h. Its loop is dom0's, with less in it.
 */
#include <guest/dom0/ide.h>
#include <guest/pv/driver/driver.h>
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>

#define STACK 16384u

int guest_main(const struct xen_start_info *info);
void pv_return(void *to, uint64_t rsp) __attribute__((noreturn));

static uint8_t stack[STACK] __attribute__((aligned(16)));
const struct domu *speaker;
struct domu *attached; /* nobody is at a console of its */

void
say(const char *fmt, ...)
{
	char line[300], *text = line;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	while (*text == '\n')
		text++;
	pv_print(text);
}

void
shell_prompt(void)
{
}

/* An upcall only ends its sleep. */
static void
handler(struct pv_frame *f)
{
	if (f->vector == PV_EVENT) {
		pv_vcpu->upcall_pending = 0;
		return;
	}
	pv_printf("exception %lu, error code %lx, at %lx\n", f->vector, f->error, f->rip);
	pv_exit(1);
}

static void
take_ports(void)
{
	int port;

	while ((port = pv_event_next()) >= 0)
		if ((uint32_t)port == ide_port)
			ide_interrupted();
	/* who waited for the store has taken all events; the drive says itself how it stands */
	if (store_waited && ide_port)
		ide_interrupted();
	store_waited = false;
}

static void
begin(void)
{
	pv_handler = handler;
	pv_take_traps();
	pv_events_init();
	pv_vcpu->upcall_mask = 1;
	daemon_init();
	if (has_word("harm"))
		harm();
	for (;;) {
		bool any;

		pv_vcpu->upcall_mask = 1; /* what comes from here on ends the sleep */
		take_ports();
		daemon_hears();
		disks_look();
		any = media_serve();
		any |= disks_serve();
		if (!any && !disks_changed && !store_waited)
			pv_block();
	}
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_return(begin, (uint64_t)stack + STACK - 8);
}
