/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on a terminal's standard error; nothing anywhere else. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *verb;
	uint64_t total; /* bytes; 0 = not known, then there is no bar */
	uint64_t start_ns;
	uint64_t shown_ns;
	bool on;
	bool visible; /* there is a bar to wipe */
};

void progress_init(struct progress *progress, const char *verb, uint64_t total, bool quiet);
/* Cheap to call often: draws ten times a second. */
void progress_update(struct progress *progress, uint64_t done);
/* Wipes the line, so that messages begin on a clean one. */
void progress_clear(struct progress *progress);
/* The last line: what was done and how fast. */
void progress_finish(struct progress *progress, uint64_t records, uint64_t bytes);

#endif
