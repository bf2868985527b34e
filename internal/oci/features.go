package oci

import (
	"encoding/json"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/cloche-sandbox/cloche/policy"
)

// runFeatures prints what this runtime takes, whatever the kernel below it can.
func runFeatures(*invocation) (int, error) {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "    ")
	return 0, out.Encode(supported())
}

// supported is the structure of the specification's features.md.
func supported() *features.Features {
	yes, no := true, false
	version, commit := programVersion()
	f := &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  slices.Sorted(slices.Values(mountOptionNames())),
		Linux: &features.Linux{
			Namespaces:   []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
			Capabilities: policy.CapabilityNames(),
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes,
				Actions: []string{
					"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
					"SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
				},
				Operators: []string{"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"},
				Archs: []string{
					"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390X",
					"SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64",
				},
				KnownFlags:     seccompFlags[:],
				SupportedFlags: seccompFlags[:],
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
			MemoryPolicy:    &features.MemoryPolicy{Modes: names(memoryModes), Flags: names(memoryFlags)},
		},
		Annotations: map[string]string{
			"io.github.cloche-sandbox.version":           version,
			"org.opencontainers.runc.checkpoint.enabled": "false", // Docker and others ask by this name
		},
		PotentiallyUnsafeConfigAnnotations: []string{"org.systemd.property."},
	}
	if commit != "" {
		f.Annotations["io.github.cloche-sandbox.commit"] = commit
	}
	return f
}

// names are the keys of a table, in order.
func names[K ~string, V any](table map[K]V) (all []string) {
	for k := range table {
		all = append(all, string(k))
	}
	slices.Sort(all)
	return all
}

// seccompFlags are those of linux.seccomp.flags.
var seccompFlags = [...]string{
	"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
}
