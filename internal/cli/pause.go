package cli

import (
	"errors"
	"fmt"

	"github.com/cloche-sandbox/cloche/internal/cgroup"
	"github.com/cloche-sandbox/cloche/internal/named"
)

// Pause is `cloche pause`, Resume `cloche resume`.
func Pause(names []string) error {
	if len(names) == 0 {
		return errors.New("pause: name a sandbox: cloche pause NAME")
	}
	return eachNamed("pause", names, func(s *named.Sandbox) error { return freeze(s, true) })
}

// Resume lets paused sandboxes run on.
func Resume(names []string) error {
	if len(names) == 0 {
		return errors.New("resume: name a sandbox: cloche resume NAME")
	}
	return eachNamed("resume", names, func(s *named.Sandbox) error { return freeze(s, false) })
}

func thaw(s *named.Sandbox) error { return freeze(s, false) }

// freeze stops or lets run all processes of a sandbox at once, by its cgroup.
func freeze(s *named.Sandbox, on bool) error {
	dirs, closeDirs, err := cgroupsOf(s)
	if err != nil {
		return err
	}
	defer closeDirs()
	for _, d := range dirs {
		if d.V2 && d.Has("cgroup.freeze") || d.Has("freezer.state") {
			return d.Freeze(on)
		}
	}
	return fmt.Errorf("%s has no cgroup with a freezer of its own: this user may make none here, so it can't be paused; stop its processes instead: cloche kill -s STOP --all %s", s.Name, s.Name)
}

// cgroupsOf opens the cgroups of a sandbox that runs; closeDirs closes them.
func cgroupsOf(s *named.Sandbox) (dirs []*cgroup.Dir, closeDirs func(), err error) {
	init, err := s.InitProcess()
	if err != nil {
		return nil, nil, err
	}
	if dirs, err = cgroup.Of(init.Pid); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return dirs, func() {
		for _, d := range dirs {
			d.Close()
		}
	}, nil
}
