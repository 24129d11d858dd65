# Shell functions to source: a throwaway PostgreSQL cluster in a folder, and commands as a plain user. For the demo and the benchmarks.
# Sets PGBIN, CLUSTER_PORT and CLUSTER_SOCKET. As root, the server runs as postgres and plain commands as nobody; otherwise as you.

PGBIN=/usr/lib/postgresql/15/bin
CLUSTER_DIR=

as_server() { # command as the server's user
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH="$PGBIN:/usr/bin:/bin" LC_ALL=C.UTF-8 "$@"
  else
    env -i PATH="$PGBIN:/usr/bin:/bin" LC_ALL=C.UTF-8 "$@"
  fi
}

as_plain() { # command as somebody without rights of their own; HOME is the cluster folder's parent
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=nobody --regid=nogroup --clear-groups env -i PATH=/usr/bin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 "$@"
  else
    env -i PATH=/usr/bin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 "$@"
  fi
}

give_plain() { # hands files over to the plain user
  [ "$(id -u)" != 0 ] || chown nobody:nogroup "$@"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# cluster_start DIR [server options…]: makes a cluster below DIR and starts it. Local connections are trusted, those over TCP need a password.
cluster_start() {
  CLUSTER_DIR=$1
  shift
  mkdir -p "$CLUSTER_DIR"
  [ "$(id -u)" != 0 ] || chown postgres: "$CLUSTER_DIR"
  CLUSTER_SOCKET=$CLUSTER_DIR
  CLUSTER_PORT=$(free_port)
  # initdb and pg_ctl want a current folder that they may enter.
  (
    cd "$CLUSTER_DIR"
    as_server initdb -D data -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
    printf 'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n' | as_server tee data/pg_hba.conf >/dev/null
    as_server pg_ctl -D data -w -t 60 -l server.log \
      -o "-p $CLUSTER_PORT -k $CLUSTER_DIR -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off $*" start >/dev/null \
      || { tail -5 server.log >&2; exit 1; }
  )
}

cluster_stop() {
  [ -n "$CLUSTER_DIR" ] && [ -f "$CLUSTER_DIR/data/postmaster.pid" ] || return 0
  (cd "$CLUSTER_DIR" && as_server pg_ctl -D data -m immediate -w -t 30 stop >/dev/null 2>&1) || true
}

sql() { # sql DATABASE [psql options…]: as superuser, SQL on standard input or by -c
  local database=$1
  shift
  as_server psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$CLUSTER_SOCKET" -p "$CLUSTER_PORT" -U postgres -d "$database" "$@"
}
