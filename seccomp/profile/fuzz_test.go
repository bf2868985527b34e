package profile

import (
	"errors"
	"strings"
	"testing"
)

// oneLine holds an error to what every reader of a file promises.
func oneLine(t *testing.T, err error) {
	t.Helper()
	var at *Error
	if !errors.As(err, &at) || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Fatalf("%q", err)
	}
}

// FuzzTOML has every profile that can be read come back from what is written of it.
func FuzzTOML(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("default = 'errno 0'\nuse = ['@random', '@limits']\n[[group]]\nname = 'a'\nrule = [{ action = 'log', calls = ['read(1 && & 3 == 1, <= -1:64)'] }]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, err := ReadTOML("f", data, amd64)
		if err != nil {
			oneLine(t, err)
			return
		}
		sameAfterWriting(t, p)
	})
}

// FuzzOCI has every profile that can be read compile, and be written in both forms.
func FuzzOCI(f *testing.F) {
	f.Add([]byte(rules("SCMP_ACT_LOG", `{"name": "ioctl", "action": "SCMP_ACT_ERRNO", "errno": "EIO", "args": [{"index": 1, "value": 21522, "op": "SCMP_CMP_NE"}]}`)))
	f.Add([]byte(rules("SCMP_ACT_TRACE", `{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}], "comment": "x", "excludes": {"caps": ["CAP_KILL"], "minKernel": "99.0"}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, archs, _, err := ReadOCI("f", data, amd64)
		if err != nil {
			oneLine(t, err)
			return
		}
		if _, err := Write(p); err != nil {
			t.Fatal(err)
		}
		text, _, err := WriteOCI(p, archs...)
		if errors.Is(err, errTooLong) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := ReadOCI("back", text, amd64); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
