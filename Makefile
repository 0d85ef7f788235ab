# Every command that a person types; `make help` prints the words behind `## `.
#
#   make LAB=n              build lab n from labs/, and what it needs; 1A is a half of lab 1, all is every lab
#   make lab LAB=n          remember it: LAB=n is then meant where none is named
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

SUFFIX := $(if $(CLANG),-clang)$(if $(WERROR),-werror)

# A word for the shell, whatever is in it.
quote = '$(subst ','\'',$1)'

# ---- what to build ------------------------------------------------------------------------------

# The lab that `make lab` remembers. A command line's or an environment's LAB= comes first.
CHOSEN := $(wildcard .lab)
ifeq ($(LAB),)
LAB := $(if $(CHOSEN),$(shell head -c 40 .lab))
endif

# Goals that need no lab, so that they work where nothing is installed yet.
LABLESS := help lab hint clean demo check bench doctor skeletons student update handouts format unit guests \
	boot plugin check-run traces catchup linux
GOALS := $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))
# Which part of tools/packages the goals need; demo and check install it themselves.
NEED := $(if $(filter qemu bochs gdb grade bench trace tracediff traces,$(GOALS)),run,$(if \
	$(filter handouts,$(GOALS)),handouts,$(if $(filter format unit check-run,$(GOALS)),check,$(if \
	$(filter-out help lab hint clean demo check doctor,$(GOALS)),build))))

ifneq ($(NEED),)
MISSING := $(shell sh tools/install.sh --missing $(NEED))
ifneq ($(.SHELLSTATUS),0)
$(error $(or $(MISSING),tools/install.sh does not work))
endif
endif

ifneq ($(filter-out $(LABLESS) build/guest% build/boot/% build/tests/% build/zcount.so,$(GOALS)),)
LABINFO := $(shell $(PYTHON) tools/labinfo.py make --lab $(call quote,$(LAB)) \
	--solution $(call quote,$(SOLUTION)) --ref $(call quote,$(REF)) \
	--suffix=$(call quote,$(SUFFIX)) --variant $(call quote,$(VARIANT)))
ifneq ($(.SHELLSTATUS),0)
$(error $(or $(LABINFO),tools/labinfo.py does not work))
endif
# Sets NAME, VARIANT, SOURCES.
include $(LABINFO)
endif

O := build/$(VARIANT)
KERNEL := $(O)/zeno.elf
IMAGE := $(O)/zeno.mb

GUESTS := $(filter-out lib,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard guest/*/*.c guest/*/*.asm))))))
GO := build/guest$(SUFFIX)
GUEST_ELFS := $(GUESTS:%=$(GO)/%.elf)
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
# Compiled reference objects of labs that this one needs (catchup/N-topic), and what defines their symbols.
STAMP := $(if $(CATCHUP),$(O)/catchup.o)
TOOLCHAIN = --objcopy $(call quote,$(OBJCOPY)) --cc $(call quote,$(CC)) --cflags $(call quote,$(CFLAGS)) --nasm $(call quote,$(NASM)) \
	--nasmflags $(call quote,$(NASMFLAGS))

.PHONY: build guests boot plugin
build: $(IMAGE) guests boot plugin ## LAB=n: build the lab, the guests and the boot sectors (the default)
guests: $(GUEST_ELFS)
boot: $(BOOT_BINS)
plugin: $(PLUGIN)

# Objects are made again when the commands that make them change.
.PHONY: always
$(O)/flags: always
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(CC) $(CFLAGS) / $(NASM) $(NASMFLAGS) / $(OBJECTS)) > $@.$$$$ && \
	if cmp -s $@.$$$$ $@; then rm $@.$$$$; else mv $@.$$$$ $@; fi
$(GO)/flags: always
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(CC) $(GUEST_CFLAGS) / $(NASM) $(GUEST_NASMFLAGS)) > $@.$$$$ && \
	if cmp -s $@.$$$$ $@; then rm $@.$$$$; else mv $@.$$$$ $@; fi

# Objects that don't fit are refused before anything is compiled.
$(OBJECTS): | $(STAMP)
$(O)/catchup.asm: always
	@mkdir -p $(@D)
	@$(PYTHON) tools/catchup.py stamp $(TOOLCHAIN) --out $@ --folders $(sort $(dir $(CATCHUP)))
$(O)/catchup.o: $(O)/catchup.asm
	@$(NASM) $(NASMFLAGS) -o $@ $<

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
$(O)/stage1.elf: $(STAMP) $(OBJECTS) $(CATCHUP) kern/kernel.ld
	@echo "ld   $@"
	@$(LD) $(LDFLAGS) -T kern/kernel.ld -o $@ $(OBJECTS) $(CATCHUP) $(STAMP)
$(O)/ksyms.asm: $(O)/stage1.elf tools/ksyms.py
	@$(PYTHON) tools/ksyms.py $< > $@
$(O)/ksyms.o: $(O)/ksyms.asm
	@$(NASM) $(NASMFLAGS) -o $@ $<
$(KERNEL): $(O)/stage1.elf $(O)/ksyms.o kern/kernel.ld
	@echo "ld   $@"
	@$(LD) $(LDFLAGS) -T kern/kernel.ld -Map $(O)/zeno.map -o $@ $(OBJECTS) $(CATCHUP) $(STAMP) $(O)/ksyms.o
	@$(PYTHON) tools/ksyms.py --verify $(O)/stage1.elf $@
$(IMAGE): $(KERNEL)
	@$(OBJCOPY) -S -O elf32-i386 $< $@ 2> $@.err || { cat $@.err >&2; exit 1; }

$(GO)/obj/%.c.o: guest/%.c $(GO)/flags
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<
$(GO)/obj/%.asm.o: guest/%.asm $(GO)/flags
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(NASM) $(GUEST_NASMFLAGS) -MD $(@:.o=.d) -MP -o $@ $<

guest_objects = $(patsubst guest/%,$(GO)/obj/%.o,$(sort $(wildcard guest/$1/*.c guest/$1/*.asm)))
# A guest may have a linker script of its own.
define guest_rule
$(GO)/$1.elf: $(call guest_objects,lib) $(call guest_objects,$1) $(or $(wildcard guest/$1/$1.ld),guest/lib/guest.ld)
	@echo "ld   $$@"
	@$$(LD) $$(GUEST_LDFLAGS) -T $$(filter %.ld,$$^) -o $$@ $$(filter %.o,$$^)
endef
$(foreach g,$(GUESTS),$(eval $(call guest_rule,$g)))

# Programs of guest/os: one per file of user/, each with libc/. They and root/ make the RAM disk, which is a part
# of the kernel's image.
OS_PROGRAMS := $(patsubst guest/os/user/%.c,$(GO)/os/bin/%,$(sort $(wildcard guest/os/user/*.c)))
OS_LIBC := $(patsubst guest/%,$(GO)/obj/%.o,$(sort $(wildcard guest/os/libc/*.c guest/os/libc/*.asm)))
$(GO)/os/bin/%: $(GO)/obj/os/user/%.c.o $(OS_LIBC) guest/os/libc/user.ld
	@mkdir -p $(@D)
	@$(LD) $(GUEST_LDFLAGS) -s -T guest/os/libc/user.ld -o $@ $(filter %.o,$^)
$(GO)/os/ramdisk.img: tools/mkramdisk.py $(OS_PROGRAMS) $(wildcard guest/os/root/*/*)
	@echo "disk $@"
	@$(PYTHON) tools/mkramdisk.py -o $@ guest/os/root $(OS_PROGRAMS)
$(GO)/obj/os/disk.asm.o: $(GO)/os/ramdisk.img
$(GO)/obj/os/disk.asm.o: private GUEST_NASMFLAGS += -I $(GO)/os/

build/boot/%.bin: boot/%.asm
	@mkdir -p $(@D)
	@echo "nasm $<"
	@$(NASM) -f bin -I . -I boot/ -MD build/boot/$*.d -MP -o $@ $<

# The plugin is loaded by the emulator, so it is built for the build machine.
HOST_CC ?= gcc
build/zcount.so: grade/plugin/zcount.c
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(HOST_CC) -std=gnu11 -O2 -Wall -Wextra $(if $(WERROR),-Werror) -fPIC -shared -o $@ $<

-include $(OBJECTS:.o=.d) $(foreach g,lib $(GUESTS),$(patsubst %.o,%.d,$(call guest_objects,$g))) \
	$(OS_PROGRAMS:$(GO)/os/bin/%=$(GO)/obj/os/user/%.c.d) $(OS_LIBC:.o=.d) \
	$(wildcard build/boot/*.d)

# ---- unit tests: parts of the kernel compiled for the build machine -----------------------------

# tests/unit/NAME.c starts with a line `/* BUILD: sources and flags */`.
UNITS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/*.c)))
UNIT_CFLAGS := -std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -Wall -Wextra -Wno-unused-parameter -Wvla \
	$(if $(WERROR),-Werror) -I.
unit_words = $(shell sed -n '1s|^/\* BUILD:\(.*\)\*/.*|\1|p' tests/unit/$1.c)
define unit_rule
unit_words_$1 := $$(call unit_words,$1)
unit_objects_$1 := $$(patsubst %,build/tests/obj/$1/%.o,tests/unit/$1.c $$(filter %.c %.asm,$$(unit_words_$1)))
build/tests/obj/$1/%.c.o: %.c tests/unit/$1.c Makefile
	@mkdir -p $$(@D)
	@$$(HOST_CC) $$(UNIT_CFLAGS) $$(filter-out %.c %.asm -l%,$$(unit_words_$1)) -MMD -MP -c -o $$@ $$<
build/tests/obj/$1/%.asm.o: %.asm tests/unit/$1.c Makefile
	@mkdir -p $$(@D)
	@$$(NASM) -f elf64 -I . -o $$@ $$<
build/tests/unit/$1: $$(unit_objects_$1)
	@mkdir -p $$(@D)
	@echo "unit $1"
	@$$(HOST_CC) $$(UNIT_CFLAGS) $$(filter-out %.c %.asm -l%,$$(unit_words_$1)) -o $$@ $$^ \
		$$(filter -l%,$$(unit_words_$1))
-include $$(unit_objects_$1:.o=.d)
endef
ifneq ($(filter unit check-run build/tests/unit/%,$(GOALS)),)
$(foreach u,$(UNITS),$(eval $(call unit_rule,$u)))
endif

.PHONY: unit
unit: $(UNITS:%=build/tests/unit/%) ## build the unit tests and run them
	@prove -j2 -e tools/runtest $(UNITS:%=build/tests/unit/%)

# ---- what people do -----------------------------------------------------------------------------

.PHONY: demo check bench check-run help hint lab qemu bochs gdb grade trace tracediff traces linux submit \
	skeletons student update catchup doctor handouts format clean

demo: ## install what is missing, then show it all in two minutes
	@test -d solutions || { echo "make demo shows the reference solutions, which this tree has" \
		"not; start with: make LAB=0 qemu" >&2; exit 1; }
	@sh tools/install.sh run
	@for lab in 2 3; do $(MAKE) --no-print-directory SOLUTION=1 LAB=$$lab REF= build || exit 1; done
	@$(PYTHON) tools/demo.py

check: ## install what is missing, then run every test (under eighteen minutes)
	@sh tools/install.sh check
	@$(PYTHON) tools/linux_guest.py || true # without a network, tests/linux.t skips and says so
	@$(MAKE) --no-print-directory check-run

# The long ones first, so that none of them is left over at the end.
LONG := $(wildcard $(patsubst %,tests/%.t,grader-labs linux te cheats undone grub bt os shadow bt-fuzz boot build official machines))
TESTS := $(LONG) $(filter-out $(LONG),$(sort $(wildcard tests/*.t)))
LABS := $(sort $(patsubst grade/labs/%.toml,%,$(wildcard grade/labs/[0-9]*.toml)))
# All that tests boot is built before they start: two of them must not build the same thing at once.
check-run: $(UNITS:%=build/tests/unit/%)
	@for lab in $(LABS); do for solution in '' $(if $(wildcard solutions),1); do \
		$(MAKE) --no-print-directory LAB=$$lab SOLUTION=$$solution REF= build || exit 1; done; done
	@prove -j2 --timer --failures -e tools/runtest $(TESTS) $(UNITS:%=build/tests/unit/%)

bench: ## what exits cost, and each engine beside the bare machine, in instructions, with the reference solutions
	@for lab in 1 2 3; do $(MAKE) --no-print-directory -s SOLUTION=1 LAB=$$lab REF= build || exit 1; done
	@$(PYTHON) tools/bench.py build/lab1-solution
	@$(PYTHON) tools/bench_table.py

# What needs the solutions isn't for students.
HIDDEN := $(if $(wildcard solutions),^$$,make (bench|catchup|demo|skeletons|student|traces)[|])
help: ## print this
	@echo "$(if $(wildcard solutions),make demo and make check install what they need; nothing \
		else does,make check installs what it needs; nothing else does)."
	@$(PYTHON) tools/labinfo.py labs
	@sed -n 's/^\([a-z_.]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | sort | \
		grep -Ev $(call quote,$(HIDDEN)) | \
		awk -F'|' '{ printf "%-32s%s\n", $$1, $$2 }'

ifeq ($(origin LAB),file)
lab: # nothing was named: say what there is
	@$(PYTHON) tools/labinfo.py labs
else
lab: ## LAB=n: remember the lab, or one half of it (1A), that you work on
	@$(PYTHON) tools/labinfo.py remember --lab $(call quote,$(LAB))
endif

# APPEND="-- start hello; exits" is the kernel's command line.
RUN = $(PYTHON) tools/run.py --kernel $(IMAGE) --elf $(KERNEL) $(GUEST_ELFS:%=--elf %) \
	$(GUEST_ELFS:%=--module %) $(LINUX_MODULES) --append $(call quote,$(APPEND)) \
	$(if $(CPU),--cpu $(call quote,$(CPU)))
# LINUX=1 adds Debian's Linux to the guests. Its words are tools/linux_guest.py's.
ifdef LINUX
LINUX_WORDS := $(shell $(PYTHON) tools/linux_guest.py --words)
LINUX_MODULES := --module $(call quote,build/linux/vmlinuz $(LINUX_WORDS)) --module build/linux/initrd
endif
qemu: build $(if $(LINUX),linux) ## LAB=n: boot the lab on QEMU (APPEND="-- start hello" gives it a command line)
	@$(RUN)
bochs: build ## LAB=n: boot it on Bochs (DEBUG=1: stopped, in its own debugger)
	@$(RUN) $(if $(DEBUG),--debugger,--machine bochs)
ifdef TEST
gdb: ## LAB=n: GDB on the host; STUB=zeno: on its guests (MACHINE=bochs); REVERSE=1: backwards too; TEST=t: at a test's first exit
	@$(PYTHON) grade/grade $(NAME) $(if $(REF),--take $(call quote,$(REF))) \
		$(if $(SOLUTION),--ref) --gdb $(call quote,$(TEST))
else
gdb: build
	@$(RUN) --gdb $(if $(STUB),--stub $(call quote,$(STUB))) \
		$(if $(MACHINE),--machine $(call quote,$(MACHINE))) \
		$(if $(REVERSE),--reverse) $(if $(BATCH),--batch $(call quote,$(BATCH)))
endif

grade: ## LAB=n: grade labs/ (ONLY="1.3 ring1": exercises, tests; EXPLAIN=1)
	@$(PYTHON) grade/grade $(NAME) $(if $(REF),--take $(call quote,$(REF))) \
		$(if $(SOLUTION),--ref) $(if $(EXPLAIN),--explain) \
		$(if $(ONLY),--only $(call quote,$(ONLY)))

# TEST is a guest (hello), an attack (hostile:call-gate) or a test of the grader (out-forms; SEED=n).
TRACE = $(call quote,$(TEST)) --lab $(NAME) --kernel $(IMAGE) --elf $(KERNEL) --guests $(GO) \
	$(if $(SEED),--seed $(call quote,$(SEED)))
trace: build ## TEST=x LAB=n: print a guest's exits; and as a page, build/trace/x.html
	@$(PYTHON) tools/trace.py run $(TRACE)

# A difference is no failure of make's.
tracediff: build ## TEST=x LAB=n: compare a guest's exits with the reference's, and explain
	@$(PYTHON) tools/trace.py diff $(TRACE) || [ $$? = 1 ]

traces: guests ## write the reference traces (grade/traces/) from solutions/
	@$(PYTHON) tools/trace.py references --guests $(GO)

linux: ## fetch Debian's 32-bit Linux as a guest (LINUX=1 then adds it to make qemu's)
	@$(PYTHON) tools/linux_guest.py

submit: ## LAB=n: pack what you hand in: zeno-labn.tar
	@$(PYTHON) tools/submit.py $(NAME)

hint: ## EX=0.5: open the exercise's next hint, if you have tried since the last one
	@$(PYTHON) tools/hint.py $(call quote,$(EX))

skeletons: ## write labs/ from solutions/ (FORCE=1 overwrites work in labs/)
	@$(PYTHON) tools/skeletons.py $(if $(FORCE),--force)

student: ## OUT=dir: export a tree for students, without solutions
	@$(PYTHON) tools/student.py $(call quote,$(OUT))

catchup: ## LAB=n OUT=dir: compile the reference for students who missed the lab
	@$(PYTHON) tools/catchup.py pack $(TOOLCHAIN) --lab $(call quote,$(LAB)) --out $(call quote,$(OUT))

update: ## FROM=dir: carry your work from another tree's labs/ into this one's
	@$(PYTHON) tools/update.py $(call quote,$(FROM))

doctor: ## say what is here, what is missing, and which labs that is enough for
	@if command -v $(PYTHON) > /dev/null; then $(PYTHON) tools/doctor.py; \
		else sh tools/install.sh --missing build; fi

handouts: ## build the handouts as HTML: build/handouts/
	@$(PYTHON) tools/handouts.py build/handouts

format: ## lay out all C as .clang-format says
	@$(PYTHON) tools/format.py

compile_commands.json: always ## LAB=n: tell an editor how files are compiled
	@$(PYTHON) tools/compdb.py $(call quote,$(CC) $(CFLAGS)) $(SOURCES) > $@.new
	@mv $@.new $@

clean: ## remove build/
	rm -rf build compile_commands.json
