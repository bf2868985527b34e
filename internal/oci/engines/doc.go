// Package engines holds the tests of cloche-oci under the engines that people run: Docker,
// Docker Swarm, containerd with ctr and with its CRI plugin, Podman as root and rootless, and
// buildah. Each engine runs in a machine of its own: mount, network, pid, ipc, uts and cgroup
// namespaces, with folders, sockets, interfaces and cgroups that are gone with it.
//
// CLOCHE_OCI_RUNTIME names another runtime to try in place of cloche-oci, such as
// /usr/sbin/runc: that checks the tests themselves.
package engines
