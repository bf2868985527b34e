package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// logger writes what engines read: a line for each message, either of logfmt or
// a JSON object with level, msg and time.
type logger struct {
	file   *os.File // nil: standard error
	format string
	debug  bool
}

// reporter is the one of this run.
var reporter = &logger{format: "text"}

// openLog opens the file of --log, to which every message is appended.
func openLog(g *Global) (logger, error) {
	l := logger{format: g.LogFormat, debug: g.Debug}
	switch g.LogFormat {
	case "":
		l.format = "text"
	case "text", "json":
	default:
		return l, errors.New("invalid log-format: " + g.LogFormat)
	}
	if g.Log == "" {
		return l, nil
	}
	f, err := os.OpenFile(g.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0o644)
	if err != nil {
		return l, err
	}
	l.file = f
	return l, nil
}

func (l *logger) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

func (l *logger) write(level, message string) {
	var to io.Writer = os.Stderr
	if l.file != nil {
		to = l.file
	}
	_, _ = to.Write(l.line(level, message, time.Now()))
}

func (l *logger) line(level, message string, at time.Time) []byte {
	stamp := at.UTC().Format(time.RFC3339)
	if l.format == "json" {
		line, err := json.Marshal(struct {
			Level   string `json:"level"`
			Message string `json:"msg"`
			Time    string `json:"time"`
		}{level, message, stamp})
		if err == nil {
			return append(line, '\n')
		}
	}
	return fmt.Appendf(nil, "time=%q level=%s msg=%s\n", stamp, level, strconv.Quote(message))
}

// fatal reports why a command failed: to the log, and where that is a file to
// standard error as well.
func (l *logger) fatal(err error, status int) int {
	l.write("error", err.Error())
	if l.file != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return status
}

// warnf reports what is no failure.
func warnf(format string, args ...any) { reporter.write("warning", fmt.Sprintf(format, args...)) }

// debugf reports what only --debug shows.
func debugf(format string, args ...any) {
	if reporter.debug {
		reporter.write("debug", fmt.Sprintf(format, args...))
	}
}
