# Every command that a person types. `make help` prints the lines that are marked with `## `.
#
#   make LAB=n              build lab n from labs/, and what it needs
#   make LAB=n SOLUTION=1   build it from solutions/
#   make LAB=n REF="0 1.3"  take whole labs or single exercises from solutions/
#
# Which files make up a lab stands in grade/labs/N.toml; tools/labinfo.py turns it into variables.
# What is built lies below build/: one directory per variant, so that variants never mix.

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

PYTHON ?= python3
NASM ?= nasm

# Target programs. CROSS is a prefix such as x86_64-linux-gnu-: empty on an x86-64 machine.
ifndef CROSS
CROSS := $(if $(filter x86_64,$(shell uname -m)),,x86_64-linux-gnu-)
endif
ifeq ($(origin CC),default)
CC := $(CROSS)gcc
endif
CLANG := $(findstring clang,$(notdir $(CC)))
LD := $(CROSS)ld
OBJCOPY := $(CROSS)objcopy

# A word for the shell, whatever is in it.
quote = '$(subst ','\'',$1)'

# ---- what to build ------------------------------------------------------------------------------

# Goals that need no lab, so that they work where nothing is installed yet.
LABLESS := help clean demo check doctor skeletons student update handouts format unit guests \
	demo-run check-run mutants boot plugin
GOALS := $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))

ifneq ($(filter-out $(LABLESS) build/guest/% build/boot/% build/tests/% build/zcount.so,$(GOALS)),)
MISSING := $(shell sh tools/install.sh --missing build)
ifneq ($(.SHELLSTATUS),0)
$(error $(or $(MISSING),tools/install.sh does not work))
endif
LABINFO := $(shell $(PYTHON) tools/labinfo.py make --lab $(call quote,$(LAB)) \
	--solution $(call quote,$(SOLUTION)) --ref $(call quote,$(REF)) \
	--suffix $(call quote,$(if $(CLANG),-clang)$(if $(WERROR),-werror)))
ifneq ($(.SHELLSTATUS),0)
$(error $(or $(LABINFO),tools/labinfo.py does not work))
endif
# Sets NUMBER, VARIANT, SOURCES.
include $(LABINFO)
endif

O := build/$(VARIANT)
KERNEL := $(O)/zeno.elf
IMAGE := $(O)/zeno.mb

GUESTS := $(filter-out lib,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard guest/*/*.c guest/*/*.asm))))))
GUEST_ELFS := $(GUESTS:%=build/guest/%.elf)
BOOT_BINS := $(patsubst boot/%.asm,build/boot/%.bin,$(wildcard boot/mbr.asm boot/loader.asm))
PLUGIN := $(if $(wildcard grade/plugin/zcount.c),build/zcount.so)

# ---- how to build it ----------------------------------------------------------------------------

WARN := -Wall -Wextra -Wno-unused-parameter -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
# Paths relative to the root, so that the same sources give the same bytes anywhere.
COMMON := -std=gnu11 -O2 -g -ffreestanding -fno-stack-protector -fno-omit-frame-pointer \
	-fno-strict-aliasing -fcf-protection=none -fno-asynchronous-unwind-tables \
	-ffile-prefix-map=$(call quote,$(CURDIR))=. $(WARN) -I.
CFLAGS := $(COMMON) -fPIC -fvisibility=hidden -include kern/hidden.h -mno-red-zone \
	-mgeneral-regs-only $(if $(CLANG),--target=x86_64-linux-gnu)
NASMFLAGS := -f elf64 -g -F dwarf -I . $(if $(WERROR),-w+error)
LDFLAGS := -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack \
	--orphan-handling=error --build-id=none

GUEST_CFLAGS := $(COMMON) -m32 -march=i686 -fno-pic -mno-sse -mno-mmx -mno-80387 -msoft-float \
	-fno-unwind-tables $(if $(CLANG),--target=i386-linux-gnu)
GUEST_NASMFLAGS := -f elf32 -g -F dwarf -I .
GUEST_LDFLAGS := -m elf_i386 -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none

OBJECTS := $(SOURCES:%=$(O)/obj/%.o)

.PHONY: build guests boot plugin
build: $(IMAGE) guests boot plugin ## builds lab n: build/labN/zeno.elf, zeno.mb, and all guests
guests: $(GUEST_ELFS)
boot: $(BOOT_BINS)
plugin: $(PLUGIN)

# Objects are made again when the commands that make them change.
.PHONY: always
$(O)/flags: always
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(CC) $(CFLAGS) / $(NASM) $(NASMFLAGS) / $(OBJECTS)) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
build/guest/flags: always
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(CC) $(GUEST_CFLAGS) / $(NASM) $(GUEST_NASMFLAGS)) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(O)/obj/%.c.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
$(O)/obj/%.asm.o: %.asm $(O)/flags
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -MP -o $@ $<

# Two links: the symbol table needs the addresses of the first, and comes last in .rodata so that it
# moves no code. Objects are linked as objects, never from an archive: a symbol that is defined twice
# is an error.
$(O)/stage1.elf: $(OBJECTS) kern/kernel.ld
	@echo "ld   $@"
	@$(LD) $(LDFLAGS) -T kern/kernel.ld -o $@ $(OBJECTS)
$(O)/ksyms.asm: $(O)/stage1.elf tools/ksyms.py
	@$(PYTHON) tools/ksyms.py $< > $@
$(O)/ksyms.o: $(O)/ksyms.asm
	@$(NASM) $(NASMFLAGS) -o $@ $<
$(KERNEL): $(O)/stage1.elf $(O)/ksyms.o
	@echo "ld   $@"
	@$(LD) $(LDFLAGS) -T kern/kernel.ld -Map $(O)/zeno.map -o $@ $(OBJECTS) $(O)/ksyms.o
$(IMAGE): $(KERNEL)
	@$(OBJCOPY) -O elf32-i386 $< $@ 2> $@.err || { cat $@.err >&2; exit 1; }

build/guest/obj/%.c.o: guest/%.c build/guest/flags
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<
build/guest/obj/%.asm.o: guest/%.asm build/guest/flags
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(NASM) $(GUEST_NASMFLAGS) -MD $(@:.o=.d) -MP -o $@ $<

guest_objects = $(patsubst guest/%,build/guest/obj/%.o,$(sort $(wildcard guest/$1/*.c guest/$1/*.asm)))
define guest_rule
build/guest/$1.elf: $(call guest_objects,lib) $(call guest_objects,$1) guest/lib/guest.ld
	@echo "ld   $$@"
	@$$(LD) $$(GUEST_LDFLAGS) -T guest/lib/guest.ld -o $$@ $$(filter %.o,$$^)
endef
$(foreach g,$(GUESTS),$(eval $(call guest_rule,$g)))

build/boot/%.bin: boot/%.asm
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(NASM) -f bin -I . -I boot/ -MD build/boot/$*.d -MP -o $@ $<

# The plugin is loaded by the emulator, so it is built for the build machine.
build/zcount.so: grade/plugin/zcount.c
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(HOST_CC) -std=gnu11 -O2 -Wall -Wextra -fPIC -shared -o $@ $<
HOST_CC ?= gcc

-include $(OBJECTS:.o=.d) $(foreach g,lib $(GUESTS),$(patsubst %.o,%.d,$(call guest_objects,$g))) \
	$(wildcard build/boot/*.d)
