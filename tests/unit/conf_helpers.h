/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the configuration share: parse text and keep the errors,
 * print a configuration.  Include it behind cmocka.h.
 */
#ifndef TESTS_UNIT_CONF_HELPERS_H
#define TESTS_UNIT_CONF_HELPERS_H

#include <stdlib.h>
#include <string.h>

#include "conf.h"

#define SITE "[site]\nkey = /k\n"
#define PATH "test.conf"

/* What the last parse wrote. */
static char errors_text[1 << 16];

static struct conf *parse_bytes(const char *text, size_t size)
{
	FILE *errors = fmemopen(errors_text, sizeof(errors_text), "w");
	struct conf *conf;

	memset(errors_text, 0, sizeof(errors_text));
	assert_non_null(errors);
	conf = conf_parse(text, size, PATH, errors);
	fclose(errors);
	return conf;
}

static struct conf *parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static struct conf *parse_good(const char *text)
{
	struct conf *conf = parse(text);

	if (!conf)
		print_error("%s", errors_text);
	assert_non_null(conf);
	assert_string_equal(errors_text, "");
	return conf;
}

static char *print(const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	conf_print(conf, out);
	fclose(out);
	return text;
}

#endif
