/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/testpoint.h"

#include "shm/atomic.h"

#ifdef LEAT_TESTPOINTS
void (*testpoint_hook)(const char *name);
void (*shared_load_hook)(const volatile void *at, uint64_t len);
#else
/* A file of its own in a normal build too, so that every build compiles the same list. */
typedef int testpoint_not_built;
#endif
