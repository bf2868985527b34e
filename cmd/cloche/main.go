// Command cloche runs commands that nobody trusts.
package main

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
