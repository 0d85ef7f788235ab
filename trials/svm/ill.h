/*
 * Exercise 4s.8: VMCBs that the CPU takes, with one field that is wrong.
 */
#pragma once

#include <trials/diagnosis/ill.h>
#include <vmm/svm/svm.h>

extern const struct ill_flavour svm_ill;
