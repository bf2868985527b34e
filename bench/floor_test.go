package main

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/bench/turns"
	"github.com/cloche-sandbox/cloche/internal/needs"
)

// TestFloor: the C program is a sandbox, else the ratios to it mean nothing.
func TestFloor(t *testing.T) {
	needs.Long(t, "it compiles C")
	floor, err := compileFloor(t.TempDir())
	if err != nil {
		needs.Skip(t, err.Error())
	}
	c := &turns.Contender{Name: "floor", Argv: []string{floor, "/bin/sh", "-c", "test $$ = 1 && test -c /dev/null && ! touch /etc/cloche-floor 2>/dev/null && test -z \"$(ls /tmp)\""}}
	if err := c.Try(); err != nil {
		if strings.Contains(err.Error(), "floor: pid: ") { // clone(2)
			needs.Skip(t, "user namespaces can't be made here: "+err.Error())
		}
		t.Error(err)
	}
}
