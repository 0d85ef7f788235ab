/*
 * Interrupt lines: from a domain's devices to its 8259s. Lab 1B, exercise 1.8.
 */
#include <vmm/dev/platform.h>
#include <vmm/domain.h>

#define PIT_IRQ 0

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

/* The example: each rising edge of the 8254's channel 0 since we last looked is a pulse on line 0. */
static void
pit_line(struct domain *d)
{
	uint64_t edges = pit_edge_count(&d->pit, domain_now(d));

	/* An 8259 remembers one edge for each line: the next one comes when it has been served. */
	if (edges == d->pit_edges || d->pic.chip[0].irr & 1 << PIT_IRQ)
		return;
	d->pit_edges++;
	if (edges - d->pit_edges > PIT_BACKLOG)
		d->pit_edges = edges - PIT_BACKLOG;
	pic_set_irq(&d->pic, PIT_IRQ, false);
	pic_set_irq(&d->pic, PIT_IRQ, true);
}

static void
uart_line(struct domain *d)
{
	/* EXERCISE 1.8: The UART's line is a level: uart_irq() says which, pic_set_irq() takes it; its number is
	 * UART_COM1_IRQ. Before that, while the guest has received-data interrupts enabled (UART_IER_RX in ier), characters
	 * that wait for it (domain_input()) go into the UART as long as it has room: uart_room(), uart_receive().
	 * (NS PC16550D "Interrupt Enable Register"; Intel 8259A "Edge and level triggered modes")
	 */
	exercise_todo("1.8", "handouts/lab1b.md#ex-1-8");
	/* END EXERCISE 1.8 */
}

/*
 * Brings the lines up to date. Called when a turn begins, after each access to a device, and while the vCPU sleeps.
 */
void
platform_lines(struct domain *d)
{
	pit_line(d);
	/* On a PC the pin OUT2 opens the way from the UART to the 8259: while it is off, nothing can come. */
	if (d->uart.mcr & UART_MCR_OUT2 || d->pic.chip[0].lines & 1 << UART_COM1_IRQ)
		uart_line(d);
}
