/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allow file: where connections may go.  A rule a line, the first that
 * matches decides, no match is a no:
 *
 *	!10.8.0.1 7777			# "!": not there
 *	10.8.0.0/16			# any port
 *	10.9.0.5 80,443,8000-8010
 *	fd00:8::/48
 *
 * Every line is read before the answer is given: a file with one bad line
 * allows nothing.  Loopback, link-local, multicast and their like are only
 * reached by a rule that lies wholly inside such a range; 0.0.0.0/0 does not.
 */
#ifndef CHROOT_ALLOW_H
#define CHROOT_ALLOW_H

#include "address.h"

#define ALLOW_LINE_LENGTH 1024

/* ALLOW_UNDECIDED, no rule matched yet, never leaves this file. */
enum allow_verdict { ALLOW_UNDECIDED, ALLOW_BAD_FILE, ALLOW_NO, ALLOW_YES };

struct allow_report {
	const char *reason; /* static text, but for ALLOW_YES */
	unsigned line;	    /* that decided, or is bad; 0: none */
	unsigned rules;
};

struct allow_range {
	struct address prefix;
	unsigned length;
};

/* The range that `address` needs a rule of its own for, or NULL. */
static inline const struct allow_range *allow_special(const struct address *address)
{
	static const struct allow_range ranges[] = {
		{ { AF_INET, { 0 } }, 8 },
		{ { AF_INET, { 127 } }, 8 },
		{ { AF_INET, { 169, 254 } }, 16 },
		{ { AF_INET, { 224 } }, 4 },
		{ { AF_INET, { 240 } }, 4 }, /* broadcast too */
		{ { AF_INET6, { 0 } }, 128 },
		{ { AF_INET6, { [15] = 1 } }, 128 },
		{ { AF_INET6, { 0xfe, 0x80 } }, 10 },
		{ { AF_INET6, { 0xff } }, 8 },
	};
	size_t i;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (address_within(address, &ranges[i].prefix, ranges[i].length))
			return &ranges[i];
	}
	return NULL;
}

/* "10.8.0.0/16", or an address alone.  Cuts `text`.  NULL, or what is wrong. */
static inline const char *allow_parse_prefix(char *text, struct allow_range *range)
{
	char *slash = strchr(text, '/');
	const char *reason;
	unsigned bit;

	if (slash)
		*slash++ = '\0';
	reason = address_parse(text, &range->prefix);
	if (reason)
		return reason;
	range->length = address_bits(&range->prefix);
	if (slash && number_parse(slash, 0, range->length, &range->length))
		return "the prefix length is not a number that fits";
	for (bit = range->length; bit < address_bits(&range->prefix); bit++) {
		if (range->prefix.bytes[bit / 8] & (0x80 >> bit % 8))
			return "the prefix has host bits set";
	}
	return NULL;
}

/* "80,443,8000-8010".  Cuts `text`.  NULL and *matches, or what is wrong. */
static inline const char *allow_match_ports(char *text, unsigned port, bool *matches)
{
	static const char wrong[] = "the ports are not like 80,443,8000-8010";
	unsigned low, high;
	char *next;

	*matches = false;
	for (; text; text = next) {
		char *dash;

		next = strchr(text, ',');
		if (next)
			*next++ = '\0';
		dash = strchr(text, '-');
		if (dash)
			*dash++ = '\0';
		if (number_parse(text, 1, 65535, &low) ||
		    number_parse(dash ? dash : text, low, 65535, &high))
			return wrong;
		if (port >= low && port <= high)
			*matches = true;
	}
	return NULL;
}

/*
 * One line, which is cut.  *verdict is set by a rule that matches, and left
 * alone by one that does not; a NULL address matches nothing.
 * NULL, or what is wrong with the line.
 */
static inline const char *allow_read_line(char *line, const struct address *address, unsigned port,
					  enum allow_verdict *verdict, unsigned *rules)
{
	const struct allow_range *special;
	struct allow_range range;
	char *words[2];
	const char *reason;
	bool exclude, matches = true;
	size_t count;

	line[strcspn(line, "#")] = '\0';
	count = words_split(line, words, 2);
	if (count == 0)
		return NULL;
	if (count > 2)
		return "there is more than a prefix and ports";
	exclude = words[0][0] == '!';
	reason = allow_parse_prefix(words[0] + exclude, &range);
	if (!reason && count == 2)
		reason = allow_match_ports(words[1], port, &matches);
	if (reason)
		return reason;
	++*rules;
	if (!address || !matches || !address_within(address, &range.prefix, range.length))
		return NULL;
	special = allow_special(address);
	if (exclude)
		*verdict = ALLOW_NO;
	else if (!special || range.length >= special->length)
		*verdict = ALLOW_YES;
	return NULL;
}

/*
 * Whether address:port may be reached, by the whole text of an allow file;
 * with a NULL address only the file is judged, and the answer is never YES.
 */
static inline enum allow_verdict allow_decide(const char *text, size_t length,
					      const struct address *address, unsigned port,
					      struct allow_report *report)
{
	enum allow_verdict verdict = ALLOW_UNDECIDED;
	char line[ALLOW_LINE_LENGTH];
	unsigned number = 0;

	memset(report, 0, sizeof(*report));
	while (length) {
		const char *newline = memchr(text, '\n', length);
		size_t size = newline ? (size_t)(newline - text) : length;
		enum allow_verdict found = ALLOW_UNDECIDED;

		number++;
		if (size >= sizeof(line) || memchr(text, '\0', size)) {
			report->reason = "the line is too long, or binary";
		} else {
			memcpy(line, text, size);
			line[size] = '\0';
			report->reason = allow_read_line(line, address, port, &found, &report->rules);
		}
		if (report->reason) {
			report->line = number;
			return ALLOW_BAD_FILE;
		}
		if (verdict == ALLOW_UNDECIDED && found != ALLOW_UNDECIDED) {
			verdict = found;
			report->line = number;
		}
		size += newline != NULL;
		text += size;
		length -= size;
	}
	if (verdict == ALLOW_YES)
		return verdict;
	report->reason = verdict == ALLOW_NO		      ? "a rule excludes it" :
			 address && allow_special(address) ? "such an address needs a rule of its own" :
							      "no rule allows it";
	return ALLOW_NO;
}

#endif
