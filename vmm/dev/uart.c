/*
 * 16550A UART. uart.h says what is modelled, and PC16550D which edition.
 */
#include <vmm/dev/uart.h>

#define REG_MASK 7 /* the chip has three address pins */

static bool
fifos_on(const struct uart *u)
{
	return u->fcr & UART_FCR_ENABLE;
}

static unsigned
capacity(const struct uart *u)
{
	return fifos_on(u) ? UART_FIFO_SIZE : 1;
}

static void
rx_clear(struct uart *u)
{
	u->rx_first = 0;
	u->rx_count = 0;
}

/* Word length, PC16550D 8.1 bits 0 and 1: 5 to 8 bits. */
static uint8_t
data_bits(const struct uart *u, uint8_t byte)
{
	return byte & (0xff >> (3 - (u->lcr & UART_LCR_BITS)));
}

static void
rx_put(struct uart *u, uint8_t byte)
{
	if (u->rx_count == capacity(u)) {
		u->overrun = 1;
		/* PC16550D 8.4 bit 1: without FIFOs the new byte destroys the old, with them it is
		 * lost. */
		if (!fifos_on(u))
			u->rx[u->rx_first] = data_bits(u, byte);
		return;
	}
	u->rx[(u->rx_first + u->rx_count) % UART_FIFO_SIZE] = data_bits(u, byte);
	u->rx_count++;
}

/* An empty receiver shows what was there last; the datasheet doesn't say. */
static uint8_t
rx_get(struct uart *u)
{
	uint8_t byte = u->rx[u->rx_first];

	if (!u->rx_count)
		return fifos_on(u) ? 0 : byte;
	u->rx_count--;
	if (fifos_on(u))
		u->rx_first = (u->rx_first + 1) % UART_FIFO_SIZE;
	return byte;
}

/* What the receiver asks for: nothing, data, or (below the trigger level) a timeout. */
static uint8_t
rx_cause(const struct uart *u)
{
	static const uint8_t trigger[4] = { 1, 4, 8, 14 }; /* PC16550D 8.3 bits 6 and 7 */

	if (!u->rx_count)
		return UART_IIR_NONE;
	if (!fifos_on(u) || u->rx_count >= trigger[u->fcr >> 6])
		return UART_IIR_RX;
	return UART_IIR_TIMEOUT;
}

/* The most urgent enabled interrupt: PC16550D 8.5, table V. */
static uint8_t
cause(const struct uart *u)
{
	if ((u->ier & UART_IER_LINE) && u->overrun)
		return UART_IIR_LINE;
	if ((u->ier & UART_IER_RX) && rx_cause(u) != UART_IIR_NONE)
		return rx_cause(u);
	if ((u->ier & UART_IER_THRE) && u->thre)
		return UART_IIR_THRE;
	if ((u->ier & UART_IER_MODEM) && (u->msr & 0x0f))
		return UART_IIR_MODEM;
	return UART_IIR_NONE;
}

bool
uart_irq(const struct uart *u)
{
	if (!(u->mcr & UART_MCR_OUT2) || (u->mcr & UART_MCR_LOOP))
		return false;
	return cause(u) != UART_IIR_NONE;
}

/* The four inputs in the bits of MSR 7:4: in loopback they are MCR's outputs (PC16550D 8.7 bit 4).
 */
static uint8_t
modem_inputs(const struct uart *u)
{
	uint8_t levels = 0;

	if (!(u->mcr & UART_MCR_LOOP))
		return u->pins;
	if (u->mcr & UART_MCR_RTS)
		levels |= UART_MSR_CTS;
	if (u->mcr & UART_MCR_DTR)
		levels |= UART_MSR_DSR;
	if (u->mcr & UART_MCR_OUT1)
		levels |= UART_MSR_RI;
	if (u->mcr & UART_MCR_OUT2)
		levels |= UART_MSR_DCD;
	return levels;
}

/* Deltas add up until MSR is read; RI counts only when it falls (PC16550D 8.8 bit 2). */
static void
modem_update(struct uart *u)
{
	uint8_t now = modem_inputs(u);
	uint8_t changed = (now ^ u->msr) & 0xf0;

	if (now & UART_MSR_RI)
		changed &= ~UART_MSR_RI;
	u->msr = now | (u->msr & 0x0f) | changed >> 4;
}

void
uart_modem(struct uart *u, uint8_t pins)
{
	u->pins = pins & 0xf0;
	modem_update(u);
}

void
uart_init(struct uart *u)
{
	uint8_t ready = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;

	*u = (struct uart){ .version = UART_VERSION, .pins = ready, .msr = ready };
}

void
uart_receive(struct uart *u, uint8_t byte)
{
	if (!(u->mcr & UART_MCR_LOOP))
		rx_put(u, byte);
}

unsigned
uart_room(const struct uart *u)
{
	return capacity(u) - u->rx_count;
}

static uint8_t
read_iir(struct uart *u)
{
	uint8_t id = cause(u);

	/* PC16550D table V: reading IIR resets THRE, "if source of interrupt". */
	if (id == UART_IIR_THRE)
		u->thre = 0;
	return id | (fifos_on(u) ? UART_IIR_FIFO : 0);
}

static uint8_t
read_lsr(struct uart *u)
{
	uint8_t lsr = UART_LSR_THRE | UART_LSR_TEMT;

	if (u->rx_count)
		lsr |= UART_LSR_DR;
	if (u->overrun)
		lsr |= UART_LSR_OE;
	u->overrun = 0;
	return lsr;
}

static uint8_t
read_msr(struct uart *u)
{
	uint8_t msr = u->msr;

	u->msr &= 0xf0;
	return msr;
}

uint8_t
uart_read(struct uart *u, unsigned reg)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (reg & REG_MASK) {
	case UART_RBR:
		return dlab ? u->dll : rx_get(u);
	case UART_IER:
		return dlab ? u->dlm : u->ier;
	case UART_IIR:
		return read_iir(u);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		return read_lsr(u);
	case UART_MSR:
		return read_msr(u);
	default:
		return u->scr;
	}
}

/* The byte is gone, and THR empty again, before the guest can look. */
static void
transmit(struct uart *u, uint8_t byte, const struct uart_host *host)
{
	if (u->mcr & UART_MCR_LOOP)
		rx_put(u, byte);
	else if (host && host->tx)
		host->tx(host->ctx, data_bits(u, byte));
	u->thre = 1;
}

static void
write_ier(struct uart *u, uint8_t value)
{
	/* PC16550D 8.4.1 F: enabling THRE with THR empty interrupts at once. Each rise of the bit
	 * does. */
	if ((value & ~u->ier) & UART_IER_THRE)
		u->thre = 1;
	u->ier = value & 0x0f;
}

static void
write_fcr(struct uart *u, uint8_t value)
{
	bool changed = (value ^ u->fcr) & UART_FCR_ENABLE;

	/* PC16550D 8.3 bit 0: the other bits count only if it is one; both FIFOs are cleared by a
	 * change. */
	if (changed || ((value & UART_FCR_ENABLE) && (value & UART_FCR_RX_RESET)))
		rx_clear(u);
	if (value & UART_FCR_ENABLE)
		u->fcr = value & (UART_FCR_TRIGGER | UART_FCR_ENABLE);
	else
		u->fcr &= ~UART_FCR_ENABLE;
}

void
uart_write(struct uart *u, unsigned reg, uint8_t value, const struct uart_host *host)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (reg & REG_MASK) {
	case UART_THR:
		if (dlab)
			u->dll = value;
		else
			transmit(u, value, host);
		break;
	case UART_IER:
		if (dlab)
			u->dlm = value;
		else
			write_ier(u, value);
		break;
	case UART_FCR:
		write_fcr(u, value);
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		u->mcr = value & 0x1f;
		modem_update(u);
		break;
	case UART_SCR:
		u->scr = value;
		break;
	default: /* LSR and MSR: writing them is for the factory's tests (PC16550D 8.4, 8.8) */
		break;
	}
}
