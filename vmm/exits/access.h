/*
 * The emulator's view of a guest: its memory by segment and offset, devices behind it, its
 * instruction (access.c).
 *
 * For any engine and mode. te has a faster one of its own, for 32-bit guests (te/memory.c).
 */
#pragma once

#include <vmm/exit.h>
#include <vmm/x86/emulate.h>

struct vcpu;

/* The context is the vCPU. */
extern const struct emu_ops access_ops;

/* The instruction at rip; false: its bytes are not there, or are no instruction. */
bool access_insn(struct vcpu *v, struct insn *insn); /* the exit's; the engine may know it */
bool access_decode(struct vcpu *v, struct insn *insn);

/* What one of access_ops gave back as *f becomes the guest's fault. */
enum verdict access_fault(struct vcpu *v, const struct emu_fault *f);
