package checks

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/cli"
	"github.com/cloche-sandbox/cloche/policy"
)

// keysAt asks the reader of policy files which keys it knows at a place: it
// tells, when it is given one that is like none of them. at holds %. There is no
// list where a table may not stand.
func keysAt(t *testing.T, at string) []string {
	t.Helper()
	_, err := policy.Parse("p", []byte(strings.Replace(at, "%", "zzzzzzzzzzzz = 1", 1)))
	if err == nil {
		t.Fatalf("%q has no mistake in it", at)
	}
	_, list, ok := strings.Cut(err.Error(), "unknown key: here may be ")
	switch {
	case ok:
		return strings.Split(list, ", ")
	case strings.HasSuffix(err.Error(), ", not a list") || strings.HasSuffix(err.Error(), ", not a table"):
		return nil
	}
	t.Fatalf("%q: the refusal no longer lists the keys: %v", at, err)
	return nil
}

// schemaKeys are all keys of a policy, dotted; of [rlimits] without soft and hard,
// of [env.set] none.
func schemaKeys(t *testing.T) (keys []string) {
	t.Helper()
	for _, top := range keysAt(t, "%") {
		inside := keysAt(t, top+" = { % }")
		if inside == nil {
			keys = append(keys, top)
		}
		for _, key := range inside {
			dotted := top + "." + key
			keys = append(keys, dotted)
			if top == "rlimits" || dotted == "env.set" {
				continue
			}
			for _, in := range keysAt(t, "["+top+"]\n"+key+" = [{ % }]") {
				keys = append(keys, dotted+"."+in)
			}
		}
	}
	return keys
}

// keyRows are the rows of docs/policy.md about a key, by its name.
func keyRows(t *testing.T, text string) map[string][]string {
	t.Helper()
	rows := make(map[string][]string)
	for _, row := range table(section(t, text, "## Keys")) {
		key := firstCode(row[0])
		if key == "" {
			continue // the head of a table
		}
		if rows[key] != nil {
			t.Errorf("docs/policy.md: %s has two rows", key)
		}
		rows[key] = row
	}
	return rows
}

func TestPolicyPageKeys(t *testing.T) {
	rows := keyRows(t, page(t, "policy.md"))
	keys := schemaKeys(t)
	if len(keys) < 80 {
		t.Fatalf("only %d keys were found: %q", len(keys), keys)
	}
	for _, key := range keys {
		if rows[key] == nil {
			t.Errorf("docs/policy.md: no row about %s", key)
		}
	}
	for key := range rows {
		if !slices.Contains(keys, key) {
			t.Errorf("docs/policy.md: a row about %s, which is no key of a policy", key)
		}
	}
}

// TestPolicyPageDefaults holds the third column against policy.New.
func TestPolicyPageDefaults(t *testing.T) {
	rows := keyRows(t, page(t, "policy.md"))
	fresh := formatted(policy.New())
	for key, row := range rows {
		if strings.HasPrefix(key, "rlimits.") {
			continue // a table without that column
		}
		if len(row) != 6 {
			t.Errorf("docs/policy.md: %s: %d cells, the head has 6", key, len(row))
			continue
		}
		if want, ok := fresh[key]; ok && row[2] != "`"+want+"`" {
			t.Errorf("docs/policy.md: %s: the default is %s, the page says %s", key, want, row[2])
		}
	}
}

// formatted is a policy's TOML form by key: what stands on one line of it.
func formatted(p *policy.Policy) map[string]string {
	p.Origins = nil // which come out as comments
	values := make(map[string]string)
	section := ""
	for line := range strings.Lines(string(policy.Format(p))) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(name, "]") {
			section = strings.TrimSuffix(name, "]") + "."
			continue
		}
		if key, val, ok := strings.Cut(line, " = "); ok && val != "[" {
			values[section+key] = val
		}
	}
	return values
}

// written is how a page writes a flag with its value.
func written(f *policy.Flag) string {
	switch {
	case f.Value == "":
		return "`--" + f.Name + "`"
	case f.OptionalValue != "":
		return "`--" + f.Name + "[=" + f.Value + "]`"
	}
	return "`--" + f.Name + " " + f.Value + "`"
}

var flagInCode = regexp.MustCompile("`--([a-z][a-z-]*)")

func TestPolicyPageFlags(t *testing.T) {
	text := page(t, "policy.md")
	plain := strings.ReplaceAll(section(t, text, "## Keys"), `\|`, "|")
	for i := range policy.Flags {
		f := &policy.Flags[i]
		if !strings.Contains(plain, written(f)) {
			t.Errorf("docs/policy.md: the flag %s is not there, written so", written(f))
		}
	}
	for _, m := range flagInCode.FindAllStringSubmatch(text, -1) {
		if !cli.IsFlag(m[1]) {
			t.Errorf("docs/policy.md: --%s is no flag of a verb", m[1])
		}
	}
}

// TestPolicyPageExamples reads the files that the page shows.
func TestPolicyPageExamples(t *testing.T) {
	examples := blocks(page(t, "policy.md"), "toml")
	if len(examples) == 0 {
		t.Fatal("docs/policy.md: no example")
	}
	for i, text := range examples {
		p, err := policy.Parse("example", []byte(text))
		if err == nil {
			err = policy.Expand(p, "/home/ann", "/home/ann/src")
		}
		if err == nil {
			err = policy.Validate(p)
		}
		if err != nil {
			t.Errorf("docs/policy.md, example %d: %v", i+1, err)
		}
	}
}

// TestPolicyPageProfiles holds the table of profiles against them.
func TestPolicyPageProfiles(t *testing.T) {
	rows := table(section(t, page(t, "policy.md"), "## The built-in profiles"))
	profiles := make([]map[string]string, 0, len(rows[0]))
	for i, name := range policy.Builtins() {
		if len(rows[0]) <= i+1 || firstCode(rows[0][i+1]) != name {
			t.Fatalf("docs/policy.md: column %d of the profiles is not %s: %q", i+1, name, rows[0])
		}
		p, _ := policy.Builtin(name)
		profiles = append(profiles, formatted(p))
	}
	shown := make(map[string]bool)
	for _, row := range rows[1:] {
		key := firstCode(row[0])
		if key == "" {
			continue // in words
		}
		shown[key] = true
		for i, values := range profiles {
			want := "–"
			if v, ok := values[key]; ok {
				want = "`" + v + "`"
			}
			if row[i+1] != want {
				t.Errorf("docs/policy.md: %s of profile %s is %s, the page says %s", key, policy.Builtins()[i], want, row[i+1])
			}
		}
	}
	// What differs from a policy that was made of nothing has a row.
	fresh := formatted(policy.New())
	for i, values := range profiles {
		for key, v := range values {
			section, _, _ := strings.Cut(key, ".")
			if section == "limits" || section == "time" || section == "rlimits" || section == "seccomp" || section == "landlock" || section == "network" {
				if v != fresh[key] && !shown[key] {
					t.Errorf("docs/policy.md: profile %s sets %s, which has no row", policy.Builtins()[i], key)
				}
			}
		}
	}
}
