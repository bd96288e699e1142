// SPDX-License-Identifier: MIT OR GPL-2.0
/* A library that takes 8 bytes of what the C library has left for thread-local data. */
__thread long front_tls __attribute__((tls_model("initial-exec")));

long *front_tls_address(void);

long *front_tls_address(void)
{
	return &front_tls;
}
