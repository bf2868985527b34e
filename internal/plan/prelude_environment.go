package plan

import (
	"slices"
	"strings"
)

// locale are the variables of locale(7). Others may begin with LC_, but who sets one
// starts a little slower.
var locale = [...]string{
	"LC_ADDRESS", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION", "LC_MEASUREMENT", "LC_MESSAGES",
	"LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER", "LC_TELEPHONE", "LC_TIME",
}

// keptNames are the variables that the policy lets through, each by its whole name,
// and the beginnings of those that it lets through unnamed.
func (b *builder) keptNames() (names, beginnings []string) {
	for _, k := range b.policy.Env.Keep {
		begin, many := strings.CutSuffix(k, "*")
		if !many {
			names = append(names, k)
			continue
		}
		beginnings = append(beginnings, begin)
		for _, n := range locale {
			if strings.HasPrefix(n, begin) {
				names = append(names, n)
			}
		}
	}
	return names, beginnings
}

// sortedEnvironment is environment as policy.Environ has it: every variable once, and
// sorted. Each has a place in a table; a second one for the same place leaves.
func (d *decider) sortedEnvironment() {
	e := &d.policy.Env
	names, beginnings := d.keptNames()
	isSet := func(n string) bool { _, ok := e.Set[n]; return ok || slices.Contains(e.Unset, n) }
	names = slices.DeleteFunc(names, isSet)
	entries := make([]string, 0, len(names)+len(e.Set)) // "NAME=", or the whole of one that is set
	for _, n := range names {
		entries = append(entries, n+"=")
	}
	for n, v := range e.Set {
		if !slices.Contains(e.Unset, n) {
			entries = append(entries, n+"="+v)
		}
	}
	slices.Sort(entries)
	entries = slices.Compact(entries)
	table := &Data{Section: SetupRW, Bytes: make([]byte, 8*len(entries)), Align: 8, Text: "variables by name"}
	envp := buffer("envp", 8*(len(entries)+1))

	from, p, at, old := d.tmp("from"), d.tmp("pointer"), d.tmp("at"), d.tmp("old")
	all := Num(^uint64(0))
	loop, put, read := d.label(), d.label(), d.label()
	d.set(from, Slot(VarEnvp))
	d.mark(loop)
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), ^uint64(0), Num(0), read)
	d.advance(from, 8)
	for i, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		if isSet(name) {
			table.Relocs = append(table.Relocs, Reloc{Off: 8 * i, To: d.str(name + "=" + value).data})
			continue
		}
		other := d.label()
		d.op(Compare, Slot(p), d.str(entry), Num(uint64(len(entry)))).orElse(other)
		d.op(Alu, RefAt(table, 8*i), Num(0), all, Num(0), Num(0)).to(at).then(put)
		d.mark(other)
	}
	for _, begin := range beginnings {
		d.op(Compare, Slot(p), d.str(begin), Num(uint64(len(begin)))).then(d.leave).orElse(Following)
	}
	d.jump(loop)
	d.mark(put)
	d.op(Load, Slot(at), Num(8)).to(old)
	d.equal(Slot(old), ^uint64(0), Num(0)) // twice
	d.op(Store, Slot(at), Slot(p), Num(8)).then(loop)

	take, skip := d.label(), d.label()
	d.mark(read)
	// The program that explains gets all of it, see explainEnvironment.
	d.op(Alu, Slot(VarEnvp), Num(0), all, Num(0), Num(8*maxPointers)).to(old)
	d.op(Branch, Slot(from), all, Slot(old), Num(CondLess)).orElse(d.leave)
	d.set(from, Ref(table))
	d.set(at, Ref(envp))
	d.mark(take)
	d.op(Load, Slot(from), Num(8)).to(p)
	d.ifEqual(Slot(p), ^uint64(0), Num(0), skip)
	d.op(Store, Slot(at), Slot(p), Num(8))
	d.advance(at, 8)
	d.mark(skip)
	d.advance(from, 8)
	d.op(Branch, Slot(from), all, RefAt(table, 8*len(entries)), Num(CondLess)).then(take).orElse(Following)
	d.set(VarEnvp, Ref(envp))
}
