# Programs of the host's ring 3. The device model has the kernel's device sources; it is a boot module of its own.

UO := build/user$(if $(CLANG),-clang)
USER_CFLAGS := $(COMMON) -fno-pic -mno-red-zone -mgeneral-regs-only -fno-unwind-tables \
	$(if $(CLANG),--target=x86_64-linux-gnu)
USER_NASMFLAGS := -f elf64 -g -F dwarf -I .
USER_LDFLAGS := -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none
DM_DEVICES := $(wildcard $(patsubst %,vmm/dev/%.c,uart pit rtc i8042 keyboard crtc apic/ide apic/ide_dma apic/ide_identify))

$(call doubted,$(UO)/obj)
$(UO)/flags: always
	@mkdir -p $(@D)
	@$(call if_new,$(CC) $(USER_CFLAGS) / $(NASM) $(USER_NASMFLAGS))
$(UO)/obj/%.c.o: %.c $(UO)/flags
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(call in_place,$(CC) $(USER_CFLAGS) -MMD -MP)
$(UO)/obj/%.asm.o: %.asm $(UO)/flags $(wildcard inc/*.inc kern/*.inc)
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(call in_place,$(NASM) $(USER_NASMFLAGS) -MP)

# Only where the host can run it.
USER_ELFS := $(if $(filter kern/env/%,$(SOURCES)),$(UO)/dm.elf $(UO)/mini.elf $(UO)/shell.elf)
user_objects = $(patsubst %,$(UO)/obj/%.o,$(sort $(wildcard user/lib/*.c user/lib/*.asm user/$1/*.c user/$1/*.asm)) $2)
$(UO)/dm.elf: $(call user_objects,dm,$(DM_DEVICES))
$(UO)/mini.elf: $(call user_objects,mini)
$(UO)/shell.elf: $(call user_objects,shell)
$(UO)/dm.elf $(UO)/mini.elf $(UO)/shell.elf: user/lib/user.ld
	@echo "ld   $@"
	@$(LD) $(USER_LDFLAGS) -s -T user/lib/user.ld -o $@ $(filter %.o,$^)

-include $(patsubst %.o,%.d,$(call user_objects,dm,$(DM_DEVICES)) $(call user_objects,mini) $(call user_objects,shell))
