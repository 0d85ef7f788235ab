/*
 * What the monitor's commands about guests share with others (monitor.c).
 */
#pragma once

#include <stdbool.h>

struct domain;
struct vcpu;

/* The domain that argv[1] names, or GDB's, or the latest one; NULL: none, and that is said. */
struct domain *monitor_domain(int argc, char **argv);
struct vcpu *monitor_vcpu(int argc, char **argv); /* its vCPU */
/* `start`, but for waiting, which is to be done if not *background. 0; -errno; MONITOR_SAID. */
int monitor_start(int argc, char **argv, struct domain **out, bool *background);
