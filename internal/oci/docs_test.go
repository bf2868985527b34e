package oci

import (
	"os"
	"strings"
	"testing"
)

// TestPage: docs/oci.md has every command and every option.
func TestPage(t *testing.T) {
	data, err := os.ReadFile("../../docs/oci.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	_, page, _ = strings.Cut(page, "## Command line")
	page, _, _ = strings.Cut(page, "\n## ")
	has := func(what, code string) {
		t.Helper()
		for _, end := range []string{"`", " ", ","} {
			if strings.Contains(page, "`"+code+end) {
				return
			}
		}
		t.Errorf("docs/oci.md, Command line: no %s %s", what, code)
	}
	for _, o := range globalOptions {
		if !o.hidden {
			has("option", "--"+o.name)
		}
	}
	for i := range verbs {
		has("command", verbs[i].name)
		for _, o := range verbs[i].options {
			if !o.hidden {
				has("option", "--"+o.name)
			}
		}
	}
}
