package oci

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hostile are configurations that somebody made to be read differently from what
// they say, or never to be read at all, and a part of what each is refused with.
var hostile = []struct{ name, text, want string }{
	{"nothing", "", "unexpected end of JSON input"},
	{"no object", "[]", "line 1: json: cannot unmarshal array"},
	{"half", `{"ociVersion":"1.0.2","process":{`, "unexpected end of JSON input"},
	{"two documents", "{}{}", "after top-level value"},
	{"raw NUL", "{\"hostname\":\"a\x00b\"}", "invalid character"},
	{"escaped NUL", `{"root":{"path":"rootfs\u0000/../.."}}`, "line 1: a NUL is in a string"},
	{"NUL in a key", `{"annotations":{"a\u0000":"b"}}`, "a NUL is in a string"},
	{"a key twice", "{\"hostname\":\"a\",\n\"hostname\":\"b\"}", `line 2: the key "hostname" is there twice`},
	{"a key in another case", `{"root":{"path":"a"},"Root":{"path":"b"}}`, `the key "Root" is there twice`},
	{"a key in another spelling", `{"root":{"path":"a"},"\u0072oot":{"path":"b"}}`, `the key "root" is there twice`},
	{"a key in the Kelvin sign", `{"linux":{"maskedPaths":["/proc/keys"],"mas\u212aedPaths":[]}}`, "is there twice"},
	{"an annotation twice", `{"annotations":{"a":"b","a":"c"}}`, `the key "a" is there twice`},
	{"deep lists", strings.Repeat("[", 1<<20), "nested more than 32 deep"},
	{"deep objects", strings.Repeat(`{"a":`, 1<<18), "nested more than 32 deep"},
	{"deep in the filter", `{"linux":{"seccomp":{"syscalls":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}}`, "nested more than 32 deep"},
	{"a number too large", `{"process":{"user":{"uid":4294967296}}}`, "cannot unmarshal number 4294967296 into Go struct field"},
	{"a number below zero", `{"process":{"user":{"gid":-1}}}`, "cannot unmarshal number -1"},
	{"no whole number", `{"process":{"user":{"uid":1.5}}}`, "cannot unmarshal number 1.5"},
	{"a number without end", `{"linux":{"resources":{"memory":{"limit":` + strings.Repeat("9", 1000) + `}}}}`, "cannot unmarshal number 999"},
	{"infinity", `{"linux":{"resources":{"memory":{"limit":1e999}}}}`, "cannot unmarshal number 1e999"},
	{"a string for a number", `{"process":{"user":{"uid":"0"}}}`, "cannot unmarshal string"},
	{"no UTF-8", "{\"root\":{\"path\":\"a\xff\"}}", "UTF-8"},
	{"half a character", `{"root":{"path":"a\ud800"}}`, "\\ud800"},
}

func TestHostileConfig(t *testing.T) {
	for _, tt := range hostile {
		began := time.Now()
		_, err := parseConfig("config.json", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want …%s…", tt.name, err, tt.want)
		}
		if err != nil && len(err.Error()) > 4096 {
			t.Errorf("%s: the error has %d bytes", tt.name, len(err.Error()))
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %v", tt.name, took)
		}
	}
}

// TestHostileFile has what is no file to read, or one of 50 MB.
func TestHostileFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "config.json")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, want string) {
		t.Helper()
		began := time.Now()
		_, _, err := readBundle(dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", what, err, want)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %v", what, took)
		}
	}
	refused("no file", "not found")
	write(append([]byte(`{"hostname":"`), bytes.Repeat([]byte{'a'}, 50<<20)...))
	refused("50 MB", "longer than the 8 MiB")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	for what, make := range map[string]func() error{
		"a directory": func() error { return os.Mkdir(name, 0o700) },
		"a device":    func() error { return os.Symlink("/dev/zero", name) },
		"a loop":      func() error { return os.Symlink("config.json", name) },
		"a fifo":      func() error { return unix.Mkfifo(name, 0o600) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		refused(what, "config.json")
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	// What is long and in order is read, and soon.
	var b bytes.Buffer
	b.WriteString(`{"ociVersion":"1.0.2","annotations":{"":""`)
	for i := range 100000 {
		b.WriteString(`,"key`)
		b.WriteString(strings.Repeat("x", i%7))
		b.WriteString(strconv.Itoa(i))
		b.WriteString(`":"value"`)
	}
	b.WriteString("}}")
	write(b.Bytes())
	began := time.Now()
	c, _, err := readBundle(dir)
	if err != nil || len(c.Annotations) != 100001 {
		t.Errorf("100000 annotations: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("100000 annotations took %v", took)
	}
}

// FuzzConfig: whatever the text is, reading it ends, and what was read says the
// same when it is written and read again.
func FuzzConfig(f *testing.F) {
	for _, tt := range hostile {
		if len(tt.text) < 4096 {
			f.Add([]byte(tt.text))
		}
	}
	example, err := json.Marshal(example(false))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig("config.json", text)
		if err != nil {
			return
		}
		written, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		again, err := parseConfig("config.json", written)
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%s", err, written)
		}
		rewritten, err := json.Marshal(again)
		if err != nil || !bytes.Equal(written, rewritten) {
			t.Fatalf("%s\nis another when read again:\n%s\n%v", written, rewritten, err)
		}
	})
}

// FuzzState: the same for what is kept about a container, which a bundle's
// strings are part of.
func FuzzState(f *testing.F) {
	f.Add("id", []byte(`{"id":"id","pid":1,"cgroup":{"dirs":[{"path":"/"}]}}`))
	f.Add("../x", []byte("{}"))
	f.Fuzz(func(t *testing.T, id string, text []byte) {
		g := &Global{Root: t.TempDir()}
		if checkID(id) != nil {
			if _, err := load(g, id); err == nil {
				t.Fatalf("%q was loaded", id)
			}
			return
		}
		if strings.ContainsAny(id, "/\x00") || filepath.Base(id) != id {
			t.Fatalf("%q is no name of a directory", id)
		}
		if err := os.Mkdir(filepath.Join(g.Root, id), 0o700); err != nil {
			return // too long
		}
		if err := os.WriteFile(filepath.Join(g.Root, id, stateFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(g, id)
		if err == nil && c.ID != id {
			t.Fatalf("%q is about %q", id, c.ID)
		}
	})
}

// TestManyKeys: among many keys one that is there twice is found as among few.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		b.WriteString(`"key` + strconv.Itoa(i) + `":0,`)
	}
	for _, twice := range []string{`"hostname":"a","hoſtname":"b"`, `"hostname":"a","HOSTNAME":"b"`, `"mask":1,"mas\u212a":2`} {
		if _, err := parseConfig("config.json", []byte("{"+b.String()+twice+"}")); err == nil || !strings.Contains(err.Error(), "is there twice") {
			t.Errorf("%s: %v", twice, err)
		}
	}
	if _, err := parseConfig("config.json", []byte(`{"annotations":{"😀":"\ud83d\ude00\\ud800\"\n","é":"e"}}`)); err != nil {
		t.Error(err)
	}
}
