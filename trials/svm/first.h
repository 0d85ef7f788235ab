/*
 * A guest of a few bytes of code, in a VMCB that is given (first.c).
 */
#pragma once

#include <vmm/svm/svm.h>

/* Flat 32-bit code that begins with these bytes, at most a page. NULL: the host has no memory. */
struct vmcb *svm_first_guest(const uint8_t *bytes, size_t count, hpa_t *at);
