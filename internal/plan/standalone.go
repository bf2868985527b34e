package plan

// Standalone is what an image needs that runs without a supervisor.
type Standalone struct {
	Command []string // argv of the command; arguments given to the image follow
}
