package policy

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./policy -update writes it)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got; go test ./policy -update rewrites it):\n%s", file, d)
	}
}

// What a start-up uses must be what the files say.
func TestBuiltinsAreTheirFiles(t *testing.T) {
	for _, name := range Builtins() {
		text, ok := BuiltinFile(name)
		if !ok {
			t.Fatalf("%s has no file", name)
		}
		want, err := Resolve(name+".toml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Builtin(name)
		if !ok {
			t.Fatalf("%s is not generated", name)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: run go generate ./policy (-file +generated):\n%s", name, d)
		}
		if want.Name != name || want.Description == "" {
			t.Errorf("%s: name %q, description %q", name, want.Name, want.Description)
		}
	}
	if _, ok := Builtin("nonsense"); ok {
		t.Error("there is a built-in profile nonsense")
	}
}

func TestBuiltinIsTheCallers(t *testing.T) {
	a, _ := Builtin("default")
	a.Mounts[0].Path = "/elsewhere"
	a.Env.Set["PATH"] = ""
	b, _ := Builtin("default")
	if b.Mounts[0].Path == "/elsewhere" || b.Env.Set["PATH"] == "" {
		t.Error("two calls of Builtin share data")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	for _, name := range Builtins() {
		a, _ := Builtin(name)
		b := a.Clone()
		if d := cmp.Diff(a, b); d != "" {
			t.Error(d)
		}
	}
	a, _ := Builtin("judge")
	b := a.Clone()
	*b.Limits.Swap = 1
	b.Env.Set["HOME"] = "/"
	b.Mounts[0].Path = "/x"
	b.Rlimits["core"] = Rlimit{1, 1}
	if c, _ := Builtin("judge"); !cmp.Equal(a, c) {
		t.Error("a change of the clone changed the original")
	}
}

func TestBuiltinsGolden(t *testing.T) {
	for _, name := range Builtins() {
		p, _ := Builtin(name)
		if err := Expand(p, "/home/ann", "/home/ann/src"); err != nil {
			t.Fatal(err)
		}
		if err := Validate(p); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".golden.toml", Format(p))
	}
}

func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		p, _ := Builtin("default")
		if Expand(p, "/home/ann", "/home/ann/src") != nil || Validate(p) != nil {
			b.Fatal()
		}
	}
}
