// How many processors a cgroup leaves to a program that is gone in three
// milliseconds is not worth reading the mount table at its start.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command cloche runs commands that nobody trusts.
package main

import (
	"os"

	"github.com/cloche-sandbox/cloche/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
