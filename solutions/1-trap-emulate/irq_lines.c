/*
 * Interrupt lines: from a PC's devices to its 8259s. Lab 1B, exercise 1.8. The 8254's line,
 * pit_line() in vmm/dev/pc.c, is the example.
 */
#include <vmm/dev/pc.h>

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

static void
uart_line(struct pc *pc)
{
	/* EXERCISE 1.8: The UART's line is a level: uart_irq() says which, pic_set_irq() takes it; its number is
	 * UART_COM1_IRQ. Before that, while the guest has received-data interrupts enabled (UART_IER_RX in ier), characters
	 * that wait for it (domain_input()) go into the UART as long as it has room: uart_room(), uart_receive().
	 * (NS PC16550D "Interrupt Enable Register"; Intel 8259A "Edge and level triggered modes")
	 */
	struct uart *u = &pc->uart;
	int c;

	while (u->ier & UART_IER_RX && uart_room(u) && (c = domain_input(pc->domain)) >= 0)
		uart_receive(u, (uint8_t)c);
	pic_set_irq(&pc->pic, UART_COM1_IRQ, uart_irq(u));
	/* END EXERCISE 1.8 */
}

/*
 * On a PC the pin OUT2 opens the way from the UART to the 8259: while it is off, nothing can come.
 */
static void
uart_if_open(struct pc *pc)
{
	if (pc->uart.mcr & UART_MCR_OUT2 || pc->pic.chip[0].lines & 1 << UART_COM1_IRQ)
		uart_line(pc);
}
PC_LINE(uart_if_open);
