// SPDX-License-Identifier: GPL-2.0-or-later
/* Lines on stderr, each in one write(2). */
#include "say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool ended;

void say(const char *format, ...)
{
	char line[512] = "dvpn-nc: ";
	size_t used = strlen(line);
	va_list args;
	int length;

	if (ended)
		return;
	va_start(args, format);
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	if (length < 0)
		return;
	used = strlen(line);
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* nobody is there to be told */
}

void say_end(void)
{
	ended = true;
	shutdown(STDERR_FILENO, SHUT_WR);
	close(STDERR_FILENO);
}
