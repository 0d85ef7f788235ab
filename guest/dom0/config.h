/*
 * What a domain is to be like, as a file says it: xl.cfg(5)'s syntax, for the keys that there are.
 *
 *   # a comment
 *   name = "web" ; memory = 64
 *   extra = 'console=hvc0 root=/dev/xvda'
 *
 * One assignment a line, or several with `;` between. A text is in quotes of either kind, with \\,
 * \" and \' in it; a number is decimal, 0x hexadecimal or 0 octal, in quotes or not. `disk` is a
 * list, of any number of lines: [ 'NAME, raw, xvda, rw', 'file:OTHER,xvdb,r' ], as disk.h has it;
 * `vif` is one, too: [ 'ip=10.0.2.7', '' ], as vifspec.h has it. `ioports` is one of port numbers
 * and ranges of them, hexadecimal: [ '1f0-1f7', '3f6' ]; `irqs` of numbers: [ 14 ]. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <guest/dom0/disk.h>
#include <guest/dom0/vifspec.h>

#define CONFIG_MIB_MIN  2u
#define CONFIG_MIB_MAX  4096u
#define CONFIG_VCPU_MAX 32u
#define WEIGHT_MAX      65535u
#define WEIGHT_DEFAULT  256u
#define CONFIG_DISKS    4u
#define CONFIG_VIFS     4u
#define CONFIG_PORTS    4u
#define CONFIG_LINES    4u

/* What kind of kernel it is: enum zeno_type's numbers. */
enum config_type { CONFIG_PV, CONFIG_PVH };

/* What is to become of a domain that has ended: so, it is let go of; made anew; kept as it is. */
enum config_action { CONFIG_DESTROY, CONFIG_RESTART, CONFIG_PRESERVE };

/* Where something stands, both from 1 on. */
struct config_place {
	unsigned line, column;
};

struct config {
	char name[24];                /* must be there, and so must */
	char kernel[64], ramdisk[64]; /* names of files; ramdisk: empty for none */
	char extra[512];              /* the kernel's command line */
	uint64_t type;                /* enum config_type */
	uint64_t memory;              /* MiB */
	uint64_t vcpus;
	uint64_t cpu_weight; /* 0: as any */
	struct disk disk[CONFIG_DISKS];
	struct config_place disk_at[CONFIG_DISKS];
	uint64_t disks;
	struct vif_spec vif[CONFIG_VIFS];
	struct config_place vif_at[CONFIG_VIFS];
	uint64_t vifs;
	struct config_ports {
		uint16_t first, last;
	} ioport[CONFIG_PORTS];
	uint64_t irq[CONFIG_LINES], ioports, irqs;
	uint64_t on_poweroff, on_reboot, on_crash; /* enum config_action */
	/* of each value, for whoever finds it wrong for other reasons */
	struct config_place name_at, kernel_at, ramdisk_at, extra_at, type_at, memory_at, vcpus_at,
		cpu_weight_at, disks_at, vifs_at, ioports_at, irqs_at, on_poweroff_at, on_reboot_at,
		on_crash_at;
};

/* Where it is wrong, and how. */
struct config_wrong {
	struct config_place at;
	char words[128];
};

/* 0; -EINVAL: *wrong says why, and *c is nothing. `text` has no NUL at its end. */
int config_read(struct config *c, const char *text, size_t len, struct config_wrong *wrong);
