/*
 * The CRC-32 that zip, Ethernet and Linux' crc32 have: bytes in several pieces, from 0 on. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t len);
