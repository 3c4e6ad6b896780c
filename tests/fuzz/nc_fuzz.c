/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes what the far netcat reads: the first byte says what the rest is, a
 * command line or an allow file.  Beside crashes it looks for what must hold of
 * whatever was accepted.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../../chroot/allow.h"
#include "../../chroot/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void fuzz_command(const uint8_t *data, size_t size)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char *line = malloc(size + 1);
	struct command command = { 0 };

	if (!line)
		return;
	memcpy(line, data, size);
	line[size] = '\0';
	command_parse_line(&command, line);
	must((command.kind == COMMAND_USAGE) == (command.reason != NULL));
	if (command.kind == COMMAND_CONNECT) {
		must(!strpbrk(line, ";|&$`'\"\\<>()*?[]{}~#!\n\r"));
		must(command.port >= 1 && command.port <= 65535);
		must(command.host > command.line && !strpbrk(command.host, " \t%"));
		must(command.address.family == AF_INET ||
		     (command.address.family == AF_INET6 &&
		      memcmp(command.address.bytes, mapped, sizeof(mapped))));
	}
	free(line);
}

static void fuzz_allow(const uint8_t *data, size_t size)
{
	static const struct address hosts[] = {
		{ AF_INET, { 10, 8, 0, 5 } },
		{ AF_INET, { 127, 0, 0, 1 } },
		{ AF_INET6, { 0xfd, 0, 0, 8, [15] = 5 } },
		{ AF_INET6, { [15] = 1 } },
	};
	struct allow_report first, report;
	enum allow_verdict bad, verdict;
	size_t i;

	bad = allow_decide((const char *)data, size, NULL, 0, &first);
	must(bad != ALLOW_YES);
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		verdict = allow_decide((const char *)data, size, &hosts[i], 80, &report);
		must((verdict == ALLOW_BAD_FILE) == (bad == ALLOW_BAD_FILE));
		must((verdict == ALLOW_YES) == (report.reason == NULL));
		must(verdict != ALLOW_YES || (report.rules && report.line));
		must(verdict == ALLOW_YES || verdict == ALLOW_NO || verdict == ALLOW_BAD_FILE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == 'c')
		fuzz_command(data + 1, size - 1);
	else if (size)
		fuzz_allow(data + 1, size - 1);
	return 0;
}
