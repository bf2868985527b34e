// Package program tells what the kernel and the dynamic loader open to run a
// program, by reading its file, and adds that to a policy that asks for it.
package program

import (
	"bytes"
	"io"
	"path"
	"strings"
)

// Script returns the words after the #! of a script's first line as the kernel
// splits them: the interpreter and at most one argument. It is nil for what is no
// script, and empty for one that names no interpreter. See execve(2).
func Script(f io.ReaderAt) []string {
	head := make([]byte, 256) // BINPRM_BUF_SIZE
	n, _ := f.ReadAt(head, 0)
	line, ok := bytes.CutPrefix(head[:n], []byte("#!"))
	if !ok {
		return nil
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	text := strings.Trim(string(line), " \t")
	i := strings.IndexAny(text, " \t")
	switch {
	case text == "":
		return []string{}
	case i < 0:
		return []string{text}
	}
	return []string{text[:i], strings.Trim(text[i:], " \t")}
}

// envCommand is the command that env(1) runs in place of a script of which
// argument is what follows #!/usr/bin/env, or "".
func envCommand(argument string) string {
	for word := range strings.FieldsSeq(argument) {
		if word[0] != '-' && strings.IndexByte(word, '=') < 0 {
			return word
		}
	}
	return ""
}

// Searched are the directories of lists as DT_RUNPATH has them, for an object
// in the directory origin. See ld.so(8), "Dynamic string tokens".
func Searched(lists []string, origin string) (dirs []string) {
	for _, list := range lists {
		for dir := range strings.SplitSeq(list, ":") {
			dir = strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin, "${LIB}", "$LIB").Replace(dir)
			if strings.Contains(dir, "$LIB") {
				// What it stands for is a choice of whoever built the loader.
				for _, lib := range [...]string{"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"} {
					dirs = append(dirs, strings.ReplaceAll(dir, "$LIB", lib))
				}
				continue
			}
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// LoaderDirs are the directories in which a loader looks last: those of
// ld.so.conf(5), then the usual ones. read returns the text of a file, "" where
// it can't be read; glob is filepath.Glob without its error.
func LoaderDirs(read func(string) string, glob func(string) []string) []string {
	dirs := loaderConf("/etc/ld.so.conf", read, glob, 0)
	return append(dirs, "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
		"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
}

// loaderConf reads the directories of one file and of those that it includes.
func loaderConf(name string, read func(string) string, glob func(string) []string, depth int) (dirs []string) {
	if depth > 4 {
		return nil
	}
	for line := range strings.SplitSeq(read(name), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 1 && path.IsAbs(words[0]):
			dirs = append(dirs, words[0])
		case len(words) == 2 && words[0] == "include":
			for _, inc := range glob(words[1]) {
				dirs = append(dirs, loaderConf(inc, read, glob, depth+1)...)
			}
		}
	}
	return dirs
}

// MaxConf is how much of a file LoaderDirs should be given.
const MaxConf = 64 << 10
