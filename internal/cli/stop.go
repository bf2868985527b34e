package cli

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// Stop is `cloche stop`: SIGTERM to the command, and the end of the whole sandbox when it is
// there after a time.
func Stop(names []string, patience time.Duration) error {
	if len(names) == 0 {
		return errors.New("stop: name a sandbox: cloche stop [--time 10s] NAME")
	}
	if patience < 0 {
		return errors.New("stop: --time: a time can't be negative; 0 ends it at once")
	}
	return eachNamed("stop", names, func(s *named.Sandbox) error {
		if s.Ended != nil {
			return nil
		}
		owner, err := s.Owner.Open()
		if err != nil {
			return nil // it has ended
		}
		defer unix.Close(owner)
		command, err := s.Command()
		if err != nil {
			return s.Kill()
		}
		if patience > 0 && send(command, unix.SIGTERM) == nil {
			// One that is paused or stopped would not hear it.
			_ = thaw(s)
			_ = send(command, unix.SIGCONT)
			if named.Ends(owner, patience) {
				return nil
			}
		}
		_ = thaw(s)
		return s.Kill()
	})
}
