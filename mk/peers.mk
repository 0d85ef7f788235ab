# Programs of the hypervisors that Zeno is compared with: for Linux, with its own calls and no libc.

PEER_CFLAGS := -std=gnu11 -O2 -Wall -Wextra $(if $(WERROR),-Werror) -ffreestanding -fno-stack-protector -fno-pic -no-pie \
	-nostdlib -static -Wl,--build-id=none,-z,noexecstack
build/peers/%: trials/peers/%.c mk/peers.mk
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(CROSS)gcc $(PEER_CFLAGS) -o $@ $<
