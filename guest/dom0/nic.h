/*
 * The machine's network card, as an uplink of the bridge.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * It is there from now on, and dom0 at its address: NULL; or why there is none. Once. dom0 answers
 * there what asks for an answer at the lowest level, and nothing else: frames of type 9000, which
 * come back as they are.
 */
const char *nic_begin(void);
bool nic_serve(void); /* whether there was something to do */
void nic_show(void);

const uint8_t *nic_address(void);             /* dom0's there */
void nic_send(const void *frame, size_t len); /* of dom0's own, with its address */

extern uint32_t nic_port;   /* of its interrupts; 0: none yet */
void nic_interrupted(void); /* one has come */
