package attack

import (
	"bytes"
	"os"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// TestTracingOwnChild: what keeps the attacks of group ptrace out leaves a debugger its
// own children, under the profile that is for it.
func TestTracingOwnChild(t *testing.T) {
	t.Chdir(t.TempDir())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for profile, want := range map[string]string{"build": "traced\n", "default": "operation not permitted\n"} {
		o, err := newOutside()
		if err != nil {
			t.Fatal(err)
		}
		base, _ := policy.Builtin(profile)
		b, err := SandboxOf(base, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		ended, err := b.Run(t.Context(), []string{exe, Arg, tracerRole}, nil, &out)
		if err != nil || !bytes.HasSuffix(out.Bytes(), []byte(want)) {
			t.Errorf("%s: %q (%+v, %v), want %q", profile, &out, ended, err, want)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	}
}
