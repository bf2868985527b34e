package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
)

// TestManyAtOnce creates 200 containers at once, starts them at once, and deletes them: nothing is left of any.
func TestManyAtOnce(t *testing.T) {
	r := newRuntime(t)
	n := 200
	if testing.Short() {
		n = 20
	}
	first := bundle(t, nil)
	text, err := os.ReadFile(filepath.Join(first, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf("cloche-many-%d-", os.Getpid())
	ids := make([]string, n)
	for i := range ids {
		ids[i] = prefix + fmt.Sprint(i)
		s := new(specs.Spec)
		if err := json.Unmarshal(text, s); err != nil {
			t.Fatal(err)
		}
		// One root file system of them all: what one makes there the others find.
		s.Root.Path, s.Root.Readonly = filepath.Join(first, "rootfs"), true
		s.Linux.CgroupsPath = "/" + ids[i]
		own, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(first, ids[i])
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), own, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	do := func(atOnce int, args func(id string) []string) {
		t.Helper()
		begun := time.Now()
		out := make([]string, n)
		room := make(chan struct{}, atOnce)
		var all sync.WaitGroup
		for i, id := range ids {
			room <- struct{}{}
			all.Go(func() {
				defer func() { <-room }()
				if said, status := r.do(args(id)...); status != 0 {
					out[i] = fmt.Sprintf("exit %d: %s", status, said)
				}
			})
		}
		all.Wait()
		for i := range out {
			if out[i] != "" {
				t.Errorf("%q: %s", args(ids[i]), out[i])
			}
		}
		t.Logf("%s: %v", args("")[0], time.Since(begun))
	}
	count := func(status Status) (is int) {
		all, err := list(&Global{Root: r.root})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Status() == status {
				is++
			}
		}
		return is
	}
	do(n, func(id string) []string { return []string{"create", "--bundle", filepath.Join(first, id), id} })
	if is := count(Created); is != n {
		t.Errorf("%d containers are created, want %d", is, n)
	}
	do(n, func(id string) []string { return []string{"start", id} })
	if is := count(Running); is != n {
		t.Errorf("%d containers are running, want %d", is, n)
	}
	do(16, func(id string) []string { return []string{"delete", "--force", id} })
	entries, _ := os.ReadDir(r.root)
	for _, e := range entries {
		if e.Name() != cacheDir {
			t.Errorf("%s is left below --root", e.Name())
		}
	}
	if rest := left(t, prefix, first); len(rest) > 0 {
		t.Errorf("%q is left", rest)
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Hierarchies {
		dirs, _ := os.ReadDir(l.Hierarchies[i].Mount)
		for _, d := range dirs {
			if strings.HasPrefix(d.Name(), prefix) {
				t.Errorf("the cgroup %s is left in %s", d.Name(), l.Hierarchies[i].Mount)
			}
		}
	}
}
