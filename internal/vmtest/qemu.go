package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a guest may take.
const patience = 12 * time.Minute

// test boots a guest and collects what its tests said: the kernel's console is the first
// serial port, the tests' output the second, and their end the third.
func (m *maker) test(ctx context.Context, g *guest, opt options) (*result, error) {
	unlock, err := m.lock(g.name) // somebody else may boot it, too
	if err != nil {
		return nil, err
	}
	defer unlock()
	vm, err := m.make(g, opt)
	if err != nil {
		return nil, err
	}
	r := &result{
		kernel:  vm.version,
		console: filepath.Join(m.cache, g.name+".console.log"),
		output:  filepath.Join(m.cache, g.name+".tests.log"),
	}
	end := filepath.Join(m.cache, g.name+".end")
	for _, f := range []string{r.console, r.output, end} {
		if err := os.RemoveAll(f); err != nil {
			return nil, err
		}
	}
	disk := filepath.Join(m.cache, g.name+".disk")
	if err := emptyDisk(disk); err != nil {
		return nil, err
	}
	defer os.Remove(disk)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	argv := qemuFor(g.arch)
	argv = append(argv, "-m", "3072", "-smp", "1", "-display", "none", "-no-reboot", "-nodefaults",
		"-kernel", vm.kernel, "-initrd", vm.initrd, "-append", cmdlineOf(g),
		"-drive", "file="+disk+",format=raw,if=none,id=disk,cache=unsafe", "-device", "virtio-blk-pci,drive=disk",
		"-serial", "file:"+r.console)
	for _, port := range []string{r.output, end} {
		if g.arch == "arm64" { // its machine has one port that the kernel uses
			id := filepath.Base(port)
			argv = append(argv, "-chardev", "file,id="+id+",path="+port, "-device", "pci-serial,chardev="+id)
		} else {
			argv = append(argv, "-serial", "file:"+port)
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	began := time.Now()
	words, err := cmd.CombinedOutput()
	if r.took = time.Since(began); cmd.ProcessState != nil {
		r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%s: %w: %s", argv[0], err, words)
	}
	said, _ := os.ReadFile(end)
	r.ended = strings.TrimSpace(string(said))
	if opt.sh == "" && !opt.table {
		if err := r.read(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// emptyDisk makes a file that a guest has as its disk; its init puts a file system there.
func emptyDisk(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(4 << 30) // what is never written takes no room
}

// qemuFor is the emulator's own part of the command line. qemu 7.2 crashes kernels that
// use cmpxchg16b, and where one processor patches code that another runs: so a guest has
// one processor without that, and several guests run side by side.
func qemuFor(arch string) []string {
	if arch == "arm64" {
		return []string{"qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on", "-accel", "tcg,thread=multi"}
	}
	return []string{"qemu-system-x86_64", "-M", "q35", "-cpu", "max,-cx16", "-accel", "tcg,thread=multi"}
}

func cmdlineOf(g *guest) string {
	console := "console=ttyS0"
	if g.arch == "arm64" {
		console = "console=ttyAMA0"
	}
	return strings.TrimSpace(console + " quiet panic=-1 " + g.cmdline)
}
