// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dvpnd.conf from any bytes: either errors and no configuration, or a
 * configuration and no errors, which prints as text that is read back the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what, const char *text)
{
	if (holds)
		return;
	fprintf(stderr, "%s:\n%s\n", what, text);
	abort();
}

static struct conf *parse(const char *text, size_t size, char **errors)
{
	size_t errors_size = 0;
	FILE *out = open_memstream(errors, &errors_size);
	struct conf *conf;

	if (!out)
		abort();
	conf = conf_parse(text, size, "fuzz", out);
	fclose(out);
	return conf;
}

static char *print(const struct conf *conf)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	conf_print(conf, out);
	fclose(out);
	return text;
}

/* A list of addresses can print longer than it was written ("::c0a8:101" is
 * "::192.168.1.1"), and then be over the limit. */
static bool has_long_line(const char *text)
{
	for (size_t length; *text; text += length + (text[length] != '\0')) {
		length = strcspn(text, "\n");
		if (length > CONF_LINE_MAX)
			return true;
	}
	return false;
}

static void print_and_read_back(struct conf *conf)
{
	char *first = print(conf), *second, *errors = NULL, text[256];
	struct conf *again;

	if (!has_long_line(first)) {
		again = parse(first, strlen(first), &errors);
		require(again && !*errors, errors, first);
		second = print(again);
		require(!strcmp(first, second), "printed otherwise", first);
		require(!*conf_restart_needed(conf, again, text, sizeof(text)), text, first);
		free(second);
		free(errors);
		conf_put(again);
	}
	free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *errors = NULL;
	struct conf *conf = parse((const char *)data, size, &errors);

	require(!conf == !!*errors, "neither a configuration nor errors, or both", errors);
	if (conf)
		print_and_read_back(conf);
	free(errors);
	conf_put(conf);
	return 0;
}
