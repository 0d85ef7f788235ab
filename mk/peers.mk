# Programs of the hypervisors that Zeno is compared with: for Linux, with its own calls and no libc. They lie where no other
# program does, so that their addresses are known by themselves to who counts instructions.

PEER_CFLAGS := -std=gnu11 -O2 -Wall -Wextra $(if $(WERROR),-Werror) -ffreestanding -fno-stack-protector -fno-pic -no-pie \
	-nostdlib -static -I. -Wl,--build-id=none,-z,noexecstack,-Ttext-segment=0x60000000
PEER_SOURCES := $(wildcard trials/peers/*.c) $(patsubst %,vmm/dev/%.c,i8042 keyboard rtc uart) vmm/load/linux_plan.c
build/peers/kvm: $(PEER_SOURCES) $(wildcard trials/peers/*.h) mk/peers.mk
	@mkdir -p $(@D)
	@echo "cc   $@"
	@$(CROSS)gcc $(PEER_CFLAGS) -o $@ $(PEER_SOURCES)
