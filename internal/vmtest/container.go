package main

// containerScript writes a script that runs a container of busybox in a scope of systemd's,
// says what limits the scope has, and ends it: container SLICE ID [options of spec].
const containerScript = `ln -s cloche /usr/local/bin/cloche-oci; cat >/usr/local/bin/container <<'END'
set -e
slice=$1 id=$2; shift 2
dir=$(mktemp -d); mkdir -p $dir/rootfs/bin; cp /bin/busybox $dir/rootfs/bin; cd $dir; chmod 755 .
cloche-oci spec "$@"
python3 - $slice $id <<'EOF'
import json, sys
c = json.load(open("config.json"))
c["process"]["args"], c["process"]["terminal"] = ["/bin/busybox", "sleep", "77"], False
c["linux"]["cgroupsPath"] = sys.argv[1] + ":cri-cloche:" + sys.argv[2]
c["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}
json.dump(c, open("config.json", "w"))
EOF
manager=--system; test $(id -u) = 0 || manager=--user
cloche-oci --systemd-cgroup run --detach $id </dev/null >out 2>&1 || { cat out; exit 1; }
systemctl $manager show cri-cloche-$id.scope -p ActiveState -p Slice -p MemoryMax -p TasksMax | tr '\n' ' '
pid=$(cloche-oci state $id | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
cut -d: -f3 /proc/$pid/cgroup
cloche-oci delete --force $id
for i in 1 2 3 4 5 6 7 8 9; do systemctl $manager is-active -q cri-cloche-$id.scope || break; sleep 0.5; done
systemctl $manager show cri-cloche-$id.scope -p ActiveState -p LoadState | tr '\n' ' '
test -z "$(find /sys/fs/cgroup -name cri-cloche-$id.scope)" && echo gone
END
chmod 755 /usr/local/bin/container`
