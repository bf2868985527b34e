package main

import (
	"log"
	"regexp"
	"strings"
)

// bytesOf is the size of the types of prototypes.txt on 64-bit architectures, a
// digit for each.
var bytesOf = map[string]string{
	"*": "8", "aio_context_t": "8", "loff_t": "8", "long": "8", "off_t": "8", "size_t": "8", "u64": "8", "unsigned long": "8",

	"clockid_t": "4", "gid_t": "4", "int": "4", "key_serial_t": "4", "key_t": "4", "mqd_t": "4", "pid_t": "4", "qid_t": "4",
	"rwf_t": "4", "s32": "4", "timer_t": "4", "u32": "4", "uid_t": "4", "unsigned int": "4",

	"umode_t": "2",
}

var prototype = regexp.MustCompile(`^(\w+)\((.*)\)$`)

// widths is, for each call, the digits of its arguments. A call that only 32-bit
// architectures have gets registers of 32 bits, whatever its types are.
func widths(numbers map[string]map[string]int) map[string]string {
	list := map[string]string{}
	for _, a := range []string{"386", "arm"} {
		for name := range numbers[a] {
			list[name] = "444444"
		}
	}
	declared := map[string]bool{}
	for line := range strings.Lines(read("internal/gentables/prototypes.txt")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m := prototype.FindStringSubmatch(line)
		if m == nil || declared[m[1]] {
			log.Fatalf("prototypes.txt: %s: not of the form name(types), or there twice", line)
		}
		declared[m[1]] = true
		digits := ""
		if m[2] != "" {
			for t := range strings.SplitSeq(m[2], ", ") {
				if bytesOf[t] == "" {
					log.Fatalf("prototypes.txt: %s: add type %s to bytesOf", line, t)
				}
				digits += bytesOf[t]
			}
		}
		list[m[1]] = digits
	}
	for _, a := range columns {
		if a == "386" || a == "arm" {
			continue
		}
		for name := range numbers[a] {
			if !declared[name] {
				log.Fatalf("%s has %s: add its SYSCALL_DEFINE line to prototypes.txt", a, name)
			}
		}
	}
	return list
}
