// Command vmtest boots guests under qemu's emulation and runs the integration tests in
// them, on the kernels and hosts that users have:
//
//	go run ./internal/vmtest [-guest NAMES] [-run REGEXP] [-quick] [-sh COMMANDS] [-list]
//
// Guests are made of Debian's packages alone, which apt-get downloads and dpkg-deb
// unpacks into the user's cache directory; nothing is installed, and root is not needed. A
// guest that fails leaves its console's log there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	names := flag.String("guest", "", "only these guests, by name or number, with commas between")
	run := flag.String("run", "", "only tests that match, as of go test -run")
	sh := flag.String("sh", "", "run these shell commands in each guest instead of tests, and print what they say")
	quick := flag.Bool("quick", false, "only the guests that are quick")
	list := flag.Bool("list", false, "list the guests")
	flag.Parse()
	if *list {
		for i, g := range guests {
			fmt.Printf("%d %-14s %s\n", i+1, g.name, g.what)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := choose(*names, *quick)
	if err == nil {
		err = runAll(ctx, chosen, options{run: *run, sh: *sh})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(1)
	}
}

// options are those of the command line that change what a guest does.
type options struct{ run, sh string }

func choose(names string, quick bool) ([]*guest, error) {
	var chosen []*guest
	wanted := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	for i, g := range guests {
		number := fmt.Sprint(i + 1)
		at := slices.IndexFunc(wanted, func(w string) bool { return w == g.name || w == number })
		if at >= 0 {
			wanted = slices.Delete(wanted, at, at+1)
			chosen = append(chosen, g)
		} else if names == "" && (!quick || g.quick) {
			chosen = append(chosen, g)
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("no guest %q; vmtest -list names them", wanted[0])
	}
	return chosen, nil
}

// runAll boots the guests one after the other: each uses all processors.
func runAll(ctx context.Context, chosen []*guest, opt options) error {
	for _, tool := range []string{"apt-get", "dpkg-deb", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: guests are made of Debian's packages; run it on Debian or Ubuntu", err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	c := &maker{cache: filepath.Join(cache, "cloche", "vmtest")}
	if err := os.MkdirAll(c.cache, 0o755); err != nil {
		return err
	}
	var failed []string
	for _, g := range chosen {
		began := time.Now()
		r, err := c.test(ctx, g, opt)
		if err != nil {
			return fmt.Errorf("guest %s: %w", g.name, err)
		}
		if opt.sh != "" {
			said, err := os.ReadFile(r.output)
			fmt.Printf("%s (%s): %s\n%s", g.name, r.kernel, r.ended, said)
			if err != nil {
				return err
			}
			continue
		}
		fmt.Printf("guest %-12s %-44s %s  (%.0f s)\n", g.name, r.kernel, r.counts(), time.Since(began).Seconds())
		if bad := r.bad(g); len(bad) > 0 {
			failed = append(failed, g.name)
			for _, line := range bad {
				fmt.Println("  " + line)
			}
			fmt.Println("  console:", r.console)
			fmt.Println("  tests:", r.output)
		}
	}
	if len(failed) > 0 {
		return errors.New("failed in " + strings.Join(failed, ", "))
	}
	return nil
}
