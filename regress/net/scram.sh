#!/bin/sh
# SCRAM of net/ against a real PostgreSQL, both ways: our client logs in to it, verifiers made by us
# are accepted by it, verifiers made by it are accepted by us, and a client key learnt from a client
# logs in without the password. Starts a server of its own and removes it.
#
#     regress/net/scram.sh          PORT=5621 BUILD=build/release PGBIN=... may be set
set -eu
cd "$(dirname "$0")/../.."
PORT=${PORT:-5621}
BUILD=${BUILD:-build/release}
PGBIN=${PGBIN:-/usr/lib/postgresql/15/bin}
work=$(mktemp -d /tmp/scram_test.XXXXXX)
as_postgres=
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root
    chown postgres "$work"
    as_postgres="runuser -u postgres --"
fi
stop() {
    (cd / && $as_postgres "$PGBIN/pg_ctl" -D "$work/data" -m immediate stop) >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT INT TERM

make BUILD="$BUILD" "$BUILD/libnet.a" "$BUILD/libbase.a" >/dev/null
cc -std=c11 -D_GNU_SOURCE -g -Wall -Wextra -pthread -I. -o "$BUILD/scram_login" \
    regress/net/scram_login.c "$BUILD/libnet.a" "$BUILD/libbase.a" -lcrypto
me=$(pwd)/$BUILD/scram_login

cd "$work"
$as_postgres "$PGBIN/initdb" -N -A trust --locale=C.UTF-8 -D "$work/data" >/dev/null
cat >"$work/hba" <<HBA
local all all trust
host all all 127.0.0.1/32 scram-sha-256
HBA
cat "$work/hba" >"$work/data/pg_hba.conf"
$as_postgres "$PGBIN/pg_ctl" -D "$work/data" -w -l "$work/data/log" \
    -o "-p $PORT -k $work -c fsync=off -c password_encryption=scram-sha-256" start >/dev/null
sql() {
    PGOPTIONS='-c client_min_messages=warning' $as_postgres psql -X -q -A -t -h "$work" -p "$PORT" -d postgres -c "$1"
}

failed=0
expect() { # what, expected, got
    if [ "$2" != "$3" ]; then
        echo "FAILED: $1: expected \"$2\", got \"$3\""
        failed=1
    fi
}

both_ways() { # name, password
    quoted=$(printf %s "$2" | sed "s/'/''/g")
    sql "DROP ROLE IF EXISTS r; CREATE ROLE r LOGIN PASSWORD '$quoted'"
    expect "$1: our client logs in" ok "$("$me" login "$PORT" r "$2")"
    theirs=$(sql "SELECT rolpassword FROM pg_authid WHERE rolname = 'r'")
    expect "$1: their verifier, our server, the client key" ok \
        "$("$me" passthrough "$PORT" r "$2" "$theirs")"
    expect "$1: a wrong password" 'password authentication failed for user "r"' \
        "$("$me" login "$PORT" r "$2-" || true)"
    expect "$1: a wrong password at ours" 'the password does not match' \
        "$("$me" passthrough "$PORT" r "$2-" "$theirs" || true)"
    sql "ALTER ROLE r PASSWORD '$("$me" verifier "$2")'"
    expect "$1: our verifier, libpq" 1 \
        "$(PGPASSWORD=$2 psql -X -A -t -h 127.0.0.1 -p "$PORT" -U r -d postgres -c 'SELECT 1' 2>&1)"
    expect "$1: our verifier, our client" ok "$("$me" login "$PORT" r "$2")"
}

both_ways "ASCII" 'secret'
both_ways "signs with a meaning in SCRAM" 'a=b,c=d,r=x$%:'
both_ways "quotes and spaces" "it's  a \"pass\" "
both_ways "composed UTF-8" 'pässwörd-日本語'
both_ways "a no-break space" "$(printf 'a\302\240b')"
both_ways "an invisible character" "$(printf 'a\302\255b')"
both_ways "a zero-width space" "$(printf 'a\342\200\213b')"
both_ways "long" "$(printf '%0200d' 7)"

[ "$failed" = 0 ] && echo "scram: all passed"
exit "$failed"
