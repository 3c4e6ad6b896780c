// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dvpnd.conf as text: defaults, every kind of error with its line, gateways,
 * printing and reading back, what needs a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>

#include "conf_fields.h"
#include "conf_helpers.h"
#include "conf_text.h"

/* Exactly one error line, which begins and goes on like this. */
static void assert_one_error(const char *text, unsigned line, const char *what)
{
	char start[64];
	struct conf *conf = parse(text);

	assert_null(conf);
	snprintf(start, sizeof(start), PATH ":%u: ", line);
	if (strncmp(errors_text, start, strlen(start)) || !strstr(errors_text, what) ||
	    strchr(errors_text, '\n') != errors_text + strlen(errors_text) - 1)
		fail_msg("%s\ngave:\n%s\nnot one line %s…%s…", text, errors_text, start, what);
	assert_non_null(strchr(errors_text, ';') ? strchr(errors_text, ';') :
						   strchr(errors_text, '?'));
}

static void test_defaults(void **state)
{
	struct conf *conf = parse_good(SITE);

	(void)state;
	assert_string_equal(conf->path, PATH);
	assert_string_equal(conf->key, "/k");
	assert_true(host_name_valid(conf->name));
	assert_null(strchr(conf->name, '.'));
	assert_int_equal(conf->prefix_count, 0);
	assert_int_equal(conf->endpoint_count, 0);
	assert_int_equal(conf->port, 7777);
	assert_int_equal(conf->address_count, 2);
	assert_int_equal(conf->addresses[0].family, AF_INET);
	assert_int_equal(conf->addresses[1].family, AF_INET6);
	assert_int_equal(conf->max_flows, 10000);
	assert_string_equal(conf->map_static, DVPN_SYSCONFDIR "/dvpn/hosts");
	assert_string_equal(conf->map_learned, "/var/lib/dvpn/hosts");
	assert_int_equal(conf->prefix_length, 32);
	assert_string_equal(conf->ssh.user, "dvpn");
	assert_int_equal(conf->ssh.port, 22);
	assert_string_equal(conf->ssh.known_hosts, DVPN_SYSCONFDIR "/dvpn/known_hosts");
	assert_int_equal(conf->ssh.host_keys, HOST_KEYS_STRICT);
	assert_string_equal(conf->ssh.netcat, "nc");
	assert_int_equal(conf->ssh.mode, SSH_MODE_TRUNK);
	assert_int_equal(conf->ssh.connect_timeout, 10);
	assert_int_equal(conf->ssh.keepalive, 15);
	assert_int_equal(conf->ssh.idle_timeout, 300);
	assert_int_equal(conf->ssh.channels_per_link, 64);
	assert_int_equal(conf->crypto, CRYPTO_READAHEAD);
	assert_in_range(conf->workers, 1, 256);
	assert_int_equal(conf->open_timeout, 60);
	assert_int_equal(conf->drain_timeout, 30);
	assert_int_equal(conf->memory, 0);
	assert_string_equal(conf->socket, "/run/dvpn/control");
	assert_int_equal(conf->log_to, LOG_TO_STDERR);
	assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
	assert_int_equal(conf->gateway_count, 0);
	conf_put(conf);
}

/* "auto" is what this process may use, not what the machine has. */
static void test_workers_auto(void **state)
{
	struct conf *conf;
	cpu_set_t all, one;
	int cpu = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	conf = parse_good(SITE "[carry]\nworkers = auto\n");
	assert_int_equal(conf->workers, 1);
	conf_put(conf);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	conf = parse_good(SITE "[carry]\nworkers = 0\n");
	assert_int_equal(conf->workers, CPU_COUNT(&all));
	conf_put(conf);
}

/* Every key, none with its default; odd but right spelling. */
static const char everything[] =
	"; comment\r\n"
	"[ Site ]\r\n"
	"Name = Thursday.Example\r\n"
	"key=\"/etc/k#1;x\"  # quoted for the # in it\r\n"
	"\tprefixes = 10.7.0.0/16,fd00:7::/48 , 192.168.7.0/24\n"
	"endpoints = a.example:2222 203.0.113.7 [2001:db8::7]:22 2001:db8::8\n"
	"[listen]\nport = 1\naddresses = 127.0.0.1\nmax_flows = 1000000 ; all of them\n"
	"[map]\nstatic = '/m \"s'\nlearned = /m l\nprefix_length = 24\n"
	"[ssh]\nuser = u_1.x-y\nport = 65535\nknown_hosts = /kh\nhost_keys = accept-new\n"
	"netcat = /bin/nc.x+1\nmode = direct\nconnect_timeout = 300\nkeepalive = 3600\n"
	"idle_timeout = 0\nchannels_per_link = 1000\ncrypto = stock\n"
	"[carry]\nworkers = 3\nopen_timeout = 600\ndrain_timeout = 0\nmemory = 0\n"
	"[control]\nsocket = /s\n"
	"[log]\nto = syslog\nlevel = debug\n"
	"[gateway \t Saturday]\nnetcat = busybox-nc\n"
	"[gateway friday.dvpn]\nport = 2222\nmode = netcat\n"
	"[site]\n"
	"[gateway friday.dvpn]\nuser = f";

static void test_everything(void **state)
{
	struct conf *conf = parse_good(everything);

	(void)state;
	assert_string_equal(conf->name, "thursday.example");
	assert_string_equal(conf->key, "/etc/k#1;x");
	assert_int_equal(conf->key_line, 4);
	assert_int_equal(conf->known_hosts_line, 18);
	assert_int_equal(conf->prefix_count, 3);
	assert_int_equal(conf->prefixes[1].length, 48);
	assert_int_equal(conf->endpoint_count, 4);
	assert_string_equal(conf->endpoints[0].host, "a.example");
	assert_int_equal(conf->endpoints[0].port, 2222);
	assert_string_equal(conf->endpoints[2].host, "2001:db8::7");
	assert_int_equal(conf->endpoints[3].port, 0);
	assert_int_equal(conf->port, 1);
	assert_int_equal(conf->address_count, 1);
	assert_int_equal(conf->max_flows, 1000000);
	assert_string_equal(conf->map_static, "/m \"s");
	assert_string_equal(conf->map_learned, "/m l");
	assert_int_equal(conf->ssh.mode, SSH_MODE_DIRECT);
	assert_int_equal(conf->ssh.host_keys, HOST_KEYS_ACCEPT_NEW);
	assert_int_equal(conf->crypto, CRYPTO_STOCK);
	assert_int_equal(conf->workers, 3);
	assert_int_equal(conf->memory, 0);
	assert_int_equal(conf->log_to, LOG_TO_SYSLOG);
	assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
	conf_put(conf);
}

static void test_gateways(void **state)
{
	struct conf *conf = parse_good(everything);
	const struct conf_gateway *friday = conf_gateway(conf, "Friday.dvpn");

	(void)state;
	assert_int_equal(conf->gateway_count, 2);
	assert_string_equal(conf->gateways[0].name, "friday.dvpn");
	assert_string_equal(conf->gateways[1].name, "saturday");
	assert_ptr_equal(friday, &conf->gateways[0]);
	assert_null(conf_gateway(conf, "sunday"));
	assert_int_equal(friday->overridden, CONF_SSH_USER | CONF_SSH_PORT | CONF_SSH_MODE);
	assert_int_equal(friday->ssh.port, 2222);
	assert_string_equal(friday->ssh.user, "f");
	assert_int_equal(friday->ssh.mode, SSH_MODE_NETCAT);
	assert_string_equal(friday->ssh.netcat, "/bin/nc.x+1"); /* from [ssh] */
	assert_int_equal(friday->ssh.keepalive, 3600);
	assert_string_equal(conf->gateways[1].ssh.netcat, "busybox-nc");
	assert_int_equal(conf->ssh.port, 65535);
	conf_put(conf);
}

/* [ssh] counts for a gateway even where it comes further down. */
static void test_gateway_before_ssh(void **state)
{
	struct conf *conf = parse_good("[gateway a]\nport=1\n[ssh]\nuser=z\n" SITE);

	(void)state;
	assert_string_equal(conf_gateway(conf, "a")->ssh.user, "z");
	conf_put(conf);
}

static void assert_prints_back(const char *text)
{
	struct conf *conf = parse_good(text), *again;
	char *first = print(conf), *second;

	again = parse_good(first);
	second = print(again);
	assert_string_equal(first, second);
	for (size_t i = 0; i < conf->gateway_count; i++)
		assert_int_equal(conf->gateways[i].overridden, again->gateways[i].overridden);
	assert_string_equal(conf->key, again->key);
	assert_string_equal(conf->map_static, again->map_static);
	assert_int_equal(conf->endpoint_count, again->endpoint_count);
	free(first);
	free(second);
	conf_put(conf);
	conf_put(again);
}

static void test_print(void **state)
{
	struct conf *conf = parse_good(everything);
	char *text = print(conf);

	(void)state;
	assert_prints_back(SITE);
	assert_prints_back(everything);
	assert_prints_back("[site]\nkey = \"/a 'b' #\"\n"
			   "[map]\nstatic=/a\"b'c\nlearned='/q;\"'\n");
	assert_non_null(strstr(text, "key = \"/etc/k#1;x\"\n"));
	assert_non_null(strstr(text, "endpoints = a.example:2222 203.0.113.7 [2001:db8::7]:22 "
				     "2001:db8::8\n"));
	assert_non_null(strstr(text, "\n[gateway friday.dvpn]\nuser = f\nport = 2222\n"
				     "mode = netcat\n"));
	free(text);
	conf_put(conf);
}

static const struct {
	const char *text;
	unsigned line;
	const char *what;
} wrong[] = {
	/* what iniparser would take, or cut, without a word */
	{ SITE "key = /other\n", 3, "second time; keep this or line 2" },
	{ SITE "KEY = /other\n", 3, "[site] key is given a second time" },
	{ SITE "[ssh]\nport=1\n[site]\nkey=/k\n", 6, "keep this or line 2" },
	{ "[site]\nkey = \"/k\n", 2, "without its closing quote" },
	{ "[site]\nkey = \"/k\" /more\n", 2, "text after the closing quote" },
	{ "[site]\nkey = \"/k\\x\"\n", 2, "backslash in a quoted value" },
	{ SITE "name = k\\\n", 3, "can't be continued" },
	{ SITE "[]\n", 3, "not the name of a section" },
	{ SITE "[ssh] # x]\n", 3, "text after the \"]\"" },
	{ SITE "[ssh\n", 3, "section without \"]\"" },
	{ SITE "[gateway a:b]\n", 3, "not the name of a section" },
	{ SITE "a:b = 1\n", 3, "not the name of a key" },
	{ SITE "= 1\n", 3, "not the name of a key" },
	{ SITE "name\n", 3, "neither a [section], nor key = value" },
	{ SITE "name =\n", 3, "no value; leave the line out" },
	{ SITE "name = # x\n", 3, "no value; leave the line out" },
	{ SITE "name = \"\"\n", 3, "no value; leave the line out" },
	{ "key = /k\n" "[site]\nkey = /k\n", 1, "before any section" },
	{ SITE "name = a\033[2Jb\n", 3, "control character" },
	{ SITE "name = a\rb\n", 3, "control character" },

	/* names */
	{ SITE "nmae = x\n", 3, "[site] has no key \"nmae\"; did you mean \"name\"?" },
	{ SITE "netcat = x\n", 3, "[site] has no key \"netcat\"; it belongs in [ssh]" },
	{ SITE "[lsiten]\nport = 1\n", 3, "no section [lsiten]; did you mean [listen]?" },
	{ SITE "[gatway friday]\nx = 1\n", 3, "did you mean [gateway NAME]?" },
	{ SITE "[gateway]\nport = 1\n", 3, "[gateway] without a name" },
	{ SITE "[gateway a b]\n", 3, "\"a b\" is not the name of a site" },
	{ SITE "[gateway -a]\nport=1\n", 3, "\"-a\" is not the name of a site" },
	{ SITE "[gateway a]\nprot = 1\n", 4,
	  "[gateway a] has no key \"prot\"; did you mean \"port\"?" },
	{ SITE "[gateway a]\nworkers = 1\n", 4, "it belongs in [carry]" },
	{ SITE "[gateway a]\nport = 0\n", 4, "[gateway a] port: \"0\" is not a number from 1" },
	{ SITE "[exchange]\n", 3, "no section [exchange]" },

	/* required */
	{ "", 1, "[site] key is missing" },
	{ "\n\n[site]\nname = a\n", 3, "[site] key is missing" },

	/* numbers */
	{ SITE "[listen]\nport = 0\n", 4,
	  "from 1 to 65535; leave the line out for the default, 7777" },
	{ SITE "[listen]\nport = 65536\n", 4, "\"65536\" is not a number" },
	{ SITE "[listen]\nport = -1\n", 4, "\"-1\" is not a number" },
	{ SITE "[listen]\nport = +1\n", 4, "\"+1\" is not a number" },
	{ SITE "[listen]\nport = 1 2\n", 4, "\"1 2\" is not a number" },
	{ SITE "[listen]\nport = 0x10\n", 4, "is not a number" },
	{ SITE "[listen]\nport = 99999999999999999999999\n", 4, "is not a number" },
	{ SITE "[listen]\nmax_flows = 0\n", 4, "from 1 to 1000000" },
	{ SITE "[listen]\nmax_flows = 1000001\n", 4, "from 1 to 1000000" },
	{ SITE "[map]\nprefix_length = 33\n", 4, "from 1 to 32" },
	{ SITE "[map]\nprefix_length = 0\n", 4, "from 1 to 32" },
	{ SITE "[ssh]\nport = 70000\n", 4, "from 1 to 65535" },
	{ SITE "[ssh]\nconnect_timeout = 301\n", 4, "from 1 to 300" },
	{ SITE "[ssh]\nconnect_timeout = 0\n", 4, "from 1 to 300" },
	{ SITE "[ssh]\nkeepalive = 0\n", 4, "from 1 to 3600" },
	{ SITE "[ssh]\nkeepalive = 3601\n", 4, "from 1 to 3600" },
	{ SITE "[ssh]\nidle_timeout = 86401\n", 4, "from 0 to 86400" },
	{ SITE "[ssh]\nchannels_per_link = 0\n", 4, "from 1 to 1000" },
	{ SITE "[ssh]\nchannels_per_link = 1001\n", 4, "from 1 to 1000" },
	{ SITE "[carry]\nworkers = 257\n", 4, "from 0 to 256" },
	{ SITE "[carry]\nworkers = many\n", 4, "leave the line out for the default, auto" },
	{ SITE "[carry]\nopen_timeout = 601\n", 4, "from 1 to 600" },
	{ SITE "[carry]\nopen_timeout = 0\n", 4, "from 1 to 600" },
	{ SITE "[carry]\ndrain_timeout = 3601\n", 4, "from 0 to 3600" },
	{ SITE "[carry]\nmemory = 16M\n", 4, "not in this version" },
	{ SITE "[carry]\nmemory = -1\n", 4, "not in this version" },
	{ SITE "[carry]\nmemory = 00\n", 4, "not in this version" },

	/* words, paths, lists */
	{ SITE "name = a b\n", 3, "\"a b\" is not a host name; give this site's name" },
	{ "[site]\nkey = id_ed25519\n", 2, "is not a whole path" },
	{ "[site]\nkey = ~/.ssh/id\n", 2, "is not a whole path" },
	{ "[site]\nkey = /etc/dvpn/\n", 2, "is a directory" },
	{ SITE "prefixes = 10.7.0.1/16\n", 3, "\"10.7.0.1/16\" is not a prefix" },
	{ SITE "prefixes = 10.7.0.0/16 10.8.0.0/33\n", 3, "\"10.8.0.0/33\" is not a prefix" },
	{ SITE "prefixes = 10.7.0.0/16 10.7.0.0/16\n", 3, "is in it twice" },
	{ SITE "prefixes = ,\n", 3, "nothing in it" },
	{ SITE "endpoints = a:0\n", 3, "\"a:0\" is not an endpoint" },
	{ SITE "endpoints = a:1 A:1\n", 3, "\"A:1\" is in it twice" },
	{ SITE "[listen]\naddresses = localhost\n", 4, "\"localhost\" is not an IPv4 or IPv6" },
	{ SITE "[listen]\naddresses = 1.2.3.4 ::ffff:1.2.3.4\n", 4, "is in it twice" },
	{ SITE "[map]\nstatic = /h\nlearned = /h\n", 3, "the same file" },
	{ SITE "[map]\nlearned = " DVPN_SYSCONFDIR "/dvpn/hosts\n", 3, "the same file" },
	{ SITE "[ssh]\nuser = $(x)\n", 4, "\"$(x)\" has more than the letters" },
	{ SITE "[ssh]\nuser = -l\n", 4, "begins with \"-\"" },
	{ SITE "[ssh]\nnetcat = nc -v\n", 4, "\"nc -v\" has more than the letters" },
	{ SITE "[ssh]\nnetcat = nc|x\n", 4, "has more than the letters" },
	{ SITE "[ssh]\nnetcat = \"nc;x\"\n", 4, "has more than the letters" },
	{ SITE "[ssh]\nmode = trunks\n", 4, "none of trunk, netcat, direct" },
	{ SITE "[ssh]\nmode = Netcat\n", 4, "none of trunk, netcat, direct" },
	{ SITE "[ssh]\nhost_keys = no\n", 4, "none of strict, accept-new" },
	{ SITE "[ssh]\ncrypto = fast\n", 4, "none of readahead, stock" },
	{ SITE "[gateway a]\ncrypto = stock\n", 4, "move it to [ssh]" },
	{ SITE "[log]\nto = file\n", 4, "none of stderr, syslog" },
	{ SITE "[log]\nlevel = loud\n", 4, "none of error, warn, info, debug" },
	{ SITE "[control]\nsocket = control\n", 4, "is not a whole path" },
};

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_one_error(wrong[i].text, wrong[i].line, wrong[i].what);
}

static void test_comment_cuts_value(void **state)
{
	struct conf *conf = parse_good(SITE "[ssh]\nuser = a;b\nnetcat = x # y\n");

	(void)state;
	assert_string_equal(conf->ssh.user, "a");
	assert_string_equal(conf->ssh.netcat, "x");
	conf_put(conf);
}

static void test_all_errors_named(void **state)
{
	static const char *const expected[] = {
		PATH ":2: text after the closing quote", PATH ":1: [site] key is missing",
		PATH ":4: [listen] port", PATH ":5: [listen] has no key \"prot\"",
		PATH ":6: there is no section [x]", PATH ":9: [gateway a] mode",
	};

	(void)state;
	assert_null(parse("[site]\nname=\"\"x\n[listen]\nport=0\nprot=1\n[x]\ny=1\n[gateway a]\n"
			  "mode=x\n"));
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
		if (!strstr(errors_text, expected[i]))
			fail_msg("no \"%s\" in:\n%s", expected[i], errors_text);
}

/* A line of `length` bytes that is right but for its length. */
static struct conf *parse_long(size_t length)
{
	char text[4096] = "[site]\nkey = /";
	size_t start = strlen("[site]\n"), used = strlen(text);

	memset(text + used, 'k', start + length - used);
	strcpy(text + start + length, "\n[ssh]\nport = 23\n");
	return parse(text);
}

static void test_long_line(void **state)
{
	struct conf *conf = parse_long(CONF_LINE_MAX);

	(void)state;
	assert_non_null(conf);
	assert_int_equal(strlen(conf->key), CONF_LINE_MAX - strlen("key = "));
	assert_int_equal(conf->ssh.port, 23);
	conf_put(conf);
	for (size_t length = CONF_LINE_MAX + 1; length < CONF_LINE_MAX + 60; length++) {
		assert_null(parse_long(length));
		assert_non_null(strstr(errors_text, PATH ":2: the line is longer than 1000 bytes"));
	}
}

static void test_long_comment(void **state)
{
	char text[4096] = SITE "#";
	struct conf *conf;

	(void)state;
	memset(text + strlen(text), 'c', 3000);
	conf = parse_good(text);
	conf_put(conf);
}

static void test_socket_length(void **state)
{
	char text[256] = SITE "[control]\nsocket = /";
	size_t used = strlen(text);
	struct conf *conf;

	(void)state;
	memset(text + used, 's', 106);
	conf = parse_good(text);
	conf_put(conf);
	text[used + 106] = 's';
	assert_one_error(text, 4, "longer than the 107 bytes");
}

static void test_no_text(void **state)
{
	static const char nul[] = "[site]\nkey = /k\0\n";

	(void)state;
	assert_null(parse_bytes(nul, sizeof(nul) - 1));
	assert_string_equal(errors_text, PATH ":2: a NUL byte: this is no text file; name the "
			    "right one with -c\n");
}

static void test_too_many(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	for (unsigned i = 0; i <= CONF_ENTRIES_MAX; i++)
		fprintf(out, "[gateway g%u]\n", i);
	fclose(out);
	assert_null(parse(text));
	assert_non_null(strstr(errors_text, PATH ":4097: more than 4096 sections"));
	free(text);
}

static void test_references(void **state)
{
	struct conf *conf = parse_good(SITE);

	(void)state;
	assert_ptr_equal(conf_get(conf), conf);
	conf_put(conf);
	assert_string_equal(conf->key, "/k"); /* a sanitizer sees it if it is gone */
	conf_put(conf);
	conf_put(NULL);
}

static void test_restart_needed(void **state)
{
	struct conf *base = parse_good(SITE), *all = parse_good(everything);
	struct conf *live = parse_good("[site]\nkey=/j\nname=x\nprefixes=10.0.0.0/8\n"
				       "[listen]\nmax_flows=1\naddresses=:: , 0.0.0.0\n"
				       "[ssh]\nuser=z\nport=23\n[log]\nlevel=debug\n"
				       "[map]\nstatic=/x\n[gateway a]\nport=1\n");
	char text[200], small[12];

	(void)state;
	assert_string_equal(conf_restart_needed(base, base, text, sizeof(text)), "");
	assert_string_equal(conf_restart_needed(base, all, text, sizeof(text)),
			    base->workers == 3 ?
				    "[listen] port, [listen] addresses, [ssh] crypto, "
				    "[control] socket" :
				    "[listen] port, [listen] addresses, [ssh] crypto, "
				    "[carry] workers, [control] socket");
	assert_string_equal(conf_restart_needed(all, base, small, sizeof(small)), "[listen] po");
	assert_string_equal(conf_restart_needed(base, live, text, sizeof(text)),
			    "[listen] addresses");
	conf_put(base);
	conf_put(all);
	conf_put(live);
}

static void test_same_needs_no_restart(void **state)
{
	struct conf *a = parse_good("[site]\nkey=/k\n"), *b;

	(void)state;
	b = parse_good("[site]\nkey=/j\n[ssh]\nport=23\nuser=x\n[log]\nlevel=debug\n"
		       "[listen]\nport=7777\naddresses=0.0.0.0,::\nmax_flows=5\n"
		       "[carry]\ndrain_timeout=1\n[map]\nprefix_length=24\n");
	char text[200];

	assert_string_equal(conf_restart_needed(a, b, text, sizeof(text)), "");
	conf_put(a);
	conf_put(b);
}

static void test_nearest(void **state)
{
	(void)state;
	assert_string_equal(conf_nearest_section("lisent"), "listen");
	assert_string_equal(conf_nearest_section("contrl"), "control");
	assert_string_equal(conf_nearest_section("gate way"), "gateway NAME");
	assert_string_equal(conf_nearest_key("ssh", "hostkeys"), "host_keys");
	assert_string_equal(conf_nearest_key("ssh", "knownhosts"), "known_hosts");
	assert_string_equal(conf_nearest_key("listen", "maxflows"), "max_flows");
	assert_string_equal(conf_nearest_key("map", "lerned"), "learned");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_workers_auto),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_gateways),
		cmocka_unit_test(test_gateway_before_ssh),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_comment_cuts_value),
		cmocka_unit_test(test_all_errors_named),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_long_comment),
		cmocka_unit_test(test_socket_length),
		cmocka_unit_test(test_no_text),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_restart_needed),
		cmocka_unit_test(test_same_needs_no_restart),
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
