# SPDX-License-Identifier: MIT OR GPL-2.0
#
# More of the backend's tests: the unit tests under sanitizers, and the programs
# that back_*_test.sh run.  Included by the Makefile.

BACK_PROGS := back_meta_asan_test back_span_asan_test back_span_tsan_test \
	back_prog back_linked back_static back_dlopen back_early.so
BACK_ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all

$(O)/back_meta_asan_test: back_meta_test.c $(DEPS) $(wildcard $(ROOT)/userlib/*.c) | $(O)
	$(CC) $(LIB_CFLAGS) $(CFLAGS_EXTRA) $(BACK_ASAN) -o $@ $< -pthread

$(O)/back_span_asan_test: back_span_test.c $(DEPS) $(LIB_SRC) | $(O)
	$(CC) $(LIB_CFLAGS) $(CFLAGS_EXTRA) $(BACK_ASAN) -DGH_PORT_DEBUG -o $@ $< $(SPAN_SRC) -pthread

$(O)/back_span_tsan_test: back_span_test.c $(DEPS) $(LIB_SRC) | $(O)
	$(CC) $(LIB_CFLAGS) $(CFLAGS_EXTRA) -fsanitize=thread -DGH_PORT_DEBUG -o $@ $< $(SPAN_SRC) -pthread

$(O)/back_prog: back_prog.c Makefile | $(O)
	$(CC) $(LIB_CFLAGS) -o $@ $< -pthread

$(O)/back_linked: back_prog.c Makefile $(SO) | $(O)
	$(CC) $(LIB_CFLAGS) -o $@ $< -Wl,--no-as-needed $(SO) \
		-Wl,-rpath,$(abspath $(LIBGOHEAP_DIR)) -pthread

$(O)/back_static: back_prog.c Makefile $(A) | $(O)
	$(CC) $(LIB_CFLAGS) -static -o $@ $< -Wl,-u,goheap_backend $(A) -pthread

$(O)/back_dlopen: back_dlopen.c Makefile | $(O)
	$(CC) $(LIB_CFLAGS) -o $@ $<

$(O)/back_early.so: back_early.c Makefile | $(O)
	$(CC) $(LIB_CFLAGS) -shared -fPIC -o $@ $<

back_all: $(BACK_PROGS:%=$(O)/%)
.PHONY: back_all
