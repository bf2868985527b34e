// Package early runs the verbs of an OCI runtime that engines wait for before the rest
// of the program is initialised, as internal/cli/early does it for `cloche run`.
package early

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/oci"
)

func init() {
	if args, ok := oci.Called(os.Args); ok && oci.Early(args) {
		os.Exit(oci.Main(args))
	}
}
