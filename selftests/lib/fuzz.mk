# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The fuzzer of the whole interface, and the test that runs what it found.  Both have
# another malloc beside ours, which goes by the names that ThreadSanitizer's tests
# use.  Included by the Makefile.
#
#	make -C selftests/lib O=DIR fuzz MINUTES=20
#
# GOHEAPDEBUG, with hardened=1 or backend=device, is heeded.

MINUTES ?= 20
FUZZER := $(O)/fuzz_api
FUZZ_NAMES := $(foreach n,$(TSAN_NAMES),-D$(n)=t_$(n))
FUZZ_LEN := 900

$(O)/front_corpus_test: front_corpus_test.c fuzz_api.c fuzz.mk $(DEPS) $(LIB_SRC) | $(O)
	$(CC) $(LIB_CFLAGS) $(CFLAGS_EXTRA) -DGH_PORT_DEBUG $(FUZZ_NAMES) \
		-DCORPUS='"$(CURDIR)/corpus_api"' -o $@ $< $(TSAN_SRC) -pthread

$(FUZZER): fuzz_api.c fuzz.mk $(DEPS) $(LIB_SRC) | $(O)
	clang $(LIB_CFLAGS) -DGH_PORT_DEBUG $(FUZZ_NAMES) -fsanitize=fuzzer,undefined \
		-fno-sanitize-recover=all -o $@ $< $(TSAN_SRC) -pthread

# Looks for inputs that the corpus lacks, for MINUTES, and adds those worth keeping.
fuzz: $(FUZZER)
	@mkdir -p $(O)/found corpus_api
	$(FUZZER) -max_total_time=$$(($(MINUTES) * 60)) -max_len=$(FUZZ_LEN) -timeout=20 \
		-len_control=20 -verbosity=0 -print_final_stats=1 -artifact_prefix=$(O)/ $(O)/found corpus_api
	$(FUZZER) -merge=1 -use_counters=0 -max_len=$(FUZZ_LEN) -verbosity=0 corpus_api $(O)/found

.PHONY: fuzz
