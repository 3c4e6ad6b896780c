/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Words to settings and back.  Changes are made to a copy, so a bad word leaves
 * the wire as it was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings.h"

struct unit {
	const char *name;
	double factor;
};

static const struct unit times[] = { { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { NULL, 0 } };
static const struct unit rates[] = { { "kbit", 1e3 }, { "mbit", 1e6 }, { "gbit", 1e9 }, { NULL, 0 } };
static const struct unit shares[] = { { "%", 0.01 }, { NULL, 0 } };

void settings_clear(struct settings *settings)
{
	*settings = (struct settings){ .queue = 100000000 };
}

/* A number and its unit, at most `most` once multiplied. */
static int quantity(const char *word, const struct unit *units, double most, double *value)
{
	const struct unit *unit;
	char *end;
	double number = strtod(word, &end);

	if (end == word || !(number >= 0))
		return -1;
	for (unit = units; unit->name; unit++)
		if (strcmp(end, unit->name) == 0) {
			*value = number * unit->factor;
			return *value <= most ? 0 : -1;
		}
	return -1;
}

static int set_time(const char *word, uint64_t *to)
{
	double value;

	if (quantity(word, times, 60e9, &value))
		return -1;
	*to = (uint64_t)value;
	return 0;
}

static int set_rate(const char *word, uint64_t *to)
{
	double value = 0;

	if (strcmp(word, "none") != 0 && (quantity(word, rates, 1e12, &value) || value < 1))
		return -1;
	*to = (uint64_t)value;
	return 0;
}

static int set_seed(const char *word, struct settings *s)
{
	char *end;

	errno = 0;
	s->seed = strtoull(word, &end, 10);
	s->reseed = true;
	return end == word || *end || errno ? -1 : 0;
}

/* A word that takes a value. */
static int set_value(struct settings *s, const char *name, const char *value)
{
	if (strcmp(name, "delay") == 0)
		return set_time(value, &s->delay);
	if (strcmp(name, "jitter") == 0)
		return set_time(value, &s->jitter);
	if (strcmp(name, "queue") == 0)
		return set_time(value, &s->queue);
	if (strcmp(name, "rate") == 0)
		return set_rate(value, &s->rate);
	if (strcmp(name, "loss") == 0)
		return quantity(value, shares, 1, &s->loss);
	if (strcmp(name, "reorder") == 0)
		return quantity(value, shares, 1, &s->reorder);
	return strcmp(name, "seed") == 0 ? set_seed(value, s) : -1;
}

/* A word by itself; false when it is none. */
static bool set_flag(struct settings *s, const char *name)
{
	if (strcmp(name, "cut") == 0)
		s->cut = true;
	else if (strcmp(name, "up") == 0)
		s->cut = false;
	else if (strcmp(name, "clear") == 0)
		settings_clear(s);
	else
		return false;
	return true;
}

static int apply_words(struct settings *s, char *words, char *error, size_t size)
{
	char *save = NULL, *name, *value;

	for (name = strtok_r(words, " \t\n", &save); name; name = strtok_r(NULL, " \t\n", &save)) {
		if (set_flag(s, name))
			continue;
		value = strtok_r(NULL, " \t\n", &save);
		if (!value || set_value(s, name, value)) {
			snprintf(error, size, "\"%s%s%s\" is no setting: delay|jitter|queue 25ms, "
				"rate 100mbit|none, loss|reorder 1%%, seed N, cut, up, clear", name,
				value ? " " : "", value ? value : "");
			return -1;
		}
	}
	return 0;
}

int settings_apply(struct settings both[2], const char *words, char *error, size_t size)
{
	struct settings changed[2] = { both[0], both[1] };
	bool there = strncmp(words, "there ", 6) == 0, back = strncmp(words, "back ", 5) == 0;
	char copy[512];
	int i;

	if (strlen(words) >= sizeof(copy)) {
		snprintf(error, size, "too many words");
		return -1;
	}
	for (i = 0; i < 2; i++) {
		if (i == 0 ? back : there)
			continue;
		strcpy(copy, words + (there ? 6 : back ? 5 : 0));
		if (apply_words(&changed[i], copy, error, size))
			return -1;
	}
	/* A jitter above the delay would ask for packets out of the future. */
	if (changed[0].jitter > changed[0].delay || changed[1].jitter > changed[1].delay) {
		snprintf(error, size, "jitter must not be more than delay");
		return -1;
	}
	memcpy(both, changed, sizeof(changed));
	return 0;
}

void settings_print(const struct settings *s, char *text, size_t size)
{
	char rate[32] = "none";

	if (s->rate)
		snprintf(rate, sizeof(rate), "%gmbit", (double)s->rate / 1e6);
	snprintf(text, size, "delay %gms jitter %gms rate %s queue %gms loss %g%% reorder %g%% %s",
		(double)s->delay / 1e6, (double)s->jitter / 1e6, rate, (double)s->queue / 1e6,
		s->loss * 100, s->reorder * 100, s->cut ? "cut" : "up");
}
