/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets file operations of a daemon that was built with test points fail, from outside: the page
 * lies in the file that $LEAT_FAULT_FILE names, mapped by both.
 */
#ifndef TESTS_FAULT_FILE_H
#define TESTS_FAULT_FILE_H

#include "shm/atomic.h"
#include "shm/base.h"

struct fault_file {
	_Atomic uint32_t kinds;  /* a bit for each file_kind; 0: nothing fails */
	_Atomic uint32_t error;  /* errno */
	_Atomic uint32_t one_in; /* of so many calls one fails, by chance; 1: each */
	_Atomic uint32_t left;   /* so many fail; UINT32_MAX: as long as it is armed */
	_Atomic uint32_t n_hit;
	char path[64]; /* only for files whose path holds this */
};

#endif
