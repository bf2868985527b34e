// Package early runs bubblewrap's command line before the rest of the program is
// initialised, as internal/cli/early does with `cloche run`. It imports less than that one,
// so it comes before what `cloche run` alone needs.
package early

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/bwrap"
)

func init() {
	if skip, ok := bwrap.Asked(os.Args); ok {
		os.Exit(bwrap.Main(os.Args, skip))
	}
}
