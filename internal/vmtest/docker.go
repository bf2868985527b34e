package main

// dockerSetup starts Docker's daemon on the guest's disk, with no network of its own, and
// makes an image of cloche and busybox.
var dockerSetup = []string{
	`sh mkdir -p /image/bin /image/usr/local/bin /image/etc /image/tmp /image/var/tmp /image/root && chmod 1777 /image/tmp /image/var/tmp && cp /bin/busybox /image/bin &&
		for name in $(busybox --list); do test $name = busybox || ln -s busybox /image/bin/$name; done &&
		cp /usr/local/bin/cloche /image/usr/local/bin && printf 'root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/:/bin/sh\n' >/image/etc/passwd`,
	`sh dockerd --data-root /var/tmp/docker --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --iptables=false --bridge none >/var/log/dockerd 2>&1 &
		for i in $(seq 60); do docker version >/dev/null 2>&1 && break; sleep 1; done; tar -C /image -c . | docker import - cloche || { cat /var/log/dockerd; exit 1; }`,
}
