/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The map files on disk: reading them, keeping them, seeing them change. */
#include "mapfiles.h"

#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE 10. /* seconds until a change that is not seen fails a test */
#define QUIET .4     /* seconds in which nothing may be told: four times what it takes */

static char base[] = "/tmp/mapfiles_test.XXXXXX"; /* mkdtemp fills it */
static struct ev_loop *loop;
static struct conf conf;
static char *errors;
static unsigned bad_lines, changes;

static char *in_base(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", base, name) < 0)
		abort();
	return path;
}

static void put(const char *name, const char *text)
{
	char *path = in_base(name);
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	free(path);
}

static void move(const char *from, const char *to)
{
	char *old = in_base(from), *new = in_base(to);

	assert_int_equal(rename(old, new), 0);
	free(old);
	free(new);
}

static void discard(const char *name)
{
	char *path = in_base(name);

	assert_int_equal(unlink(path), 0);
	free(path);
}

static void make_directory(const char *name)
{
	char *path = in_base(name);

	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
}

static void use_paths(const char *operator, const char *learned)
{
	free(conf.map_static);
	free(conf.map_learned);
	conf.map_static = in_base(operator);
	conf.map_learned = in_base(learned);
	conf.prefix_length = 32;
}

static int setup(void **state)
{
	(void)state;
	strcpy(strrchr(base, '.') + 1, "XXXXXX");
	if (!mkdtemp(base))
		return -1;
	use_paths("hosts", "learned");
	loop = ev_loop_new(EVFLAG_AUTO);
	changes = 0;
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	char *command;

	(void)state;
	ev_loop_destroy(loop);
	free(conf.map_static);
	free(conf.map_learned);
	memset(&conf, 0, sizeof(conf));
	free(errors);
	errors = NULL;
	if (asprintf(&command, "rm -rf '%s'", base) < 0 || system(command))
		return -1;
	free(command);
	return 0;
}

/* Loads, and says which sites there are. */
static const char *load(struct mapfiles *mapfiles)
{
	static char names[200];
	const struct site *sites;
	struct routes *routes;
	size_t count, size, i;
	FILE *out;

	free(errors);
	out = open_memstream(&errors, &size);
	routes = mapfiles_load(mapfiles, &conf, out, &bad_lines);
	fclose(out);
	assert_non_null(routes);
	names[0] = '\0';
	sites = routes_sites(routes, &count);
	for (i = 0; i < count; i++)
		strcat(strcat(names, i ? " " : ""), sites[i].name);
	routes_put(routes);
	return names;
}

static void assert_error(const char *name, const char *part)
{
	char *path = in_base(name);

	assert_non_null(strstr(errors, path));
	assert_non_null(strstr(errors, part));
	assert_non_null(strchr(errors, '\n'));
	free(path);
}

static void on_changed(void *arg)
{
	assert_ptr_equal(arg, &changes);
	changes++;
	ev_break(loop, EVBREAK_ALL);
}

static void on_patience(struct ev_loop *running, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	ev_break(running, EVBREAK_ALL);
}

/* Runs until a change was told, but no longer than so many seconds. */
static unsigned count_changes(double seconds)
{
	unsigned before = changes;
	ev_timer patience;

	ev_timer_init(&patience, on_patience, seconds, 0.);
	ev_now_update(loop);
	ev_timer_start(loop, &patience);
	ev_run(loop, 0);
	ev_timer_stop(loop, &patience);
	return changes - before;
}

static void await_change(const char *what)
{
	if (count_changes(PATIENCE) != 1)
		fail_msg("%s: no change was told", what);
}

static void expect_quiet(const char *what)
{
	if (count_changes(QUIET) != 0)
		fail_msg("%s: a change was told", what);
}

static void test_both_files(void **state)
{
	(void)state;
	put("hosts", "10.1.0.1 a #! x\nrubbish\n");
	put("learned", "10.2.0.1 b #! y\n");
	assert_string_equal(load(NULL), "a b");
	assert_int_equal(bad_lines, 1);
	assert_error("hosts", "hosts:2: does not begin with");
}

static void test_missing(void **state)
{
	(void)state;
	assert_string_equal(load(NULL), "");
	assert_int_equal(bad_lines, 1);
	assert_error("hosts", "No such file");
	assert_null(strstr(errors, "learned"));
	put("hosts", "");
	assert_string_equal(load(NULL), "");
	assert_int_equal(bad_lines, 0);
	assert_string_equal(errors, "");
}

/* Each kind of unreadable file, at first and after a good one. */
static void test_unreadable(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	char *path = in_base("hosts");

	(void)state;
	put("learned", "10.2.0.1 b #! y\n");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_string_equal(load(mapfiles), "b");
	assert_int_equal(bad_lines, 1);
	assert_error("hosts", "Is a directory");
	assert_null(strstr(errors, "stays in force"));

	assert_int_equal(rmdir(path), 0);
	put("hosts", "10.1.0.1 a #! x\nrubbish\n");
	assert_string_equal(load(mapfiles), "a b");

	discard("hosts");
	assert_string_equal(load(mapfiles), "a b");
	assert_int_equal(bad_lines, 2); /* the file, and its line from before */
	assert_error("hosts", "stays in force");

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_string_equal(load(mapfiles), "a b");
	assert_error("hosts", "no regular file");
	discard("hosts");

	put("hosts", "");
	assert_int_equal(truncate(path, (off_t)MAPFILES_SIZE_MAX + 1), 0);
	assert_string_equal(load(mapfiles), "a b");
	assert_error("hosts", "larger than 64 MiB");

	put("hosts", "10.3.0.1 c #! x\n");
	assert_string_equal(load(mapfiles), "b c");
	assert_string_equal(errors, "");
	free(path);
	mapfiles_stop(mapfiles);
}

static void test_learned_removed(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);

	(void)state;
	put("hosts", "10.1.0.1 a #! x\n");
	put("learned", "10.2.0.1 b #! y\n");
	assert_string_equal(load(mapfiles), "a b");
	discard("learned");
	assert_string_equal(load(mapfiles), "a");
	assert_string_equal(errors, "");
	mapfiles_stop(mapfiles);
}

/* What was read under another name must not stand in for this one. */
static void test_other_path(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);

	(void)state;
	put("hosts", "10.1.0.1 a #! x\n");
	assert_string_equal(load(mapfiles), "a");
	use_paths("elsewhere", "learned");
	assert_string_equal(load(mapfiles), "");
	assert_error("elsewhere", "No such file");
	mapfiles_stop(mapfiles);
}

static void test_larger_than_announced(void **state)
{
	(void)state;
	/* A file of size 0 that has content all the same. */
	free(conf.map_static);
	conf.map_static = strdup("/proc/self/status");
	load(NULL);
	assert_true(bad_lines > 10);
}

static void test_changes(void **state)
{
	struct mapfiles *mapfiles;
	char *path = in_base("hosts"), *other = in_base("other");

	(void)state;
	mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	put("hosts", "");
	await_change("made");
	put("hosts", "# more\n");
	await_change("written");
	put("new", "# new\n");
	move("new", "hosts");
	await_change("replaced");
	put("hosts", "# again\n");
	await_change("written after it was replaced");
	put("learned", "");
	await_change("the learned one made");
	discard("hosts");
	await_change("removed");
	assert_int_equal(link(other, path), -1);
	put("other", "");
	assert_int_equal(link(other, path), 0);
	await_change("linked");
	move("hosts", "gone");
	await_change("moved away");
	free(path);
	free(other);
	mapfiles_stop(mapfiles);
}

/* Many changes in a row are told once; changes of other files never. */
static void test_coalesced(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	unsigned i;

	(void)state;
	put("other", "");
	put("hosts.new", "");
	for (i = 0; i < 20; i++) {
		put("hosts", "");
		put("learned", "");
	}
	await_change("many");
	expect_quiet("many, told already");
	put("other", "more");
	discard("other");
	expect_quiet("another file");
	mapfiles_stop(mapfiles);
}

/* Half a file is no change: who writes it closes it in the end. */
static void test_half_written(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	char *path = in_base("hosts");
	FILE *out = fopen(path, "w");

	(void)state;
	assert_non_null(out);
	fputs("10.1.0.1 a", out);
	fflush(out);
	expect_quiet("half written");
	fclose(out);
	await_change("written");
	free(path);
	mapfiles_stop(mapfiles);
}

static void test_behind_link(void **state)
{
	struct mapfiles *mapfiles;
	char *path = in_base("hosts");

	(void)state;
	make_directory("far");
	put("far/map", "");
	assert_int_equal(symlink("far/map", path), 0);
	mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	put("far/map", "# more\n");
	await_change("behind a link");
	discard("hosts");
	await_change("link removed");
	assert_int_equal(symlink("far/map", path), 0);
	await_change("link made");
	free(path);
	mapfiles_stop(mapfiles);
}

/* A directory that was not there at first, and another one by reload. */
static void test_update(void **state)
{
	struct mapfiles *mapfiles;

	(void)state;
	use_paths("later/hosts", "learned");
	mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	make_directory("later");
	put("later/hosts", "10.1.0.1 a #! x\n");
	mapfiles_update(mapfiles, &conf);
	await_change("what was missed before the update");
	assert_string_equal(load(mapfiles), "a");
	put("later/hosts", "");
	await_change("in the directory made later");

	make_directory("new");
	use_paths("new/hosts", "new/learned");
	mapfiles_update(mapfiles, &conf);
	await_change("another directory");
	put("later/hosts", "");
	expect_quiet("what is no longer watched");
	put("new/hosts", "");
	await_change("in another directory");
	mapfiles_update(mapfiles, &conf);
	expect_quiet("an update that changes nothing");
	put("new/learned", "");
	await_change("after an update that changes nothing");
	mapfiles_stop(mapfiles);
}

/* A reload by hand that has seen a change takes the place of telling it. */
static void test_seen(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);

	(void)state;
	put("hosts", "10.1.0.1 a #! x\n");
	assert_string_equal(load(mapfiles), "a");
	mapfiles_update(mapfiles, &conf);
	expect_quiet("seen by a reload");
	put("hosts", "10.2.0.1 b #! x\n");
	assert_string_equal(load(mapfiles), "b");
	put("hosts", "10.3.0.1 c #! x\n");
	mapfiles_update(mapfiles, &conf);
	await_change("after the reading");
	put("hosts", "10.4.0.1 d #! x\n");
	assert_string_equal(load(mapfiles), "d");
	await_change("read, but not put in force");
	put("hosts", "10.5.0.1 e #! x\n");
	ev_run(loop, EVRUN_NOWAIT);
	mapfiles_update(mapfiles, &conf);
	await_change("noticed, and not read");
	mapfiles_stop(mapfiles);
}

/* Reading a large map again and again leaves no memory behind. */
static void test_memory(void **state)
{
	struct mapfiles *mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	char *path = in_base("hosts");
	FILE *out = fopen(path, "w");
	unsigned i;

	(void)state;
	assert_non_null(out);
	for (i = 0; i < 20000; i++)
		fprintf(out, "10.%u.%u.1 s%u #! 10.%u.%u.0/24 x\n", i >> 8, i & 255, i, i >> 8, i & 255);
	fclose(out);
	for (i = 0; i < 4; i++)
		routes_put(mapfiles_load(mapfiles, &conf, NULL, NULL));
	assert_true(mallinfo2().fordblks < 1 << 20);
	free(path);
	mapfiles_stop(mapfiles);
}

static void test_directory_replaced(void **state)
{
	struct mapfiles *mapfiles;

	(void)state;
	make_directory("etc");
	put("etc/hosts", "10.1.0.1 a #! x\n");
	use_paths("etc/hosts", "learned");
	mapfiles = mapfiles_start(loop, &conf, on_changed, &changes);
	make_directory("etc2");
	put("etc2/hosts", "10.2.0.1 b #! x\n");
	move("etc", "old");
	move("etc2", "etc");
	await_change("its directory replaced");
	assert_string_equal(load(mapfiles), "b");
	mapfiles_update(mapfiles, &conf);
	await_change("the new directory");
	put("etc/hosts", "");
	await_change("in the new directory");
	mapfiles_stop(mapfiles);
	mapfiles_stop(NULL);
}

static char *read_whole(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = calloc(1, 65536);

	if (!in || !text)
		fail_msg("%s: can't be read; run this from the top of the source", path);
	assert_true(fread(text, 1, 65535, in) > 0);
	fclose(in);
	return text;
}

/* The example is a map without a fault; it and the man page leave no option out. */
static void test_example(void **state)
{
	static const char *const options[] = { "hostkey", "mode", "netcat", "pref", "user" };
	char *example = read_whole("hosts.example"), *manual = read_whole("man/dvpn-hosts.5");
	char wanted[50];
	size_t i;

	(void)state;
	free(conf.map_static);
	conf.map_static = strdup("hosts.example");
	assert_string_equal(load(NULL), "friday monday monday-spare saturday sunday thursday");
	assert_string_equal(errors, "");
	assert_int_equal(bad_lines, 0);
	for (i = 0; i < sizeof(options) / sizeof(*options); i++) {
		snprintf(wanted, sizeof(wanted), " %s=", options[i]);
		assert_non_null(strstr(example, wanted));
		snprintf(wanted, sizeof(wanted), "\n.It Cm %s Ns =", options[i]);
		if (!strstr(manual, wanted))
			fail_msg("the manual does not name %s=", options[i]);
	}
	free(example);
	free(manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_example, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_learned_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_larger_than_announced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_coalesced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_behind_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_update, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory_replaced, setup, teardown),
	};

	log_init(LOG_TO_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("mapfiles", tests, NULL, NULL);
}
