/*
 * Exercise 4.8: VMCSs that the CPU takes, with one field that is wrong.
 */
#pragma once

#include <trials/diagnosis/ill.h>
#include <vmm/vmx/vmx.h>

extern const struct ill_flavour vmx_ill;
