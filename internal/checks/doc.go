// Package checks holds tests about the repository as a whole: which package may
// import which, which may make a system call, that files stay short, and that
// the documentation names every key, flag and verb. It has no code of its own.
package checks
