package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cloche-sandbox/cloche/bench/turns"
	"github.com/cloche-sandbox/cloche/policy"
	"github.com/cloche-sandbox/cloche/sandbox"
)

// workerArg makes this program a worker: a long-running process that uses the
// library, with a heap of the size that follows. It is told by lines on stdin
// what to do and answers with nanoseconds.
const workerArg = "worker"

type workerProcess struct {
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Scanner
}

func startWorker(floor string, heap int) (*workerProcess, error) {
	cmd := exec.Command("/proc/self/exe", workerArg, floor, strconv.Itoa(heap))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &workerProcess{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	if _, err := w.answer("ready"); err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

func (w *workerProcess) library() (time.Duration, error) { return w.answer("library") }
func (w *workerProcess) floor() (time.Duration, error)   { return w.answer("floor") }

func (w *workerProcess) answer(question string) (time.Duration, error) {
	if _, err := fmt.Fprintln(w.in, question); err != nil {
		return 0, err
	}
	if !w.out.Scan() {
		return 0, fmt.Errorf("the worker ended: %v", w.out.Err())
	}
	ns, err := strconv.ParseInt(w.out.Text(), 10, 64)
	if err != nil {
		return 0, errors.New(w.out.Text())
	}
	return time.Duration(ns), nil
}

func (w *workerProcess) stop() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

// worker is the worker's side.
func worker(args []string) {
	floor := args[0]
	heap, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	// Small objects with pointers, every page touched: what a real heap is like.
	type object struct {
		next *object
		data [112]byte
	}
	var head *object
	for range heap / 128 {
		head = &object{next: head}
		head.data[0] = 1
	}
	p, ok := policy.Builtin("default")
	if !ok {
		panic("no default profile")
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var took time.Duration
		var err error
		switch lines.Text() {
		case "library":
			start := time.Now()
			err = sandbox.Command(context.Background(), p, "/bin/true").Run()
			took = time.Since(start)
		case "floor":
			took, err = turns.Spawn([]string{floor, "/bin/true"})
		}
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Println(took.Nanoseconds())
	}
	runtime.KeepAlive(head)
}
