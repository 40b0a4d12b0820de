# A small container. Arguments: the folder of its files, user and group as numbers, then the command. The root is made
# of this machine's folders, with its own /tmp, /run, /var, /etc and the folders that the member's Pod would mount.
set -eu
home=$1 user=$2 group=$3
shift 3
root=$home/root
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
for entry in /*; do
  name=${entry#/}
  case $name in proc | tmp | run | var | etc | pgdata | pgconf) continue ;; esac
  if [ -L "$entry" ]; then
    cp -P "$entry" "$root/$name"
  elif [ -d "$entry" ]; then
    mkdir "$root/$name"
    mount --rbind "$entry" "$root/$name"
  fi
done
mkdir "$root/proc" "$root/run" "$root/var" "$root/pgdata" "$root/pgconf"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
ln -s /run "$root/var/run"
cp -a /etc "$root/etc"
mkdir -p "$root/etc/patroni" "$root/run/secrets/kubernetes.io/serviceaccount"
mkdir -m 700 "$root/tmp/postgres"
chown "$user:$group" "$root/tmp/postgres"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount --bind "$home/pgdata" "$root/pgdata"
mount --bind "$home/files/pgconf" "$root/pgconf"
mount --bind "$home/files/etc/patroni" "$root/etc/patroni"
mount --bind "$home/serviceaccount" "$root/run/secrets/kubernetes.io/serviceaccount"
for file in passwd group hosts; do cat "$home/$file" >"$root/etc/$file"; done
# The shell stays the first process: with it, everything in here ends at once.
chroot --userspec="$user:$group" "$root" "$@" &
child=$!
trap 'kill -TERM $child' TERM
wait $child || status=$?
while kill -0 $child 2>/dev/null; do wait $child || status=$?; done
exit ${status:-0}
