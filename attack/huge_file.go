package attack

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

var fileSize = &Layer{Name: "rlimit fsize", Off: []string{"rlimit fsize=64M"}}

// A directory of the host's that may be written to is as large as its disk.
var hugeFile = Attack{
	Name: "huge-file", Group: "limits", Reference: "getrlimit(2) RLIMIT_FSIZE",
	Tries:  "write a larger file than the limit to a directory of the host's",
	Door:   []string{"write $DIR"},
	Limits: []string{"rlimit fsize=1M"},
	Stops:  []Stop{{fileSize, "EFBIG"}},
	Outside: func(o *Outside) error {
		o.Tell("path", filepath.Join(o.Dir, "huge"))
		return nil
	},
	Inside: func(in *Inside) error {
		signal.Ignore(syscall.SIGXFSZ)
		f, err := os.Create(in.Arg("path"))
		if err != nil {
			return Failed(err)
		}
		defer f.Close()
		if err := fill(f, 8<<20); err != nil {
			return Failed(err)
		}
		return nil
	},
}
