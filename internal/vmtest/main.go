// Command vmtest boots guests under qemu's emulation and runs the integration tests in
// them, on the kernels and hosts that users have:
//
//	go run ./internal/vmtest [-guest NAMES] [-run REGEXP] [-quick] [-jobs N] [-sh COMMANDS] [-table] [-list]
//
// Guests are made of Debian's packages alone, which apt-get downloads and dpkg-deb
// unpacks into the user's cache directory; nothing is installed, and root is not needed. A
// guest that fails leaves its console's log there.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	names := flag.String("guest", "", "only these guests, by name or number, with commas between")
	run := flag.String("run", "", "only tests that match, as of go test -run")
	sh := flag.String("sh", "", "run these shell commands in each guest instead of tests, and print what they say")
	quick := flag.Bool("quick", false, "only the guests that are quick, and of the tests those that find most")
	table := flag.Bool("table", false, "ask cloche doctor in each guest, and print the table of docs/platforms.md")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many guests run side by side; each has one processor")
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
	if missing := lacking(chosen); missing != "" && *quick && os.Getenv("CLOCHE_REQUIRE") != "all" {
		fmt.Println("vmtest: skipped:", missing)
		return
	}
	if err == nil {
		err = runAll(ctx, chosen, options{run: *run, sh: *sh, quick: *quick, table: *table, jobs: *jobs})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(1)
	}
}

// options are those of the command line that change what a guest does.
type options struct {
	run, sh string
	quick   bool
	table   bool
	jobs    int
}

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

// lacking is what this machine has not that guests need.
func lacking(chosen []*guest) string {
	tools := []string{"apt-get", "dpkg-deb", "tar", "go"}
	for _, g := range chosen {
		tools = append(tools, qemuFor(g.arch)[0])
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed; guests are made of Debian's packages, by apt-get and dpkg-deb, and run in qemu (Debian's qemu-system-x86, and qemu-system-arm for arm64)"
		}
	}
	if _, err := os.Stat(debianKeys); err != nil {
		return debianKeys + " is not there (Debian's debian-archive-keyring)"
	}
	return ""
}

// runAll boots the guests, side by side, and reports each when it has ended.
func runAll(ctx context.Context, chosen []*guest, opt options) error {
	if missing := lacking(chosen); missing != "" {
		return errors.New(missing)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	c := &maker{cache: filepath.Join(cache, "cloche", "vmtest"), apts: map[string]*apt{}, built: map[string]bool{}}
	if err := os.MkdirAll(c.cache, 0o755); err != nil {
		return err
	}
	// Not where another vmtest, of another source maybe, puts its own.
	if c.build, err = os.MkdirTemp(c.cache, "build-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.build)
	began := time.Now()
	// The longest first, so that none of them is what the others wait for at the end.
	queue, all := make(chan *guest, len(chosen)), make(chan ended)
	for _, g := range slices.SortedStableFunc(slices.Values(chosen), func(a, b *guest) int {
		return cmp.Or(len(b.tests)-len(a.tests), len(b.checks)-len(a.checks))
	}) {
		queue <- g
	}
	close(queue)
	for range max(1, opt.jobs) {
		go func() {
			for g := range queue {
				r, err := c.test(ctx, g, opt)
				all <- ended{g, r, err}
			}
		}()
	}
	if opt.table {
		fmt.Print(tableHead())
	}
	var failed []string
	var cpu time.Duration
	for range chosen {
		e := <-all
		if !e.report(opt) {
			failed = append(failed, e.g.name)
		}
		if e.r != nil {
			cpu += e.r.cpu
		}
	}
	fmt.Printf("%d guests in %.0f s; the emulators took %.0f s of processors\n", len(chosen), time.Since(began).Seconds(), cpu.Seconds())
	if len(failed) > 0 {
		return errors.New("failed in " + strings.Join(failed, ", "))
	}
	return nil
}

// ended is a guest that has.
type ended struct {
	g   *guest
	r   *result
	err error
}

// report prints what came of it, and whether that is good.
func (e *ended) report(opt options) bool {
	if e.err != nil {
		fmt.Printf("guest %-12s %v\n", e.g.name, e.err)
		var f *fetchError
		return opt.quick && errors.As(e.err, &f) // without a network there is no guest to be had
	}
	if opt.table {
		line, err := e.r.tableRow(e.g)
		if err != nil {
			fmt.Printf("guest %-12s %v\n", e.g.name, err)
		}
		fmt.Print(line)
		return err == nil
	}
	if opt.sh != "" {
		said, err := os.ReadFile(e.r.output)
		fmt.Printf("guest %-12s %s: %s\n%s", e.g.name, e.r.kernel, e.r.ended, said)
		return err == nil && e.r.ended == "done"
	}
	fmt.Printf("guest %-12s %-44s %s  (%.0f s, %.0f s of a processor)\n", e.g.name, e.r.kernel, e.r.counts(), e.r.took.Seconds(), e.r.cpu.Seconds())
	bad := e.r.bad(e.g)
	for _, line := range bad {
		fmt.Println("  " + line)
	}
	if len(bad) > 0 {
		fmt.Println("  console:", e.r.console)
		fmt.Println("  tests:", e.r.output)
	}
	return len(bad) == 0
}
