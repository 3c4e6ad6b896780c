/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a direction of the wire does to packets, and the words that say so:
 *
 *   [there|back] WORD…
 *   delay T   jitter T   rate R|none   queue T   loss P   reorder P
 *   cut       up         seed N        clear
 *
 * T is 25ms, 500us or 1s; R is 100mbit, 64kbit or 1gbit; P is 1% or 0.05%.
 * Without there or back both directions change; what is not named stays.
 */
#ifndef TESTS_NET_WIRE_SETTINGS_H
#define TESTS_NET_WIRE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings {
	uint64_t delay, jitter; /* nanoseconds; jitter adds between -jitter and +jitter */
	uint64_t rate;          /* bits of IP packets a second, 0: none */
	uint64_t queue;         /* nanoseconds that a packet may wait for its turn at that rate */
	double loss, reorder;   /* shares of the packets, 0 to 1 */
	uint64_t seed;
	bool reseed; /* the words named a seed */
	bool cut;
};

void settings_clear(struct settings *settings);

/* Applies a line of words to both directions, or to neither.  0, or -1 with a
 * reason in error. */
int settings_apply(struct settings both[2], const char *words, char *error, size_t size);

/* One direction as words. */
void settings_print(const struct settings *settings, char *text, size_t size);

#endif
