/*
 * Addresses of a network, as texts. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MAC_SIZE 6u
#define MAC_TEXT 18u /* "00:16:3e:01:02:03", its NUL, too */
#define IP_TEXT  16u /* "10.0.2.7" */

/* Of all of the text; false: it is no such address. */
bool mac_parse(const char *text, uint8_t *mac);
bool ip_parse(const char *text, uint32_t *ip);
/* `to` has that much room, and is what is returned. */
const char *mac_text(const uint8_t *mac, char *to);
const char *ip_text(uint32_t ip, char *to);
