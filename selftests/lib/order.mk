# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The library with each of its orderings numbered, so that one of them can be taken
# away while a program runs: for front_order_test.sh, where clang is installed, which
# can do that.  Included by the Makefile.

ORDER_CC := $(shell command -v clang)
ORDER := $(O)/order
ORDER_FLAGS := $(filter-out -I$(ROOT)/userlib%,$(LIB_CFLAGS)) -fsanitize=thread -w -fno-strict-aliasing \
	-I$(ORDER) -I$(ORDER)/include -I$(ORDER)/port -I$(ROOT) -I$(CURDIR)

# GHU_ORDER() replaces what is not in a comment.
$(ORDER)/list: order.awk $(LIB_SRC) $(LIB_HDR) | $(O)
	rm -rf $(ORDER)
	mkdir -p $(ORDER)
	cp -r $(ROOT)/userlib/include $(ROOT)/userlib/port $(ORDER)
	cd $(ROOT)/userlib && awk -v dir=$(ORDER) -f $(CURDIR)/order.awk *.h *.c >$@.tmp
	mv $@.tmp $@

# Without constructors, as in a library whose threads are there before ours is initialised.
$(O)/front_order_prog: front_order_prog.c front_order.h order.mk $(ORDER)/list $(DEPS)
	$(ORDER_CC) $(ORDER_FLAGS) -Dconstructor=used -include $(CURDIR)/front_order.h \
		$(foreach n,$(TSAN_NAMES),-D$(n)=t_$(n)) -o $@ $< \
		$(patsubst $(ROOT)/userlib/%,$(ORDER)/%,$(TSAN_SRC)) -pthread

order_all: $(if $(ORDER_CC),$(O)/front_order_prog)
.PHONY: order_all
