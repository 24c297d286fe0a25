/* SPDX-License-Identifier: Apache-2.0 */
/* The controls of the cases: what is taken away, and what becomes of it. */
#ifndef TESTS_WEAK_CONTROLS_H
#define TESTS_WEAK_CONTROLS_H

struct weak_control {
	const char
		*sites; /* function/call, with #2 for the second such in it; several with " + " */
	const char *in; /* the case that fails; NULL: none does */
	const char *result; /* how it begins what the case says, or the reason that none does */
};
extern const struct weak_control weak_controls[];

#endif
