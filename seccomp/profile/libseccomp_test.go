package profile

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloche-sandbox/cloche/internal/libseccomp"
	"github.com/cloche-sandbox/cloche/internal/needs"
	"github.com/cloche-sandbox/cloche/seccomp"
)

// TestLibseccompDocker proves libseccomp's programs for Docker's default profile, without
// and with its binary tree: for every input they say what the rules say. The 64
// bits of its comparisons are kept for that, and unknown calls get the default, as
// libseccomp knows no other. A program with one constant or jump changed is another.
func TestLibseccompDocker(t *testing.T) {
	needs.Arch(t, "it is compiled for that alone", "amd64")
	needs.Programs(t, "cc")
	c, err := libseccomp.Start(t.TempDir())
	if err != nil {
		needs.Skip(t, err.Error())
	}
	defer c.Close()
	p, _, err := Docker(Host{Arch: seccomp.AMD64, Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Unknown = p.Default
	archs := []seccomp.Arch{seccomp.AMD64}
	ours, err := seccomp.Compile(p, archs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, tree := range []bool{false, true} {
		f := libseccomp.Filter{Default: uint32(p.Default), BadArch: uint32(p.BadArch), Tree: tree}
		for _, g := range p.Groups {
			for _, rule := range g.Rules {
				for _, name := range rule.Syscalls {
					nr, ok := seccomp.AMD64.Number(name)
					if !ok || rule.Action == p.Default { // libseccomp refuses what says nothing
						continue
					}
					out := libseccomp.Rule{Action: uint32(rule.Action), NR: nr}
					for _, a := range rule.Args {
						if !out.Compare(a.Index, int(a.Op), a.Value, a.Mask, a.Low32) {
							t.Fatalf("%s: %+v can't be told to libseccomp", name, a)
						}
					}
					f.Rules = append(f.Rules, out)
				}
			}
		}
		prog, err := c.Compile(&f)
		if err != nil {
			t.Fatal(err)
		}
		if err := seccomp.Verify(p, archs, prog); err != nil {
			t.Errorf("tree %v: %v", tree, err)
		}
		t.Logf("tree %v: %d instructions are proven; %d here", tree, len(prog), len(ours))
		caught := 0
		for pc := 0; pc < len(prog); pc += 3 { // a third: a proof of so long a program takes its time
			if prog[pc].Code&7 != unix.BPF_JMP || prog[pc].Code&0xf0 == unix.BPF_JA {
				continue
			}
			wrong := append([]unix.SockFilter{}, prog...)
			wrong[pc].Jt, wrong[pc].Jf = wrong[pc].Jf, wrong[pc].Jt
			if err := seccomp.Verify(p, archs, wrong); err != nil {
				caught++
			} else if prog[pc].Jt != prog[pc].Jf {
				t.Errorf("tree %v: with the jumps of instruction %d exchanged it is taken for the same", tree, pc)
			}
		}
		if caught < len(prog)/9 {
			t.Errorf("tree %v: %d changes were caught", tree, caught)
		}
	}
}
