/* SPDX-License-Identifier: Apache-2.0 */
/* The minimal rings for records of any size, as far as a test looks at them. */
#ifndef TOOLS_BENCH_RING_H
#define TOOLS_BENCH_RING_H

#include <stddef.h>

/* Slots of a ring for records of that length: a power of two, at least 4. */
size_t bench_ring_slots(size_t record_len);

#endif
