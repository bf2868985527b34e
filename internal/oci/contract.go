// Package oci is Cloche as an OCI runtime: it reads a bundle's config.json, has
// internal/plan make the launcher image of it, starts the image, and keeps what has to
// be known about a container between two commands. The command line is runc's.
package oci

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/cloche-sandbox/cloche/internal/oci/cgroups"
)

// Global is what the options before the verb say.
type Global struct {
	Root          string // the directory that holds a directory for each container
	Log           string // file for what is reported; "": standard error
	LogFormat     string // "text" or "json"
	Debug         bool
	SystemdCgroup bool
	Rootless      bool // decided: no privilege over the host's cgroups and ids is expected
}

// CreateOptions are those of create, and of run.
type CreateOptions struct {
	Bundle        string // "": the working directory
	ConsoleSocket string // unix socket that receives the terminal's master
	PidfdSocket   string // unix socket that receives a pidfd of the container's process
	PidFile       string
	NoPivot       bool
	NoNewKeyring  bool
	PreserveFDs   int // descriptors from 3 on
}

// RunOptions are those of run.
type RunOptions struct {
	CreateOptions
	Detach      bool
	Keep        bool
	NoSubreaper bool
}

// ExecOptions are those of exec.
type ExecOptions struct {
	Process        string   // file with a process of the specification; "": made of what follows
	Args           []string // the command
	Cwd            string   // "": the container's
	Env            []string // added to the container's
	TTY            bool
	User           string // UID[:GID]; "": the container's
	AdditionalGIDs []uint32
	Cap            []string // added to the container's
	AppArmor       string
	ProcessLabel   string
	NoNewPrivs     bool
	PreserveFDs    int
	Cgroup         []string // [CONTROLLER,…:]PATH below the container's
	IgnorePaused   bool
	Detach         bool
	ConsoleSocket  string
	PidfdSocket    string
	PidFile        string
}

// Container is what is kept about a container, in state.json of its directory.
// What changes by itself (whether the process lives, whether it is frozen) is
// looked at, not kept.
type Container struct {
	ID          string            `json:"id"`
	OCIVersion  string            `json:"ociVersion"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	OwnerUID    int               `json:"ownerUID"`

	// Pid of the container's process, and when it started, as field 22 of
	// /proc/PID/stat says it: together they are one process and no later one. 0
	// before there is one.
	Pid       int    `json:"pid"`
	StartTime uint64 `json:"startTime"`
	// Made says that create is done; until then the container is only known to be
	// taken away.
	Made bool `json:"made"`
	// Started says that start has let the process execute.
	Started bool `json:"started"`

	Systemd  bool          `json:"systemd,omitempty"` // the cgroup driver
	Rootless bool          `json:"rootless,omitempty"`
	Cgroup   cgroups.State `json:"cgroup"`

	// Hooks of later.
	StartContainer []specs.Hook `json:"startContainer,omitempty"`
	Poststart      []specs.Hook `json:"poststart,omitempty"`
	Poststop       []specs.Hook `json:"poststop,omitempty"`

	// What start needs to read a failure's record: the numbers of two operations of
	// the image, and the command.
	ExecOp   uint32 `json:"execOp,omitempty"`
	FilterOp uint32 `json:"filterOp,omitempty"`
	Command  string `json:"command,omitempty"`

	root string // of all containers
	lock int    // descriptor that holds the flock; -1: none
}

// Status of a container: those of the specification, and paused.
type Status string

// The statuses.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// The functions that both halves use:
//
//	Create(g *Global, id string, o *CreateOptions) error
//	Start(g *Global, id string) error
//	Run(g *Global, id string, o *RunOptions) (status int, err error)    // the command's exit status
//	Exec(g *Global, id string, o *ExecOptions) (status int, err error)
//	Kill(g *Global, id string, sig unix.Signal, all bool) error
//	Delete(g *Global, id string, force bool) error
//	StateOf(g *Global, id string) (*State, error)                        // what `state` prints
//
//	load(g *Global, id string) (*Container, error)   // errNotExist when there is none
//	loadLocked(g, id) (*Container, error)            // and nobody else changes it until c.unlock()
//	list(g *Global) ([]*Container, error)
//	(c *Container) save() error                      // atomic; the caller holds the lock
//	(c *Container) unlock()
//	(c *Container) dir() string
//	(c *Container) Status() Status                   // looks: process, freezer
//	(c *Container) alive() bool                      // the process, checked by its start time
//	(c *Container) spec() (*specs.Spec, error)       // the config.json as it was at create, kept beside state.json
//	(c *Container) cgroup() *cgroups.Group           // cgroups.Load(c.Cgroup)

// State is the state of the specification and what runc adds to it, which is
// what `state` and `list --format json` print.
type State struct {
	specs.State
	Rootfs  string    `json:"rootfs"`
	Created time.Time `json:"created"`
	Owner   string    `json:"owner"`
}
