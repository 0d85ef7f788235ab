/*
 * The peer of `make bench PEERS=1`: Linux' KVM, with as little around it as runs a guest of ours.
 *
 * This is the first process of a Linux that runs where Zeno would, and the guest is the very file
 * that Zeno runs. KVM has the interrupt controllers and the 8254 in the kernel; what is left for
 * this program is COM1, the end, and answers that need no device. A real VMM does more for each
 * exit, so what is counted is KVM at its best.
 *
 *     /init [MODULE.ko]... GUEST.elf [WORD]...
 *
 * Linux' modules are inserted in this order; the words are the guest's command line. A line that
 * begins with "kvm: " says what does not go. There is no libc: the calls are Linux' own, which
 * Linux documents in Documentation/virt/kvm/api.rst, and their results are negative errors.
 */
#include <asm/unistd.h>
#include <elf.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY                     (32ul << 20)
#define INFO                       0x500 /* the boot information, and behind it the command line */
#define WORDS                      0x600
#define WORDS_END                  0xfff
#define MULTIBOOT                  0x2badb002
#define HAS_WORDS                  4u
#define COM1                       0x3f8
#define COM1_LCR                   (COM1 + 3)
#define COM1_LSR                   (COM1 + 5)
#define LCR_DLAB                   0x80
#define LSR_EMPTY                  0x60 /* what was sent is gone */
#define DEBUG_EXIT                 0xf4
#define BELL                       0x300 /* a write there is an event, and no exit of this program's */
#define CR0_PE                     1u
#define CPUIDS                     100
#define X2APIC                     (1u << 21) /* CPUID 1, ecx: Zeno's guests have none on this machine */
#define HYPERVISOR                 (1u << 31)
#define KVM_LEAVES                 0x40000000u
#define O_RDWR                     2
#define PROT_RW                    3
#define MAP_SHARED                 1
#define MAP_PRIVATE_ANONYMOUS      0x22
#define MADV_NOHUGEPAGE            15
#define TCSBRK                     0x5409
#define LINUX_REBOOT_MAGIC1        0xfee1dead
#define LINUX_REBOOT_MAGIC2        672274793
#define LINUX_REBOOT_CMD_POWER_OFF 0x4321fedc

void start(char **stack) __attribute__((noreturn));

static uint8_t *ram;
static uint8_t lcr;

/* In a program of this kind nobody else supplies them, and gcc takes them for granted. */
void *
memset(void *to, int byte, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return to;
}

static long
call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long
call3(long number, long a, long b, long c)
{
	return call(number, a, b, c, 0, 0, 0);
}

static size_t
length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static void
say(const char *s)
{
	call3(__NR_write, 1, (long)s, (long)length(s));
}

/* The end of the machine, when all that was written has left it. */
static void __attribute__((noreturn)) end(uint8_t code)
{
	call3(__NR_ioctl, 1, TCSBRK, 1);
	if (!call3(__NR_ioperm, DEBUG_EXIT, 1, 1))
		__asm__ volatile("outb %0, %1" : : "a"(code), "Nd"((uint16_t)DEBUG_EXIT));
	call(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0,
	     0, 0);
	for (;;)
		call3(__NR_pause, 0, 0, 0);
}

static void __attribute__((noreturn)) die(const char *what, long error)
{
	char text[] = "0000";

	for (int i = 3; i >= 0; i--, error = (error < 0 ? -error : error) / 10)
		text[i] = (char)('0' + (error < 0 ? -error : error) % 10);
	say("kvm: ");
	say(what);
	say(": ");
	say(text);
	say("\n");
	end(1);
}

/* A result that is no error. */
static long
good(long result, const char *what)
{
	if (result < 0)
		die(what, result);
	return result;
}

static long
kvm(long fd, unsigned long request, const void *argument, const char *what)
{
	return good(call3(__NR_ioctl, fd, (long)request, (long)argument), what);
}

static void *
map(long fd, size_t size)
{
	long flags = fd < 0 ? MAP_PRIVATE_ANONYMOUS : MAP_SHARED;

	return (void *)good(call(__NR_mmap, 0, (long)size, PROT_RW, flags, fd, 0), "mmap");
}

static void
insert_module(const char *path)
{
	long fd = good(call3(__NR_open, (long)path, 0, 0), path);

	good(call3(__NR_finit_module, fd, (long)"", 0), path);
	call3(__NR_close, fd, 0, 0);
}

/* Reads the guest's segments to where they belong; its entry. */
static uint32_t
load(const char *path)
{
	static uint8_t head[4096];
	long fd = good(call3(__NR_open, (long)path, 0, 0), path);
	const Elf32_Ehdr *elf = (const Elf32_Ehdr *)head;
	const Elf32_Phdr *part;

	good(call3(__NR_read, fd, (long)head, sizeof(head)), path);
	part = (const Elf32_Phdr *)(head + elf->e_phoff);
	for (int i = 0; i < elf->e_phnum; i++) {
		if (part[i].p_type != PT_LOAD)
			continue;
		if (part[i].p_paddr >= MEMORY || part[i].p_memsz > MEMORY - part[i].p_paddr)
			die("the guest is too large", 0);
		good(call(__NR_pread64, fd, (long)(ram + part[i].p_paddr), part[i].p_filesz,
			  part[i].p_offset, 0, 0),
		     path);
	}
	call3(__NR_close, fd, 0, 0);
	return elf->e_entry;
}

static void
boot_information(char **words)
{
	uint32_t *info = (uint32_t *)(ram + INFO);
	size_t at = WORDS;

	info[0] = HAS_WORDS;
	info[4] = WORDS;
	for (; *words; words++) {
		for (const char *s = *words; *s && at < WORDS_END - 1; s++)
			ram[at++] = (uint8_t)*s;
		ram[at++] = ' ';
	}
}

/* All that KVM offers, but not itself, nor an x2APIC. */
static void
set_cpuid(long system, long vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUIDS];
	} offered;
	uint32_t n = 0;

	offered.head.nent = CPUIDS;
	kvm(system, KVM_GET_SUPPORTED_CPUID, &offered, "KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; i < offered.head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &offered.entries[i];

		if ((e->function & 0xff000000) == KVM_LEAVES)
			continue;
		if (e->function == 1)
			e->ecx &= ~(X2APIC | HYPERVISOR);
		offered.entries[n++] = *e;
	}
	offered.head.nent = n;
	kvm(vcpu, KVM_SET_CPUID2, &offered, "KVM_SET_CPUID2");
}

/* Flat 32-bit protected mode, paging and interrupts off (Multiboot 0.6.96 section 3.2). */
static void
set_registers(long vcpu, uint32_t entry)
{
	const struct kvm_segment code = {
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = { .rax = MULTIBOOT, .rbx = INFO, .rip = entry, .rflags = 2 };
	struct kvm_sregs sregs;

	data.selector = 16;
	data.type = 3;
	kvm(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 |= CR0_PE;
	kvm(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	kvm(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

static void
port(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		*data = run->io.port == COM1_LSR ? LSR_EMPTY : 0xff;
		return;
	}
	switch (run->io.port) {
	case COM1:
		if (!(lcr & LCR_DLAB))
			call3(__NR_write, 1, (long)data, 1);
		break;
	case COM1_LCR:
		lcr = *data;
		break;
	case DEBUG_EXIT:
		end(*data);
	default:
		break;
	}
}

static void __attribute__((noreturn)) run_guest(long vcpu, struct kvm_run *run)
{
	for (;;) {
		kvm(vcpu, KVM_RUN, NULL, "KVM_RUN");
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			port(run);
			break;
		case KVM_EXIT_MMIO:
			break;
		default:
			die("an exit with this reason", run->exit_reason);
		}
	}
}

void
start(char **stack)
{
	char **word = stack + 2; /* behind their number and the program's own name */
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY };
	struct kvm_ioeventfd bell = { .addr = BELL, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct kvm_pit_config pit = { 0 };
	long system, machine, vcpu;
	uint32_t entry;

	while (*word && **word != '/') /* words that Linux did not know */
		word++;
	for (; *word && length(*word) > 3 && (*word)[length(*word) - 2] == 'k'; word++)
		insert_module(*word);
	if (!*word)
		die("no guest was named", 0);
	system = good(call3(__NR_open, (long)"/dev/kvm", O_RDWR, 0), "/dev/kvm");
	machine = kvm(system, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	kvm(machine, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	kvm(machine, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	ram = map(-1, MEMORY);
	/* A page at a time, as Zeno does. */
	good(call3(__NR_madvise, (long)ram, MEMORY, MADV_NOHUGEPAGE), "madvise");
	entry = load(*word);
	boot_information(word + 1);
	slot.userspace_addr = (uint64_t)ram;
	kvm(machine, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
	bell.fd = (int)good(call3(__NR_eventfd2, 0, 0, 0), "eventfd2");
	kvm(machine, KVM_IOEVENTFD, &bell, "KVM_IOEVENTFD");
	vcpu = kvm(machine, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	set_cpuid(system, vcpu);
	set_registers(vcpu, entry);
	run_guest(vcpu, map(vcpu, (size_t)kvm(system, KVM_GET_VCPU_MMAP_SIZE, NULL,
					      "KVM_GET_VCPU_MMAP_SIZE")));
}

__asm__(".globl _start; _start: mov %rsp, %rdi; xor %ebp, %ebp; call start");
