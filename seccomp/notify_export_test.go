package seccomp

import "os"

// ListenerFile is the file of a listener, for tests that hand it to a process.
func ListenerFile(l *Listener) *os.File { return l.file }
