/*
 * The device model's IDE disk: the kernel's own source, vmm/dev/apic/ide.c, at the ports that a PC
 * has it at. Its sectors are Zeno's (USER_LOAD, USER_STORE). There is no bus master, for the
 * program sees none of its guest's memory: IDENTIFY knows of no DMA, and its commands are aborted.
 */
#include <user/dm/disk.h>
#include <user/lib/user.h>
#include <vmm/dev/apic/ide.h>

static struct ide ide;
static bool told; /* the level of its line that Zeno knows */

static void
load(void *ctx, uint64_t lba, uint8_t buf[IDE_SECTOR])
{
	user_call(USER_LOAD, lba, (uint64_t)buf);
}

static void
store(void *ctx, uint64_t lba, const uint8_t buf[IDE_SECTOR])
{
	user_call(USER_STORE, lba, (uint64_t)buf);
}

static struct ide_host host = { .load = load, .store = store };

void
disk_init(void)
{
	ide_init(&ide);
	host.sectors = (uint64_t)user_call(USER_DISK, 0, 0);
}

/* Whether it is a port of its; its line is as it was last. */
static bool
is_mine(uint16_t port)
{
	return host.sectors &&
	       ((port >= IDE_PORTS && port < IDE_PORTS + IDE_REGISTERS) || port == IDE_CONTROL);
}

static void
line(void)
{
	if (ide.irq != told)
		user_call(USER_IRQ_LINE, IDE_IRQ, ide.irq);
	told = ide.irq;
}

/* Its data register has 16 bits, or 32; the others are bytes, one behind the other. */
bool
disk_read(uint16_t port, unsigned size, uint32_t *value)
{
	if (!is_mine(port))
		return false;
	*value = 0;
	if (port == IDE_CONTROL)
		*value = ide_alternate(&ide, &host);
	else if (port == IDE_PORTS)
		*value = ide_read(&ide, IDE_DATA, size, &host);
	else
		for (unsigned n = 0; n < size; n++)
			*value |= (ide_read(&ide, port - IDE_PORTS + n, 1, &host) & 0xff)
				  << (8 * n);
	line();
	return true;
}

bool
disk_write(uint16_t port, unsigned size, uint32_t value)
{
	if (!is_mine(port))
		return false;
	if (port == IDE_CONTROL)
		ide_control(&ide, (uint8_t)value);
	else if (port == IDE_PORTS)
		ide_write(&ide, IDE_DATA, size, value, &host);
	else
		for (unsigned n = 0; n < size; n++)
			ide_write(&ide, port - IDE_PORTS + n, 1, value >> (8 * n) & 0xff, &host);
	line();
	return true;
}
