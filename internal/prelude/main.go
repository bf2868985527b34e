// Command prelude puts a launcher image in front of a cloche executable: what
// `cloche run CMD` does, begun before the Go runtime, see package plan's Prelude; and the
// program of cmd/bwrap beside it, for bubblewrap's command line, with an image that reads what of that is plain.
// `make build` runs it on the machine that cloche is built for. Where it can't,
// it says why, and leaves the executable as it is: that works all the same.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	front "github.com/cloche-sandbox/cloche/internal/bwrap"
	"github.com/cloche-sandbox/cloche/internal/supervise"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: prelude EXECUTABLE BWRAP")
		os.Exit(2)
	}
	if err := fuse(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "%s is left without a prelude: %v\n", os.Args[1], err)
	}
}

// fuse replaces the file by one with a prelude and with bwrap's program.
func fuse(name, bwrap string) error {
	program, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	beside, err := os.ReadFile(bwrap)
	if err != nil {
		return err
	}
	fused, err := supervise.WithPrelude(program, beside, front.Argv())
	if err != nil {
		return err
	}
	next := name + ".fused" // a program that runs can't be written to
	if err := write(next, fused); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// write writes a program piece by piece. Of a file that was written by one call the
// kernel keeps large folios, and maps the whole of each where a program touches a page.
func write(name string, program []byte) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(program, 32<<10) {
		if _, err = f.Write(piece); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}
