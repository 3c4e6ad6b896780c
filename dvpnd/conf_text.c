// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text of a configuration file to entries.
 *
 * iniparser reads the values, but knows no line numbers, drops what it does not
 * understand after a closing quote or bracket, takes the last of two equal
 * keys, and differs between 4.1 and 4.2 in quoting.  So each line is looked at
 * here first; only what has one clear meaning is handed on, in a plain form
 * that both versions read alike, and afterwards both must agree on how much
 * there is.
 */
#include "conf_text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __has_include(<iniparser/iniparser.h>)
#include <iniparser/iniparser.h>
#else
#include <iniparser.h>
#endif

/* "section:key" must fit the 1,024 bytes that iniparser looks keys up with. */
#define SECTION_MAX 300
#define KEY_MAX 64

struct scan {
	struct conf_text *text;
	const char *path;
	FILE *errors;
	FILE *plain; /* what iniparser is given */
	const char *section; /* the present one; NULL before the first, or in a bad one */
	bool section_bad;
	unsigned line;
	int bad_lines;
};

static void scan_error(struct scan *scan, const char *what)
{
	fprintf(scan->errors, "%s:%u: %s\n", scan->path, scan->line, what);
	scan->bad_lines++;
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
	size_t length;

	text += strspn(text, " \t\r");
	length = strlen(text);
	while (length && strchr(" \t\r", text[length - 1]))
		length--;
	text[length] = '\0';
	return text;
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* "gateway \t friday" to "gateway friday". */
static void single_blanks(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		if (*in != ' ' && *in != '\t')
			*out++ = *in;
		else if (in[1] != ' ' && in[1] != '\t')
			*out++ = ' ';
	}
	*out = '\0';
}

struct conf_entry *conf_text_find(const struct conf_text *text, const char *section,
				  const char *key)
{
	for (size_t i = 0; i < text->count; i++) {
		struct conf_entry *entry = &text->entries[i];

		if (!strcmp(entry->section, section) && !key == !entry->key &&
		    (!key || !strcmp(entry->key, key)))
			return entry;
	}
	return NULL;
}

/* -1 for lack of memory, or when there are too many. */
static int add_entry(struct scan *scan, const char *section, const char *key)
{
	struct conf_text *text = scan->text;
	struct conf_entry *entry = &text->entries[text->count];

	if (text->count == CONF_ENTRIES_MAX) {
		fprintf(scan->errors,
			"%s:%u: more than %u sections and settings; put what differs from "
			"gateway to gateway on the lines of the map\n",
			scan->path, scan->line, CONF_ENTRIES_MAX);
		return -1;
	}
	memset(entry, 0, sizeof(*entry));
	entry->line = scan->line;
	entry->section = strdup(section);
	entry->key = key ? strdup(key) : NULL;
	text->count++; /* a half-made one is freed with the others */
	if (!entry->section || (key && !entry->key)) {
		fprintf(scan->errors, "%s: out of memory\n", scan->path);
		return -1;
	}
	scan->section = entry->section;
	return 0;
}

/* `reason` is what is wrong with the line as such, or NULL. */
static int scan_section(struct scan *scan, char *line, const char *reason)
{
	char *end = strchr(line, ']');
	char *name = line + 1;
	struct conf_entry *entry;

	scan->section = NULL;
	scan->section_bad = true;
	if (!end || end[1])
		reason = end ? "text after the \"]\" of a section; put it on a line of its own" :
			       "a section without \"]\"; write it as [name]";
	if (reason) {
		scan_error(scan, reason);
		return 0;
	}
	*end = '\0';
	name = trim(name);
	single_blanks(name);
	lower(name);
	if (!*name || strlen(name) > SECTION_MAX ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.- ")]) {
		scan_error(scan, "not the name of a section; write [site], [ssh] or "
				 "[gateway NAME], for instance");
		return 0;
	}
	scan->section_bad = false;
	entry = conf_text_find(scan->text, name, NULL);
	if (entry) {
		scan->section = entry->section;
	} else if (add_entry(scan, name, NULL)) {
		return -1;
	}
	fprintf(scan->plain, "[%s]\n", name);
	return 0;
}

/* Cuts a comment off a quoted value.  A reason where there is none to be read. */
static const char *check_quoted(char *value)
{
	char *end = strchr(value + 1, *value);
	const char *rest;

	if (!end)
		return "a quoted value without its closing quote; add it";
	rest = end + 1 + strspn(end + 1, " \t");
	if (*rest && *rest != '#' && *rest != ';')
		return "text after the closing quote; put the quotes around all of the value";
	end[1] = '\0';
	if (strchr(value, '\\'))
		return "a backslash in a quoted value; leave the quotes off";
	if (end == value + 1)
		return "no value; leave the line out for the default";
	return NULL;
}

/* What is wrong with a value, which loses its comment where it is quoted. */
static const char *check_value(char *value)
{
	if (*value == '"' || *value == '\'')
		return check_quoted(value);
	if (!*value || *value == '#' || *value == ';')
		return "no value; leave the line out for the default";
	return NULL;
}

static bool key_valid(const char *key)
{
	return *key && strlen(key) <= KEY_MAX &&
	       !key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_-")];
}

/* `reason` is what is wrong with the line as such, or NULL. */
static int scan_value(struct scan *scan, const char *key, char *value, const char *reason)
{
	const struct conf_entry *first = conf_text_find(scan->text, scan->section, key);

	if (first) {
		fprintf(scan->errors,
			"%s:%u: [%s] %s is given a second time; keep this or line %u\n",
			scan->path, scan->line, scan->section, key, first->line);
		scan->bad_lines++;
		return 0;
	}
	if (add_entry(scan, scan->section, key))
		return -1;
	if (!reason)
		reason = check_value(value);
	if (reason) {
		scan_error(scan, reason);
		scan->text->entries[scan->text->count - 1].refused = true;
	} else {
		fprintf(scan->plain, "%s = %s\n", key, value);
	}
	return 0;
}

static int scan_setting(struct scan *scan, char *line, const char *reason)
{
	char *equals = strchr(line, '=');
	char *key;

	if (scan->section_bad)
		return 0; /* its section was named already */
	if (!equals) {
		scan_error(scan, reason ? reason : "neither a [section], nor key = value, nor a # "
						   "comment; write one of them");
		return 0;
	}
	*equals = '\0';
	key = trim(line);
	lower(key);
	if (!key_valid(key)) {
		scan_error(scan, "not the name of a key before the \"=\"; write key = value");
		return 0;
	}
	if (!scan->section) {
		scan_error(scan, "a setting before any section; put [site], or where it belongs, "
				 "above it");
		return 0;
	}
	return scan_value(scan, key, trim(equals + 1), reason);
}

static bool has_control(const char *line)
{
	for (; *line; line++)
		if (((unsigned char)*line < 0x20 && *line != '\t') || *line == 0x7f)
			return true;
	return false;
}

static const char *line_complaint(const char *line)
{
	if (strlen(line) > CONF_LINE_MAX)
		return "the line is longer than 1000 bytes; shorten it, with wider prefixes for "
		       "instance";
	if (has_control(line))
		return "a control character; retype the line";
	if (line[strlen(line) - 1] == '\\')
		return "a backslash at the end; a line can't be continued on the next";
	return NULL;
}

/* One line without its newline, in a buffer that may be written to. */
static int scan_line(struct scan *scan, char *line)
{
	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	if (*line == '[')
		return scan_section(scan, line, line_complaint(line));
	return scan_setting(scan, line, line_complaint(line));
}

static int scan_all(struct scan *scan, char *bytes)
{
	for (char *line = bytes, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		scan->line++;
		if (scan_line(scan, line))
			return -1;
	}
	return 0;
}

/* What iniparser had to say; it keeps one callback for the whole process. */
static _Thread_local bool ini_complained;

static int ini_complaint(const char *format, ...)
{
	(void)format;
	ini_complained = true;
	return 0;
}

/* iniparser 4.1 can read a named file only, so the plain text has to have a name. */
static dictionary *load_plain(const char *plain, size_t size)
{
	dictionary *dict = NULL;
	char name[40];
	int fd;

	fd = memfd_create("dvpnd.conf", MFD_CLOEXEC);
	if (fd < 0)
		return NULL;
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, plain + done, size - done);

		if (n < 0 && errno != EINTR)
			goto out;
		done += n > 0 ? (size_t)n : 0;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ini_complained = false;
	iniparser_set_error_callback(ini_complaint);
	dict = iniparser_load(name);
	if (dict && ini_complained) {
		iniparser_freedict(dict);
		dict = NULL;
	}
out:
	close(fd);
	return dict;
}

/* Fills the values in.  -1 where iniparser and the scan do not agree. */
static int take_values(struct conf_text *text, const dictionary *dict)
{
	char name[SECTION_MAX + KEY_MAX + 2];

	size_t taken = 0;

	for (size_t i = 0; i < text->count; i++) {
		struct conf_entry *entry = &text->entries[i];
		const char *value;

		taken += !entry->refused;
		if (!entry->key || entry->refused)
			continue;
		snprintf(name, sizeof(name), "%s:%s", entry->section, entry->key);
		value = iniparser_getstring(dict, name, NULL);
		entry->value = value && *value ? strdup(value) : NULL;
		if (!entry->value)
			return -1;
	}
	return taken == (size_t)dict->n ? 0 : -1;
}

static int read_values(struct conf_text *text, const char *plain, size_t size, const char *path,
		       FILE *errors)
{
	dictionary *dict = load_plain(plain, size);
	int result = dict ? take_values(text, dict) : -1;

	if (result)
		fprintf(errors, "%s: iniparser can't take it in: out of memory, or /proc is not "
				"mounted; see free(1) and mount(8)\n", path);
	if (dict)
		iniparser_freedict(dict);
	return result;
}

static int refuse_nul(const char *bytes, size_t size, const char *path, FILE *errors)
{
	const char *nul = memchr(bytes, '\0', size);
	unsigned line = 1;

	if (!nul)
		return 0;
	for (const char *c = bytes; c < nul; c++)
		line += *c == '\n';
	fprintf(errors, "%s:%u: a NUL byte: this is no text file; name the right one with -c\n",
		path, line);
	return -1;
}

int conf_text_parse(struct conf_text *text, const char *bytes, size_t size, const char *path,
		    FILE *errors)
{
	struct scan scan = { .text = text, .path = path, .errors = errors };
	char *copy = NULL, *plain = NULL;
	size_t plain_size = 0;
	int result = -1;

	memset(text, 0, sizeof(*text));
	if (refuse_nul(bytes, size, path, errors))
		return -1;
	copy = strndup(bytes, size);
	text->entries = calloc(CONF_ENTRIES_MAX, sizeof(*text->entries));
	scan.plain = open_memstream(&plain, &plain_size);
	if (!copy || !text->entries || !scan.plain) {
		fprintf(errors, "%s: out of memory\n", path);
		goto out;
	}
	result = scan_all(&scan, copy);
	if (fclose(scan.plain) && !result) {
		fprintf(errors, "%s: out of memory\n", path);
		result = -1;
	}
	scan.plain = NULL;
	if (!result)
		result = read_values(text, plain, plain_size, path, errors);
	if (!result)
		result = scan.bad_lines;
out:
	if (scan.plain)
		fclose(scan.plain);
	free(plain);
	free(copy);
	return result;
}

void conf_text_clear(struct conf_text *text)
{
	for (size_t i = 0; i < text->count; i++) {
		free(text->entries[i].section);
		free(text->entries[i].key);
		free(text->entries[i].value);
	}
	free(text->entries);
	memset(text, 0, sizeof(*text));
}

/* -1 with errno, or E2BIG for a file over the cap. */
static int read_all(int fd, char **bytes, size_t *size)
{
	char *buffer = malloc(CONF_FILE_MAX + 1);
	size_t length = 0;
	ssize_t n = 1;

	if (!buffer)
		return -1;
	while (n && length <= CONF_FILE_MAX) {
		n = read(fd, buffer + length, CONF_FILE_MAX + 1 - length);
		if (n < 0 && errno != EINTR) {
			free(buffer);
			return -1;
		}
		length += n > 0 ? (size_t)n : 0;
	}
	if (length > CONF_FILE_MAX) {
		free(buffer);
		errno = E2BIG;
		return -1;
	}
	*bytes = buffer;
	*size = length;
	return 0;
}

static const char *load_remedy(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return "copy dvpnd.conf.example to it, or name another with -c";
	case EACCES:
	case EPERM:
		return "let the user of dvpnd read it, and search the directories above it";
	case E2BIG:
		return "it is over 1 MiB, so hardly a configuration; name the right one with -c";
	case EINVAL:
		return "it is no regular file; name one with -c";
	default:
		return "look at it with ls -l, and at the disk with dmesg";
	}
}

char *conf_text_load(const char *path, size_t *size, FILE *errors)
{
	struct stat st;
	char *bytes = NULL;
	int fd, error = 0;

	/* Non-blocking: a FIFO in its place must not hang the daemon. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		error = errno;
	else if (!S_ISREG(st.st_mode))
		error = EINVAL;
	else if (read_all(fd, &bytes, size))
		error = errno;
	if (fd >= 0)
		close(fd);
	if (error)
		fprintf(errors, "%s: can't be read: %s; %s\n", path, strerror(error),
			load_remedy(error));
	return bytes;
}
