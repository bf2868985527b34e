// Package early runs `cloche run` and `cloche exec` before the rest of the program is initialised.
//
// Go initialises packages before main, each as soon as what it imports is ready,
// in the order of their import paths (go1.21 and later). The cobra tree and
// what it pulls in (net, regexp, text/template) costs a twentieth of the time
// of a whole sandbox around /bin/true, for a verb that has no use for any
// of it. This package imports nothing of that, so its init comes first. Where it
// would not, nothing but time is lost: main does the same.
package early

import (
	"os"
	"path"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

func init() {
	if len(os.Args) > 0 && path.Base(os.Args[0]) == "cloche-oci" {
		return // whose run and exec are others
	}
	growStack()
	if status, done := cli.Early(os.Args); done {
		os.Exit(status)
	}
}
