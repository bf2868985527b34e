package main

// dockerSetup starts Docker's daemon on the guest's disk, with no network of its own, and
// makes an image of cloche and busybox. cloche-oci is one of its runtimes.
var dockerSetup = []string{
	`sh mkdir -p /image/bin /image/usr/local/bin /image/etc /image/tmp /image/var/tmp /image/root && chmod 1777 /image/tmp /image/var/tmp && cp /bin/busybox /image/bin &&
		for name in $(busybox --list); do test $name = busybox || ln -s busybox /image/bin/$name; done &&
		cp /usr/local/bin/cloche /image/usr/local/bin && printf 'root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/:/bin/sh\n' >/image/etc/passwd`,
	"sh ln -s cloche /usr/local/bin/cloche-oci",
	`sh dockerd --add-runtime cloche=/usr/local/bin/cloche-oci --data-root /var/tmp/docker --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --iptables=false --bridge none >/var/log/dockerd 2>&1 &
		for i in $(seq 60); do docker version >/dev/null 2>&1 && break; sleep 1; done; tar -C /image -c . | docker import - cloche || { cat /var/log/dockerd; exit 1; }`,
}

// Cloche in containers as Docker starts them, with each of its hurdles taken away, and with
// all of them (--privileged); and containers that Docker starts by cloche-oci, under its AppArmor profile and without.
var dockerChecks = func() []check {
	const (
		in        = "docker run --rm --network none "
		seccomp   = "--security-opt seccomp=unconfined "
		apparmor  = "--security-opt apparmor=unconfined "
		unmasked  = "--security-opt systempaths=unconfined "
		remedy    = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined$"
		filtered  = "the seccomp filter of the docker container that this runs in refuses it .*" + remedy
		profiled  = "the AppArmor profile docker-default .*refuses mounts .*: docker run --security-opt apparmor=unconfined --security-opt systempaths=unconfined$"
		processes = "cgroup /sys/fs/cgroup has processes of its own, .*move them to a child first"
		move      = "mkdir /sys/fs/cgroup/init; for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p >/sys/fs/cgroup/init/cgroup.procs; done 2>/dev/null; echo +memory +pids >/sys/fs/cgroup/cgroup.subtree_control; "
	)
	const ours = in + "--runtime cloche "
	keep := func(run string) string { return run + " >/tmp/said; rc=$?; cat /tmp/said; exit $rc" }
	said := func(line string) check { return check{run: "cat /tmp/said", says: line} }
	return []check{
		{run: in + "cloche cloche run -- true", status: 125, says: "EPERM: " + filtered},
		{run: in + "--user 1000 cloche cloche run --wall-time 9s -- true", status: 125, says: "EPERM: " + filtered},
		{run: keep(in + "cloche cloche doctor"), status: 1, says: "user namespaces +missing"},
		said("remedy: .*" + remedy),
		said("complete sandbox +missing"),
		said("why: .*namespaces: clone: EPERM: the seccomp filter of the docker container"),
		{run: in + "cloche cloche plan -- true", says: "seccomp"},
		{run: in + seccomp + "cloche cloche run -- true", status: 125, says: "EACCES: " + profiled},
		{run: keep(in + seccomp + "cloche cloche doctor"), status: 1, says: "mounts by file descriptor +missing"},
		said("why: .*the AppArmor profile docker-default .*refuses mounts"),
		{run: in + seccomp + apparmor + "cloche cloche run -- true", status: 125, says: "no new proc be mounted .*systempaths=unconfined.*--share pid --read /proc$"},
		{run: in + seccomp + apparmor + "cloche cloche run --share pid --read /proc -- echo ran", says: "^ran$"},
		{run: keep(in + seccomp + apparmor + "--user 1000 cloche cloche doctor"), status: 1, says: "a fresh /proc +missing"},
		said("remedy: .*systempaths=unconfined"),
		{run: in + seccomp + apparmor + unmasked + "cloche sh -c 'cloche run -- echo ran && cloche run --wall-time 9s -- echo ran, too'", says: "^ran, too$"},
		{run: keep(in + seccomp + apparmor + unmasked + "cloche cloche doctor"), says: "complete sandbox +works"},
		said("why: +the cgroup file system at /sys/fs/cgroup is read-only"),
		{run: in + "--privileged cloche sh -c 'cloche run -- echo ran && cloche run --wall-time 9s -- echo ran, too'", says: "^ran, too$"},
		{run: in + "--privileged --user 1000 cloche sh -c 'cloche run -- echo ran && cloche run --wall-time 9s -- echo ran, too'", says: "^ran, too$"},
		{run: in + "--privileged cloche cloche run --memory 64M -- true", status: 125, says: processes},
		{run: keep(in + "--privileged cloche cloche doctor"), says: "complete sandbox +works"},
		said("why: +" + "cgroup /sys/fs/cgroup has processes of its own"),
		{run: in + "--privileged cloche sh -c '" + move + "cloche run --memory 64M --pids 9 -- echo ran'", says: "^ran$"},

		{run: keep(ours + "cloche cat /proc/self/attr/current /proc/self/status"), says: `^docker-default \(enforce\)$`},
		said("^Seccomp:\t2$"),
		{run: ours + seccomp + "--cap-add SYS_ADMIN cloche mount -t tmpfs none /tmp", status: 255, says: "denied"},
		{run: ours + seccomp + apparmor + "--cap-add SYS_ADMIN cloche sh -c 'mount -t tmpfs none /tmp && cat /proc/self/attr/current'", says: `^unconfined$`},
		{run: "docker run -d --name kept --network none --runtime cloche cloche sleep 300 && docker exec kept cat /proc/self/attr/current && docker rm -f kept", says: `^docker-default \(enforce\)$`},
		{run: keep(ours + "--privileged cloche sh -c 'mount -t tmpfs none /tmp && cat /proc/self/attr/current /proc/self/status && head -c 1 /dev/kmsg >/dev/null; cd /sys/fs/cgroup && mkdir made && rmdir made && cd /proc/sys/kernel && cat hostname >hostname && echo all of it'"), says: "^all of it$"},
		said("^unconfined$"),
		said("^CapEff:\t0*[137]?f{9,10}$"),
		said("^Seccomp:\t0$"),
		{run: ours + "--privileged cloche sh -c 'cloche run -- echo ran && cloche run --wall-time 9s -- echo ran, too'", says: "^ran, too$"},
	}
}()
