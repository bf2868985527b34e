// Command bwrap is bubblewrap's command line alone. It stands beside cloche in the file that
// `make build` makes, where the prelude enters it: it is smaller, so it begins sooner.
package main

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/bwrap"
)

func main() {
	skip, ok := bwrap.Asked(os.Args)
	if !ok {
		skip = 1 // whatever it is called
	}
	os.Exit(bwrap.Main(os.Args, skip))
}
