/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dvpnd(8): options, the check of a configuration, going to the background. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon.h"
#include "mapfiles.h"
#include "notify.h"

enum { EXIT_OK, EXIT_RUNTIME, EXIT_USAGE };

/* Descriptors beside those of flows: loops, links, files, the control socket. */
#define OTHER_FILES 256

struct options {
	const char *path;
	bool foreground, check;
	int verbose;
};

static int usage(FILE *out)
{
	fputs("usage: dvpnd [-c FILE] [-f] [-v] [-t]\n"
	      "  -c FILE  configuration (" CONF_DEFAULT_PATH ")\n"
	      "  -f       stay in the foreground\n"
	      "  -v       log details\n"
	      "  -t       check configuration and map, print what they mean, exit\n"
	      "See dvpnd(8).\n",
	      out);
	return EXIT_USAGE;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	int option;

	while ((option = getopt(argc, argv, "c:fvthV")) != -1) {
		switch (option) {
		case 'c':
			options->path = optarg;
			break;
		case 'f':
			options->foreground = true;
			break;
		case 'v':
			options->verbose++;
			break;
		case 't':
			options->check = true;
			break;
		case 'V':
			puts("dvpnd " DVPN_VERSION);
			exit(EXIT_OK);
		case 'h':
			usage(stdout);
			exit(EXIT_OK);
		default:
			return usage(stderr);
		}
	}
	return optind < argc ? usage(stderr) : 0;
}

/* ---- -t ---- */

static void print_map(const struct conf *conf, const struct routes *routes)
{
	size_t count;
	const struct route *all = routes_all(routes, &count);

	printf("\n# map: %zu prefixes\n", count);
	for (size_t i = 0; i < count; i++) {
		char prefix[PREFIX_TEXT_SIZE], endpoint[300];

		for (unsigned j = 0; j < all[i].candidate_count; j++) {
			const struct candidate *candidate = &all[i].candidates[j];

			printf("# %s -> %s %s (%s:%u)\n", prefix_format(&all[i].prefix, prefix),
			       candidate->site->name,
			       endpoint_format(&candidate->site->endpoints[0], conf->ssh.port,
					       endpoint, sizeof(endpoint)),
			       candidate->origin.file, candidate->origin.line);
		}
	}
}

static int check(const struct conf *conf)
{
	unsigned bad_lines;
	struct routes *routes = mapfiles_load(NULL, conf, stderr, &bad_lines);

	if (!routes) {
		fputs("dvpnd: out of memory\n", stderr);
		return EXIT_RUNTIME;
	}
	conf_print(conf, stdout);
	print_map(conf, routes);
	routes_put(routes);
	return bad_lines ? EXIT_USAGE : EXIT_OK;
}

/* ---- what the process needs ---- */

static bool may_administer_network(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}

static void raise_file_limit(const struct conf *conf)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < conf->max_flows + OTHER_FILES)
		log_warnx("%s: max_flows = %u needs %u open files, the limit is %llu: raise it "
			  "(LimitNOFILE= in the unit), or lower max_flows",
			  conf->path, conf->max_flows, conf->max_flows + OTHER_FILES,
			  (unsigned long long)limit.rlim_max);
}

/* ---- to the background ---- */

/* The parent waits for a byte: the child's exit status so far.  Returns in the
 * child, with the descriptor to say it on. */
static int go_to_background(void)
{
	int ends[2];
	unsigned char status = EXIT_RUNTIME;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		log_warn("can't go to the background");
		exit(EXIT_RUNTIME);
	}
	if (pid > 0) {
		close(ends[1]);
		while (read(ends[0], &status, 1) < 0 && errno == EINTR)
			;
		_exit(status);
	}
	close(ends[0]);
	setsid();
	return ends[1];
}

static void say_started(int fd)
{
	const unsigned char status = EXIT_OK;
	int null = open("/dev/null", O_RDWR);

	(void)!write(fd, &status, 1);
	close(fd);
	(void)!chdir("/");
	for (int i = 0; null >= 0 && i <= 2; i++)
		dup2(null, i);
	if (null > 2)
		close(null);
}

static int run(struct conf *conf, const struct options *options)
{
	struct daemon daemon = { .conf = conf,
				 .verbose = options->verbose > 0,
				 .background = !options->foreground };
	int parent = -1, status = EXIT_RUNTIME;

	if (!may_administer_network()) {
		fputs("dvpnd: CAP_NET_ADMIN is missing, for conntrack, kernel sets and socket marks: start it "
		      "as root, or with systemctl start dvpnd\n",
		      stderr);
		conf_put(conf);
		return EXIT_RUNTIME;
	}
	if (!options->foreground)
		parent = go_to_background();
	daemon_log(&daemon);
	raise_file_limit(conf);
	if (daemon_start(&daemon) == 0) {
		if (parent >= 0)
			say_started(parent);
		notify_ready("carrying");
		log_info("dvpnd " DVPN_VERSION " runs as site %s", conf->name);
		ev_run(daemon.loop, 0);
		status = EXIT_OK;
	}
	daemon_stop(&daemon);
	if (status == EXIT_OK)
		log_info("stopped");
	return status;
}

int main(int argc, char **argv)
{
	struct options options = { .path = CONF_DEFAULT_PATH };
	struct conf *conf;
	int status = parse_options(argc, argv, &options);

	if (status)
		return status;
	conf = conf_load(options.path, stderr);
	if (!conf || conf_check_key(conf, stderr) < 0 || conf_check_files(conf, stderr) < 0) {
		conf_put(conf);
		return EXIT_USAGE;
	}
	if (options.check) {
		status = check(conf);
		conf_put(conf);
		return status;
	}
	return run(conf, &options);
}
