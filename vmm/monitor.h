/*
 * What the monitor's commands about guests share with others (monitor.c).
 */
#pragma once

struct domain;
struct module;

/* The boot module of this name; NULL: none. */
const struct module *module_find(const char *name);
/* The domain that argv[1] names, or the latest one; NULL: none. */
struct domain *monitor_domain(int argc, char **argv);
