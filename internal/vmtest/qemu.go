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
const patience = 8 * time.Minute

// test boots a guest and collects what its tests said: the kernel's console is the first
// serial port, the tests' output the second, and their end the third.
func (m *maker) test(ctx context.Context, g *guest, opt options) (*result, error) {
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
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	argv := qemuFor(g.arch)
	argv = append(argv, "-m", "3072", "-smp", "2", "-display", "none", "-no-reboot", "-nodefaults",
		"-kernel", vm.kernel, "-initrd", vm.initrd, "-append", cmdlineOf(g),
		"-serial", "file:"+r.console, "-serial", "file:"+r.output, "-serial", "file:"+end)
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, fmt.Errorf("%w: install Debian's package qemu-system-x86 (qemu-system-arm for arm64)", err)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	words, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%s: %w: %s", argv[0], err, words)
	}
	said, _ := os.ReadFile(end)
	r.ended = strings.TrimSpace(string(said))
	if opt.sh == "" {
		if err := r.read(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// qemuFor is the emulator's own part of the command line. Emulated cmpxchg16b makes
// kernels crash (qemu 7.2), so the processor has none.
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
