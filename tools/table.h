/* SPDX-License-Identifier: Apache-2.0 */
/* Columns as wide as their widest cell: text to the left, numbers to the right. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stddef.h>
#include <stdio.h>

struct table {
	const char *indent;
	char **cells; /* row by row, the heads first */
	size_t n_cells;
	size_t n_columns;
	unsigned int right; /* bit per column: to the right */
	int failed;         /* out of memory: some cells are missing, nothing is printed */
};

/* heads: titles separated by one blank, a title with '+' in front is a column of numbers. */
void table_init(struct table *table, const char *indent, const char *heads);
void table_deinit(struct table *table);
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *table, FILE *to);

#endif
