package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/internal/inspect"
)

// sheet is text in sections, with a column of names. What stands in it may have been
// chosen by a hostile process, so control characters are written as \xNN.
type sheet struct {
	text  []byte
	width int // of the column of names
}

func (s *sheet) section(title string) {
	if len(s.text) > 0 {
		s.text = append(s.text, '\n')
	}
	s.text = append(appendPlain(s.text, title), '\n')
}

func (s *sheet) row(name, format string, args ...any) {
	s.text = append(s.text, "  "...)
	s.text = appendPlain(s.text, fmt.Sprintf("%-*s  ", s.width, name))
	s.text = append(appendPlain(s.text, fmt.Sprintf(format, args...)), '\n')
}

// writeProcess is `cloche inspect` for people.
func writeProcess(out io.Writer, p *inspect.Process) error {
	s := &sheet{width: 14}
	s.process(p)
	s.namespaces(p)
	s.confinement(p)
	s.cgroups(p)
	s.mounts(p)
	s.files(p)
	s.threads(p)
	s.sandbox(p)
	s.unread(p.Unread)
	_, err := out.Write(s.text)
	return err
}

func (s *sheet) process(p *inspect.Process) {
	s.section(fmt.Sprintf("process %d (%s)", p.PID, p.Name))
	s.row("command", "%s", commandLine(p.Command, p.Name))
	if p.Exe != "" {
		s.row("executable", "%s", p.Exe)
	}
	s.row("state", "%s, since %s, child of %d", p.State, p.Started.Format(time.DateTime), p.Parent)
	if len(p.PIDs) > 1 {
		s.row("pid inside", "%s", joinInts(p.PIDs[1:], " → "))
	}
	if p.Tracer != 0 {
		s.row("traced by", "pid %d", p.Tracer)
	}
	if p.Root != "" {
		s.row("root", "%s", p.Root)
		s.row("directory", "%s", p.Cwd)
	}
}

// commandLine is a command in one line, cut where it is long.
func commandLine(args []string, name string) string {
	if len(args) == 0 {
		return "[" + name + "]" // a kernel thread, or a process that wiped it
	}
	var words []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\"'\\$") {
			a = strconv.Quote(a)
		}
		words = append(words, a)
	}
	return clip(strings.Join(words, " "))
}

func joinInts[T ~int | ~uint32](list []T, sep string) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.FormatInt(int64(n), 10)
	}
	return strings.Join(words, sep)
}

func (s *sheet) namespaces(p *inspect.Process) {
	s.section("namespaces")
	for i := range p.Namespaces {
		n := &p.Namespaces[i]
		line := sharing(n)
		if n.Inode != 0 {
			line = fmt.Sprintf("%-34s %d", line, n.Inode)
		}
		if n.Children != 0 {
			line += fmt.Sprintf(" (its children: %d)", n.Children)
		}
		s.row(n.Type, "%s", line)
	}
	s.row("uid map", "%s", idMap(p.UIDMap))
	gids := idMap(p.GIDMap)
	if p.Setgroups == "deny" {
		gids += "; setgroups denied"
	}
	s.row("gid map", "%s", gids)
}

// sharing says whose namespace it is.
func sharing(n *inspect.Namespace) string {
	switch {
	case n.Init == inspect.Yes && n.Caller == inspect.Yes:
		return "shared with init and you"
	case n.Init == inspect.Yes:
		return "shared with init"
	case n.Caller == inspect.Yes && n.Init == inspect.No:
		return "shared with you, not with init"
	case n.Caller == inspect.Yes:
		return "shared with you"
	case n.Own():
		return "own"
	case n.Caller == inspect.No:
		return "not yours; perhaps that of init"
	}
	return "unknown"
}

func idMap(m []inspect.IDRange) string {
	var words []string
	for _, r := range m {
		switch {
		case r.Count == 1<<32-1 && r.Inside == r.Outside:
			return "all, the same inside and outside"
		case r.Count == 1:
			words = append(words, fmt.Sprintf("%d inside is %d", r.Inside, r.Outside))
		default:
			words = append(words, fmt.Sprintf("%d–%d inside is %d–%d", r.Inside, r.Inside+(r.Count-1), r.Outside, r.Outside+(r.Count-1)))
		}
	}
	if words == nil {
		return "nothing is mapped"
	}
	return strings.Join(words, ", ")
}

func (s *sheet) confinement(p *inspect.Process) {
	s.section("credentials")
	s.row("uid", "%s", fourIDs(p.UIDs, p.UIDMap))
	s.row("gid", "%s", fourIDs(p.GIDs, p.GIDMap))
	groups := "none"
	if len(p.Groups) > 0 {
		groups = joinInts(p.Groups, " ")
	}
	s.row("groups", "%s", groups)
	s.row("inheritable", "%s", p.Capabilities.Inheritable)
	s.row("permitted", "%s", p.Capabilities.Permitted)
	s.row("effective", "%s", p.Capabilities.Effective)
	s.row("bounding", "%s", p.Capabilities.Bounding)
	s.row("ambient", "%s", p.Capabilities.Ambient)
	s.section("confinement")
	s.row("no_new_privs", "%s", yesNo(p.NoNewPrivs))
	s.row("seccomp", "%s", p.Seccomp)
	landlock := string(p.Landlock.Domain) + ": " + p.Landlock.Why
	if p.Landlock.ABI > 0 {
		landlock += fmt.Sprintf(" (ABI %d)", p.Landlock.ABI)
	}
	s.row("Landlock", "%s", landlock)
	for _, l := range p.Labels {
		s.row(l.Module, "%s", l.Label)
	}
	if len(p.Labels) == 0 {
		s.row("labels", "no security module labels it")
	}
	s.row("dumpable", "%s", p.Dumpable)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// fourIDs is one number where all four are the same, with what it is called inside.
func fourIDs(ids [4]uint32, m []inspect.IDRange) string {
	kinds := [...]string{"real", "effective", "saved", "file system"}
	if ids[0] == ids[1] && ids[1] == ids[2] && ids[2] == ids[3] {
		return oneID(ids[0], m)
	}
	var words []string
	for i, id := range ids {
		words = append(words, kinds[i]+" "+oneID(id, m))
	}
	return strings.Join(words, ", ")
}

func oneID(id uint32, m []inspect.IDRange) string {
	s := strconv.FormatUint(uint64(id), 10)
	if inside, ok := inspect.Inside(m, id); ok && inside != id {
		return s + fmt.Sprintf(" (%d inside)", inside)
	} else if !ok && len(m) > 0 {
		return s + " (not mapped inside)"
	}
	return s
}

func (s *sheet) mounts(p *inspect.Process) {
	s.section("writable mounts")
	width := 0
	for i := range p.Writable {
		width = max(width, min(len(p.Writable[i].Path), 40))
	}
	for i := range p.Writable {
		m := &p.Writable[i]
		line := fmt.Sprintf("  %-*s  %s, %s", width, m.Path, m.Type, m.Options)
		if m.Root != "/" || strings.HasPrefix(m.Source, "/") {
			line += ", of " + m.Source
			if m.Root != "/" {
				line += ":" + m.Root
			}
		}
		if m.Shared {
			line += "; mounts made there appear in other namespaces too"
		}
		s.text = append(appendPlain(s.text, line), '\n')
	}
	if len(p.Writable) == 0 {
		s.text = append(s.text, "  none\n"...)
	}
}

func (s *sheet) files(p *inspect.Process) {
	s.section("descriptors that lead out, or may")
	for _, out := range [...]inspect.Answer{inspect.Yes, inspect.Unknown} {
		for i := range p.Outward {
			f := &p.Outward[i]
			if f.Out != out {
				continue
			}
			word := "out"
			if out == inspect.Unknown {
				word = "may"
			}
			s.text = append(appendPlain(s.text, fmt.Sprintf("  %-4d %s  %-9s  %s (%s): %s", f.FD, word, f.Kind, f.Target, f.Access, f.Why)), '\n')
		}
	}
	switch {
	case p.Files < 0:
		s.text = append(s.text, "  not known, see below\n"...)
	case len(p.Outward) == 0:
		s.text = append(s.text, fmt.Sprintf("  none of %d\n", p.Files)...)
	}
}

func (s *sheet) threads(p *inspect.Process) {
	s.section(fmt.Sprintf("threads (%d)", len(p.Threads)))
	alike := 0
	for i := range p.Threads {
		t := &p.Threads[i]
		if len(t.Differs) == 0 {
			alike++
			continue
		}
		s.text = append(appendPlain(s.text, fmt.Sprintf("  ! %d (%s) differs from its siblings:", t.TID, t.Name)), '\n')
		for _, d := range t.Differs {
			s.text = append(appendPlain(s.text, "      "+d), '\n')
		}
	}
	if alike > 0 {
		var names []string
		for i := range p.Threads {
			if t := &p.Threads[i]; len(t.Differs) == 0 {
				names = append(names, strconv.Itoa(t.TID)+" ("+t.Name+")")
			}
		}
		more := ""
		if n := len(names) - 8; n > 0 {
			names, more = names[:8], fmt.Sprintf(" and %d more", n)
		}
		words := "alike: "
		if len(p.Threads) == 1 {
			words = ""
		}
		s.text = append(appendPlain(s.text, "  "+words+strings.Join(names, ", ")+more), '\n')
	}
}

func (s *sheet) sandbox(p *inspect.Process) {
	if p.Sandbox == nil {
		return
	}
	s.section("sandbox " + p.Sandbox.Name)
	if len(p.Sandbox.Mismatch) == 0 {
		s.text = append(s.text, "  as its policy says, as far as that can be seen\n"...)
	}
	for _, m := range p.Sandbox.Mismatch {
		s.text = append(appendPlain(s.text, "  ! "+m), '\n')
	}
}

func (s *sheet) unread(all []inspect.Unread) {
	if len(all) == 0 {
		return
	}
	s.section("not known")
	for _, u := range all {
		s.text = append(appendPlain(s.text, "  "+strings.Join(u.What, ", ")), '\n')
		s.text = append(appendPlain(s.text, "    why:    "+u.Cause), '\n')
		s.text = append(appendPlain(s.text, "    remedy: "+u.Remedy), '\n')
	}
}

// writeTree is `cloche inspect --tree` for people.
func writeTree(out io.Writer, roots []*inspect.Node) error {
	s := &sheet{}
	var unread []inspect.Unread
	var walk func(n *inspect.Node, first, rest string)
	walk = func(n *inspect.Node, first, rest string) {
		inside := ""
		if len(n.PIDs) > 1 {
			inside = " (" + joinInts(n.PIDs[1:], " → ") + " inside)"
		}
		s.text = append(appendPlain(s.text, fmt.Sprintf("%s%d%s %s", first, n.PID, inside, commandLine(n.Command, n.Name))), '\n')
		bar := "  "
		if len(n.Children) > 0 {
			bar = "│ "
		}
		for i := range n.Threads {
			t := &n.Threads[i]
			if len(n.Threads) == 1 && len(t.Differs) == 0 {
				continue
			}
			line := fmt.Sprintf("%s%s  thread %d (%s)", rest, bar, t.TID, t.Name)
			if len(t.Differs) > 0 {
				line += " ! differs: " + strings.Join(t.Differs, "; ")
			}
			s.text = append(appendPlain(s.text, line), '\n')
		}
		for _, u := range n.Unread {
			if !slices.ContainsFunc(unread, func(o inspect.Unread) bool { return o.Cause == u.Cause }) {
				unread = append(unread, u)
			}
		}
		for i, c := range n.Children {
			if i == len(n.Children)-1 {
				walk(c, rest+"└─ ", rest+"   ")
			} else {
				walk(c, rest+"├─ ", rest+"│  ")
			}
		}
	}
	for _, r := range roots {
		walk(r, "", "")
	}
	s.unread(unread)
	_, err := out.Write(s.text)
	return err
}
