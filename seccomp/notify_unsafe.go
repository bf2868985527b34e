package seccomp

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What package unix does not have of linux/seccomp.h.
const (
	ioctlIDValid  = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID, in the form of Linux 5.8 and later
	ioctlAddFD    = 0x40182103 // SECCOMP_IOCTL_NOTIF_ADDFD
	ioctlSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS

	notifContinue = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// Sizes of the structures that this file knows. The kernel's own may be larger
// one day; what it has behind these stays zero.
const (
	notifSize = 80 // struct seccomp_notif
	respSize  = 24 // struct seccomp_notif_resp
	addFDSize = 24 // struct seccomp_notif_addfd
)

// notifSizes asks the kernel for the sizes of struct seccomp_notif and struct
// seccomp_notif_resp.
func notifSizes() (notif, resp uint16, e unix.Errno) {
	var sizes struct{ notif, resp, data uint16 }
	_, _, e = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes)))
	return sizes.notif, sizes.resp, e
}

// notifyIoctl makes an ioctl whose argument is a structure or, with arg nil, a number.
func notifyIoctl(fd, request uintptr, arg []byte, value uintptr) (uintptr, unix.Errno) {
	if arg != nil {
		n, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&arg[0])))
		runtime.KeepAlive(arg)
		return n, e
	}
	n, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, value)
	return n, e
}

// Every architecture of this package is asked in the byte order of its kernel.
var native = binary.NativeEndian

func le64(v uint64) (b [8]byte) {
	native.PutUint64(b[:], v)
	return b
}

func decodeNotification(b []byte) *Notification {
	n := &Notification{ID: native.Uint64(b), PID: int(int32(native.Uint32(b[8:])))}
	// Behind the pid stands flags, of which there are none. Then struct seccomp_data.
	d := b[16:]
	n.Data = Data{NR: int32(native.Uint32(d)), Arch: native.Uint32(d[4:]), IP: native.Uint64(d[8:])}
	for i := range n.Data.Args {
		n.Data.Args[i] = native.Uint64(d[16+8*i:])
	}
	return n
}

func encodeResponse(b []byte, id uint64, r Response) {
	native.PutUint64(b, id)
	switch {
	case r.Continue:
		native.PutUint32(b[20:], notifContinue)
	case r.Errno != 0:
		native.PutUint32(b[16:], uint32(-int32(r.Errno)))
	default:
		native.PutUint64(b[8:], uint64(r.Value))
	}
}

func encodeDescriptor(id uint64, d Descriptor) (b [addFDSize]byte) {
	native.PutUint64(b[:], id)
	flags := uint32(0)
	if d.Replace {
		flags |= unix.SECCOMP_ADDFD_FLAG_SETFD
		native.PutUint32(b[16:], uint32(d.Number))
	}
	if d.Answer {
		flags |= unix.SECCOMP_ADDFD_FLAG_SEND
	}
	native.PutUint32(b[8:], flags)
	native.PutUint32(b[12:], uint32(d.FD))
	if d.CloseOnExec {
		native.PutUint32(b[20:], unix.O_CLOEXEC)
	}
	return b
}
