package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/overlay"
)

// Remove is `cloche rm NAME…`.
func Remove(names []string, force bool) error {
	if len(names) == 0 {
		return errors.New("rm: name the sandboxes: cloche rm NAME…")
	}
	var errs []error
	for _, name := range names {
		if err := removeSandbox(name, force); err != nil {
			errs = append(errs, fmt.Errorf("rm: %w", err))
		}
	}
	return severally(errs)
}

// severally says all errors but the last, and returns that.
func severally(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	for _, err := range errs[:len(errs)-1] {
		complain(err.Error())
	}
	return errs[len(errs)-1]
}

// removeSandbox takes away all that is kept of a sandbox: its record, and what it has changed on overlays.
func removeSandbox(name string, force bool) error {
	s, err := named.Find(name)
	if err == nil && force && s.Running() {
		if err := s.Kill(); err != nil {
			return err
		}
	}
	kept, kerr := overlay.Names()
	if kerr != nil {
		return kerr
	}
	changes := slices.Contains(kept, name)
	if errors.Is(err, named.ErrUnknown) && !changes {
		return err
	}
	// The record first: it refuses one that runs.
	if err := named.Remove(name); err != nil && !(changes && errors.Is(err, named.ErrUnknown)) {
		return err
	}
	return overlay.Discard(name)
}

// Prune is `cloche prune`: it removes what has ended.
func Prune(changes bool) error {
	all, err := listNamed("prune")
	if err != nil {
		return err
	}
	kept, err := overlay.Names()
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	running := map[string]bool{}
	var ended []string
	for _, s := range all {
		if running[s.Name] = s.Running(); !running[s.Name] {
			ended = append(ended, s.Name)
		}
	}
	if changes {
		for _, name := range kept { // also of a sandbox from before the machine was restarted
			if !running[name] && !slices.Contains(ended, name) {
				ended = append(ended, name)
			}
		}
	}
	var errs []error
	for _, name := range ended {
		if slices.Contains(kept, name) && !changes {
			complain("prune: " + name + " has changes that are kept; `cloche diff " + name + "` shows them, and --changes discards them as well")
			continue
		}
		if err := removeSandbox(name, false); err != nil {
			errs = append(errs, fmt.Errorf("prune: %w", err))
			continue
		}
		if _, err := fmt.Fprintln(os.Stdout, name); err != nil {
			return err
		}
	}
	return severally(errs)
}

// listNamed lists the sandboxes with a name, and says on stderr what was cleaned up.
func listNamed(verb string) ([]*named.Sandbox, error) {
	all, notes, err := named.List()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	for _, n := range notes {
		complain(n)
	}
	return all, nil
}
