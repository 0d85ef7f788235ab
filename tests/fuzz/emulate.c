/*
 * libFuzzer target for the decoder and the emulator. tests/decode-fuzz.t builds and runs it.
 *
 * Input: one byte of mode and of how memory behaves, two bytes of flags, registers of one byte
 * each (the byte spread over the register), and the rest is the instruction. What must hold for
 * any of it:
 *   - decode() looks at no byte behind n, says the same twice, keeps len <= 15 and len <= n;
 *   - every shorter piece of a good instruction asks for more, a longer one changes nothing;
 *   - emulate() touches nothing but general registers, rip and rflags; on a fault not even those,
 *     but for string instructions; on success it moves rip or says that it repeats.
 */
#include <stdlib.h>
#include <string.h>

#include <inc/errno.h>
#include <vmm/x86/emulate.h>

#define REGISTERS 16
#define HEADER    (3 + REGISTERS)

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

struct memory {
	uint8_t bytes[256];
	unsigned left; /* accesses until one fails */
};

static int
touch(struct memory *memory, unsigned seg, size_t size, struct emu_fault *fault)
{
	REQUIRE(seg < SEG_COUNT);
	REQUIRE(size >= 1 && size <= 16);
	if (memory->left--)
		return 0;
	memory->left = 0;
	*fault = (struct emu_fault){ .vector = VEC_PF, .has_error = true };
	return -EFAULT;
}

static int
read_memory(void *ctx, enum seg_reg seg, uint64_t offset, void *buf, size_t size,
	    struct emu_fault *fault)
{
	struct memory *memory = ctx;

	if (touch(memory, seg, size, fault))
		return -EFAULT;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = memory->bytes[(offset + i) % sizeof(memory->bytes)];
	return 0;
}

static int
write_memory(void *ctx, enum seg_reg seg, uint64_t offset, const void *buf, size_t size,
	     struct emu_fault *fault)
{
	struct memory *memory = ctx;

	if (touch(memory, seg, size, fault))
		return -EFAULT;
	for (size_t i = 0; i < size; i++)
		memory->bytes[(offset + i) % sizeof(memory->bytes)] = ((const uint8_t *)buf)[i];
	return 0;
}

static const struct emu_ops ops = { .read = read_memory, .write = write_memory };

/* A copy without a byte to spare, so that the address sanitizer sees a look beyond. */
static int
decode_exact(struct insn *insn, const uint8_t *bytes, size_t n, enum cpu_mode mode)
{
	uint8_t *copy = malloc(n + !n);
	int error;

	memcpy(copy, bytes, n);
	error = decode(insn, copy, n, mode);
	free(copy);
	return error;
}

static void
check_decode(struct insn *insn, int error, const uint8_t *bytes, size_t n, enum cpu_mode mode)
{
	struct insn again;

	REQUIRE(error == 0 || error == -EINVAL || error == -E2BIG || error == -ENODATA);
	REQUIRE(insn->len <= INSN_MAX_LEN && insn->len <= n);
	if (error)
		return;
	REQUIRE(insn->op > INSN_NONE && insn->op < INSN_OP_COUNT && insn->len > 0);
	REQUIRE(insn_name(insn->op)[0] != '?');
	REQUIRE(insn->opcode_at < insn->len);
	REQUIRE(!insn->disp_size || insn->disp_at + insn->disp_size <= insn->len);
	REQUIRE(!insn->imm_size || insn->imm_at + insn->imm_size + insn->imm2_size <= insn->len);
	for (size_t shorter = 0; shorter < insn->len; shorter++)
		REQUIRE(decode_exact(&again, bytes, shorter, mode) == -ENODATA);
	REQUIRE(decode_exact(&again, bytes, insn->len, mode) == 0);
	REQUIRE(!memcmp(&again, insn, sizeof(again)));
}

static void
fill_state(struct cpu_state *state, const uint8_t *header, enum cpu_mode mode)
{
	memset(state, 0, sizeof(*state));
	for (unsigned i = 0; i < REGISTERS; i++)
		state->gpr[i] = header[3 + i] * 0x0101010101010101ull >> (header[3 + i] & 0x38);
	state->rip = 0x1000;
	state->rflags = (header[1] | header[2] << 8) | FLAG_ONE;
	state->cr0 = mode == MODE16 ? 0 : CR0_PE;
	state->efer = mode >= MODE64 ? EFER_LMA : 0;
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		state->seg[i].limit = 0xffffffff;
		state->seg[i].attr = 0x93 | (header[0] & 8 ? 0 : ATTR_DB);
	}
	state->seg[SEG_CS].attr = 0x9b | (mode == MODE32 ? ATTR_DB : mode >= MODE64 ? ATTR_L : 0);
}

static bool
is_string(const struct insn *insn)
{
	return insn->op >= INSN_MOVS && insn->op <= INSN_SCAS;
}

static void
check_emulate(const struct insn *insn, const uint8_t *header)
{
	struct memory memory = { .left = header[0] >> 4 };
	struct cpu_state before, state;
	struct emu_fault fault = { .vector = 0xff };
	enum emu_result result;

	fill_state(&before, header, insn->mode);
	state = before;
	result = emulate(&state, insn, &ops, &memory, &fault);
	REQUIRE((result == EMU_SENSITIVE) == insn_is_sensitive(insn->op));
	REQUIRE((result == EMU_UNSUPPORTED) == (insn->op == INSN_OTHER));
	REQUIRE((result == EMU_FAULT) == (fault.vector != 0xff));
	if (result == EMU_AGAIN || (result == EMU_FAULT && is_string(insn)))
		REQUIRE(is_string(insn) && state.rip == before.rip);
	else if (result != EMU_OK)
		REQUIRE(!memcmp(&before, &state, sizeof(state)));
	REQUIRE(!((before.rflags ^ state.rflags) & ~0xcd5ull)); /* status flags and DF */
	before.rip = state.rip;
	before.rflags = state.rflags;
	memcpy(before.gpr, state.gpr, sizeof(before.gpr));
	REQUIRE(!memcmp(&before, &state, sizeof(state)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum cpu_mode mode;
	struct insn insn;
	int error;

	if (size < HEADER)
		return 0;
	mode = data[0] & 3;
	error = decode_exact(&insn, data + HEADER, size - HEADER, mode);
	check_decode(&insn, error, data + HEADER, size - HEADER, mode);
	if (!error)
		check_emulate(&insn, data);
	return 0;
}
