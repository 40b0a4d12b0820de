# Arguments: PostgreSQL's major version, the WAL directory, pgBackRest's log directory, tablespaces.
version=$1 wal=$2 log=$3
shift 3
mark=.ivory-operator-moving

say() { printf '::ivory-operator: %s::%s\n' "$1" "$2"; }
fail() {
  say error "$1" >&2
  exit 1
}

permissions() {
  local path=$1
  while true; do
    stat --format '%A %4u %4g %n' -- "$path" || true
    [[ $path != / && $path != . ]] || break
    path=$(dirname -- "$path")
  done
}

# Makes a directory ours with mode 0700. One that belongs to another user, but in which we may write, is
# replaced by a new one with the same content. The name of the new one is fixed, so that this can be
# continued after it was cut short.
own() {
  local path=$1 next=$1.ivory-operator-new
  if [[ ! -e $path && -d $next ]]; then
    mv -T -- "$next" "$path"
  elif [[ -e $path && ! -O $path && -w $path && -g $path ]]; then
    say 'new directory' "$path"
    install --directory --mode=0700 -- "$next"
    (
      shopt -s dotglob nullglob
      for entry in "$path"/*; do mv -- "$entry" "$next/"; done
    )
    rmdir -- "$path"
    mv -T -- "$next" "$path"
  elif [[ -e $path && ! -O $path ]]; then
    permissions "$path" >&2
    fail "Expected to own $path"
  fi
  install --directory --mode=0700 -- "$path"
}

# Lets pg_wal point to $1. The last step is one rename.
point() {
  rm -f -- "$link.new"
  ln -s -- "$1" "$link.new"
  mv -T -- "$link.new" "$link"
}

# Moves WAL to where it should be. The mark is in a WAL directory from before the move until after it:
# where pg_wal does not lead to a marked directory, that is a copy that nobody has used.
move_wal() {
  link=$data/pg_wal
  if [[ ! -e $link && ! -L $link && -d $link.left ]]; then mv -T -- "$link.left" "$link"; fi
  if [[ ! -e $link && -e $wal/$mark ]]; then point "$wal"; fi
  [[ -d $link ]] || fail "Expected WAL at $(readlink -m -- "$link")"

  local from
  from=$(realpath -- "$link")
  if [[ $from != "$(realpath -m -- "$wal")" ]]; then
    if [[ -e $wal/$mark ]]; then rm -rf -- "$wal"; fi
    rm -rf -- "$wal.partial"
    [[ ! -e $wal || (-d $wal && -z $(ls -A -- "$wal")) ]] || fail "Expected $wal to be empty"

    touch -- "$from/$mark"
    if [[ $(stat --format=%d -- "$from") == "$(stat --format=%d -- "$(dirname -- "$wal")")" ]]; then
      mv -T -- "$from" "$wal"
      point "$wal"
    else
      cp --archive -- "$from" "$wal.partial"
      sync --file-system "$wal.partial"
      mv -T -- "$wal.partial" "$wal"
      if [[ ! -L $link ]]; then
        mv -T -- "$link" "$link.left"
        from=$link.left
      fi
      point "$wal"
      sync --file-system "$wal" "$data"
      rm -rf -- "$from"
    fi
    say 'WAL moved' "$(realpath -- "$link")"
  fi
  rm -rf -- "$link.left"
  rm -f -- "$link/$mark"
}

say uid "$(id -u)"
say gids "$(id -G)"

found=$(postgres --version)
say version "$found"
[[ $found =~ ") $version"($|[^0-9]) ]] || fail "Expected PostgreSQL version $version"

say 'data directory' "${PGDATA:?}"
if [[ -d $PGDATA ]] && found=$(postgres -C data_directory 2> /dev/null); then
  [[ $found == "$PGDATA" ]] || fail 'Expected matching config and data directories'
fi

# A restore or a migration leaves its result here; Patroni gives it its final name.
data=$PGDATA
if [[ -d ${PGDATA}_bootstrap ]]; then
  data=${PGDATA}_bootstrap
  say 'bootstrap directory' "$data"
fi

own "$data"
if [[ ! -w $log ]]; then install --directory --mode=0775 -- "$log"; fi

# The kubelet leaves keys readable for the group, and libpq refuses those.
install --directory --mode=0700 -- /tmp/replication
install --mode=0600 --target-directory=/tmp/replication \
  /pgconf/tls/replication/tls.crt /pgconf/tls/replication/tls.key /pgconf/tls/replication/ca.crt

for tablespace in "$@"; do own "$tablespace"; done

if [[ ! -f $data/PG_VERSION ]]; then
  say 'data version' none
  exit 0
fi
found=$(< "$data/PG_VERSION")
say 'data version' "$found"
[[ $found == "$version" ]] || fail "Expected PostgreSQL data version $version"

# Patroni needs the file, empty or not.
if [[ ! -f $data/postgresql.conf ]]; then touch -- "$data/postgresql.conf"; fi

move_wal
say WAL "$(realpath -- "$data/pg_wal")"

rm -f -- "$data/recovery.signal"
