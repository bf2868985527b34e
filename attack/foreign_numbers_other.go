//go:build !amd64

package attack

// foreignNumbers: 32-bit ARM's calls take a 32-bit program.
var foreignNumbers []*Attack

func i386() int { return 1 }
