/*
 * What a PC's firmware has left in low memory when a boot loader ends: the few words of the BIOS
 * data area that kernels look at, and the extended area that one of them leads to. No firmware ran:
 * what they tell is the platform `pc`.
 *
 * PS2 = IBM Personal System/2 and Personal Computer BIOS Interface Technical Reference, "BIOS Data
 * Area".
 */
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>

#define DATA_AREA      0x400u
#define EXTENDED_BYTES 1024u
#define COM1           0x3f8
#define HAS_FPU        (1u << 1)
#define VIDEO_80X25    (2u << 4)
#define SERIAL_PORTS   (1u << 9)
#define CRTC           0x3d4

/* The area's first 101 bytes: what lies between is zero. */
struct data_area {
	uint16_t com[4];     /* 00 */
	uint16_t lpt[3];     /* 08 */
	uint16_t extended;   /* 0e: its segment */
	uint16_t equipment;  /* 10 */
	uint8_t post;        /* 12 */
	uint16_t memory_kib; /* 13: up to the extended area */
	uint8_t pad[0x34];   /* 15 */
	uint8_t video_mode;  /* 49 */
	uint16_t columns;    /* 4a */
	uint8_t pad2[0x17];  /* 4c */
	uint16_t crtc;       /* 63 */
} __attribute__((packed));
_Static_assert(offsetof(struct data_area, equipment) == 0x10, "PS2");
_Static_assert(offsetof(struct data_area, memory_kib) == 0x13, "PS2");
_Static_assert(offsetof(struct data_area, video_mode) == 0x49, "PS2");
_Static_assert(offsetof(struct data_area, crtc) == 0x63, "PS2");

/* Before the guest's image, which may lie there. */
void
firmware_data(struct domain *d)
{
	const struct data_area area = { .com = { COM1 },
					.extended = LOW_RAM_END >> 4,
					.equipment = HAS_FPU | VIDEO_80X25 | SERIAL_PORTS,
					.memory_kib = LOW_RAM_END / 1024,
					.video_mode = 3,
					.columns = 80,
					.crtc = CRTC };
	const uint8_t extended_kib = EXTENDED_BYTES / 1024;

	_Static_assert(LOW_RAM_END + EXTENDED_BYTES == LOW_RAM_TOP,
		       "it ends where video memory begins");
	gpa_write(d, gpa(DATA_AREA), &area, sizeof(area));
	gpa_write(d, gpa(LOW_RAM_END), &extended_kib, 1);
}
