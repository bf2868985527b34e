// Command cloche runs commands that nobody trusts.
package main

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/cli"
	_ "github.com/cloche-sandbox/cloche/internal/cli/early" // `cloche run`, at once
	"github.com/cloche-sandbox/cloche/internal/cli/tree"
)

func main() { os.Exit(cli.Main(os.Args, tree.Execute)) }
