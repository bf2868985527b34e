package launcher

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

const minusEFAULT = -int64(unix.EFAULT)

// answerWithMemory answers the calls that read or write memory or make
// processes. What is not named here succeeds with 0.
func (k *FakeKernel) answerWithMemory(p *Process, s *fakeProc, e *Event) int64 {
	a := e.Args
	put := func(addr uint64, b []byte, result int64) int64 {
		p.sim.steps -= len(b) / pageSize
		if addr != 0 && p.Mem.Write(addr, b) != nil {
			return minusEFAULT
		}
		return result
	}
	switch e.Call {
	case plan.SysMunmap:
		if !p.Mem.Unmap(a[0], a[1]) {
			return -int64(unix.EINVAL)
		}
		return 0
	case plan.SysMadvise:
		// Strict: what was given back is not to be used again. Only the stack is
		// anonymous memory alone; a private mapping would show its file again.
		if a[2] == unix.MADV_DONTNEED && a[0] >= simulatedStack {
			p.Mem.Unmap(a[0], a[1])
			return -int64(unix.ENOMEM)
		}
		return 0
	case plan.SysClone:
		return k.clone(p, s, a[0])
	case plan.SysClone3:
		b, err := p.Mem.Read(a[0], 8)
		if err != nil {
			return minusEFAULT
		}
		return k.clone(p, s, binary.LittleEndian.Uint64(b))
	case plan.SysPipe2:
		buf := new([]byte)
		r, w := s.open(fakeFile{pipe: buf}), s.open(fakeFile{pipe: buf})
		return put(a[0], append(le32(uint32(r)), le32(uint32(w))...), 0)
	case plan.SysWrite:
		if f := s.files[int32(a[0])]; f.pipe != nil {
			*f.pipe = append(*f.pipe, e.Data...)
		}
		return int64(len(e.Data))
	case plan.SysRead, plan.SysPread64:
		b := k.read(s, int32(a[0]), int(min(a[2], maxImage)))
		if b == nil {
			return -int64(unix.EAGAIN)
		}
		return put(a[1], b, int64(len(b)))
	case plan.SysLseek: // SEEK_SET is what images use
		f := s.files[int32(a[0])]
		f.off = int(min(a[1], maxImage))
		s.files[int32(a[0])] = f
		return int64(f.off)
	case plan.SysPpoll:
		return k.ppoll(p, s, a)
	case plan.SysWait4:
		return k.wait4(p, s, a)
	case plan.SysStatx:
		return k.statx(p, s, e)
	case plan.SysFstatfs: // of nothing but /proc
		return put(a[1], binary.LittleEndian.AppendUint64(nil, unix.PROC_SUPER_MAGIC), 0)
	case plan.SysGetcwd:
		return put(a[0], []byte("/\x00"), 2)
	case plan.SysGetrandom:
		return put(a[0], make([]byte, min(a[1], maxImage)), int64(min(a[1], maxImage)))
	case plan.SysClockGettime:
		return put(a[1], make([]byte, 16), 0)
	case plan.SysPrlimit64:
		return put(a[3], make([]byte, 16), 0)
	case plan.SysRtSigprocmask:
		return put(a[2], make([]byte, min(a[3], 128)), 0)
	}
	return 0
}

// clone runs the child to its end. A process that is its sibling
// (CLONE_PARENT) becomes a zombie of the parent's parent.
func (k *FakeKernel) clone(p *Process, s *fakeProc, flags uint64) int64 {
	if len(k.procs) > 1000 {
		return -int64(unix.EAGAIN)
	}
	k.lastPid++
	pid := k.lastPid
	c := p.Fork(pid, flags&unix.CLONE_VM != 0)
	if flags&unix.CLONE_PARENT != 0 {
		c.sibling = true
	}
	own := &fakeProc{files: make(map[int32]fakeFile), next: s.next, nsPid: pid}
	if flags&unix.CLONE_NEWPID != 0 {
		own.nsPid = 1
	}
	for fd, f := range s.files {
		own.files[fd] = f
	}
	k.procs[c] = own
	c.Return(0)
	if err := c.Run(); err != nil {
		p.Fail(err)
	}
	return int64(pid)
}

// read is what fd gives: nil when it would block for ever.
func (k *FakeKernel) read(s *fakeProc, fd int32, n int) []byte {
	f, known := s.files[fd]
	switch {
	case f.signal:
		if len(s.children) == 0 || n < 128 {
			return nil
		}
		c := s.children[0]
		b := make([]byte, 128) // struct signalfd_siginfo
		binary.LittleEndian.PutUint32(b, uint32(unix.SIGCHLD))
		binary.LittleEndian.PutUint32(b[8:], 1) // CLD_EXITED
		binary.LittleEndian.PutUint32(b[12:], uint32(c.Pid))
		binary.LittleEndian.PutUint32(b[40:], uint32(c.Status))
		return b
	case f.pipe != nil || !known:
		// The other end's side of things: one byte, whatever was waited for.
		b := make([]byte, min(n, 1))
		if f.pipe != nil && len(*f.pipe) > 0 {
			b = (*f.pipe)[:min(n, len(*f.pipe))]
			*f.pipe = (*f.pipe)[len(b):]
		}
		return b
	}
	b := []byte{}
	if k.Content != nil {
		all := k.Content(f.path)
		all = all[min(f.off, len(all)):]
		b = append(b, all[:min(n, len(all))]...)
	}
	f.off += len(b)
	s.files[fd] = f
	return b
}

// ppoll finds a signalfd ready as long as there is a child to wait for, and
// everything else when there is none.
func (k *FakeKernel) ppoll(p *Process, s *fakeProc, a [6]uint64) int64 {
	n := min(a[1], 1024)
	b, err := p.Mem.Read(a[0], int(8*n))
	if err != nil {
		return minusEFAULT
	}
	le := binary.LittleEndian
	for _, signals := range [...]bool{true, false} {
		ready := int64(0)
		for at := 0; at < len(b); at += 8 {
			fd, revents := int32(le.Uint32(b[at:])), uint16(0)
			if fd >= 0 && s.files[fd].signal == signals && (!signals || len(s.children) > 0) {
				if revents = le.Uint16(b[at+4:]) & (unix.POLLIN | unix.POLLOUT); revents == 0 {
					revents = unix.POLLHUP
				}
				ready++
			}
			le.PutUint16(b[at+6:], revents)
		}
		if ready > 0 {
			if p.Mem.Write(a[0], b) != nil {
				return minusEFAULT
			}
			return ready
		}
	}
	if a[2] == 0 {
		p.Fail(errors.New("ppoll waits for ever: nothing is left to happen"))
	}
	return 0
}

func (k *FakeKernel) wait4(p *Process, s *fakeProc, a [6]uint64) int64 {
	for i, c := range s.children {
		if pid := int32(a[0]); pid != -1 && pid != int32(c.Pid) {
			continue
		}
		s.children = append(s.children[:i:i], s.children[i+1:]...)
		if a[1] != 0 && p.Mem.Write(a[1], le32(uint32(c.Status&0xff)<<8)) != nil {
			return minusEFAULT
		}
		if a[3] != 0 && p.Mem.Write(a[3], make([]byte, 144)) != nil {
			return minusEFAULT
		}
		return int64(c.Pid)
	}
	return -int64(unix.ECHILD)
}

func (k *FakeKernel) statx(p *Process, s *fakeProc, e *Event) int64 {
	st, errno := FakeStat{Mode: unix.S_IFDIR | 0o755, Ino: 1}, int64(0)
	if k.Stat != nil {
		st, errno = k.Stat(s.in(e.Args[0], e.Strings[1]))
	}
	if errno != 0 {
		return errno
	}
	b := make([]byte, 256) // struct statx
	le := binary.LittleEndian
	le.PutUint32(b, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID)
	le.PutUint32(b[20:], st.Uid)
	le.PutUint32(b[24:], st.Gid)
	le.PutUint16(b[28:], st.Mode)
	le.PutUint64(b[32:], st.Ino)
	le.PutUint64(b[40:], st.Size)
	le.PutUint32(b[128:], st.RdevMajor)
	le.PutUint32(b[132:], st.RdevMinor)
	le.PutUint32(b[136:], st.DevMajor)
	le.PutUint32(b[140:], st.DevMin)
	le.PutUint64(b[144:], st.MntID)
	if p.Mem.Write(e.Args[4], b) != nil {
		return minusEFAULT
	}
	return 0
}
