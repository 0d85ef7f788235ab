/*
 * The peer of `make bench PEERS=1`: Linux' KVM, with as little around it as runs a guest of ours.
 *
 * This is the first process of a Linux that runs where Zeno would, and the guest is the very file
 * that Zeno runs. KVM has the interrupt controllers and the 8254 in the kernel; what is left for
 * this program is COM1, the end, and answers that need no device. A real VMM does more for each
 * exit, so what is counted is KVM at its best. Another Linux has devices in earnest (pc.c), and a
 * CPU that says of itself what stands in /cpuid.
 *
 *     /init [MODULE.ko]... GUEST.elf [WORD]...
 *     /init [MODULE.ko]... LINUX [initrd=FILE] [WORD]...
 *
 * Linux' modules are inserted in this order; the words are the guest's command line. A line that
 * begins with "kvm: " says what does not go. The calls are Linux' own, which Linux documents in
 * Documentation/virt/kvm/api.rst.
 */
#include <asm/unistd.h>
#include <elf.h>
#include <trials/peers/peer.h>

#define MEMORY          (32ul << 20)
#define LINUX_MEMORY    (128ul << 20)
#define INFO            0x500 /* the boot information, and behind it the command line */
#define WORDS           0x600
#define WORDS_END       0xfff
#define MULTIBOOT       0x2badb002
#define HAS_WORDS       4u
#define COM1            0x3f8
#define COM1_LCR        (COM1 + 3)
#define COM1_LSR        (COM1 + 5)
#define LCR_DLAB        0x80
#define LSR_EMPTY       0x60 /* what was sent is gone */
#define DEBUG_EXIT      0xf4
#define BELL            0x300 /* a write there is an event, and no exit of this program's */
#define CR0_PE          1u
#define CPUIDS          100
#define X2APIC          (1u << 21) /* CPUID 1, ecx: Zeno's guests have none on this machine */
#define HYPERVISOR      (1u << 31)
#define KVM_LEAVES      0x40000000u
#define MADV_NOHUGEPAGE 15
#define STATS_NAME      64

void start(char **stack) __attribute__((noreturn));
void run_linux(long vcpu, struct kvm_run *run) __attribute__((noreturn, noinline));

static uint8_t *ram;
static uint8_t lcr;

static void
insert_module(const char *path)
{
	long fd = good(call3(__NR_open, (long)path, 0, 0), path);

	good(call3(__NR_finit_module, fd, (long)"", 0), path);
	call3(__NR_close, fd, 0, 0);
}

/* Reads the guest's segments to where they belong; its entry. */
static uint32_t
load(const struct file *f)
{
	const Elf32_Ehdr *elf = (const Elf32_Ehdr *)f->head;
	const Elf32_Phdr *part = (const Elf32_Phdr *)(f->head + elf->e_phoff);

	for (int i = 0; i < elf->e_phnum; i++) {
		if (part[i].p_type != PT_LOAD)
			continue;
		if (part[i].p_paddr >= MEMORY || part[i].p_memsz > MEMORY - part[i].p_paddr)
			die("the guest is too large", 0);
		read_file(f, ram + part[i].p_paddr, part[i].p_filesz, part[i].p_offset);
	}
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
offered(long system, struct kvm_cpuid2 *to)
{
	uint32_t n = 0;

	to->nent = CPUIDS;
	kvm(system, KVM_GET_SUPPORTED_CPUID, to, "KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; i < to->nent; i++) {
		struct kvm_cpuid_entry2 *e = &to->entries[i];

		if ((e->function & 0xff000000) == KVM_LEAVES)
			continue;
		if (e->function == 1)
			e->ecx &= ~(X2APIC | HYPERVISOR);
		to->entries[n++] = *e;
	}
	to->nent = n;
}

/* What the guest's CPU says of itself: what KVM offers, or what stands in a file. */
static void
set_cpuid(long system, long vcpu, int from_file)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUIDS];
	} shown;
	static struct file f;

	if (from_file) {
		open_file(&f, "/cpuid");
		shown.head.nent = (uint32_t)(f.size / sizeof(*shown.entries));
		if (shown.head.nent > CPUIDS)
			die("/cpuid has too many entries", 0);
		read_file(&f, shown.head.entries, f.size, 0);
	} else {
		offered(system, &shown.head);
	}
	kvm(vcpu, KVM_SET_CPUID2, &shown, "KVM_SET_CPUID2");
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
	struct kvm_sregs sregs = { 0 };

	data.selector = 16;
	data.type = 3;
	kvm(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 |= CR0_PE;
	kvm(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	kvm(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

/* A small guest's devices: what answers at once. */
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
			say((char *)data, 1);
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

/* How many exits the vCPU had, as KVM counts (api.rst, KVM_GET_STATS_FD). */
static uint64_t
exits(long vcpu)
{
	long fd = kvm(vcpu, KVM_GET_STATS_FD, NULL, "KVM_GET_STATS_FD");
	struct file f = { .fd = fd };
	struct kvm_stats_header head;
	struct {
		struct kvm_stats_desc desc;
		char name[STATS_NAME];
	} one;
	uint64_t value;

	read_file(&f, &head, sizeof(head), 0);
	for (uint32_t i = 0; i < head.num_desc; i++) {
		read_file(&f, &one, sizeof(one.desc) + head.name_size,
			  head.desc_offset + i * (sizeof(one.desc) + head.name_size));
		if (length(one.name) != 5 || *(uint32_t *)one.name != *(const uint32_t *)"exits")
			continue;
		read_file(&f, &value, sizeof(value), head.data_offset + one.desc.offset);
		return value;
	}
	die("KVM counts no exits", 0);
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

/*
 * The same with a PC's devices, for Linux. Memory where nothing is reads as ones. Instructions are
 * counted from here on.
 */
void
run_linux(long vcpu, struct kvm_run *run)
{
	for (;;) {
		kvm(vcpu, KVM_RUN, NULL, "KVM_RUN");
		if (run->exit_reason == KVM_EXIT_MMIO) {
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
			continue;
		}
		if (run->exit_reason != KVM_EXIT_IO)
			die("an exit with this reason", run->exit_reason);
		if (!pc_port(run))
			break;
	}
	pc_flush();
	say("exits: ", 7);
	say_number(exits(vcpu));
	say("\n", 1);
	end(0);
}

/* A machine with interrupt controllers and an 8254; its vCPU, which has no registers yet. */
static long
make_machine(long system, long *machine)
{
	struct kvm_pit_config pit = { 0 };

	*machine = kvm(system, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	kvm(*machine, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	kvm(*machine, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	return kvm(*machine, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
}

static void
give_memory(long machine, uint64_t size)
{
	struct kvm_userspace_memory_region slot = { .memory_size = size };

	ram = map(-1, size);
	slot.userspace_addr = (uint64_t)ram;
	kvm(machine, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
}

/* A small guest: its memory comes a page at a time, as Zeno gives it. */
static void __attribute__((noreturn)) small_guest(long system, const struct file *f, char **words)
{
	struct kvm_ioeventfd bell = { .addr = BELL, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO };
	long machine, vcpu = make_machine(system, &machine);

	give_memory(machine, MEMORY);
	good(call3(__NR_madvise, (long)ram, MEMORY, MADV_NOHUGEPAGE), "madvise");
	boot_information(words);
	bell.fd = (int)good(call3(__NR_eventfd2, 0, 0, 0), "eventfd2");
	kvm(machine, KVM_IOEVENTFD, &bell, "KVM_IOEVENTFD");
	set_cpuid(system, vcpu, 0);
	set_registers(vcpu, load(f));
	run_guest(vcpu, map(vcpu, (size_t)kvm(system, KVM_GET_VCPU_MMAP_SIZE, NULL,
					      "KVM_GET_VCPU_MMAP_SIZE")));
}

static void __attribute__((noreturn)) linux_guest(long system, const struct file *f, char **words)
{
	long machine, vcpu = make_machine(system, &machine);

	give_memory(machine, LINUX_MEMORY);
	linux_place(f, ram, LINUX_MEMORY, words);
	pc_init(machine, LINUX_MEMORY);
	set_cpuid(system, vcpu, 1);
	linux_enter(vcpu);
	run_linux(vcpu, map(vcpu, (size_t)kvm(system, KVM_GET_VCPU_MMAP_SIZE, NULL,
					      "KVM_GET_VCPU_MMAP_SIZE")));
}

void
start(char **stack)
{
	char **word = stack + 2; /* behind their number and the program's own name */
	static struct file f;
	long system;

	while (*word && **word != '/') /* words that Linux did not know */
		word++;
	for (; *word && length(*word) > 3 && (*word)[length(*word) - 2] == 'k'; word++)
		insert_module(*word);
	if (!*word)
		die("no guest was named", 0);
	system = good(call3(__NR_open, (long)"/dev/kvm", O_RDWR, 0), "/dev/kvm");
	open_file(&f, *word++);
	if (is_linux(&f))
		linux_guest(system, &f, word);
	else
		small_guest(system, &f, word);
}

__asm__(".globl _start; _start: mov %rsp, %rdi; xor %ebp, %ebp; call start");
