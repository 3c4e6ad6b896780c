/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frames of a trunk, byte for byte: what one end writes is what dvpn-trunk(7)
 * shows, and the other end reads it back; what is cut short or too long is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../chroot/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void numbers_are_big_endian(void **state)
{
	static const uint32_t values[] = { 0,	    1,		0xff,	    0x100,     0xffff,
					   0x10000, 0x7fffffff, 0x80000000, 0xffffffff };
	uint8_t bytes[4];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(values); i++) {
		frame_put_u32(bytes, values[i]);
		assert_int_equal(frame_get_u32(bytes), values[i]);
		frame_put_u16(bytes, (uint16_t)values[i]);
		assert_int_equal(frame_get_u16(bytes), (uint16_t)values[i]);
	}
	frame_put_u32(bytes, 0x01020304);
	assert_memory_equal(bytes, "\1\2\3\4", 4);
}

static void header_has_its_bytes(void **state)
{
	static const uint8_t wanted[] = { 5, 0, 0x7f, 0xb4, 0x00, 0x03, 0x00, 0x2a };
	struct frame_header header;
	uint8_t bytes[FRAME_HEADER];

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	frame_put_header(bytes, FRAME_DATA, FRAME_PAYLOAD, 0x0003002a);
	assert_memory_equal(bytes, wanted, sizeof(wanted));
	assert_int_equal(frame_get_header(bytes, &header), 0);
	assert_int_equal(header.type, FRAME_DATA);
	assert_int_equal(header.length, FRAME_PAYLOAD);
	assert_int_equal(header.stream, 0x0003002a);
}

static void header_has_a_longest_payload(void **state)
{
	static const struct {
		unsigned length;
		int result;
	} cases[] = { { 0, 0 }, { FRAME_PAYLOAD, 0 }, { FRAME_PAYLOAD + 1, -1 }, { 0xffff, -1 } };
	struct frame_header header;
	uint8_t bytes[FRAME_HEADER] = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(FRAME_PAYLOAD, 32692);
	for (i = 0; i < COUNT(cases); i++) {
		frame_put_u16(bytes + 2, (uint16_t)cases[i].length);
		assert_int_equal(frame_get_header(bytes, &header), cases[i].result);
	}
}

static void hello_has_its_bytes(void **state)
{
	static const uint8_t wanted[FRAME_HELLO_SIZE] = { 'd', 'v', 'p',  'n', 0, 1, 0,	   0,
							  0,   0,   0x40, 0,   0, 0, 0x40, 0 };
	const struct frame_hello hello = { 1, 16384, 16384 };
	struct frame_hello got;
	uint8_t bytes[FRAME_HELLO_SIZE];

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	frame_put_hello(bytes, &hello);
	assert_memory_equal(bytes, wanted, sizeof(wanted));
	assert_int_equal(frame_get_hello(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.version, 1);
	assert_int_equal(got.streams, 16384);
	assert_int_equal(got.credit, 16384);
}

static void hello_is_refused(void **state)
{
	const struct frame_hello hello = { 1, 16384, 16384 };
	struct frame_hello got;
	uint8_t bytes[FRAME_HELLO_SIZE];
	size_t i;

	(void)state;
	frame_put_hello(bytes, &hello);
	for (i = 0; i < sizeof(bytes); i++)
		assert_int_equal(frame_get_hello(bytes, i, &got), -1);
	for (i = 0; i < 4; i++) {
		frame_put_hello(bytes, &hello);
		bytes[i] ^= 0x20;
		assert_int_equal(frame_get_hello(bytes, sizeof(bytes), &got), -1);
	}
}

/* The example of dvpn-trunk(7). */
static const uint8_t open_bytes[FRAME_OPEN_SIZE] = {
	4, 4, 0,  80, 10, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0,    0, 4,
	0, 0, 10, 7,  0,  9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0x50, 0, 0,
};
static const struct frame_open open_values = {
	.family = 4,
	.address = { 10, 8, 0, 5 },
	.port = 80,
	.credit = 262144,
	.client_family = 4,
	.client = { 10, 7, 0, 9 },
	.client_port = 50000,
};

static void open_has_its_bytes(void **state)
{
	struct frame_open got = { 0 };
	uint8_t bytes[FRAME_OPEN_SIZE];

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	frame_put_open(bytes, &open_values);
	assert_memory_equal(bytes, open_bytes, sizeof(open_bytes));
	assert_int_equal(frame_get_open(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.family, 4);
	assert_memory_equal(got.address, open_values.address, 16);
	assert_int_equal(got.port, 80);
	assert_int_equal(got.credit, 262144);
	assert_int_equal(got.client_family, 4);
	assert_memory_equal(got.client, open_values.client, 16);
	assert_int_equal(got.client_port, 50000);
}

static void open_is_refused(void **state)
{
	struct frame_open got;
	uint8_t bytes[FRAME_OPEN_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < FRAME_OPEN_SIZE; i++)
		assert_int_equal(frame_get_open(open_bytes, i, &got), -1);
	memcpy(bytes, open_bytes, sizeof(bytes));
	for (i = 0; i < 256; i++) {
		bytes[0] = (uint8_t)i;
		assert_int_equal(frame_get_open(bytes, sizeof(bytes), &got),
				 i == 4 || i == 6 ? 0 : -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_big_endian),
		cmocka_unit_test(header_has_its_bytes),
		cmocka_unit_test(header_has_a_longest_payload),
		cmocka_unit_test(hello_has_its_bytes),
		cmocka_unit_test(hello_is_refused),
		cmocka_unit_test(open_has_its_bytes),
		cmocka_unit_test(open_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
