package cli

import (
	"strings"
	"testing"

	"github.com/cloche-sandbox/cloche/policy"
)

// root is who may write everywhere outside.
var root = credentials{overrides: true, everywhere: true}

func TestFailedToWrite(t *testing.T) {
	const cwd = "if it failed to write: nothing under /home/u/proj is writable inside; to let the command write there: --write /home/u/proj"
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	for _, c := range []struct {
		name   string
		args   []string
		mounts []policy.Mount
		who    credentials
		want   string // "": nothing is said
	}{
		{name: "any program", args: []string{"make", "-j4"}, want: cwd},
		{name: "writable", args: []string{"make"}, mounts: []policy.Mount{{Kind: policy.Write, Path: "/home/u/proj"}}},
		{name: "a part is writable", args: []string{"make"}, mounts: []policy.Mount{{Kind: policy.Write, Path: "/home/u/proj/sub"}}},
		{name: "shown from elsewhere", args: []string{"make"}, who: root, mounts: []policy.Mount{{Kind: policy.Read, Path: "/home/u/proj", Source: "/home/u/bin"}}, want: "--bind /home/u/bin:/home/u/proj:rw"},
		{name: "the caller could not either", args: []string{"make"}, who: credentials{uid: 7, gid: 7}},

		{name: "an answer", args: []string{"false"}},
		{name: "grep", args: []string{"/bin/grep", "zzz", "/usr/bin/sh"}},
		{name: "test in a shell", args: sh("test -f x && exit 3; [ a = b ]")},
		{name: "quoted", args: sh(`grep 'a > b' plain`)},
		{name: "stderr to stdout", args: sh("ls nope 2>&1 >/dev/null")},
		{name: "interactive shell", args: []string{"bash", "--norc", "-i"}},
		{name: "login shell", args: []string{"/bin/sh", "-l"}},
		{name: "a script with flags", args: []string{"sh", "-e", "./run.sh"}, want: cwd},
		{name: "a login shell's commands", args: []string{"bash", "-lc", "make"}, want: cwd},
		{name: "a shell's script", args: []string{"sh", "./run.sh"}, want: cwd},
		{name: "wrapped", args: []string{"env", "A=b", "false"}},
		{name: "wrapped with a time", args: []string{"timeout", "5", "grep", "x", "y"}},
		{name: "wrapped writer", args: []string{"timeout", "-k", "1", "make"}, want: cwd},

		{name: "redirection", args: sh("echo x > note"), want: cwd},
		{name: "redirection elsewhere", who: root, args: sh("echo x >>/usr/note || exit 4"), want: "nothing under /usr is writable inside; to let the command write there: --write /usr"},
		{name: "redirection to what is writable", args: sh("echo x >/tmp/note; exit 4")},
		{name: "redirection to what nobody knows", args: sh(`echo x >"$1"`), want: cwd},
		{name: "if and loops", args: sh("if true; then for i in 1 2; do echo $i; done; fi; exit 2")},
		{name: "substitution", args: sh("x=$(make)"), want: cwd},

		{name: "touch elsewhere", who: root, args: []string{"touch", "/usr/x"}, want: "nothing under /usr is writable inside; to let the command write there: --write /usr"},
		{name: "touch what exists", who: root, args: []string{"touch", "-m", "/usr/bin/sh"}, want: "/usr/bin/sh is read-only inside; to let the command write there: --write /usr/bin/sh"},
		{name: "touch where no flag helps", args: []string{"touch", "/usr/x"}},
		{name: "touch here", args: []string{"touch", "x"}, want: cwd},
		{name: "touch what is hidden", args: []string{"touch", "/home/u/.ssh/x"}, want: "/home/u/.ssh is not shown inside; to let the command write there: --write /home/u/.ssh"},
		{name: "touch what is hidden by name", args: []string{"touch", "/home/u/.ssh/x"}, mounts: []policy.Mount{{Kind: policy.Hide, Path: "/home/u/.ssh"}}},
		{name: "remove", who: root, args: []string{"rm", "-f", "/usr/bin/sh"}, want: "nothing under /usr/bin is writable inside"},
		{name: "copy from and to", who: root, args: []string{"cp", "/usr/bin/sh", "x"}, want: cwd},
		{name: "copy to a directory", who: root, args: []string{"cp", "plain", "/usr/lib64"}, want: "nothing under /usr/lib64 is writable"},
		{name: "dd", who: root, args: []string{"dd", "if=/dev/null", "of=/usr/lib64/y"}, want: "nothing under /usr/lib64 is writable"},
		{name: "sed prints", args: []string{"sed", "s/a/b/", "/usr/lib64/x"}},
		{name: "sed edits", who: root, args: []string{"sed", "-i", "s/a/b/", "/usr/lib64/x"}, want: "/usr/lib64/x is read-only inside"},
		{name: "the root itself", args: []string{"mkdir", "/data"}, want: "nothing in / itself is writable inside"},

		{name: "a compiler's output", who: root, args: []string{"cc", "-o", "/usr/lib64/y", "plain"}, want: "nothing under /usr/lib64 is writable"},
		{name: "a flag's value", who: root, args: []string{"tool", "--to=/usr/lib64/y"}, want: "nothing under /usr/lib64 is writable"},
		{name: "what exists may be read", args: []string{"cc", "/usr/lib64/x"}, want: cwd},
	} {
		if c.who.uid == 0 && !c.who.overrides {
			c.who = user
		}
		v := viewOf(small(c.mounts...), someHost(), c.who)
		got := failedToWrite(v, c.args, "/home/u/proj")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFailedToWriteWithoutAWorkingDirectory(t *testing.T) {
	for _, c := range []struct{ cwd, caller, want string }{
		{"/tmp", "/home/u/proj", ""},
		{"/", "/home/u", "if it failed to write: /home/u is not shown inside; to let the command write there: --write /home/u"},
		{"/", "/", "if it failed to write: nothing in / itself is writable inside; to let the command write to a directory there: --write DIR"},
	} {
		p := small()
		p.Cwd = c.cwd
		v := viewOf(p, someHost(), user)
		if got := failedToWrite(v, []string{"make"}, c.caller); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("in %s of %s: %q, want %q", c.cwd, c.caller, got, c.want)
		}
	}
}

func TestScriptCommands(t *testing.T) {
	for script, want := range map[string]string{
		"":                              "",
		"a b; c|d && e":                 "a b,c,d,e",
		"if a; then b; else c; fi":      "a,b,c",
		"X=1 Y=2 a 'b c' \"d;e\" f\\ g": "a/b c/d;e/f g",
		"a >b 2>c <d >&2 2>&1":          "tee b,tee c,a d",
		"a >|b>>c":                      "tee b,tee c,a",
		"(a; { b; })":                   "a,b",
		"'unfinished":                   "unfinished",
		"a >":                           "a",
	} {
		var got []string
		for _, c := range scriptCommands(script) {
			sep := "/"
			if len(c.words) == 2 || script[0] == 'a' {
				sep = " "
			}
			got = append(got, strings.Join(c.words, sep))
		}
		if s := strings.Join(got, ","); s != want {
			t.Errorf("%q: %q, want %q", script, s, want)
		}
	}
}
