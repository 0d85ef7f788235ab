/*
 * The memory of a guest of a few bytes of code.
 */
#include <kern/frame.h>
#include <kern/map.h>
#include <trials/first/memory.h>

/*   200000  mov eax, 1
 *   200005  xor ecx, ecx
 *   200007  cpuid
 *   200009  jmp 200000 */
static const uint8_t code[16] = { 0xb8, 1,    0,    0,    0,    0x31, 0xc9, 0x0f,
				  0xa2, 0xeb, 0xf5, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4 };

static const uint8_t spinning[] = { 0xeb, 0xfe }; /* 200000  jmp 200000 */

mfn_t first_page[FIRST_PAGES];

bool
first_pages(void)
{
	static bool there;

	for (unsigned i = 0; i < FIRST_PAGES && !there; i++) {
		first_page[i] = frame_alloc(FRAME_HOST, OWNER_HOST);
		if (mfn_ok(first_page[i]))
			continue;
		while (i--)
			frame_put(first_page[i]);
		return false;
	}
	there = true;
	return true;
}

void
first_map(bool spins, uint64_t bits, uint64_t leaf)
{
	static const unsigned slot[] = { [FIRST_LEVEL2] = FIRST_CODE_AT >> 21, [FIRST_CODE] = 0 };

	for (unsigned i = FIRST_LEVEL4; i < FIRST_CODE; i++)
		((uint64_t *)mfn_ptr(first_page[i]))[slot[i]] =
			mfn_to_hpa(first_page[i + 1]).v | bits | (i == FIRST_LEVEL1 ? leaf : 0);
	memcpy(mfn_ptr(first_page[FIRST_CODE]), spins ? spinning : code,
	       spins ? sizeof(spinning) : sizeof(code));
}
