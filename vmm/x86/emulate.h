/*
 * The instruction emulator: general integer instructions over struct cpu_state, memory behind a
 * table.
 *
 * Pure C with no state of its own. Sensitive instructions are policy and stay with the caller, who
 * finds the tools for them here: effective addresses, operands, the stack, string steps.
 *
 * Atomic: on EMU_FAULT nothing has changed but what completed iterations of a repeated string
 * instruction changed, and memory that pusha and enter write below the stack pointer.
 *
 * Flags are exact. Where the SDM calls one undefined:
 *   AF after and, or, xor, test          cleared
 *   AF after shifts, shld, shrd          cleared
 *   OF after a shift or rotate by > 1    as if it were by 1, computed from the result
 *   CF after shl, shr by >= the size     as if the operand were longer
 *   shld, shrd of 16 bits by > 16        the bits of destination:source:destination, rotating
 *   SF ZF AF PF after mul, imul; all of div, idiv: unchanged
 *   OF SF AF PF after bt, bts, btr, btc and OF SF AF PF CF after bsf, bsr: unchanged
 *   the rest (daa, das, aaa, aas, aam, aad): those of the result, OF and others unchanged
 * bsf and bsr of 0 leave the destination alone, as AMD writes and Intel's CPUs do; so does a
 * cmpxchg that fails, with a register. In both cases bits 63:32 of a 32-bit destination stay (seen
 * on AMD).
 * f3 and f2 mean nothing to instructions that do not repeat (AMD lets them turn loope into loopne).
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/x86/insn.h>
#include <vmm/x86/state.h>

enum emu_result {
	EMU_OK,    /* done; rip is on the next instruction */
	EMU_AGAIN, /* a repeated string instruction got on; rip still points to it: resume or call
		      again */
	EMU_FAULT, /* inject *fault; rip is on the instruction */
	EMU_SENSITIVE,   /* insn_is_sensitive(): nothing was done */
	EMU_UNSUPPORTED, /* INSN_OTHER: nothing was done */
};

struct emu_fault {
	uint8_t vector; /* enum vector */
	bool has_error;
	uint32_t error;
	uint64_t address; /* #PF: what CR2 will hold */
};

/*
 * Guest memory by segment and offset. The implementation checks limits, rights and alignment and
 * walks page tables; the emulator masks offsets to the address size and no more. Both return 0, or
 * -EFAULT with *fault filled; a failed write has written nothing. `size` is 1..16 for operands.
 *
 * read_rmw, optional, is the read of a read-modify-write: it must fault as a write would (SDM 3A
 * 4.7: W/R is set for it). Without it, read is used.
 */
struct emu_ops {
	int (*read)(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
		    struct emu_fault *fault);
	int (*write)(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
		     struct emu_fault *fault);
	int (*read_rmw)(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
			struct emu_fault *fault);
};

/*
 * Iterations of a repeated string instruction per call: no more than make a page table none (FLOOD
 * of Lab 2). A kernel that clears a frame which was a table does the rest of it itself.
 */
#define EMU_REP_MAX 16

enum emu_result emulate(struct cpu_state *state, const struct insn *insn, const struct emu_ops *ops,
			void *ctx, struct emu_fault *fault);

/* From CR0.PE, RFLAGS.VM, EFER.LMA and CS.L, CS.D (SDM 3A 2.2, 3.4.5). Never MODE64_AMD. */
enum cpu_mode cpu_mode_of(const struct cpu_state *state);

/* Bytes of the stack pointer that push and pop use: 2, 4 or 8 (SDM 1 6.2.3, SS.B). */
unsigned stack_size_of(const struct cpu_state *state);

/*
 * Registers by parts, with the architecture's rule for what a write does to the rest: 1 and 2 bytes
 * keep it, 4 bytes clear bits 63:32.
 */
uint64_t gpr_read(const struct cpu_state *state, unsigned reg, unsigned size);
void gpr_write(struct cpu_state *state, unsigned reg, unsigned size, uint64_t value);

/* rip after the instruction, within the mode's width: the return address of call and int. */
uint64_t insn_next_rip(const struct cpu_state *state, const struct insn *insn);

/* Offset of the memory operand in its segment (insn->mem_seg); the segment's base is not added. */
uint64_t insn_ea(const struct cpu_state *state, const struct insn *insn);

/*
 * The ModR/M operand, `size` bytes of it, register or memory. 0, or -EFAULT with *fault filled. The
 * size is the caller's since it depends on the form: `sldt` writes 2 bytes to memory but opsize
 * bytes to a register.
 */
int insn_read_rm(const struct cpu_state *state, const struct insn *insn, unsigned size,
		 const struct emu_ops *ops, void *ctx, uint64_t *value, struct emu_fault *fault);
int insn_write_rm(struct cpu_state *state, const struct insn *insn, unsigned size, uint64_t value,
		  const struct emu_ops *ops, void *ctx, struct emu_fault *fault);

/* Operand i as a value, and back. Immediates can be read; a segment register reads as its selector.
 */
int insn_read_opnd(const struct cpu_state *state, const struct insn *insn, unsigned i,
		   const struct emu_ops *ops, void *ctx, uint64_t *value, struct emu_fault *fault);
int insn_write_opnd(struct cpu_state *state, const struct insn *insn, unsigned i, uint64_t value,
		    const struct emu_ops *ops, void *ctx, struct emu_fault *fault);

struct far_pointer {
	uint16_t sel;
	uint64_t offset;
};

/* m16:16, m16:32, m16:64 of far transfers and lds & co.: the offset (insn->opsize bytes) comes
 * first. */
int insn_read_far(const struct cpu_state *state, const struct insn *insn, const struct emu_ops *ops,
		  void *ctx, struct far_pointer *far, struct emu_fault *fault);

/*
 * m16&32, m16&64 of lgdt, lidt, sgdt, sidt: the limit comes first. A load with 16-bit operand size
 * takes 24 bits of base; a store writes all 32 (SDM 2B "SGDT").
 */
int insn_read_table(const struct cpu_state *state, const struct insn *insn,
		    const struct emu_ops *ops, void *ctx, struct table_reg *table,
		    struct emu_fault *fault);
int insn_write_table(const struct cpu_state *state, const struct insn *insn,
		     const struct table_reg *table, const struct emu_ops *ops, void *ctx,
		     struct emu_fault *fault);

/* One push or pop of `size` bytes through SS; rsp moves only if memory allowed it. */
int emu_push(struct cpu_state *state, unsigned size, uint64_t value, const struct emu_ops *ops,
	     void *ctx, struct emu_fault *fault);
int emu_pop(struct cpu_state *state, unsigned size, uint64_t *value, const struct emu_ops *ops,
	    void *ctx, struct emu_fault *fault);

/*
 * For ins and outs. insn_string_done(): a repeat count of zero, nothing to do. insn_string_step():
 * after one iteration of `size` bytes moves rSI (src), rDI (dst) and the count, and says whether
 * the instruction is finished, in which case the caller advances rip.
 */
bool insn_string_done(const struct cpu_state *state, const struct insn *insn);
bool insn_string_step(struct cpu_state *state, const struct insn *insn, unsigned size, bool src,
		      bool dst);

/* Whether condition cc (0..15) holds (SDM 1 appendix B "EFLAGS Condition Codes"). */
bool condition_holds(uint64_t rflags, unsigned cc);
