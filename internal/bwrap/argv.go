package bwrap

import (
	"github.com/cloche-sandbox/cloche/internal/plan"
	"github.com/cloche-sandbox/cloche/policy"
)

// alone are the options that a launcher image carries out by itself, the most frequent
// first. Those that name descriptors, wait, warn or ask for more than namespaces and mounts are not among
// them: what they mean only the program knows.
var alone = [...]struct {
	name    string
	effect  plan.Effect
	unshare policy.Namespaces
}{
	{name: "--ro-bind"},
	{name: "--bind"},
	{name: "--setenv", effect: plan.EffectSetenv},
	{name: "--symlink"},
	{name: "--dir"},
	{name: "--ro-bind-try"},
	{name: "--bind-try"},
	{name: "--dev-bind"},
	{name: "--dev-bind-try"},
	{name: "--tmpfs"},
	{name: "--proc"},
	{name: "--dev"},
	{name: "--remount-ro"},
	{name: "--perms", effect: plan.EffectMode},
	{name: "--unsetenv", effect: plan.EffectUnsetenv},
	{name: "--clearenv", effect: plan.EffectClearenv},
	{name: "--chdir", effect: plan.EffectChdir},
	{name: "--new-session", effect: plan.EffectNewSession},
	{name: "--die-with-parent", effect: plan.EffectDieWithParent},
	{name: "--cap-drop", effect: plan.EffectDropCapabilities},
	{name: "--unshare-all", effect: plan.EffectUnshare, unshare: policy.Namespaces{User: true, IPC: true, PID: true, Net: true, UTS: true, Cgroup: true}},
	{name: "--share-net", effect: plan.EffectShareNet},
	{name: "--unshare-user", effect: plan.EffectUnshare, unshare: policy.Namespaces{User: true}},
	{name: "--unshare-user-try", effect: plan.EffectUnshare, unshare: policy.Namespaces{User: true}},
	{name: "--unshare-pid", effect: plan.EffectUnshare, unshare: policy.Namespaces{PID: true}},
	{name: "--unshare-net", effect: plan.EffectUnshare, unshare: policy.Namespaces{Net: true}},
	{name: "--unshare-ipc", effect: plan.EffectUnshare, unshare: policy.Namespaces{IPC: true}},
	{name: "--unshare-uts", effect: plan.EffectUnshare, unshare: policy.Namespaces{UTS: true}},
	{name: "--unshare-cgroup", effect: plan.EffectUnshare, unshare: policy.Namespaces{Cgroup: true}},
	{name: "--unshare-cgroup-try", effect: plan.EffectUnshare, unshare: policy.Namespaces{Cgroup: true}},
}

// Argv is the part of the command line that an image reads itself.
func Argv() *plan.Argv {
	a := &plan.Argv{Name: "bwrap", Not: []string{OptionsVariable}}
	for i := range alone {
		o := find(alone[i].name)
		a.Options = append(a.Options, plan.ArgvOption{Name: o.name, Words: o.arity(), Effect: alone[i].effect, Act: o.act, Unshare: alone[i].unshare})
	}
	return a
}
