package sandbox

import "unsafe"

// addressOf is the address of a system call's argument; the caller keeps it alive.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

func pointerTo[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }
