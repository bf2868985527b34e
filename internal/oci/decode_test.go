package oci

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

// agree has both decoders read a text.
func agree[T any](t *testing.T, text []byte, sure bool) {
	t.Helper()
	var quick, other T
	err := decodeQuickly(text, reflect.ValueOf(&quick).Elem())
	if sure && err != nil {
		t.Errorf("%T: it is not sure of %s", quick, text)
	}
	if err != nil {
		return
	}
	if err := json.Unmarshal(text, &other); err != nil {
		t.Fatalf("%T: encoding/json refuses %s: %v", quick, text, err)
	}
	if !reflect.DeepEqual(quick, other) {
		t.Fatalf("%T: %s is\n%+v, want\n%+v", quick, text, quick, other)
	}
}

// full makes of v a value that holds something wherever it can.
func full(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		full(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() || f.Anonymous {
				full(t, v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"a":[1,-25,"\u00e9\\",null,true,false,{}]}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		full(t, v.Index(0))
		full(t, v.Index(1))
	case reflect.Map:
		item := reflect.New(v.Type().Elem()).Elem()
		full(t, item)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k<\n\"").Convert(v.Type().Key()), item)
	case reflect.String:
		v.SetString("a/é<&>\\\"\n\x01 ")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
	default:
		if v.CanInt() {
			v.SetInt(-7)
		} else {
			v.SetUint(200)
		}
	}
}

func TestDecode(t *testing.T) {
	var c config
	full(t, reflect.ValueOf(&c).Elem())
	c.Windows = nil // it has a field of any type
	text, err := json.MarshalIndent(&c, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	seccomp := []byte(`{"linux":{"seccomp":`)
	seccomp = append(seccomp, "{\"a\" : [1, 25, \"x\\u00e9\"] }}}"...)
	state, err := json.Marshal(&Container{ID: "x", Annotations: map[string]string{"a": "b"}, Poststop: []specs.Hook{{Path: "/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	agree[config](t, []byte(`{"linux":{}}`), true)
	agree[config](t, text, true)
	agree[config](t, seccomp, true)
	agree[Container](t, state, true)
	for _, text := range []string{
		``, `{}`, ` { } `, `null`, `[]`, `{"process":null}`, `{"process":{"args":null,"env":[]}}`, `{"PROCESS":{"Args":["a"]}}`,
		`{"hoſtname":"a"}`, `{"hostname":"a","HOSTNAME":"b"}`, `{"hostname":1}`, `{"hostname":"a"}x`, `{"hostname":"a",}`, `{,}`, `{"hostname" "a"}`,
		`{"process":{"user":{"uid":-1}}}`, `{"process":{"user":{"uid":4294967296}}}`, `{"process":{"user":{"uid":01}}}`, `{"process":{"user":{"uid":1.0}}}`,
		`{"process":{"user":{"uid":1e3}}}`, `{"process":{"terminal":tru}}`, `{"process":{"terminal":"true"}}`, `{"process":{"terminal":false}}`,
		`{"linux":{"devices":[{"fileMode":438,"uid":null}]}}`, `{"linux":{"seccomp":null}}`, `{"annotations":{"a":"b","a":"c"}}`, `{"annotations":{"a":null}}`,
		"{\"hostname\":\"a\nb\"}", `{"hostname":"\q"}`, `{"hostname":"\ud800"}`, `{"x":[1,2,{"y":"\u0041"}],"hostname":"z"}`, `{"x":-}`, `{"x":[}`, `{"x":{]}`,
		`{"linux":{"resources":{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":5}]}}}}`, `{"linux":{"timeOffsets":{"boottime":{"secs":-5,"nanosecs":7}}}}`,
	} {
		agree[config](t, []byte(text), false)
		agree[Container](t, []byte(text), false)
		agree[specs.Process](t, []byte(text), false)
	}
}

// TestDecodeOften: what engines write is not left to encoding/json.
func TestDecodeOften(t *testing.T) {
	text, err := json.Marshal(example(false))
	if err != nil {
		t.Fatal(err)
	}
	agree[config](t, text, true)
	agree[config](t, []byte(`{"linux":{"resources":{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":5}]}},"timeOffsets":{"boottime":{"secs":-5}}}}`), true)
}

// TestEncode: both encoders write the same.
func TestEncode(t *testing.T) {
	var c Container
	full(t, reflect.ValueOf(&c).Elem())
	c.Created = time.Now()
	process := specs.Process{Args: []string{"a"}, Rlimits: []specs.POSIXRlimit{{Type: "x"}}}
	for _, v := range []any{c, Container{}, Container{ID: "x", Cgroup: cgroups.State{Dirs: []cgroups.DirState{{Path: "/x"}}}}, process, specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{}}}} {
		got, err := encode(v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s, want\n%s", got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	text, err := json.Marshal(example(false))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		agree[config](t, text, false)
		agree[Container](t, text, false)
	})
}

func BenchmarkParseConfig(b *testing.B) {
	text, err := json.Marshal(example(false))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := parseConfig("config.json", text); err != nil {
			b.Fatal(err)
		}
	}
}
