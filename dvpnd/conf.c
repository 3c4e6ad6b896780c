// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The configuration as a whole: from entries to struct conf, and back to text.
 *
 * Everything that is wrong is said before a file is refused, so the readers
 * here go on after an error and only count it.
 */
#include "conf.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_fields.h"
#include "conf_text.h"

#define GATEWAY_SECTION "gateway "

struct reader {
	struct conf *conf;
	const struct conf_text *text;
	FILE *errors;
	int bad;
};

static void bad_line(struct reader *reader, unsigned line, const char *fmt, ...) LOG_PRINTF(3, 4);

static void bad_line(struct reader *reader, unsigned line, const char *fmt, ...)
{
	va_list args;

	fprintf(reader->errors, "%s:%u: ", reader->conf->path, line);
	va_start(args, fmt);
	vfprintf(reader->errors, fmt, args);
	va_end(args);
	fputc('\n', reader->errors);
	reader->bad++;
}

/* "gateway friday" to "friday"; NULL for any other section. */
static const char *gateway_of(const char *section)
{
	size_t length = strlen(GATEWAY_SECTION);

	return strncmp(section, GATEWAY_SECTION, length) ? NULL : section + length;
}

static void read_value(struct reader *reader, const struct conf_field *field,
		       const struct conf_entry *entry, void *value)
{
	char reason[CONF_REASON_SIZE] = "";

	if (!field->type->parse(field, entry->value, value, reason))
		return;
	if (field->type->clear)
		field->type->clear(value);
	bad_line(reader, entry->line, "[%s] %s: %s; %s%s", entry->section, entry->key, reason,
		 field->fallback ? "leave the line out for the default, " : "",
		 field->fallback ? field->fallback : field->hint);
}

static void unknown_section(struct reader *reader, const struct conf_entry *entry)
{
	if (!strcmp(entry->section, "gateway"))
		bad_line(reader, entry->line,
			 "[gateway] without a name; write [gateway NAME] with a site's name of the "
			 "map");
	else
		bad_line(reader, entry->line, "there is no section [%s]; did you mean [%s]?",
			 entry->section, conf_nearest_section(entry->section));
}

static void unknown_key(struct reader *reader, const struct conf_entry *entry, const char *section)
{
	const char *other = conf_other_section(section, entry->key);

	if (other)
		bad_line(reader, entry->line, "[%s] has no key \"%s\"; it belongs in [%s]",
			 entry->section, entry->key, other);
	else
		bad_line(reader, entry->line, "[%s] has no key \"%s\"; did you mean \"%s\"?",
			 entry->section, entry->key, conf_nearest_key(section, entry->key));
}

/* All but the gateways, in the order of the file. */
static void read_settings(struct reader *reader)
{
	struct conf *conf = reader->conf;

	for (size_t i = 0; i < reader->text->count; i++) {
		const struct conf_entry *entry = &reader->text->entries[i];
		const struct conf_field *field;

		if (gateway_of(entry->section))
			continue;
		if (!conf_section_known(entry->section)) {
			if (!entry->key)
				unknown_section(reader, entry);
			continue;
		}
		if (!entry->key || entry->refused)
			continue;
		field = conf_field_find(entry->section, entry->key);
		if (field)
			read_value(reader, field, entry, conf_field_value(field, conf, &conf->ssh));
		else
			unknown_key(reader, entry, entry->section);
	}
}

static void read_defaults(struct reader *reader)
{
	struct conf *conf = reader->conf;
	char reason[CONF_REASON_SIZE];
	size_t count;
	const struct conf_field *fields = conf_fields(&count);

	for (size_t i = 0; i < count; i++) {
		const struct conf_field *field = &fields[i];

		if (!field->fallback || conf_text_find(reader->text, field->section, field->key))
			continue;
		if (field->type->parse(field, field->fallback,
				       conf_field_value(field, conf, &conf->ssh), reason))
			bad_line(reader, 1, "the default of [%s] %s: %s; give a value of your own",
				 field->section, field->key, reason);
	}
}

/* The section's line where it is there, else the first. */
static unsigned section_line(const struct reader *reader, const char *section)
{
	const struct conf_entry *entry = conf_text_find(reader->text, section, NULL);

	return entry ? entry->line : 1;
}

static unsigned key_line(const struct reader *reader, const char *section, const char *key)
{
	const struct conf_entry *entry = conf_text_find(reader->text, section, key);

	return entry ? entry->line : 0;
}

static void name_after_host(struct reader *reader)
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	for (char *c = host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (host_name_valid(host))
		reader->conf->name = strdup(host);
	if (!reader->conf->name)
		bad_line(reader, section_line(reader, "site"),
			 "the host has no name that could be this site's; give [site] name =");
}

static void check_site(struct reader *reader)
{
	struct conf *conf = reader->conf;

	conf->key_line = key_line(reader, "site", "key");
	conf->known_hosts_line = key_line(reader, "ssh", "known_hosts");
	if (!conf->key_line)
		bad_line(reader, section_line(reader, "site"),
			 "[site] key is missing: it names the private key that this site is known "
			 "by; ssh-keygen -t ed25519 -N '' -f %s/dvpn/id_ed25519, and name that file",
			 DVPN_SYSCONFDIR);
	if (!key_line(reader, "site", "name"))
		name_after_host(reader);
	if (conf->map_static && conf->map_learned && !strcmp(conf->map_static, conf->map_learned))
		bad_line(reader, section_line(reader, "map"),
			 "[map] static and learned are the same file; name two: dvpnd overwrites "
			 "the learned one");
}

/* ---- gateways ---- */

static int gateway_compare(const void *a, const void *b)
{
	const struct conf_gateway *left = a, *right = b;

	return strcasecmp(left->name, right->name);
}

static int copy_string(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -1 : 0;
}

static int copy_ssh(struct conf_ssh *to, const struct conf_ssh *from)
{
	int failed;

	*to = *from;
	failed = copy_string(&to->user, from->user);
	failed |= copy_string(&to->known_hosts, from->known_hosts);
	failed |= copy_string(&to->netcat, from->netcat);
	return failed;
}

/* NULL, and an error, for a section that names no site. */
static struct conf_gateway *add_gateway(struct reader *reader, const struct conf_entry *entry)
{
	struct conf *conf = reader->conf;
	struct conf_gateway *gateway = &conf->gateways[conf->gateway_count];
	const char *name = gateway_of(entry->section);

	if (!host_name_valid(name)) {
		bad_line(reader, entry->line, "\"%.80s\" is not the name of a site; write "
			 "[gateway NAME] with a site's name of the map", name);
		return NULL;
	}
	conf->gateway_count++;
	gateway->line = entry->line;
	gateway->name = strdup(name);
	if (copy_ssh(&gateway->ssh, &conf->ssh) || !gateway->name)
		bad_line(reader, entry->line, "out of memory; see free(1)");
	return gateway;
}

/* What the settings of a section override.  `from` is its heading; a section
 * may come back further down in the file. */
static void read_overrides(struct reader *reader, size_t from, struct conf_gateway *gateway)
{
	const char *section = reader->text->entries[from].section;

	for (size_t i = from + 1; i < reader->text->count; i++) {
		const struct conf_entry *entry = &reader->text->entries[i];
		const struct conf_field *field;
		void *value;

		if (!entry->key || entry->refused || strcmp(entry->section, section))
			continue;
		field = conf_field_find("ssh", entry->key);
		if (!field) {
			unknown_key(reader, entry, "ssh");
			continue;
		}
		if (!field->ssh_bit) {
			bad_line(reader, entry->line,
				 "[%s] %s: it holds for all gateways alike; move it to [ssh]",
				 entry->section, entry->key);
			continue;
		}
		value = conf_field_value(field, reader->conf, &gateway->ssh);
		if (field->type->clear)
			field->type->clear(value);
		gateway->overridden |= field->ssh_bit;
		read_value(reader, field, entry, value);
	}
}

static void read_gateways(struct reader *reader)
{
	const struct conf_text *text = reader->text;
	struct conf *conf = reader->conf;

	conf->gateways = calloc(text->count + 1, sizeof(*conf->gateways));
	if (!conf->gateways) {
		bad_line(reader, 1, "out of memory; see free(1)");
		return;
	}
	for (size_t i = 0; i < text->count; i++) {
		struct conf_gateway *gateway;

		if (text->entries[i].key || !gateway_of(text->entries[i].section))
			continue;
		gateway = add_gateway(reader, &text->entries[i]);
		if (gateway)
			read_overrides(reader, i, gateway);
	}
	qsort(conf->gateways, conf->gateway_count, sizeof(*conf->gateways), gateway_compare);
}

/* ---- what others call ---- */

static struct conf *conf_read(const struct conf_text *text, const char *path, FILE *errors, int bad)
{
	struct reader reader = { .text = text, .errors = errors, .bad = bad };
	struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf || !(conf->path = strdup(path))) {
		fprintf(errors, "%s: out of memory; see free(1)\n", path);
		free(conf);
		return NULL;
	}
	conf->references = 1;
	reader.conf = conf;
	read_settings(&reader);
	read_defaults(&reader);
	check_site(&reader);
	read_gateways(&reader);
	if (reader.bad) {
		conf_put(conf);
		return NULL;
	}
	return conf;
}

struct conf *conf_parse(const char *text, size_t size, const char *path, FILE *errors)
{
	struct conf_text entries;
	struct conf *conf = NULL;
	int bad = conf_text_parse(&entries, text, size, path, errors);

	if (bad >= 0)
		conf = conf_read(&entries, path, errors, bad);
	conf_text_clear(&entries);
	return conf;
}

struct conf *conf_load(const char *path, FILE *errors)
{
	size_t size = 0;
	char *text = conf_text_load(path, &size, errors);
	struct conf *conf = text ? conf_parse(text, size, path, errors) : NULL;

	free(text);
	return conf;
}

struct conf *conf_get(struct conf *conf)
{
	__atomic_add_fetch(&conf->references, 1, __ATOMIC_RELAXED);
	return conf;
}

static void clear_fields(struct conf *conf, struct conf_ssh *ssh, bool ssh_only)
{
	size_t count;
	const struct conf_field *fields = conf_fields(&count);

	for (size_t i = 0; i < count; i++)
		if (fields[i].type->clear && (fields[i].ssh_bit || !ssh_only))
			fields[i].type->clear(conf_field_value(&fields[i], conf, ssh));
}

void conf_put(struct conf *conf)
{
	if (!conf || __atomic_sub_fetch(&conf->references, 1, __ATOMIC_ACQ_REL))
		return;
	for (unsigned i = 0; i < conf->gateway_count; i++) {
		clear_fields(conf, &conf->gateways[i].ssh, true);
		free(conf->gateways[i].name);
	}
	clear_fields(conf, &conf->ssh, false);
	free(conf->gateways);
	free(conf->path);
	free(conf);
}

/* A value that is unset has no text that would be read back as unset: it is left
 * out.  Only types with something to free can be unset, and begin with a pointer. */
static void print_field(const struct conf_field *field, const void *value, FILE *out)
{
	if (field->type->clear && !*(void *const *)value)
		return;
	fprintf(out, "%s = ", field->key);
	field->type->print(field, value, out);
	fputc('\n', out);
}

static void print_gateway(const struct conf_gateway *gateway, FILE *out)
{
	struct conf_ssh ssh = gateway->ssh; /* conf_field_value is not for const */
	size_t count;
	const struct conf_field *fields = conf_fields(&count);

	fprintf(out, "\n[gateway %s]\n", gateway->name);
	for (size_t i = 0; i < count; i++)
		if (fields[i].ssh_bit & gateway->overridden)
			print_field(&fields[i], conf_field_value(&fields[i], NULL, &ssh), out);
}

void conf_print(const struct conf *conf, FILE *out)
{
	struct conf copy = *conf;
	const char *section = NULL;
	size_t count;
	const struct conf_field *fields = conf_fields(&count);

	for (size_t i = 0; i < count; i++) {
		const struct conf_field *field = &fields[i];

		if (!section || strcmp(section, field->section))
			fprintf(out, "%s[%s]\n", section ? "\n" : "", field->section);
		section = field->section;
		print_field(field, conf_field_value(field, &copy, &copy.ssh), out);
	}
	for (unsigned i = 0; i < conf->gateway_count; i++)
		print_gateway(&conf->gateways[i], out);
}

const struct conf_gateway *conf_gateway(const struct conf *conf, const char *name)
{
	struct conf_gateway wanted = { .name = (char *)name };

	if (!conf->gateway_count)
		return NULL;
	return bsearch(&wanted, conf->gateways, conf->gateway_count, sizeof(wanted),
		       gateway_compare);
}

/* The value as text, to be freed; NULL without memory. */
static char *field_text(const struct conf_field *field, const void *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	field->type->print(field, value, out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

/* Without memory to tell, a field counts as changed. */
static bool field_same(const struct conf_field *field, const struct conf *before,
		       const struct conf *after)
{
	/* not copies: workers count references in them meanwhile */
	struct conf *old = (struct conf *)before, *new = (struct conf *)after;
	char *a = field_text(field, conf_field_value(field, old, &old->ssh));
	char *b = field_text(field, conf_field_value(field, new, &new->ssh));
	bool same = a && b && !strcmp(a, b);

	free(a);
	free(b);
	return same;
}

const char *conf_restart_needed(const struct conf *before, const struct conf *after, char *text,
				size_t size)
{
	size_t count, length = 0;
	const struct conf_field *fields = conf_fields(&count);

	if (size)
		*text = '\0';
	for (size_t i = 0; i < count; i++) {
		if (!fields[i].restart || field_same(&fields[i], before, after) || length >= size)
			continue;
		length += (size_t)snprintf(text + length, size - length, "%s[%s] %s",
					   length ? ", " : "", fields[i].section, fields[i].key);
	}
	return text;
}
