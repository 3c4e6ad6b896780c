/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What reaches a gateway: [gateway NAME] over the map's line over [ssh], for each
 * field there is, and which differences make a link useless.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "carry/settings.h"

#define SITE "[site]\nkey = /k\n"

static char name[] = "friday.example.net", v4[] = "198.51.100.9", v6[] = "2001:db8::7";

static struct endpoint endpoints[] = { { name, 2222 }, { v4, 0 }, { v6, 0 } };

/* The map's line with nothing said but where. */
static const struct site bare_site = {
	.name = "friday",
	.endpoints = endpoints,
	.endpoint_count = 3,
};

static const struct site full_site = {
	.name = "friday",
	.endpoints = endpoints,
	.endpoint_count = 3,
	.mode = SSH_MODE_DIRECT,
	.user = "mapuser",
	.netcat = "/map/nc",
	.hostkey = "SHA256:bWFw",
};

static struct settings *make(const char *text, const struct site *site)
{
	struct conf *conf = conf_parse(text, strlen(text), "test.conf", stderr);
	struct settings *settings;

	assert_non_null(conf);
	settings = settings_make(conf, site);
	conf_put(conf); /* the settings must outlive it */
	assert_non_null(settings);
	return settings;
}

static void test_defaults(void **state)
{
	struct settings *settings = make(SITE, &bare_site);

	(void)state;
	assert_string_equal(settings->site, "friday");
	assert_null(settings->hostkey);
	assert_string_equal(settings->ssh.user, "dvpn");
	assert_string_equal(settings->ssh.netcat, "nc");
	assert_int_equal(settings->ssh.host_keys, HOST_KEYS_STRICT);
	assert_int_equal(settings->ssh.connect_timeout, 10);
	assert_int_equal(settings->ssh.keepalive, 15);
	assert_int_equal(settings->ssh.idle_timeout, 300);
	assert_int_equal(settings->ssh.channels_per_link, 64);
	settings_put(settings);
}

#define SSH_ALL                                                                                    \
	"[ssh]\nuser = sshuser\nnetcat = /ssh/nc\nmode = netcat\nknown_hosts = /ssh/known\n"       \
	"host_keys = accept-new\nport = 22022\nconnect_timeout = 11\nkeepalive = 12\n"             \
	"idle_timeout = 13\nchannels_per_link = 14\n"

static const struct {
	const char *gateway; /* the section's text, or NULL */
	const struct site *site;
	const char *user, *netcat;
	enum ssh_mode mode;
} word_cases[] = {
	/* [ssh] alone */
	{ NULL, &bare_site, "sshuser", "/ssh/nc", SSH_MODE_NETCAT },
	{ "[gateway thursday]\nuser = other\nnetcat = x\nmode = direct\n", &bare_site, "sshuser",
	  "/ssh/nc", SSH_MODE_NETCAT },
	/* the map's line over it */
	{ NULL, &full_site, "mapuser", "/map/nc", SSH_MODE_DIRECT },
	{ "[gateway friday]\nport = 99\n", &full_site, "mapuser", "/map/nc", SSH_MODE_DIRECT },
	/* [gateway NAME] over both, each word by itself */
	{ "[gateway friday]\nuser = gw\n", &full_site, "gw", "/map/nc", SSH_MODE_DIRECT },
	{ "[gateway friday]\nnetcat = /gw/nc\n", &full_site, "mapuser", "/gw/nc", SSH_MODE_DIRECT },
	{ "[gateway friday]\nmode = netcat\n", &full_site, "mapuser", "/map/nc", SSH_MODE_NETCAT },
	{ "[gateway friday]\nuser = gw\nnetcat = /gw/nc\nmode = netcat\n", &full_site, "gw",
	  "/gw/nc", SSH_MODE_NETCAT },
	{ "[gateway friday]\nuser = gw\nmode = direct\n", &bare_site, "gw", "/ssh/nc",
	  SSH_MODE_DIRECT },
	/* even where it says what [ssh] says */
	{ "[gateway friday]\nuser = sshuser\nnetcat = /ssh/nc\nmode = netcat\n", &full_site,
	  "sshuser", "/ssh/nc", SSH_MODE_NETCAT },
};

static void test_precedence_of_words(void **state)
{
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(word_cases) / sizeof(word_cases[0]); i++) {
		struct settings *settings;

		snprintf(text, sizeof(text), SITE SSH_ALL "%s",
			 word_cases[i].gateway ? word_cases[i].gateway : "");
		settings = make(text, word_cases[i].site);
		if (strcmp(settings->ssh.user, word_cases[i].user) != 0 ||
		    strcmp(settings->ssh.netcat, word_cases[i].netcat) != 0 ||
		    settings->ssh.mode != word_cases[i].mode)
			fail_msg("case %zu: user %s, netcat %s, mode %s", i, settings->ssh.user,
				 settings->ssh.netcat, ssh_mode_name(settings->ssh.mode));
		settings_put(settings);
	}
}

/* Of these a map line says nothing. */
static void test_precedence_of_the_rest(void **state)
{
	struct settings *settings = make(SITE SSH_ALL, &full_site);

	(void)state;
	assert_string_equal(settings->ssh.known_hosts, "/ssh/known");
	assert_int_equal(settings->ssh.host_keys, HOST_KEYS_ACCEPT_NEW);
	assert_int_equal(settings->ssh.connect_timeout, 11);
	assert_int_equal(settings->ssh.keepalive, 12);
	assert_int_equal(settings->ssh.idle_timeout, 13);
	assert_int_equal(settings->ssh.channels_per_link, 14);
	settings_put(settings);

	settings = make(SITE SSH_ALL "[gateway friday]\nknown_hosts = /gw/known\n"
				     "host_keys = strict\nconnect_timeout = 21\nkeepalive = 22\n"
				     "idle_timeout = 23\nchannels_per_link = 24\n",
			&full_site);
	assert_string_equal(settings->ssh.known_hosts, "/gw/known");
	assert_int_equal(settings->ssh.host_keys, HOST_KEYS_STRICT);
	assert_int_equal(settings->ssh.connect_timeout, 21);
	assert_int_equal(settings->ssh.keepalive, 22);
	assert_int_equal(settings->ssh.idle_timeout, 23);
	assert_int_equal(settings->ssh.channels_per_link, 24);
	settings_put(settings);
}

static void test_hostkey_is_the_maps(void **state)
{
	struct settings *settings = make(SITE "[gateway friday]\nuser = gw\n", &full_site);

	(void)state;
	assert_string_equal(settings->hostkey, "SHA256:bWFw");
	assert_ptr_not_equal(settings->hostkey, full_site.hostkey);
	settings_put(settings);
}

static void assert_ports(const char *text, uint16_t port)
{
	struct settings *settings = make(text, &bare_site);

	assert_int_equal(settings->endpoint_count, 3);
	assert_string_equal(settings->endpoints[0].host, "friday.example.net");
	assert_string_equal(settings->endpoints[1].host, "198.51.100.9");
	assert_string_equal(settings->endpoints[2].host, "2001:db8::7");
	assert_int_equal(settings->endpoints[0].port, 2222); /* given: never replaced */
	assert_int_equal(settings->endpoints[1].port, port);
	assert_int_equal(settings->endpoints[2].port, port);
	settings_put(settings);
	assert_int_equal(endpoints[1].port, 0); /* the map's own are as they were */
}

static void test_ports_are_filled_in(void **state)
{
	(void)state;
	assert_ports(SITE, 22);
	assert_ports(SITE "[ssh]\nport = 22022\n", 22022);
	assert_ports(SITE "[ssh]\nport = 22022\n[gateway friday]\nport = 443\n", 443);
	assert_ports(SITE "[ssh]\nport = 22022\n[gateway friday]\nuser = gw\n", 22022);
	assert_ports(SITE "[gateway thursday]\nport = 443\n", 22);
}

/* A site's name is lower case in the map, a section's as it was written. */
static void test_section_in_capitals(void **state)
{
	struct settings *settings = make(SITE "[gateway FRIDAY]\nuser = gw\n", &full_site);

	(void)state;
	assert_string_equal(settings->ssh.user, "gw");
	settings_put(settings);
}

static void test_counting(void **state)
{
	struct settings *settings = make(SITE, &bare_site);

	(void)state;
	assert_int_equal(settings->references, 1);
	assert_ptr_equal(settings_get(settings), settings);
	assert_int_equal(settings->references, 2);
	settings_put(settings);
	assert_int_equal(settings->references, 1);
	assert_string_equal(settings->site, "friday");
	settings_put(settings);
	settings_put(NULL);
}

#define GATEWAY SITE "[gateway friday]\n"

/* Links made with one serve as well as those made with the other, or don't. */
static const struct {
	const char *before, *after;
	bool same;
} conf_cases[] = {
	{ SITE, SITE, true },
	{ SITE, SITE "[ssh]\nuser = dvpn\n", true },
	{ SITE, SITE "[gateway thursday]\nuser = other\n", true },
	{ SITE, SITE "[log]\nlevel = debug\n", true },
	{ SITE, GATEWAY "user = dvpn\n", true },
	{ SITE, GATEWAY "user = other\n", false },
	{ SITE, GATEWAY "netcat = /bin/nc\n", false },
	{ SITE, GATEWAY "known_hosts = /other\n", false },
	{ SITE, GATEWAY "host_keys = accept-new\n", false },
	{ GATEWAY "mode = netcat\n", GATEWAY "mode = direct\n", false },
	{ SITE, GATEWAY "connect_timeout = 9\n", false },
	{ SITE, GATEWAY "keepalive = 9\n", false },
	{ SITE, GATEWAY "idle_timeout = 9\n", false },
	{ SITE, GATEWAY "channels_per_link = 9\n", false },
	{ SITE, GATEWAY "port = 9\n", false },
};

static void assert_same(const struct settings *a, const struct settings *b, bool same,
			const char *what)
{
	if (settings_same(a, b) != same || settings_same(b, a) != same)
		fail_msg("%s: the same to %s", what, same ? "neither" : "one at least");
	assert_true(settings_same(a, a));
	assert_true(settings_same(b, b));
}

static void test_same_by_configuration(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(conf_cases) / sizeof(conf_cases[0]); i++) {
		struct settings *before = make(conf_cases[i].before, &bare_site);
		struct settings *after = make(conf_cases[i].after, &bare_site);

		assert_same(before, after, conf_cases[i].same, conf_cases[i].after);
		settings_put(before);
		settings_put(after);
	}
}

/* A port that every endpoint gives for itself may change in [ssh]. */
static void test_same_with_a_port_that_nobody_uses(void **state)
{
	struct site site = bare_site;
	struct settings *before, *after;

	(void)state;
	site.endpoint_count = 1;
	before = make(SITE, &site);
	after = make(SITE "[ssh]\nport = 443\n", &site);
	assert_same(before, after, true, "unused port");
	settings_put(before);
	settings_put(after);
}

static void assert_same_site(const struct site *changed, bool same, const char *what)
{
	struct settings *before = make(SITE, &full_site), *after = make(SITE, changed);

	assert_same(before, after, same, what);
	settings_put(before);
	settings_put(after);
}

static void test_same_by_map(void **state)
{
	static struct endpoint other_port[] = { { name, 2223 }, { v4, 0 }, { v6, 0 } };
	static struct endpoint said_port[] = { { name, 2222 }, { v4, 22 }, { v6, 22 } };
	static struct endpoint other_order[] = { { name, 2222 }, { v6, 0 }, { v4, 0 } };
	struct site site = full_site;

	(void)state;
	assert_same_site(&site, true, "nothing");
	site.user = "other";
	assert_same_site(&site, false, "user");
	site = full_site, site.netcat = NULL;
	assert_same_site(&site, false, "netcat");
	site = full_site, site.mode = SSH_MODE_NETCAT;
	assert_same_site(&site, false, "mode");
	site = full_site, site.hostkey = NULL;
	assert_same_site(&site, false, "no hostkey");
	site = full_site, site.hostkey = "SHA256:bWFx";
	assert_same_site(&site, false, "hostkey");
	site = full_site, site.endpoint_count = 2;
	assert_same_site(&site, false, "fewer endpoints");
	site = full_site, site.endpoints = other_port;
	assert_same_site(&site, false, "port");
	site = full_site, site.endpoints = said_port;
	assert_same_site(&site, true, "port said");
	site = full_site, site.endpoints = other_order;
	assert_same_site(&site, false, "order");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_precedence_of_words),
		cmocka_unit_test(test_precedence_of_the_rest),
		cmocka_unit_test(test_hostkey_is_the_maps),
		cmocka_unit_test(test_ports_are_filled_in),
		cmocka_unit_test(test_section_in_capitals),
		cmocka_unit_test(test_counting),
		cmocka_unit_test(test_same_by_configuration),
		cmocka_unit_test(test_same_with_a_port_that_nobody_uses),
		cmocka_unit_test(test_same_by_map),
	};

	return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
