#!/bin/sh
# Keys against a real PostgreSQL: hash, reading of text, order. One step of `make check`.
#
#     regress/shardmap/run.sh BUILD_DIR [options of hash_check.py]      SAN=... as for make
#
# Starts a server of its own in a temporary folder, reached by its socket only, so no port can be
# taken; stops and deletes it at the end, whatever happens.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
shift
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -1)
[ -n "$bin" ] || bin=$(pg_config --bindir)

work=$(mktemp -d /tmp/pgbraid_keys.XXXXXX)
chmod 755 "$work"
as_server=""
if [ "$(id -u)" = 0 ]; then # PostgreSQL does not run as root
    mkdir "$work/pg"
    chown postgres "$work/pg"
    as_server="runuser -u postgres --"
else
    mkdir "$work/pg"
fi

finish() {
    status=$?
    cd /
    $as_server "$bin/pg_ctl" -D "$work/pg/data" -m immediate -s stop >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

cd "$work/pg"
$as_server "$bin/initdb" -N -A trust -U postgres --locale=C.UTF-8 -D "$work/pg/data" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
$as_server "$bin/pg_ctl" -w -s -D "$work/pg/data" -l "$work/pg/log" -o "-k $work/pg -c listen_addresses='' \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off -c shared_buffers=256MB" start ||
    { cat "$work/pg/log" >&2; exit 1; }

${CC:-gcc} -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror ${SAN:+-fsanitize=$SAN} -I"$root" \
    -o "$work/key_check" "$here/key_check.c" "$build/libshardmap.a" "$build/libbase.a" -lxxhash -lm -pthread
python3 "$here/hash_check.py" --key-check "$work/key_check" --psql "$bin/psql" --socket "$work/pg" "$@"
