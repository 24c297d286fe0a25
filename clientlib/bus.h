/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leat_bus: the connection, what tells a forked child apart, and the last failure of each
 * thread that uses it.
 */
#ifndef CLIENTLIB_BUS_H
#define CLIENTLIB_BUS_H

#include "clientlib/control.h"
#include "clientlib/detail.h"
#include "clientlib/leat.h"

struct bus_failure;

struct leat_bus {
	struct control control;
	/* A page that the kernel empties in a forked child: nonzero where the handle is good. */
	volatile uint32_t *alive;
	pthread_mutex_t failures_lock;
	struct bus_failure *failures; /* of the last threads that failed */
	unsigned int n_failures;
};

/* False in a forked child; one load. */
static inline bool bus_alive(const struct leat_bus *bus)
{
	return *bus->alive != 0;
}

/* -EPERM with its sentence. */
int bus_forked(struct detail *detail);

/* Keeps detail's sentence, or else the errno's, for leat_detail() of this thread if r is an error;
 * returns r. */
int bus_done(struct leat_bus *bus, int r, struct detail *detail);

/*
 * An options struct of the caller's, of any version: the first field says how long it is. Copies
 * what both know over the defaults in `to`. -EINVAL when it is shorter than its first field.
 */
int bus_take_options(void *to, size_t to_len, const void *from, const char *what,
		     struct detail *detail);

#endif
