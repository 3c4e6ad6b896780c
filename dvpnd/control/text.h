/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text for people: foreign strings made harmless, sizes and ages made short.
 */
#ifndef DVPND_CONTROL_TEXT_H
#define DVPND_CONTROL_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Length of the UTF-8 character at `text`, 1 to 4, and its code point; 0 where
 * the bytes are no well-formed character (then skip one byte).  Not for the
 * terminating zero.
 */
unsigned text_decode(const char *text, uint32_t *code);

/* Would this character steer a terminal, or hide or reorder what is around it? */
bool text_steers(uint32_t code);

/*
 * Writes the text with everything that steers, is malformed or could forge a
 * line turned into \xNN or \u{N}; a backslash becomes two.  Returns the columns
 * that it takes, counting one for each character; `out` NULL only counts.
 */
unsigned text_print(FILE *out, const char *text);

#define TEXT_NUMBER_SIZE 32
/* "0", "999", "1.5K", "20.0M": units of 1024. */
const char *text_bytes(uint64_t bytes, char text[TEXT_NUMBER_SIZE]);
/* "0.4s", "12s", "3m12s", "5h02m", "3d04h"; a negative age is "0.0s". */
const char *text_age(double seconds, char text[TEXT_NUMBER_SIZE]);

#endif
