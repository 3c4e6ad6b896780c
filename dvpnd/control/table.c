/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables.  Two passes over the rows cost less than keeping every cell: the map
 * may have 65,536 sites, and the second pass formats values that are at hand.
 */
#include "control/table.h"

#include <assert.h>
#include <inttypes.h>

#include "control/text.h"

#define GAP 2 /* blanks between columns */

static void pad(struct table *table, unsigned blanks)
{
	/* Kept back until something follows, so that no line ends in blanks. */
	table->pending += blanks;
}

static void begin_cell(struct table *table)
{
	table->used = 0;
	if (table->pass == TABLE_JSON && table->column == 0)
		json_object(table->json, NULL);
	if (table->pass == TABLE_PRINT && table->columns[table->column].title && table->column > 0)
		pad(table, GAP);
}

static void piece(struct table *table, const char *text)
{
	if (!table->columns[table->column].title)
		return;
	if (table->pass == TABLE_PRINT) {
		fprintf(table->out, "%*s", (int)table->pending, "");
		table->pending = 0;
	}
	table->used += text_print(table->pass == TABLE_PRINT ? table->out : NULL, text);
}

static void end_row(struct table *table)
{
	table->column = 0;
	table->pending = 0;
	if (table->pass == TABLE_PRINT)
		putc('\n', table->out);
	else if (table->pass == TABLE_JSON)
		json_object_end(table->json);
}

static void end_cell(struct table *table)
{
	unsigned *width = &table->widths[table->column];

	if (table->pass == TABLE_MEASURE && table->used > *width)
		*width = table->used;
	if (table->pass == TABLE_PRINT && table->used < *width)
		pad(table, *width - table->used);
	if (++table->column == table->column_count)
		end_row(table);
}

static const char *cell_key(const struct table *table)
{
	return table->columns[table->column].key;
}

static void human_cell(struct table *table, const char *text)
{
	const struct column *column = &table->columns[table->column];
	unsigned columns;

	if (!*text)
		text = "-";
	columns = text_print(NULL, text);
	if (table->pass == TABLE_PRINT && column->right && columns < table->widths[table->column])
		pad(table, table->widths[table->column] - columns);
	piece(table, text);
	if (column->right)
		table->used = table->pass == TABLE_PRINT ? table->widths[table->column] : columns;
}

void table_text(struct table *table, const char *text)
{
	begin_cell(table);
	if (table->pass == TABLE_JSON)
		json_text(table->json, cell_key(table), text);
	else
		human_cell(table, text ? text : "");
	end_cell(table);
}

void table_number(struct table *table, uint64_t number)
{
	char text[TEXT_NUMBER_SIZE];

	begin_cell(table);
	snprintf(text, sizeof(text), "%" PRIu64, number);
	if (table->pass == TABLE_JSON)
		json_number(table->json, cell_key(table), number);
	else
		human_cell(table, text);
	end_cell(table);
}

void table_signed(struct table *table, int64_t number)
{
	char text[TEXT_NUMBER_SIZE];

	begin_cell(table);
	snprintf(text, sizeof(text), "%" PRId64, number);
	if (table->pass == TABLE_JSON)
		json_signed(table->json, cell_key(table), number);
	else
		human_cell(table, text);
	end_cell(table);
}

void table_bytes(struct table *table, uint64_t bytes)
{
	char text[TEXT_NUMBER_SIZE];

	begin_cell(table);
	if (table->pass == TABLE_JSON)
		json_number(table->json, cell_key(table), bytes);
	else
		human_cell(table, text_bytes(bytes, text));
	end_cell(table);
}

void table_age(struct table *table, double seconds)
{
	char text[TEXT_NUMBER_SIZE];

	begin_cell(table);
	if (table->pass == TABLE_JSON)
		json_seconds(table->json, cell_key(table), seconds);
	else
		human_cell(table, text_age(seconds, text));
	end_cell(table);
}

void table_age_or_none(struct table *table, double seconds, bool known)
{
	if (known)
		table_age(table, seconds);
	else
		table_text(table, NULL);
}

void table_bool(struct table *table, bool value)
{
	begin_cell(table);
	if (table->pass == TABLE_JSON)
		json_bool(table->json, cell_key(table), value);
	else
		human_cell(table, value ? "yes" : "no");
	end_cell(table);
}

void table_list(struct table *table)
{
	begin_cell(table);
	table->listed = false;
	if (table->pass == TABLE_JSON)
		json_array(table->json, cell_key(table));
}

void table_list_item(struct table *table, const char *text)
{
	if (table->pass == TABLE_JSON) {
		json_text(table->json, NULL, text);
		return;
	}
	if (table->listed)
		piece(table, ",");
	piece(table, text);
	table->listed = true;
}

void table_list_end(struct table *table)
{
	if (table->pass == TABLE_JSON)
		json_array_end(table->json);
	else if (!table->listed)
		human_cell(table, "");
	end_cell(table);
}

static void write_header(struct table *table)
{
	for (unsigned i = 0; i < table->column_count; i++) {
		begin_cell(table);
		if (table->columns[i].title)
			human_cell(table, table->columns[i].title);
		end_cell(table);
	}
}

void table_write(FILE *out, struct json *json, const char *key, const struct column *columns,
		 unsigned column_count, table_rows *rows, const void *arg)
{
	struct table table = { .out = out,
			       .json = json,
			       .columns = columns,
			       .column_count = column_count,
			       .pass = json ? TABLE_JSON : TABLE_MEASURE };

	assert(column_count <= TABLE_COLUMNS_MAX && columns[0].title);
	if (json) {
		json_array(json, key);
		rows(&table, arg);
		json_array_end(json);
		return;
	}
	write_header(&table);
	rows(&table, arg);
	table.pass = TABLE_PRINT;
	write_header(&table);
	rows(&table, arg);
	assert(table.column == 0);
}
