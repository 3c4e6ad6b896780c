#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs as people use them, unmodified and by host name: nginx and curl, git
# over http, rsync, PostgreSQL's psql, and FTP, whose passive mode opens further
# connections to the address that the server names.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

files_make()
{
	local n
	mkdir -p "$LAB/www/many" "$LAB/ftp"
	head -c 20M /dev/urandom >"$LAB/www/big"
	cp "$LAB/www/big" "$LAB/ftp/big"
	for ((n = 1; n <= 200; n++)); do
		head -c "$((n * 97))" /dev/urandom >"$LAB/www/many/$n"
	done
	chmod -R a+rX "$LAB/www" "$LAB/ftp"
}

nginx_start()
{
	mkdir "$LAB/nginx"
	cat >"$LAB/nginx/conf" <<-EOF
		daemon off;
		pid $LAB/nginx/pid;
		error_log stderr;
		events { }
		http {
			access_log off;
			client_body_temp_path $LAB/nginx/body;
			proxy_temp_path $LAB/nginx/proxy;
			fastcgi_temp_path $LAB/nginx/fastcgi;
			uwsgi_temp_path $LAB/nginx/uwsgi;
			scgi_temp_path $LAB/nginx/scgi;
			server { listen [::]:80 ipv6only=off; root $LAB/www; }
		}
	EOF
	start hB nginx nginx -c "$LAB/nginx/conf" -p "$LAB/nginx" -e stderr
	wait_for 10 port_open hB 80
}

rsync_start()
{
	cat >"$LAB/rsyncd.conf" <<-EOF
		use chroot = no
		[many]
			path = $LAB/www/many
		[drop]
			path = $LAB/drop
			read only = no
			uid = root
			gid = root
	EOF
	mkdir "$LAB/drop"
	start hB rsync rsync --daemon --no-detach --log-file=/dev/stderr \
		--config="$LAB/rsyncd.conf"
	wait_for 10 port_open hB 873
}

as_postgres() { on hB setpriv --reuid postgres --regid postgres --clear-groups "$@"; }

postgres_start()
{
	local programs
	programs=$(find /usr/lib/postgresql -name initdb -printf "%h\n" | sort -V | tail -n 1)
	install -d -o postgres -g postgres "$LAB/postgres"
	as_postgres "$programs/initdb" -D "$LAB/postgres/data" --auth=trust --no-sync >/dev/null
	echo "host all all all trust" >>"$LAB/postgres/data/pg_hba.conf"
	start hB postgres setpriv --reuid postgres --regid postgres --clear-groups \
		"$programs/postgres" -D "$LAB/postgres/data" -c listen_addresses='*' \
		-c unix_socket_directories='' -c fsync=off
	wait_for 20 port_open hB 5432
	wait_for 20 on hB psql -h 127.0.0.1 -U postgres -c 'select 1'
}

# The guest needs a home that exists, which nobody has not.
ftp_start()
{
	mkdir "$LAB/empty"
	cat >"$LAB/vsftpd.conf" <<-EOF
		listen_ipv6=YES
		background=NO
		anonymous_enable=YES
		no_anon_password=YES
		ftp_username=daemon
		anon_root=$LAB/ftp
		secure_chroot_dir=$LAB/empty
		pasv_enable=YES
		seccomp_sandbox=NO
		vsftpd_log_file=$LAB/run/vsftpd-own.log
		xferlog_enable=YES
	EOF
	start hB vsftpd vsftpd "$LAB/vsftpd.conf"
	wait_for 10 port_open hB 21
}

curl_many()
{
	local got=$LAB/got-many
	mkdir "$got"
	on hA curl -sS --fail --max-time 120 --parallel --parallel-max 30 --output-dir "$got" \
		-o '#1' 'http://www.friday/many/[1-200]'
	diff -r "$LAB/www/many" "$got"
}

curl_ranges()
{
	on hA curl -sS --fail --max-time 60 -r 1000000-8999999 -o "$LAB/range" \
		http://www.friday/big
	cmp "$LAB/range" <(tail -c +1000001 "$LAB/www/big" | head -c 8000000)
}

git_clone()
{
	git init -q -b main "$LAB/work"
	cp -r "$LAB/www/many" "$LAB/work/"
	git -C "$LAB/work" add .
	git -C "$LAB/work" -c user.name=lab -c user.email=lab@friday commit -q -m one
	git clone -q --bare "$LAB/work" "$LAB/www/repository.git"
	git -C "$LAB/www/repository.git" update-server-info
	chmod -R a+rX "$LAB/www"
	on hA git clone -q http://www.friday/repository.git "$LAB/clone"
	git -C "$LAB/clone" fsck --strict
	diff -r "$LAB/www/many" "$LAB/clone/many"
}

rsync_both_ways()
{
	on hA timeout 120 rsync -a rsync://www.friday/many/ "$LAB/synced/"
	diff -r "$LAB/www/many" "$LAB/synced"
	on hA timeout 120 rsync -a "$LAB/synced/" rsync://www.friday/drop/
	diff -r "$LAB/www/many" "$LAB/drop"
}

psql_rows()
{
	local psql=(timeout 120 psql -h www.friday -U postgres -qAt -v ON_ERROR_STOP=1)
	on hA "${psql[@]}" -c 'create table t as select n, md5(n::text) m from
		generate_series(1, 100000) n' -c 'create index on t (n)'
	same "rows" 100000 "$(on hA "${psql[@]}" -c 'select count(*) from t')"
	on hA "${psql[@]}" -c '\copy t to stdout' | sort >"$LAB/rows"
	as_postgres psql -h 127.0.0.1 -qAt -c '\copy t to stdout' | sort >"$LAB/rows.there"
	cmp "$LAB/rows" "$LAB/rows.there"
	on hA "${psql[@]}" -c 'truncate t' -c '\copy t from stdin' <"$LAB/rows"
	same "rows again" 100000 "$(on hA "${psql[@]}" -c 'select count(*) from t')"
}

ftp_passive()
{
	on hA curl -sS --max-time 60 "-$1" "$2" -o "$LAB/got-ftp" ftp://www.friday/big
	cmp "$LAB/ftp/big" "$LAB/got-ftp"
}

lab_up
files_make
nginx_start
rsync_start
postgres_start
ftp_start

check "curl fetches 200 files from nginx, 30 at a time" curl_many
check "curl fetches a range" curl_ranges
check "git clones over http" git_clone
check "rsync there and back" rsync_both_ways
check "psql makes, reads and copies rows" psql_rows
check "passive FTP (PASV)" ftp_passive 4 --disable-epsv
check "passive FTP (EPSV)" ftp_passive 4 --ftp-pasv
check "passive FTP over IPv6" ftp_passive 6 --ftp-pasv

lab_finish
