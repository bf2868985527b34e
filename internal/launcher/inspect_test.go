package launcher

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

func TestInspect(t *testing.T) {
	rw := &plan.Data{Section: plan.ResidentRW, Bytes: []byte("later\x00")}
	binary8 := &plan.Data{Bytes: []byte{1, 2, 3, 0}}
	open := plan.Op{Call: plan.SysOpenat, Args: []plan.Arg{plan.Int(-100), ref("/proc/self/fd\x00"), num(0x90000), num(0)}, Dst: 9, Errno: 2, OnErrno: 2}
	closing := plan.Op{Call: plan.SysClose, Args: []plan.Arg{plan.Slot(9)}, IgnoreErr: true, Mark: 2}
	test := plan.Op{Call: plan.Branch, Args: []plan.Arg{plan.Slot(9), num(^uint64(0)), num(0), num(0)}, OnErr: 2}
	im := assembled(t, dump(open, closing, test,
		plan.Op{Call: plan.SysChdir, Args: []plan.Arg{plan.Ref(rw)}, OnErr: fatal},
		plan.Op{Call: plan.SysChdir, Args: []plan.Arg{plan.Ref(binary8)}},
	))
	l, err := Inspect(im.ELF)
	if err != nil {
		t.Fatal(err)
	}
	text := l.String()
	for _, want := range []string{
		`openat(AT_FDCWD, "/proc/self/fd", O_CLOEXEC|0x10000) → $9   [ENOENT: go on]`,
		"close($9)   [any error: go on]\n",
		"if $9 == 0 go on else to ",
		`chdir("later" (writable))   [else: to 0]` + "\n",
		"chdir(&0x100",
		"exit_group(0)\n",
		"begin:\n",
		"after a fatal error:\n    0  write(2, &0x10400100, 1024)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if !l.Genuine || strings.Contains(text, "forgery") {
		t.Error("not recognised as genuine")
	}
	forged := append([]byte{}, im.ELF...)
	forged[im.textAt+20] ^= 1
	if l, err := Inspect(forged); err != nil || l.Genuine || !strings.Contains(l.String(), "forgery") {
		t.Errorf("a changed interpreter is taken for genuine (%v)", err)
	}
}

// TestInspectNames: an executable's listing has headings and names, which are the
// file's word, and operations, which are not. The image that is loaded is the same.
func TestInspectNames(t *testing.T) {
	in := profileInput(t, "default", "amd64")
	in.Standalone = &plan.Standalone{Command: []string{"tool"}}
	pl, err := plan.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	im, err := AssembleFor(Program{GOARCH: "amd64", Ops: pl.Ops, OnFatal: pl.OnFatal, Vars: len(pl.VarNames)})
	if err != nil {
		t.Fatal(err)
	}
	file := NamesOf(pl).Append(im.ELF)
	if !bytes.Equal(file[:len(im.ELF)], im.ELF) || len(file)-len(im.ELF) > 8<<10 {
		t.Errorf("the names changed the image, or take %d bytes", len(file)-len(im.ELF))
	}
	l, err := Inspect(file)
	if err != nil {
		t.Fatal(err)
	}
	text := l.String()
	for _, want := range []string{
		"\nlauncher: descriptors\n", "\ninit: map ids   (default.toml:", "\ncommand: landlock   (default.toml:",
		"clone(CLONE_NEWUSER|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWIPC|CLONE_NEWUTS|SIGCHLD) → $init",
		`openat2($proc, "self/setgroups", {flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS}, 24) → $file`,
		"{attr_set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV", "prctl(PR_SET_NO_NEW_PRIVS, 1)", "seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=1, filter=…})",
		"capset(", "{effective=0, …}", "if $init == 0 ", "move_mount($",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the listing", want)
		}
	}
	if strings.Contains(text, "alu(") || strings.Contains(text, "branch(") {
		t.Error("a pseudo-operation is shown raw")
	}
	if t.Failed() {
		t.Log(text)
	}
	evil := Names{Vars: []string{"\x1b[31m"}, Steps: []StepName{{"launcher", "\x1b]0;x\a", ""}}}
	if l, err := Inspect(evil.Append(im.ELF)); err != nil || strings.ContainsAny(l.String(), "\x1b\a") {
		t.Errorf("names reach the terminal raw (%v)", err)
	}
	for name, bad := range map[string][]byte{
		"cut off": file[:len(file)-1], "longer": append(bytes.Clone(file), 0), "no length": append(bytes.Clone(im.ELF), namesMagic...),
		"no names": append(append(bytes.Clone(im.ELF), namesMagic...), 0, 0, 0, 0), "fields": append(append(bytes.Clone(im.ELF), namesMagic...), 3, 0, 0, 0, '0', 0, 'x'),
	} {
		if _, err := Inspect(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestInspectRefuses: files that are not exactly what Assemble writes.
func TestInspectRefuses(t *testing.T) {
	im := assembled(t, dump(op(plan.SysGetpid), op(plan.SysClose, plan.Slot(9))))
	at := func(off int, b ...byte) func([]byte) []byte {
		return func(elf []byte) []byte { copy(elf[off:], b); return elf }
	}
	opAt := func(i int) int { // file offset of an operation of the plan
		p, err := parse(im.ELF)
		if err != nil {
			t.Fatal(err)
		}
		for n, of := range im.Ops {
			if of == i {
				return p.opsAt + n*opSize
			}
		}
		return 0
	}
	word := binary.LittleEndian.AppendUint64
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"empty":                {func([]byte) []byte { return nil }, "not a launcher image"},
		"other program":        {at(offsetMagic, 0), "not a launcher image"},
		"version":              {at(offsetMagic+6, 9), "version"},
		"architecture":         {at(18, 243), "architecture"},
		"cut off":              {func(b []byte) []byte { return b[:len(b)-64] }, "damaged"},
		"longer":               {func(b []byte) []byte { return append(b, 0) }, "damaged"},
		"section headers":      {at(40, 1), "header"},
		"writable text":        {at(elfHeaderSize+4, 7), "header"},
		"entry elsewhere":      {at(24, word(nil, BaseRO+0x100000)...), "outside of the file"},
		"table elsewhere":      {at(offsetSlots+8, word(nil, BaseRO)...), "damaged"},
		"begins nowhere":       {at(offsetSlots+16, word(nil, BaseRO)...), "begins nowhere"},
		"begins in between":    {at(offsetSlots+16, word(nil, BaseRO+uint64(opAt(0))+8)...), "begins nowhere"},
		"fatal nowhere":        {at(offsetSlots+64, word(nil, 1000)...), "begins nowhere"},
		"many operations":      {at(offsetMeasures, 0xff, 0xff, 0xff, 0x7f), "damaged"},
		"pseudo-operation":     {at(opAt(0), 9, 0x80), "unknown form"},
		"result slot":          {at(opAt(0)+3, 200), "unknown form"},
		"step":                 {at(opAt(0)+12, 0xff, 0xff, 0xff), "unknown form"},
		"argument slot":        {at(opAt(1)+opArgsAt, 200), "outside of the slots"},
		"jump to padding":      {at(opAt(0)+10, 3, 0), "goes nowhere"},
		"jump outside":         {at(opAt(0)+8, 0xfe, 0xff), "goes nowhere"},
		"something in between": {func(b []byte) []byte { b[opAt(0)-1] = 1; return b }, "hidden between"},
	} {
		l, err := Inspect(test.change(append([]byte{}, im.ELF...)))
		if err == nil || l != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
