# Unit tests: parts of the kernel compiled for the build machine.

# tests/unit/NAME.c starts with a comment `/* BUILD: sources and flags */`, of one line or several.
UNITS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/*.c)))
UNIT_CFLAGS := -std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -Wall -Wextra -Wno-unused-parameter -Wvla \
	$(if $(WERROR),-Werror) -I.
unit_words = $(shell sed -n ':a; s|\*/.*||; tb; N; ba; :b; s|\n \*||g; s|.*BUILD:||p; q' tests/unit/$1.c)
define unit_rule
unit_words_$1 := $$(call unit_words,$1)
unit_objects_$1 := $$(patsubst %,build/tests/obj/$1/%.o,tests/unit/$1.c $$(filter %.c %.asm,$$(unit_words_$1)))
build/tests/obj/$1/%.c.o: %.c tests/unit/$1.c mk/units.mk
	@mkdir -p $$(@D)
	@$$(HOST_CC) $$(UNIT_CFLAGS) $$(filter-out %.c %.asm -l%,$$(unit_words_$1)) -MMD -MP -c -o $$@ $$<
build/tests/obj/$1/%.asm.o: %.asm tests/unit/$1.c mk/units.mk
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
