/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the near side may ask for, and nothing besides:
 *
 *	NETCAT [-v] [-N] HOST PORT
 *	NETCAT -T 1
 *	NETCAT -V | NETCAT --version
 *
 * The line is cut at blanks.  There are no quotes, variables, patterns or
 * operators, and a byte that a shell would give a meaning to refuses it all.
 */
#ifndef CHROOT_COMMAND_H
#define CHROOT_COMMAND_H

#include "address.h"

#define COMMAND_LENGTH 512
#define COMMAND_WORDS 8

enum command_kind {
	COMMAND_USAGE, /* refused; reason says why */
	COMMAND_BARE,  /* only NETCAT: a login, or a forced command */
	COMMAND_VERSION,
	COMMAND_CONNECT,
	COMMAND_TRUNK,
};

struct command {
	enum command_kind kind;
	const char *reason; /* static text, for COMMAND_USAGE */
	const char *host;   /* as it was given; in `line`, or the caller's words */
	struct address address;
	unsigned port;
	/* private */
	char line[COMMAND_LENGTH];
};

static inline void command_refuse(struct command *command, const char *reason)
{
	command->kind = COMMAND_USAGE;
	command->reason = reason;
}

static inline void command_set_destination(struct command *command, const char *host,
					   const char *port)
{
	const char *reason = address_parse(host, &command->address);

	if (reason) {
		command_refuse(command, reason);
	} else if (number_parse(port, 1, 65535, &command->port)) {
		command_refuse(command, "the port must be a number from 1 to 65535");
	} else {
		command->kind = COMMAND_CONNECT;
		command->host = host;
	}
}

/* The words behind NETCAT.  `command` may point into them afterwards. */
static inline void command_parse_words(struct command *command, char *const *words, size_t count)
{
	bool verbose = false, half_close = false;
	size_t i;

	if (count == 0) {
		command->kind = COMMAND_BARE;
		return;
	}
	if (count == 1 && (!strcmp(words[0], "-V") || !strcmp(words[0], "--version"))) {
		command->kind = COMMAND_VERSION;
		return;
	}
	if (count == 2 && !strcmp(words[0], "-T") && !strcmp(words[1], "1")) {
		command->kind = COMMAND_TRUNK;
		return;
	}
	for (i = 0; i < count && words[i][0] == '-'; i++) {
		bool *seen = !strcmp(words[i], "-v") ? &verbose :
			     !strcmp(words[i], "-N") ? &half_close :
						       NULL;

		if (!seen || *seen) {
			command_refuse(command, "an option is unknown or given twice");
			return;
		}
		*seen = true;
	}
	if (count - i != 2)
		command_refuse(command, "one address and one port are wanted");
	else
		command_set_destination(command, words[i], words[i + 1]);
}

/* The line as sshd hands it over: NETCAT is a path or a name of any kind. */
static inline void command_parse_line(struct command *command, const char *line)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_./:+% \t";
	char *words[COMMAND_WORDS];
	size_t length = strnlen(line, COMMAND_LENGTH);
	size_t count;

	if (length == COMMAND_LENGTH) {
		command_refuse(command, "the command is too long");
		return;
	}
	if (strspn(line, plain) != length) {
		command_refuse(command, "the command holds a character that has no place in it");
		return;
	}
	memcpy(command->line, line, length + 1);
	count = words_split(command->line, words, COMMAND_WORDS);
	if (count > COMMAND_WORDS)
		command_refuse(command, "the command has too many words");
	else if (count > 0 && words[0][0] == '-')
		command_refuse(command, "the command begins with an option");
	else
		command_parse_words(command, words + 1, count ? count - 1 : 0);
}

#endif
