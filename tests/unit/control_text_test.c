/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What answers are written with: escaping, short numbers, JSON, tables.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/json.h"
#include "control/table.h"
#include "control/text.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static FILE *stream;
static char *written;
static size_t written_size;

static FILE *begin(void)
{
	stream = open_memstream(&written, &written_size);
	assert_non_null(stream);
	return stream;
}

/* Ends what begin() began, and compares it. */
static void expect(const char *wanted)
{
	assert_int_equal(ferror(stream), 0);
	fclose(stream);
	assert_string_equal(written, wanted);
	free(written);
}

static void test_text_is_made_visible(void **state)
{
	static const struct {
		const char *text, *wanted;
		unsigned columns;
	} cases[] = {
		{ "", "", 0 },
		{ "plain text", "plain text", 10 },
		{ "one\ntwo\r\t", "one\\x0atwo\\x0d\\x09", 18 },
		{ "\033[2J\177", "\\x1b[2J\\x7f", 11 },
		{ "back\\slash", "back\\\\slash", 11 },
		{ "gr\303\274n \342\202\254", "gr\303\274n \342\202\254", 6 },
		{ "\360\237\230\200", "\360\237\230\200", 1 },
		{ "\302\233" "31m", "\\u{9b}31m", 9 }, /* the C1 form of ESC [ */
		{ "a\342\200\256b", "a\\u{202e}b", 10 },  /* right-to-left override */
		{ "\357\273\277x", "\\u{feff}x", 9 },
		/* No UTF-8: a lone continuation, overlong, surrogate, too high, cut. */
		{ "\200", "\\x80", 4 },
		{ "\300\257", "\\xc0\\xaf", 8 },
		{ "\340\200\257", "\\xe0\\x80\\xaf", 12 },
		{ "\355\240\200", "\\xed\\xa0\\x80", 12 },
		{ "\364\220\200\200", "\\xf4\\x90\\x80\\x80", 16 },
		{ "x\342\202", "x\\xe2\\x82", 9 },
		{ "\377\376", "\\xff\\xfe", 8 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(text_print(begin(), cases[i].text), cases[i].columns);
		expect(cases[i].wanted);
		assert_int_equal(text_print(NULL, cases[i].text), cases[i].columns);
	}
}

static void test_bytes_are_short(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *wanted;
	} cases[] = {
		{ 0, "0" },	       { 1023, "1023" },	{ 1024, "1.0K" },
		{ 1536, "1.5K" },      { 1048575, "1.0M" },	{ 1047527, "1023.0K" },
		{ 20 << 20, "20.0M" }, { 3ull << 40, "3.0T" },	{ UINT64_MAX, "16.0E" },
	};
	char text[TEXT_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(text_bytes(cases[i].bytes, text), cases[i].wanted);
}

static void test_ages_are_short(void **state)
{
	static const struct {
		double seconds;
		const char *wanted;
	} cases[] = {
		{ -5, "0.0s" },	      { 0, "0.0s" },	     { 0.44, "0.4s" },
		{ 9.9, "9.9s" },      { 9.97, "10s" },	     { 59.9, "59s" },
		{ 60, "1m00s" },      { 192, "3m12s" },	     { 3599, "59m59s" },
		{ 18120, "5h02m" },   { 86399, "23h59m" },   { 277200, "3d05h" },
		{ NAN, "0.0s" },      { DBL_MAX, "11574074d01h" },
	};
	char text[TEXT_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(text_age(cases[i].seconds, text), cases[i].wanted);
}

static void test_json_is_nested_and_escaped(void **state)
{
	struct json json;

	(void)state;
	json_init(&json, begin());
	json_object(&json, NULL);
	json_text(&json, "a\"b", "q\" b\\ n\n t\t e\033 d\177");
	json_text(&json, "none", NULL);
	json_text(&json, "bad", "x\377y\342\200\256");
	json_text(&json, "good", "\303\274\360\237\230\200");
	json_array(&json, "list");
	json_number(&json, NULL, UINT64_MAX);
	json_signed(&json, NULL, -3);
	json_object(&json, NULL);
	json_object_end(&json);
	json_array(&json, NULL);
	json_array_end(&json);
	json_array_end(&json);
	json_seconds(&json, "age", 1.25);
	json_seconds(&json, "nan", NAN);
	json_bool(&json, "yes", true);
	json_object_end(&json);
	expect("{\"a\\\"b\":\"q\\\" b\\\\ n\\n t\\t e\\u001b d\\u007f\",\"none\":null,"
	       "\"bad\":\"x\\ufffdy\\u202e\",\"good\":\"\303\274\360\237\230\200\","
	       "\"list\":[18446744073709551615,-3,{},[]],\"age\":1.250,\"nan\":null,\"yes\":true}");
}

static const struct column columns[] = {
	{ "NAME", "name", false }, { "COUNT", "count", true },	  { NULL, "hidden", false },
	{ "LIST", "list", false }, { "BYTES", "bytes", true }, { "LAST", "last", false },
};

static void rows(struct table *table, const void *arg)
{
	const unsigned *count = arg;

	for (unsigned i = 0; i < *count; i++) {
		table_text(table, i ? "b\nc" : "long name");
		table_number(table, i ? 7 : 1234567);
		table_bool(table, i == 0);
		table_list(table);
		for (unsigned j = 0; j < 2 * i; j++)
			table_list_item(table, j ? "two" : "one");
		table_list_end(table);
		table_bytes(table, 2048);
		table_text(table, i ? "" : "end");
	}
}

static void test_table_is_aligned(void **state)
{
	unsigned count = 2;

	(void)state;
	table_write(begin(), NULL, "things", columns, COUNT(columns), rows, &count);
	expect("NAME         COUNT  LIST     BYTES  LAST\n"
	       "long name  1234567  -         2.0K  end\n"
	       "b\\x0ac           7  one,two   2.0K  -\n");
}

static void test_empty_table_has_its_header(void **state)
{
	unsigned count = 0;

	(void)state;
	table_write(begin(), NULL, "things", columns, COUNT(columns), rows, &count);
	expect("NAME  COUNT  LIST  BYTES  LAST\n");
}

static void test_table_is_json(void **state)
{
	unsigned count = 2;
	struct json json;

	(void)state;
	json_init(&json, begin());
	json_object(&json, NULL);
	table_write(stream, &json, "things", columns, COUNT(columns), rows, &count);
	count = 0;
	table_write(stream, &json, "nothing", columns, COUNT(columns), rows, &count);
	json_object_end(&json);
	expect("{\"things\":[{\"name\":\"long name\",\"count\":1234567,\"hidden\":true,\"list\":[],"
	       "\"bytes\":2048,\"last\":\"end\"},{\"name\":\"b\\nc\",\"count\":7,\"hidden\":false,"
	       "\"list\":[\"one\",\"two\"],\"bytes\":2048,\"last\":\"\"}],\"nothing\":[]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_made_visible),
		cmocka_unit_test(test_bytes_are_short),
		cmocka_unit_test(test_ages_are_short),
		cmocka_unit_test(test_json_is_nested_and_escaped),
		cmocka_unit_test(test_table_is_aligned),
		cmocka_unit_test(test_empty_table_has_its_header),
		cmocka_unit_test(test_table_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
