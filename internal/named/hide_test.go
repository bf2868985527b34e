package named

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// TestHide: wherever a policy shows what the records lie in, by whatever name, they are hidden, and
// nowhere else; what is asked for by name is shown.
func TestHide(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"run/user", "other", "up", "work"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("run", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		flags   string // $T is top
		records string // below top; "": run/user/cloche
		want    string // what is hidden, with blanks between
	}{
		{flags: "read /usr"},
		{flags: "read $T/other"},
		{flags: "read $T", want: "$T/run/user/cloche"},
		{flags: "write $T/run", want: "$T/run/user/cloche"},
		{flags: "write /", want: "$T/run/user/cloche"},
		{flags: "bind $T/run:/r", want: "/r/user/cloche"},
		{flags: "bind $T/run/user:/r:rw, read $T", want: "$T/run/user/cloche /r/cloche"},
		{flags: "overlay $T", want: "$T/run/user/cloche"},
		{flags: "overlay /o:lower=$T/other,lower=$T/run", want: "/o/user/cloche"},
		{flags: "overlay /o:lower=$T/other,upper=$T/run/user,work=$T/work", want: "/o/cloche"},
		// The policy has something of its own in the way.
		{flags: "write /, tmpfs $T/run"},
		{flags: "read $T, read $T/other", want: "$T/run/user/cloche"},
		{flags: "read $T, bind $T/other:$T/run/user/cloche"},
		// Links, of the place and on the way to it.
		{flags: "read $T/link", want: "$T/link/user/cloche"},
		{flags: "write $T, write $T/link", want: "$T/run/user/cloche"},
		{flags: "read $T/run", records: "link/user/cloche", want: "$T/run/user/cloche"},
		{flags: "bind $T/link:/r", records: "link/user/cloche", want: "/r/user/cloche"},
		// By its name.
		{flags: "read $T/run/user/cloche"},
		{flags: "write $T, write $T/run/user/cloche"},
		{flags: "read $T/run/user/cloche/web"},
		{flags: "read $T, read $T/run/user/cloche/web", want: "$T/run/user/cloche"},
		{flags: "share mount, write $T"},
	} {
		for _, there := range []bool{true, false} {
			dir := filepath.Join(top, "run/user/cloche")
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			named := strings.Contains(test.flags, "/cloche")
			if there || named {
				if err := os.MkdirAll(filepath.Join(dir, "web"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			p := policy.New()
			for flag := range strings.SplitSeq(test.flags, ", ") {
				name, value, _ := strings.Cut(flag, " ")
				if err := policy.FlagNamed(name).Apply(p, strings.ReplaceAll(value, "$T", top)); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.HasPrefix(test.flags, "share") {
				p.Unshare.Mount = true
			}
			if err := policy.Expand(p, "/", "/"); err != nil {
				t.Fatal(err)
			}
			records := dir
			if test.records != "" {
				records = filepath.Join(top, test.records)
			}
			before := policy.Format(p)
			looked, err := Hide(p, records, false)
			if err != nil {
				t.Errorf("%s: %v", test.flags, err)
				continue
			}
			if _, err := os.Lstat(dir); !there && !named {
				if err == nil {
					t.Errorf("%s: a look made it", test.flags)
				}
				if note := len(looked.Notes) == 1 && strings.Contains(looked.Notes[0], "makes it first"); note != (test.want != "") {
					t.Errorf("%s: notes %q", test.flags, looked.Notes)
				}
			}
			q, err := Hide(p, records, true)
			if err != nil {
				t.Errorf("%s: %v", test.flags, err)
				continue
			}
			if string(policy.Format(p)) != string(before) {
				t.Errorf("%s: the policy itself is changed", test.flags)
			}
			var got []string
			for _, m := range q.Mounts {
				if m.Kind == policy.Hide {
					got = append(got, m.Path)
				}
			}
			want := strings.Fields(strings.ReplaceAll(test.want, "$T", top))
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s, there %v: hidden %q, want %q", test.flags, there, got, want)
			}
			if info, err := os.Stat(dir); len(want) > 0 && (err != nil || info.Mode().Perm() != 0o700) {
				t.Errorf("%s: the records' directory: %v", test.flags, err)
			}
		}
	}
}

// TestHideNotMade: a directory that can't be made is out of the command's reach, too, or the start
// is refused.
func TestHideNotMade(t *testing.T) {
	top := t.TempDir()
	if err := os.Symlink("none", filepath.Join(top, "nowhere")); err != nil {
		t.Fatal(err)
	}
	p := policy.New()
	p.Unshare.Mount = true
	p.Mounts = []policy.Mount{{Kind: policy.Write, Path: "/"}}
	if q, err := Hide(p, "/sys/cloche", true); q != p || err != nil {
		t.Errorf("where nobody may make it: %v", err)
	}
	_, err := Hide(p, filepath.Join(top, "nowhere/cloche"), true)
	if err == nil || !strings.Contains(err.Error(), "the records of sandboxes") || !strings.Contains(err.Error(), DirVariable) {
		t.Errorf("behind a link that leads nowhere: %v", err)
	}
}
