package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

// IDRange is a run of ids, subuid(5).
type IDRange struct{ First, Count uint32 }

// IDRanges are the ids that an administrator has given to a user beside their own.
type IDRanges struct {
	User     string
	UID, GID []IDRange
}

// SubIDs reads this user's ranges from /etc/subuid and /etc/subgid. It is slow,
// in that it looks up the user's name, and so no part of Quick. Ranges that a
// directory service gives out (nsswitch.conf's "subid") are not in these files.
func SubIDs() (IDRanges, error) {
	uid := os.Geteuid()
	r := IDRanges{User: userName(uid)}
	var err error
	if r.UID, err = rangesIn("/etc/subuid", r.User, uid); err != nil {
		return r, err
	}
	r.GID, err = rangesIn("/etc/subgid", r.User, uid)
	return r, err
}

// userName is the login name of a user id, as /etc/passwd has it. Not os/user:
// it would bring cgo in, which could not act on all threads any more (Confine).
func userName(uid int) string {
	if u, err := user.LookupUid(uid); err == nil {
		return u.Name
	}
	return ""
}

func rangesIn(file, name string, uid int) ([]IDRange, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist, so user %s has no further ids", file, who(name, uid))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := parseRanges(f, name, uid)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("%s gives user %s no further ids", file, who(name, uid))
	}
	return r, nil
}

func who(name string, uid int) string {
	if name == "" {
		return strconv.Itoa(uid)
	}
	return name
}

// parseRanges reads "name:first:count" lines; the name may be a number. Lines
// that newuidmap(1) would skip are skipped.
func parseRanges(r io.Reader, name string, uid int) ([]IDRange, error) {
	var out []IDRange
	id := strconv.Itoa(uid)
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		owner, rest, found := strings.Cut(line, ":")
		first, count, found2 := strings.Cut(rest, ":")
		if !found || !found2 || line[0] == '#' || owner != id && (owner != name || name == "") {
			continue
		}
		a, err := strconv.ParseUint(first, 10, 32)
		if err != nil {
			continue
		}
		n, err := strconv.ParseUint(count, 10, 32)
		if err != nil || n == 0 || a+n > 1<<32 {
			continue
		}
		out = append(out, IDRange{uint32(a), uint32(n)})
	}
	return out, sc.Err()
}
