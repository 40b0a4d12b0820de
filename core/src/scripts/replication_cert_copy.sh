# `ps` shows the name that this process gives itself, not the script.
monitor() {
  local source=/pgconf/tls target=/tmp/replication seen='' now fd
  # Waiting on a pipe that nobody writes to needs no process for each wait.
  exec {fd}<> <(:)
  while true; do
    # The kubelet renews the directory as a whole. The time is taken before the copy, so that a change
    # during it is seen in the next round. Nothing is seen at first: what changed before this
    # process began is loaded too.
    now=$(stat --dereference --format=%y -- "$source")
    if [[ $now != "$seen" ]] &&
      install --directory --mode=0700 -- "$target" &&
      install --mode=0600 --target-directory="$target" \
        "$source/replication/tls.crt" "$source/replication/tls.key" "$source/replication/ca.crt" &&
      pkill -HUP --exact --parent=1 postgres; then
      seen=$now
      printf 'Loaded certificates dated %s\n' "$now"
    fi
    read -r -t 5 -u "$fd" || true
  done
}
export -f monitor
exec -a "$0" bash -ceu monitor
