package supervise

import (
	"context"
	"runtime"
	"time"
)

// watch ends the sandbox when its context ends or one of its times is up.
func (p *Process) watch(ctx context.Context) {
	inner, stop := context.WithCancel(context.Background())
	last := &lastLook{}
	p.stop = func() {
		stop()
		last.settle(p)
	}
	end := func(why Reason, limit string) {
		last.at(p.PID())
		p.kill(why, limit)
	}
	t := p.spec.Policy.Time
	if t.Wall > 0 {
		timer := time.AfterFunc(t.Wall, func() { end(WallTime, "time.wall") })
		context.AfterFunc(inner, func() { timer.Stop() })
	}
	if ctx.Done() != nil {
		canceled := context.AfterFunc(ctx, func() { end(Canceled, "") })
		context.AfterFunc(inner, func() { canceled() })
	}
	if t.CPU > 0 && p.group != nil {
		p.watchers.Go(func() { p.watchCPU(inner, t.CPU, end) })
	}
}

// minPoll bounds how often the CPU clock of a cgroup is read.
const minPoll = time.Millisecond

// watchCPU reads how much time the whole tree has used. It sleeps no longer
// than all processors together would need to use up what is left.
func (p *Process) watchCPU(ctx context.Context, limit time.Duration, end func(Reason, string)) {
	for {
		used, err := p.group.CPUTime()
		if err == nil && used >= limit {
			end(CPUTime, "time.cpu")
			return
		}
		sleep := max((limit-used)/time.Duration(runtime.NumCPU()), minPoll)
		timer := time.NewTimer(sleep)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
