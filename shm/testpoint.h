/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named steps of the protocol at which a test can stop or kill the process. Nothing at all in a
 * normal build; with -DLEAT_TESTPOINTS each one calls the hook that the test has set.
 */
#ifndef SHM_TESTPOINT_H
#define SHM_TESTPOINT_H

#ifdef LEAT_TESTPOINTS
extern void (*testpoint_hook)(const char *name);
#define TESTPOINT(name)                                                                            \
	do {                                                                                       \
		if (testpoint_hook)                                                                \
			testpoint_hook(name);                                                      \
	} while (0)
#else
#define TESTPOINT(name)                                                                            \
	do {                                                                                       \
	} while (0)
#endif

#endif
