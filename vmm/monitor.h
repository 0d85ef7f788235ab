/*
 * What the monitor's commands about guests share with others (monitor.c).
 */
#pragma once

struct domain;
struct module;
struct vcpu;

/* The boot module of this name; NULL: none. */
const struct module *module_find(const char *name);
/* The domain that argv[1] names, or GDB's, or the latest one; NULL: none, and that is said. */
struct domain *monitor_domain(int argc, char **argv);
struct vcpu *monitor_vcpu(int argc, char **argv); /* its vCPU */
