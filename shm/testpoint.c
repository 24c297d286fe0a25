/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/testpoint.h"

#ifdef LEAT_TESTPOINTS
void (*testpoint_hook)(const char *name);
#else
/* A file of its own in a normal build too, so that every build compiles the same list. */
typedef int testpoint_not_built;
#endif
