/*
 * The answers of exercises 4.8 and 4s.8. This folder is not handed out.
 */
#pragma once

#include <trials/diagnosis/ill.h>

/* The monitor's commands: the fields of NAME's five, and their right values; and all the faults. */
int ill_key(const struct ill_flavour *flavour, int argc, char **argv);
int ill_all(const struct ill_flavour *flavour, int argc, char **argv);
