/*
 * The tables by which a kernel finds CPUs, APICs and the PM registers (acpi.c): pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ACPI_SIZE 960u /* bytes that they take at most; at an address that is a multiple of 64 */

/* Writes them to buf, as they lie at guest-physical `at`, RSDP first. How many bytes it used. */
size_t acpi_build(uint8_t buf[ACPI_SIZE], uint32_t at, unsigned cpus);
