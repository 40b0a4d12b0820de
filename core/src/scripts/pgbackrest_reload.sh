# `ps` shows the name that this process gives itself, not the script.
monitor() {
  local conf=/etc/pgbackrest/conf.d seen='' now fd
  # Waiting on a pipe that nobody writes to needs no process for each wait.
  exec {fd}<> <(:)
  while true; do
    # The server is given time to start: before it handles the signal, the signal would end it.
    read -r -t 5 -u "$fd" || true
    now=$(stat --dereference --format='%n %y' -- "$conf/~ivory-operator_server.conf" \
      "$conf/~ivory-operator/tls-ca.crt" /etc/pgbackrest/server 2> /dev/null || true)
    # The server's own parent is outside of the Pod; processes that serve a connection have a parent in it. So is
    # that of a backup that a Job runs here, and the signal would end it: only the server's whole command line fits.
    if [[ $now != "$seen" ]] && pkill -HUP --full --exact --parent=0 'pgbackrest server'; then
      seen=$now
      printf 'Loaded configuration and certificates:\n%s\n' "$now"
    fi
  done
}
export -f monitor
exec -a "$0" bash -ceu monitor
