//go:build !amd64

package attack

// ofArchitecture: 32-bit ARM's calls take a 32-bit program.
var ofArchitecture []*Attack

func i386() int { return 1 }

func vsyscallTime() int64 { return 0 }

func directTime() int { return 0 }
