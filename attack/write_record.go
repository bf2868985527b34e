package attack

import (
	"os"
	"path/filepath"

	"github.com/cloche-sandbox/cloche/internal/named"
)

// The record of a sandbox says which process `cloche exec` joins, confined by what, and holds the image
// that does it: whoever writes there runs a program as the one who joins, outside. It lies in a
// directory that holds much else, which a policy may well show.
var writeRecord = Attack{
	Name: "write-a-record", Group: "mounts", Reference: "setns(2), CVE-2019-5736",
	Tries: "change the record of another sandbox, by which its owner joins it",
	Door:  []string{"write $DIR/run"},
	Stops: []Stop{{hiddenRecords, "EACCES"}},
	Outside: func(o *Outside) error {
		store := filepath.Join(o.Dir, "run/cloche")
		o.Env = append(o.Env, named.DirVariable+"="+store)
		if err := os.MkdirAll(filepath.Join(store, "web"), 0o700); err != nil {
			return err
		}
		path, err := o.SecretFile("run/cloche/web/join")
		o.Tell("path", path)
		return err
	},
	Inside: func(in *Inside) error {
		if err := os.WriteFile(in.Arg("path"), []byte("an image"), 0o700); err != nil {
			return Failed(err)
		}
		return nil
	},
	Escaped: func(o *Outside) bool { return o.Changed("run/cloche/web/join") },
}

// hiddenRecords gives way to who names the very directory.
var hiddenRecords = &Layer{Name: "records hidden", Off: []string{"write $DIR/run/cloche"}}
