/*
 * Lab 0B, exercise 0.5: one gate, one trap.
 *
 * The command puts a gate of its own into the IDT, executes an int3, and takes the gate out again.
 * The gate leads to gate_entry (gate_entry.asm), which saves what a trap must not change and calls
 * gate_hit().
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <inc/errno.h>
#include <inc/x86.h>
#include <kern/kern.h>
#include <kern/map.h>

#define GATE_TARGETS 128u
#define TARGET_BYTES 2u

/* SDM 3A figure 6-8, "64-Bit IDT Gate Descriptors". */
struct idt_gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist; /* bits 2:0 */
	uint8_t rights;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};
_Static_assert(sizeof(struct idt_gate) == 16, "SDM 3A 6.14.1");

/* What the CPU was like when it came to the int3. */
struct shot {
	uint64_t address; /* of the int3 itself */
	uint64_t rsp, rflags;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};

static struct shot shot;

/* gate_entry.asm */
void gate_entry(void);
void gate_shot(uint64_t address);
extern const char gate_targets[];

void gate_hit(const uint64_t *saved);

/* EXERCISE 0.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 0.0 */

/* The gate that leads a trap to `handler`. */
static struct idt_gate
gate_to(void (*handler)(void))
{
	/*
	 * EXERCISE 0.5a: the gate
	 * Holds: whoever raises the vector in ring 0 enters 64-bit code at the handler, with
	 *  interrupts off, on the stack that is in use; rings outside of the host's can't
	 *  raise it by an instruction.
	 * Beware: the CPU reads all 16 bytes and believes each of them. A gate that is wrong
	 *  in one bit is another fault, whose own gate is right.
	 * Manual: SDM 3A "64-Bit Mode IDT", "Segment Selectors".
	 * Tools: HOST_CS64, HOST_DS of kern/map.h
	 * Hint: which of the gate's fields say where, and which say how? For each "how" there
	 *  is a sentence in the contract.
	 * Hint: an address of 64 bits is cut into three pieces, as a book of three volumes:
	 *  the first two hold 16 bits each, the last one the rest. Shift a copy of the address
	 *  until the piece that you want lies at the bottom.
	 * Hint: the gate of a system call by `int 0x80` in a 64-bit kernel would be the same
	 *  as yours but for one thing: ring 3 may use it, so its rights are 0xee. In binary:
	 *  present, two bits of privilege, a zero, and four bits of type; a trap gate, which
	 *  leaves interrupts on, has the type 0xf.
	 * until then: return (struct idt_gate){ .reserved = 0 };
	 */
	uint64_t offset = (uint64_t)handler;

	return (struct idt_gate){
		.offset_low = (uint16_t)offset,
		.selector = HOST_CS64,
		.ist = 0,
		.rights = 0x8e,
		.offset_middle = (uint16_t)(offset >> 16),
		.offset_high = (uint32_t)(offset >> 32),
	};
	/* END EXERCISE 0.5a */
}

/* Called by gate_entry. `saved` is where its last push went: above it lies all that was pushed. */
void
gate_hit(const uint64_t *saved)
{
	/*
	 * EXERCISE 0.5b: the frame
	 * Holds: `shot` has every register as it was when the CPU came to the int3, and where
	 *  the int3 lies. The code behind it goes on as if nothing had been.
	 * Beware: two have pushed here, the CPU and gate_entry, each in its own order; stacks
	 *  grow downwards. Where the CPU goes on is not where it was.
	 * Manual: SDM 3A "64-Bit Mode Stack Frame", "Interrupt 3-Breakpoint Exception (#BP)".
	 * Tools: gate_targets, shot
	 * Hint: which push was the last one, and at which index of `saved` does what it pushed
	 *  lie?
	 * Hint: draw the stack as a column of boxes of 8 bytes, the highest address on top:
	 *  five boxes of the CPU's, then those of gate_entry. Number them from below.
	 * Hint: an int 0x21 of two bytes, seen from a handler that saves rax and rbx alone:
	 *  saved[0] is rbx, saved[1] rax, saved[2] the address behind the instruction, so that
	 *  minus 2 it is the instruction's own.
	 * until then: (void)saved;
	 */
	shot = (struct shot){
		.r15 = saved[0],
		.r14 = saved[1],
		.r13 = saved[2],
		.r12 = saved[3],
		.r11 = saved[4],
		.r10 = saved[5],
		.r9 = saved[6],
		.r8 = saved[7],
		.rdi = saved[8],
		.rsi = saved[9],
		.rbp = saved[10],
		.rbx = saved[11],
		.rdx = saved[12],
		.rcx = saved[13],
		.rax = saved[14],
		.address = saved[15] - 1,
		.rflags = saved[17],
		.rsp = saved[18],
	};
	/* END EXERCISE 0.5b */
}

static void
print_shot(void)
{
	printf("int3 at %016lx\n", shot.address);
	printf("rsp %016lx  rflags %016lx\n", shot.rsp, shot.rflags);
	printf("rax %016lx  rbx %016lx  rcx %016lx\n", shot.rax, shot.rbx, shot.rcx);
	printf("rdx %016lx  rsi %016lx  rdi %016lx\n", shot.rdx, shot.rsi, shot.rdi);
	printf("rbp %016lx  r8  %016lx  r9  %016lx\n", shot.rbp, shot.r8, shot.r9);
	printf("r10 %016lx  r11 %016lx  r12 %016lx\n", shot.r10, shot.r11, shot.r12);
	printf("r13 %016lx  r14 %016lx  r15 %016lx\n", shot.r13, shot.r14, shot.r15);
}

/* Fires at one of the targets: `int3 5` at the sixth. */
static int
command_int3(int argc, char **argv)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr;
	struct idt_gate *gate, kept, mine;
	uint64_t target = 0;

	if (argc > 2 || (argc == 2 && parse_u64(argv[1], &target)) || target >= GATE_TARGETS)
		return -EINVAL;
	__asm__ volatile("sidt %0" : "=m"(idtr));
	gate = (struct idt_gate *)idtr.base + VEC_BP;
	kept = *gate;
	mine = gate_to(gate_entry);
	if (!mine.rights) /* not present: the int3 would be another fault */
		return -ENOSYS;
	*gate = mine;
	gate_shot((uint64_t)gate_targets + target * TARGET_BYTES);
	*gate = kept;
	print_shot();
	return 0;
}
MONITOR_COMMAND(command_int3, "int3", "[TARGET]", "execute an int3 behind a gate of our own");
