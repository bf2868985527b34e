package cgroups

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// node is what somebody wants to do with a device.
type node struct {
	kind         byte
	major, minor uint32
	access       access
}

// decide is what rules mean, bit by bit: the last rule about one decides.
func decide(rules []rule, n node) bool {
	for _, bit := range []access{read, write, mknod} {
		if n.access&bit == 0 {
			continue
		}
		ok := false
		for _, r := range rules {
			if (r.kind == 'a' || r.kind == n.kind) && (r.major == anyNumber || r.major == int64(n.major)) &&
				(r.minor == anyNumber || r.minor == int64(n.minor)) && r.access&bit != 0 {
				ok = r.allow
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// run is as much of the kernel's eBPF as a device program uses.
func run(t *testing.T, p []instruction, n node) bool {
	t.Helper()
	kind := uint32(unix.BPF_DEVCG_DEV_BLOCK)
	if n.kind == 'c' {
		kind = unix.BPF_DEVCG_DEV_CHAR
	}
	ctx := map[int16]uint32{0: uint32(n.access)<<16 | kind, 4: n.major, 8: n.minor}
	var reg [11]uint64
	for pc, steps := 0, 0; ; pc++ {
		if steps++; steps > len(p) || pc >= len(p) {
			t.Fatalf("the program runs away at %d", pc)
		}
		i := p[pc]
		jump := false
		switch i.code {
		case opLoadWord:
			reg[i.dst] = uint64(ctx[i.off])
		case opMov:
			reg[i.dst] = uint64(int64(i.imm))
		case opMovReg:
			reg[i.dst] = reg[i.src]
		case opAnd:
			reg[i.dst] = uint64(uint32(reg[i.dst]) & uint32(i.imm))
		case opShift:
			reg[i.dst] = uint64(uint32(reg[i.dst]) >> uint32(i.imm))
		case opJumpNE:
			jump = uint32(reg[i.dst]) != uint32(i.imm)
		case opJumpSet:
			jump = uint32(reg[i.dst])&uint32(i.imm) != 0
		case unix.BPF_JMP | unix.BPF_JA:
			jump = true
		case opExit:
			return reg[r0] == 1
		default:
			t.Fatalf("instruction %d has the unknown code %#x", pc, i.code)
		}
		if jump {
			pc += int(i.off)
		}
	}
}

// rulesOf are v1's exceptions as rules.
func (e exceptions) rules() []rule {
	return append([]rule{{allow: e.allow, kind: 'a', major: anyNumber, minor: anyNumber, access: anyAccess}}, e.list...)
}

// agree checks that the program of cgroup2 does what the rules mean, and so does
// what is written to v1 wherever v1 takes them.
func agree(t *testing.T, rules []rule) {
	t.Helper()
	p := deviceProgram(rules)
	e, err := reduce(rules)
	for _, kind := range "bc" {
		for _, major := range []uint32{0, 1, 5, 10, 136} {
			for _, minor := range []uint32{0, 1, 3, 200} {
				for a := access(1); a <= anyAccess; a++ {
					n := node{byte(kind), major, minor, a}
					want := decide(rules, n)
					if got := run(t, p, n); got != want {
						t.Fatalf("%v\n%c %d:%d %v: the program says %t, the rules say %t", rules, kind, major, minor, a, got, want)
					}
					if got := decide(e.rules(), n); err == nil && got != want {
						t.Fatalf("%v\n%c %d:%d %v: v1 says %t, the rules say %t", rules, kind, major, minor, a, got, want)
					}
				}
			}
		}
	}
}

func TestDeviceProgram(t *testing.T) {
	agree(t, nil)
	agree(t, defaultRules)
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(n ...int64) int64 { return n[random.IntN(len(n))] }
	for range 2000 {
		var rules []rule
		for range random.IntN(9) {
			rules = append(rules, rule{
				allow: random.IntN(2) == 0, kind: "abc"[random.IntN(3)],
				major: pick(anyNumber, 1, 5), minor: pick(anyNumber, 0, 3), access: access(1 + random.IntN(7)),
			})
		}
		agree(t, rules)
	}
}

// TestDockerDevices is what an engine asks for, and what of it is written on v1.
func TestDockerDevices(t *testing.T) {
	var list []specs.LinuxDeviceCgroup
	if err := json.Unmarshal([]byte(`[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
		{"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]`), &list); err != nil {
		t.Fatal(err)
	}
	rules, err := deviceRules(list)
	if err != nil {
		t.Fatal(err)
	}
	e, err := reduce(rules)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range e.list {
		lines = append(lines, e.list[i].line())
	}
	want := "c 1:5 rwm, c 5:1 rwm, c *:* m, b *:* m, c 1:3 rwm, c 1:8 rwm, c 1:7 rwm, c 5:0 rwm, c 1:9 rwm, c 136:* rwm, c 5:2 rwm, c 10:200 rwm"
	if diff := cmp.Diff(want, strings.Join(lines, ", ")); diff != "" || e.allow {
		t.Errorf("default %t, %s", e.allow, diff)
	}
	agree(t, rules)
	// A privileged container: everything is allowed, and v1 needs no more lines.
	e, err = reduce(append([]rule{{true, 'a', anyNumber, anyNumber, anyAccess}}, defaultRules...))
	if err != nil || !e.allow || len(e.list) != 0 {
		t.Errorf("a privileged container: %+v, %v", e, err)
	}
}

func TestDeviceRuleErrors(t *testing.T) {
	n := func(i int64) *int64 { return &i }
	for _, tt := range []struct {
		d    specs.LinuxDeviceCgroup
		want string
	}{
		{specs.LinuxDeviceCgroup{Type: "p", Access: "r"}, `type "p" is not "a", "b" or "c"`},
		{specs.LinuxDeviceCgroup{Type: "c"}, "access is empty: say which of r, w and m"},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "rx"}, `access "rx" is not made of r, w and m`},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "r", Major: n(-2)}, "major -2 is no device number"},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "r", Minor: n(1 << 32)}, "minor 4294967296 is no device number"},
	} {
		_, err := deviceRules([]specs.LinuxDeviceCgroup{tt.d})
		if want := "linux.resources.devices[0]: " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", tt.d, err, want)
		}
	}
	hole := []rule{{true, 'c', 1, anyNumber, anyAccess}, {false, 'c', 1, 3, read}}
	if _, err := reduce(hole); err == nil || !strings.Contains(err.Error(), "deny c 1:3 r after allow c 1:* rwm") {
		t.Errorf("a hole in a range: %v", err)
	}
}

func TestSubgroups(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "map[]"},
		{[]string{"/a/b"}, "map[:/a/b]"},
		{[]string{"cpu,memory:a", "pids:b"}, "map[cpu:a memory:a pids:b]"},
		{[]string{"a", "b"}, "invalid --cgroup argument: a (missing <controller>: prefix)"},
		{[]string{",cpu:a"}, "invalid --cgroup argument: ,cpu:a (empty <controller> prefix)"},
		{[]string{"cpu:a", "cpu:b"}, "invalid --cgroup argument(s): controller cpu specified multiple times"},
	} {
		m, err := subgroups(tt.args)
		got := fmt.Sprint(m)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.args, got, tt.want)
		}
	}
}
