// Command cloche runs commands that nobody trusts. Called as cloche-oci, or with oci as
// its first argument, it is an OCI runtime.
package main

import (
	"os"

	_ "github.com/cloche-sandbox/cloche/internal/bwrap/early" // bubblewrap's command line, at once
	"github.com/cloche-sandbox/cloche/internal/cli"
	_ "github.com/cloche-sandbox/cloche/internal/cli/early" // `cloche run`, at once
	"github.com/cloche-sandbox/cloche/internal/cli/tree"
	"github.com/cloche-sandbox/cloche/internal/oci"
	_ "github.com/cloche-sandbox/cloche/internal/oci/early" // and the verbs that engines wait for
	_ "github.com/cloche-sandbox/cloche/internal/oci/late"  // the cgroup driver and the statistics of systemd's bus
)

func main() {
	if args, ok := oci.Called(os.Args); ok {
		os.Exit(oci.Main(args))
	}
	os.Exit(cli.Main(os.Args, tree.Execute))
}
