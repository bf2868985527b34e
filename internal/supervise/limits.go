package supervise

import (
	"context"
	"runtime"
	"time"
)

// watch ends the sandbox when its context ends or one of its times is up.
func (p *Process) watch(ctx context.Context) {
	inner, stop := context.WithCancel(context.Background())
	p.stop = stop
	t := p.spec.Policy.Time
	if t.Wall > 0 {
		timer := time.AfterFunc(t.Wall, func() { p.kill(WallTime, "time.wall") })
		context.AfterFunc(inner, func() { timer.Stop() })
	}
	if ctx.Done() != nil {
		end := context.AfterFunc(ctx, func() { p.kill(Canceled, "") })
		context.AfterFunc(inner, func() { end() })
	}
	if t.CPU > 0 && p.group != nil {
		p.watchers.Go(func() { p.watchCPU(inner, t.CPU) })
	}
}

// minPoll bounds how often the CPU clock of a cgroup is read.
const minPoll = time.Millisecond

// watchCPU reads how much time the whole tree has used. It sleeps no longer
// than all processors together would need to use up what is left.
func (p *Process) watchCPU(ctx context.Context, limit time.Duration) {
	for {
		used, err := p.group.CPUTime()
		if err == nil && used >= limit {
			p.kill(CPUTime, "time.cpu")
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
