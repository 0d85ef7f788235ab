/*
 * The Internet's checksum (RFC 1071): ones' complement of a sum of 16-bit words. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So many bytes more, which lie in pieces of an even length but for the last. Begin with 0. */
uint32_t sum_add(uint32_t sum, const void *bytes, size_t len);
/* What is to stand in the packet; of one with the right sum in it: 0. */
uint16_t sum_end(uint32_t sum);
/* ... of UDP or TCP: these bytes, and what of the IP's head belongs to them. */
uint16_t sum_of(const uint8_t *from_ip, const uint8_t *to_ip, uint8_t protocol, const void *body,
		size_t len);
/*
 * The checksum of the UDP or TCP in this frame is made, whatever stood there. False: it is no such
 * frame, or none that has all of it; then nothing is changed.
 */
bool sum_frame(void *frame, size_t len);
