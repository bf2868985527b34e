package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// capabilities are the rows of cloche doctor that differ between hosts, with the heads of
// their columns.
var capabilities = [...]struct{ row, head string }{
	{"user namespaces", "user namespaces"},
	{"a fresh /proc", "/proc of its own"},
	{"overlay file systems", "overlays"},
	{"mounts with mapped ids", "mapped ids"},
	{"Landlock", "Landlock"},
	{"seccomp notifications", "seccomp notifications"},
	{"programs in memory files", "memory files"},
	{"ranges of ids", "ranges of ids"},
	{"/dev/net/tun", "/dev/net/tun"},
	{"memory", "limit of memory"},
	{"disk", "of disks"},
	{"complete sandbox", "complete sandbox"},
}

// doctors asks cloche doctor in a guest, for root and for the ordinary user.
func (g *guest) doctors() string {
	user := "setpriv --reuid tester --regid tester --init-groups cloche doctor --json"
	if g.systemd {
		user = "runuser -l tester -c 'cloche doctor --json'"
	}
	return "cd /tmp; cloche doctor --json; " + user
}

// row is one of cloche doctor's.
type row struct{ Name, Status, Detail string }

// tableHead begins the table of guests and capabilities for docs/platforms.md.
func tableHead() string {
	head, line := "| guest |", "|---|"
	for _, c := range capabilities {
		head, line = head+" "+c.head+" |", line+"---|"
	}
	return head + "\n" + line + "\n"
}

// tableRow is a guest's, of what its two doctors said.
func (r *result) tableRow(g *guest) (string, error) {
	text, err := os.ReadFile(r.output)
	if err != nil {
		return "", err
	}
	_, said, _ := strings.Cut(string(text), programMark+"/")
	dec := json.NewDecoder(strings.NewReader(said))
	var users [2]map[string]row
	for i := range users {
		var rows []row
		if err := dec.Decode(&rows); err != nil {
			return "", fmt.Errorf("what cloche doctor said: %w; see %s", err, r.output)
		}
		users[i] = map[string]row{}
		for _, r := range rows {
			users[i][r.Name] = r
		}
	}
	line := "| `" + g.name + "` |"
	for _, c := range capabilities {
		root, user := users[0][c.row], users[1][c.row]
		cell := "no"
		switch {
		case root.Status != "missing" && user.Status != "missing":
			if cell = "yes"; c.row == "Landlock" {
				cell = root.Detail
			}
		case root.Status != "missing":
			cell = "root"
		case user.Status != "missing":
			cell = "user"
		}
		line += " " + cell + " |"
	}
	return line + "\n", nil
}
