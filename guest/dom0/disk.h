/*
 * What a disk is to be, as xl-disk-configuration(5) has it: parameters between commas.
 *
 *   NAME, raw, xvda, rw
 *   format=raw, vdev=xvda, access=ro, target=NAME
 *   file:NAME,xvda,w
 *   phy:hda1,xvda,w          or /dev/hda1, raw, xvda, rw
 *   /dev/hda, raw, xvda, rw, backend=NAME   that domain has it, and serves it
 *   phy:1:0,xvda,w,backend=NAME   ... and is a Linux, which knows it by these numbers: /dev/ram0
 *
 * By place they are target, format, vdev, access; behind a prefix there is no format. `target=` is
 * the last, and has all that is behind it. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_WORDS 96u /* bytes of what says it, its NUL, too */

struct disk {
	char target[64];  /* a file's name, or a device's, without /dev/ */
	char name[8];     /* xvda */
	char backend[24]; /* a domain's name; empty: dom0 */
	unsigned number;  /* as the other end knows it: 51712 */
	bool readonly;
	bool device;
};

/* NULL, or what is wrong, in words. */
const char *disk_read(struct disk *d, const char *words);
/* The number of xvda, xvdb3; 0: it is none. */
unsigned disk_number(const char *name);
/* A device by a Linux' numbers for it, in decimal, as ls -l shows them. */
bool disk_numbers(const struct disk *d, unsigned *major, unsigned *minor);
