package host

// Status is how well a capability of Cloche works here.
type Status string

// The values of Status.
const (
	Works   Status = "works"
	Limited Status = "limited" // part of it is missing; Cause says which
	Missing Status = "missing"
)

// Row is one capability as `cloche doctor` shows it. Cause and Remedy are set
// unless it works, in words for somebody who has not met the mechanism before.
type Row struct {
	Group  string `json:"group"` // what it belongs to: "namespaces", "mounts", …
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"` // a version, a list, a number
	Cause  string `json:"cause,omitempty"`
	Remedy string `json:"remedy,omitempty"`

	// Required: without it Cloche's default policy can't be carried out.
	Required bool `json:"required"`
}

// ok is a row of something that works.
func ok(group, name, detail string) Row {
	return Row{Group: group, Name: name, Status: Works, Detail: detail}
}

// missing is a row of something that does not.
func missing(group, name, cause, remedy string) Row {
	return Row{Group: group, Name: name, Status: Missing, Cause: cause, Remedy: remedy}
}

// limited is a row of something that works in part.
func limited(group, name, detail, cause, remedy string) Row {
	return Row{Group: group, Name: name, Status: Limited, Detail: detail, Cause: cause, Remedy: remedy}
}

// required marks a row that the default policy depends on.
func (r Row) required() Row {
	r.Required = true
	return r
}
