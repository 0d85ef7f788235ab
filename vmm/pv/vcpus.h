/*
 * So many vCPUs a PV domain may have. All of them run on the host's one CPU, each in turn.
 */
#pragma once

#define PV_VCPUS 4u
