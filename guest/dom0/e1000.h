/*
 * Intel's 82540EM, which QEMU and Bochs have as "e1000".
 *
 * SDM = PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual, Intel order
 * no. 317453, revision 4.0: registers are its chapter 13, descriptors its chapter 3.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Its counts, of frames: those that were too much for whoever was to take them are `dropped`. */
struct e1000_counts {
	uint64_t received, sent, dropped;
};
extern struct e1000_counts e1000_counts;

/*
 * The card is found, reset and on. NULL, and its address and its interrupt line are there; or why
 * it is not.
 */
const char *e1000_begin(uint8_t *mac, unsigned *line);
bool e1000_link(void); /* whether there is somebody at the other end of its cable */
/* Why it interrupts is forgotten: it may interrupt again. */
void e1000_quiet(void);

/* False: there is no room, or it is no frame's length. Its bytes are the caller's behind that. */
bool e1000_send(const void *frame, size_t len);
/*
 * The next one that has come, without its check sequence, until the next call; NULL: none. 0 bytes:
 * it was none, or not whole. So who sends such keeps nobody longer than who sends good ones.
 */
const void *e1000_receive(size_t *len);
