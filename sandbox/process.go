package sandbox

// process is the running half of a Cmd.
type process struct{}
