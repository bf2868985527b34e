package policy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// apply applies "--flag value" lines to a copy of the default profile.
func apply(t *testing.T, p *Policy, lines ...string) error {
	t.Helper()
	for _, l := range lines {
		name, val, _ := strings.Cut(strings.TrimPrefix(l, "--"), " ")
		f := FlagNamed(name)
		if f == nil {
			t.Fatalf("no flag %q", name)
		}
		if err := f.Apply(p, val); err != nil {
			return err
		}
	}
	return nil
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		flags []string
		toml  string // the same in a file
	}{
		{[]string{"--read /srv", "--write out", "--hide ~/.ssh"}, "[filesystem]\nread=['/srv']\nwrite=['out']\nhide=['~/.ssh']"},
		{[]string{"--bind /a:/b", "--bind /c:/d:rw", `--bind /e\:f:/g\\h:ro`}, `filesystem.bind=[{source='/a',target='/b'},{source='/c',target='/d',write=true},{source='/e:f',target='/g\h'}]`},
		{[]string{"--tmpfs /x", "--tmpfs /y:size=64M,mode=0700"}, `filesystem.tmpfs=['/x',{path='/y',size='64M',mode='0700'}]`},
		{[]string{"--overlay /x", "--overlay /y:upper=u,work=w,lower=/l,lower=/m"}, `filesystem.overlay=['/x',{path='/y',upper='u',work='w',lower=['/l','/m']}]`},
		{[]string{"--show-command"}, "filesystem.show-command=true"},
		{[]string{"--show-command", "--show-command false"}, ""},
		{[]string{"--net host"}, `network.mode='host'`},
		{[]string{"--net private"}, `network.mode='private'`},
		{[]string{"--net host", "--net none"}, `network.mode='none'`},
		{[]string{"--memory 64M", "--swap 0", "--cpus 0.5", "--pids 7", "--cpuset 0-1"}, "[limits]\nmemory='64M'\nswap=0\ncpus=0.5\npids=7\ncpuset='0-1'"},
		{[]string{"--pids none"}, `limits.pids='none'`},
		{[]string{"--io /dev/sda:rbps=1M,wiops=5"}, `limits.io=[{device='/dev/sda',rbps='1M',wiops=5}]`},
		{[]string{"--wall-time 10s", "--cpu-time 1m", "--max-output 1M"}, "max-output='1M'\n[time]\nwall='10s'\ncpu='1m'"},
		{[]string{"--wall-time 10s", "--wall-time none"}, "time.wall='none'"},
		{[]string{"--rlimit nofile=5:6", "--rlimit stack=unlimited", "--rlimit fsize=1M"}, "[rlimits]\nnofile={soft=5,hard=6}\nstack='unlimited'\nfsize='1M'"},
		{[]string{"--env A=b=c", "--env EMPTY="}, "env.set={A='b=c',EMPTY=''}"},
		{[]string{"--cwd /tmp", "--hostname box"}, "cwd='/tmp'\nhostname='box'"},
		{[]string{"--user 5:6"}, "user={mode='single',uid=5,gid=6}"},
		{[]string{"--user 5"}, "user={mode='single',uid=5,gid=5}"},
		{[]string{"--user 5", "--user current"}, "user.mode='current'"},
		{[]string{"--user ranges"}, "user.mode='ranges'"},
		{[]string{"--map-root"}, "user.mode='root'"},
		{[]string{"--cap-add kill", "--cap-add CAP_SETUID", "--cap-drop kill"}, "capabilities.add=['CAP_SETUID']"},
		{[]string{"--cap-add ALL", "--cap-drop all"}, ""},
		{[]string{"--seccomp build", "--landlock off"}, "seccomp.profile='build'\nlandlock.mode='off'"},
		{[]string{"--unshare time", "--share ipc"}, "[namespaces]\nunshare=['time']\nshare=['ipc']"},
		{[]string{"--share uts"}, "namespaces.share=['uts']"},
		{[]string{"--no-init", "--tty never"}, "init=false\nterminal='never'"},
		{[]string{"--no-init true", "--tty"}, "init=false\nterminal='always'"},
	} {
		p, _ := Builtin("default")
		if err := apply(t, p, c.flags...); err != nil {
			t.Error(err)
			continue
		}
		want, err := Parse("t.toml", []byte("extends = 'default'\nname='default'\n"+c.toml))
		if err != nil {
			t.Error(err)
			continue
		}
		want.Description = p.Description
		if d := cmp.Diff(comparable(want), comparable(p)); d != "" {
			t.Errorf("%q (-file +flags):\n%s", c.flags, d)
		}
	}
}

func TestFlagsAndTheEnvironment(t *testing.T) {
	p, _ := Builtin("default")
	if err := apply(t, p, "--env A=1", "--env TOKEN", "--clear-env", "--env PATH"); err != nil {
		t.Fatal(err)
	}
	want := Env{Set: map[string]string{"A": "1"}, Keep: []string{"TOKEN", "PATH"}}
	if d := cmp.Diff(want, p.Env); d != "" {
		t.Error(d)
	}
	if p.Origins["env.set.A"] != "--env A" {
		t.Errorf("a value shows in %q", p.Origins["env.set.A"])
	}
}

func TestFlagOrigins(t *testing.T) {
	p, _ := Builtin("default")
	if err := apply(t, p, "--memory 64M", "--read /a b", "--pids 9"); err != nil {
		t.Fatal(err)
	}
	if o := p.Origins["limits.memory"]; o != "--memory 64M" {
		t.Errorf("memory is from %q", o)
	}
	if o := p.Mounts[len(p.Mounts)-1].Origin; o != `--read "/a b"` {
		t.Errorf("read is from %q", o)
	}
	if len(p.Limits.WhereAvailable) != 0 {
		t.Errorf("%v may still be left out, though it was asked for", p.Limits.WhereAvailable)
	}
}

func TestFlagsContradict(t *testing.T) {
	for _, c := range []struct{ flags, err string }{
		{"--share net", "--share net: network \"none\" needs a net namespace"},
		{"--share mount", "--share mount: the sandbox needs a mount namespace"},
		{"--net host --unshare net", "--unshare net: a new net namespace contradicts"},
		{"--share pid", "a fresh proc needs a pid namespace"},
		{"--share pid --read /proc", ""},
		{"--share pid --read /proc --no-init", "--no-init: without init"},
		{"--share uts", ""},
		{"--share uts --hostname x", "--hostname x: the host's name would change"},
		{"--hostname x --share uts", "--hostname x: the host's name would change"},
		{"--share user --map-root", `--map-root: "root" maps ids`},
		{"--cwd /nowhere", `--cwd /nowhere: the working directory "/nowhere" is not in the sandbox`},
		{"--tmpfs /a --cwd /a/b", `--cwd /a/b: the working directory "/a/b" is not in the sandbox, as tmpfs "/a" is empty`},
	} {
		p, _ := Builtin("default")
		words := strings.Split(c.flags, " --")
		if err := apply(t, p, words...); err != nil {
			t.Fatal(err)
		}
		err := Expand(p, "/root", "/work")
		if err == nil {
			err = Validate(p)
		}
		if !matches(err, c.err) {
			t.Errorf("%s: %v, want %q", c.flags, err, c.err)
		}
	}
}

func TestFlagMistakesGolden(t *testing.T) {
	var b bytes.Buffer
	for _, l := range []string{
		"--read ", "--read a\x00b", "--bind /a", "--bind /a:/b:wr", "--bind :/b", "--bind /a:/b:ro:x", "--tmpfs /a:siz=5",
		"--tmpfs /a:size", "--tmpfs /a:size=0", "--tmpfs /a:mode=9", "--tmpfs /a:mode=0", "--tmpfs /a:size=1M:x", "--overlay /a:work=/w",
		"--net nonee", "--net ", "--memory 0", "--memory -5", "--memory 1e9", "--memory 64MB", "--memory 99999999T", "--swap x",
		"--cpus 0", "--cpus nan", "--cpus -1", "--pids 0", "--pids 1.5", "--pids 99999999999", "--io /dev/sda", "--io /dev/sda:rbps=0",
		"--io /dev/sda:rpbs=5", "--io :rbps=5", "--cpuset 3-1", "--wall-time 10", "--wall-time 0s", "--cpu-time soon", "--max-output 0",
		"--rlimit nofile", "--rlimit nofiles=3", "--rlimit nofile=5:3", "--rlimit nofile=x", "--env =x", "--env A*B=x", "--env *",
		"--clear-env x", "--cwd ", "--hostname a_b c", "--user bob", "--user 1:bob", "--user 4294967295", "--cap-add NET_ADMN",
		"--seccomp nonw", "--landlock yes", "--unshare pids", "--share network", "--tty sometimes", "--show-command maybe", "--map-root no",
	} {
		p, _ := Builtin("default")
		err := apply(t, p, l)
		if err == nil {
			t.Errorf("accepted: %s", l)
			continue
		}
		if s := err.Error(); strings.ContainsAny(s, "\n\x00") || !strings.HasPrefix(s, strings.Fields(l)[0]) {
			t.Errorf("%q: %q", l, s)
		}
		fmt.Fprintln(&b, err)
	}
	golden(t, "flag-mistakes.txt", b.Bytes())
}

func TestFlagsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for i := range Flags {
		f := &Flags[i]
		if f.Name == "" || f.Usage == "" || seen[f.Name] || strings.HasSuffix(f.Usage, ".") {
			t.Errorf("%+v", f)
		}
		if (f.apply == nil) == (settingFor(f.key) == nil) {
			t.Errorf("--%s does nothing, or two things", f.Name)
		}
		seen[f.Name] = true
	}
	if FlagNamed("profile") != nil {
		t.Error("--profile is the front end's")
	}
}
