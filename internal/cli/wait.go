package cli

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
	"github.com/cloche-sandbox/cloche/internal/state"
)

// Wait is `cloche wait NAME…`: it ends when the sandboxes have, with the exit status of the
// last one's command.
func Wait(names []string) error {
	if len(names) == 0 {
		return errors.New("wait: name a sandbox: cloche wait NAME")
	}
	code := 0
	err := eachNamed("wait", names, func(s *named.Sandbox) (err error) {
		code, err = awaitEnd(s)
		return err
	})
	if err == nil && code != 0 {
		err = &exitError{code: code}
	}
	return err
}

// awaitEnd waits for a sandbox's end, and returns its exit status.
func awaitEnd(s *named.Sandbox) (int, error) {
	owner, err := s.Owner.Open()
	if err == nil {
		for !named.Ends(owner, time.Hour) {
		}
		unix.Close(owner)
	} else if !errors.Is(err, state.ErrNotExist) {
		return 0, err
	}
	after, err := named.Find(s.Name)
	if err != nil || after.Owner != s.Owner {
		return 0, fmt.Errorf("%s has ended, and its record was removed: its exit status is not known", s.Name)
	}
	if after.Ended == nil || after.Ended.Reason == named.Lost {
		return 0, fmt.Errorf("%s has ended without a word: what watched it was killed", s.Name)
	}
	return after.Ended.ExitCode, nil
}
