/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

enum {
	TABLE_COLUMNS = 24
};

static void add(struct table *table, char *cell)
{
	char **cells;

	cells = cell ? reallocarray(table->cells, table->n_cells + 1, sizeof(*cells)) : NULL;
	if (!cells) {
		free(cell);
		table->failed = 1;
		return;
	}
	table->cells = cells;
	cells[table->n_cells++] = cell;
}

void table_init(struct table *table, const char *indent, const char *heads)
{
	size_t len;

	*table = (struct table){ .indent = indent };
	while (*heads && table->n_columns < TABLE_COLUMNS) {
		if (*heads == '+') {
			table->right |= 1u << table->n_columns;
			heads++;
		}
		len = strcspn(heads, " ");
		add(table, strndup(heads, len));
		table->n_columns++;
		heads += len + (heads[len] == ' ');
	}
}

void table_deinit(struct table *table)
{
	size_t i;

	for (i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
}

void table_cell(struct table *table, const char *format, ...)
{
	char *cell = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&cell, format, args) < 0)
		cell = NULL;
	va_end(args);
	add(table, cell);
}

void table_print(const struct table *table, FILE *to)
{
	size_t width[TABLE_COLUMNS] = { 0 }, i, column, len;

	/* Without a cell all that come after it would be in the wrong column. */
	if (table->failed) {
		tool_lost_output();
		return;
	}
	for (i = 0; i < table->n_cells; i++) {
		len = strlen(table->cells[i]);
		if (len > width[i % table->n_columns])
			width[i % table->n_columns] = len;
	}
	for (i = 0; i < table->n_cells; i++) {
		column = i % table->n_columns;
		fputs(column == 0 ? table->indent : "  ", to);
		if (table->right & 1u << column)
			fprintf(to, "%*s", (int)width[column], table->cells[i]);
		else if (column + 1 < table->n_columns)
			fprintf(to, "%-*s", (int)width[column], table->cells[i]);
		else
			fputs(table->cells[i], to);
		if (column + 1 == table->n_columns)
			fputc('\n', to);
	}
}
