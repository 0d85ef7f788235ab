/*
 * A 16550A UART as a plain state machine: no kernel calls, no pointers in the state.
 *
 * PC16550D = National Semiconductor PC16550D datasheet, June 1995 (section 8.0 "Registers").
 *
 * What is simpler than the chip:
 * - A byte takes no time. THR is empty again as soon as the write returns, so LSR.THRE and
 *   LSR.TEMT always read as ones, and the transmit FIFO never holds anything.
 * - For the same reason the character timeout (8.4.1) comes at once instead of after four
 *   character times: with the FIFOs on, any byte below the trigger level is a timeout.
 * - No parity, framing or break errors: LSR bits 2-4 and 7 are zero, and the divisor changes
 * nothing.
 *
 * As on a PC, INTR reaches the interrupt controller through a gate that the pin OUT2 opens.
 * Loopback forces that pin off (8.7, bit 4), so no interrupt leaves the chip in loopback; IIR shows
 * it all the same.
 *
 * A register is 8 bits wide. Wider accesses are the bus's to split: each byte goes to its own port.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_VERSION   1
#define UART_COM1_BASE 0x3f8
#define UART_COM1_IRQ  4
#define UART_FIFO_SIZE 16

enum uart_reg {
	UART_RBR = 0, /* read; UART_THR on write; divisor low while LCR.DLAB */
	UART_THR = 0,
	UART_DLL = 0,
	UART_IER = 1, /* divisor high while LCR.DLAB */
	UART_DLM = 1,
	UART_IIR = 2, /* read; UART_FCR on write */
	UART_FCR = 2,
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCR = 7,
};

#define UART_IER_RX    0x01 /* received data available, character timeout */
#define UART_IER_THRE  0x02 /* transmitter holding register empty */
#define UART_IER_LINE  0x04 /* receiver line status */
#define UART_IER_MODEM 0x08

#define UART_IIR_NONE    0x01
#define UART_IIR_MODEM   0x00
#define UART_IIR_THRE    0x02
#define UART_IIR_RX      0x04
#define UART_IIR_LINE    0x06
#define UART_IIR_TIMEOUT 0x0c
#define UART_IIR_FIFO    0xc0 /* both bits: the FIFOs are on */

#define UART_FCR_ENABLE   0x01
#define UART_FCR_RX_RESET 0x02
#define UART_FCR_TRIGGER  0xc0 /* 1, 4, 8 or 14 bytes */

#define UART_LCR_BITS 0x03 /* word length less 5 */
#define UART_LCR_DLAB 0x80

#define UART_MCR_DTR  0x01
#define UART_MCR_RTS  0x02
#define UART_MCR_OUT1 0x04
#define UART_MCR_OUT2 0x08
#define UART_MCR_LOOP 0x10

#define UART_LSR_DR   0x01
#define UART_LSR_OE   0x02
#define UART_LSR_THRE 0x20
#define UART_LSR_TEMT 0x40

#define UART_MSR_CTS 0x10
#define UART_MSR_DSR 0x20
#define UART_MSR_RI  0x40
#define UART_MSR_DCD 0x80

struct uart {
	uint32_t version;
	uint8_t dll, dlm;
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t msr;                /* as it reads: levels and deltas */
	uint8_t pins;               /* the modem's lines outside, in the bits of MSR 7:4 */
	uint8_t overrun;            /* LSR.OE, until LSR is read */
	uint8_t thre;               /* a THRE interrupt is due, until IIR is read or THR written */
	uint8_t rx_first, rx_count; /* a ring in rx[]; without FIFOs one byte, at rx[0] */
	uint8_t pad[3];
	uint8_t rx[UART_FIFO_SIZE];
};
_Static_assert(sizeof(struct uart) == 36, "the migration record depends on it");
_Static_assert(offsetof(struct uart, rx) == 20, "the migration record depends on it");

/* Where transmitted bytes go. tx may be NULL: nothing is connected. */
struct uart_host {
	void (*tx)(void *ctx, uint8_t byte);
	void *ctx;
};

/*
 * The state after master reset (8.0, table III), with a modem that is present and ready (CTS, DSR,
 * DCD). LCR is zero then, five data bits: a byte sent loses its upper three bits until LCR is
 * programmed.
 */
void uart_init(struct uart *u);

/* reg is the port less the base, 0-7; reading has the datasheet's side effects. */
uint8_t uart_read(struct uart *u, unsigned reg);
void uart_write(struct uart *u, unsigned reg, uint8_t value, const struct uart_host *host);

/* The level of the interrupt line, after the gate of OUT2. Look again after each call that changes
 * u. */
bool uart_irq(const struct uart *u);

/* A byte from outside. Ignored in loopback, where the serial input is disconnected. */
void uart_receive(struct uart *u, uint8_t byte);
/* How many more bytes uart_receive() takes without an overrun. */
unsigned uart_room(const struct uart *u);
/* The modem's lines: UART_MSR_CTS, _DSR, _RI, _DCD. */
void uart_modem(struct uart *u, uint8_t pins);
