package learn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloche-sandbox/cloche/policy"
)

const home = "/home/ann"

// policies are the base, and what the command had while it was watched: all to
// read, and /work to write.
func policies(t *testing.T) (base, during *policy.Policy) {
	t.Helper()
	base = policy.New()
	base.Mounts = []policy.Mount{
		{Kind: policy.Read, Path: "/usr"},
		{Kind: policy.Hide, Path: "/usr/hidden"},
		{Kind: policy.Tmpfs, Path: "/tmp"},
	}
	during = base.Clone()
	during.Mounts = append(during.Mounts, policy.Mount{Kind: policy.Read, Path: "/"}, policy.Mount{Kind: policy.Write, Path: "/work"})
	return base, during
}

// lines are the mounts as "read /path".
func lines(mounts []policy.Mount) (all []string) {
	for _, m := range mounts {
		all = append(all, string(m.Kind)+" "+m.Path)
	}
	return all
}

func TestPaths(t *testing.T) {
	many := map[string]Access{}
	for i := range manyFiles {
		many[fmt.Sprintf("/work/data/%d", i)] = Read
	}
	inHome, inKeys := map[string]Access{}, map[string]Access{}
	var homes, keys []string
	for i := range manyFiles {
		inHome[fmt.Sprintf("%s/%d", home, i)] = Read
		inKeys[fmt.Sprintf("%s/.ssh/%d", home, i)] = Read
		homes = append(homes, fmt.Sprintf("read %s/%d", home, i))
		keys = append(keys, fmt.Sprintf("read %s/.ssh/%d", home, i))
	}
	for _, test := range []struct {
		name string
		seen map[string]Access
		want []string
	}{
		{"the base shows it", map[string]Access{"/usr/bin/x": Read | Execute, "/tmp/a": Make}, nil},
		{"what is hidden stays so", map[string]Access{"/usr/hidden/x": Read}, nil},
		{"a file that is read", map[string]Access{"/data/x": Read}, []string{"read /data/x"}},
		{"a file that is changed", map[string]Access{"/work/x": Read | Write}, []string{"write /work/x"}},
		{"a new name is its directory", map[string]Access{"/work/out/tmpk3j2h1": Make | Write}, []string{"write /work/out"}},
		{"the directory covers it", map[string]Access{"/work/x": Read, "/work/new": Make}, []string{"write /work"}},
		{"reading does not cover writing", map[string]Access{"/work": Read, "/work/x": Write}, []string{"read /work", "write /work/x"}},
		{"many become the directory", many, []string{"read /work/data"}},
		{"but no home", inHome, homes},
		{"and no keys", inKeys, keys},
		{"what is not there", map[string]Access{"/nope": Looked}, nil},
		{"writing that was refused", map[string]Access{"/data/x": Make}, nil},
		{"all of /etc", map[string]Access{"/etc": Read}, nil},
	} {
		var f Files
		for name, a := range test.seen {
			f.Add(name, a, "prog")
		}
		base, during := policies(t)
		slices.Sort(test.want)
		got := lines(f.Paths(base, during, home).Mounts)
		slices.Sort(got)
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: want - got +\n%s", test.name, d)
		}
	}
}

func TestPathsTell(t *testing.T) {
	var f Files
	f.Add("/nope", Looked, "prog")
	f.Add("/data/x", Make, "prog")
	f.Add("/etc", Read, "prog")
	f.Add(home+"/.ssh/id_ed25519", Read, "prog")
	f.Add(home+"/.ssh/id_ed25519", Read, "other")
	base, during := policies(t)
	got := f.Paths(base, during, home)
	want := Paths{
		Mounts:  []policy.Mount{{Kind: policy.Read, Path: home + "/.ssh/id_ed25519", Origin: "used by other, prog"}},
		Refused: []string{"/data/x"},
		Wide:    []string{"/etc"},
		Secret:  []string{home + "/.ssh/id_ed25519"},
		Missing: []string{"/nope"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
}

func TestFilesAreBounded(t *testing.T) {
	var f Files
	for i := range maxFiles + 5000 {
		f.Add(fmt.Sprintf("/data/%d/x", i), Read, "prog")
	}
	if len(f.seen) > maxFiles {
		t.Errorf("%d paths are kept, the bound is %d", len(f.seen), maxFiles)
	}
}
