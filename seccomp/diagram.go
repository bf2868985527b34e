package seccomp

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sort"
)

// A diagram maps every input of a filter, the 512 bits of struct seccomp_data, to
// a number: a reduced ordered decision diagram with shared nodes. Every node asks
// for one bit, in one fixed order on all ways, no node asks in vain and no two
// nodes are equal. So a function has exactly one node, and whether two functions
// agree on every input is whether their nodes are the same.
//
// A comparison of a word with a constant is a chain of at most 32 nodes, and the
// functions that filters are made of stay small: the number of nodes is about
// the number of comparisons times 32.
type diagram struct {
	nodes []vertex
	ids   map[vertex]node
	known map[choice]node
	limit int  // of nodes
	full  bool // it was reached: results are missing, and no node means anything anymore
}

// node is a function: an index into nodes.
type node int32

// vertex is a bit that is asked for, and what follows each answer. At level
// leaves, zero holds the number instead.
type vertex struct {
	level     int32
	zero, one node
}

type choice struct{ condition, yes, no node }

// word is a number whose bits are functions with the values no and yes, the
// lowest bit first.
type word []node

const (
	no     node = 0 // the functions that are 0 and 1 everywhere
	yes    node = 1
	leaves      = 8 * sizeofData
)

// maxNodes bounds the memory of a proof, to about 200 MiB.
const maxNodes = 1 << 20

var errTooLarge = errors.New("seccomp: the conditions depend on each other in too many ways to be proven within the memory of a million decisions; split the profile, or compare fewer arguments in one rule")

// order is the order in which words are asked for, by their offsets in struct
// seccomp_data: the architecture and the number first, on which everything
// depends, then the arguments one after the other, the higher word first where
// that is the second one, and the instruction pointer last.
var order = [sizeofData / 4]int{1, 0, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14, 3, 2}

// rank is the inverse of order.
var rank = [len(order)]int32{1, 0, 15, 14, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12}

func newDiagram() *diagram {
	d := &diagram{ids: map[vertex]node{}, known: map[choice]node{}, limit: maxNodes}
	d.number(0) // no
	d.number(1) // yes
	return d
}

// number is the function that is n everywhere.
func (d *diagram) number(n uint32) node { return d.vertex(vertex{level: leaves, zero: node(n)}) }

func (d *diagram) vertex(v vertex) node {
	id, ok := d.ids[v]
	if !ok {
		id = node(len(d.nodes))
		d.nodes = append(d.nodes, v)
		d.ids[v] = id
	}
	return id
}

// ask is the function that is zero or one, as the bit of the level is.
func (d *diagram) ask(level int32, zero, one node) node {
	if zero == one {
		return zero
	}
	return d.vertex(vertex{level, zero, one})
}

// load is the word at an offset of struct seccomp_data, counted in words.
func (d *diagram) load(offset int) word {
	w := make(word, 32)
	for bit := range w {
		w[bit] = d.ask(32*rank[offset]+31-int32(bit), no, yes)
	}
	return w
}

// literal is a word of so many bits.
func literal(value uint64, bits int) word {
	w := make(word, bits)
	for i := range w {
		w[i] = node(value >> i & 1)
	}
	return w
}

// choose is the function that is a where the condition is 1, else b.
func (d *diagram) choose(condition, a, b node) node {
	switch {
	case condition == yes || a == b:
		return a
	case condition == no:
		return b
	case a == yes && b == no:
		return condition
	}
	key := choice{condition, a, b}
	if result, ok := d.known[key]; ok {
		return result
	}
	if d.exhausted(len(d.known) / 4) {
		return no
	}
	level := min(d.nodes[condition].level, d.nodes[a].level, d.nodes[b].level)
	c0, c1 := d.split(condition, level)
	a0, a1 := d.split(a, level)
	b0, b1 := d.split(b, level)
	result := d.ask(level, d.choose(c0, a0, b0), d.choose(c1, a1, b1))
	d.known[key] = result
	return result
}

// exhausted reports whether there is no room for more nodes, or for more of what
// is remembered beside them.
func (d *diagram) exhausted(remembered int) bool {
	d.full = d.full || max(len(d.nodes), remembered) >= d.limit
	return d.full
}

// split is what is left of a function when the bit of a level is 0, and when it
// is 1. No bit of a lower level may be asked for.
func (d *diagram) split(n node, level int32) (zero, one node) {
	if v := &d.nodes[n]; v.level == level {
		return v.zero, v.one
	}
	return n, n
}

func (d *diagram) not(a node) node    { return d.choose(a, no, yes) }
func (d *diagram) and(a, b node) node { return d.choose(a, b, no) }
func (d *diagram) or(a, b node) node  { return d.choose(a, yes, b) }
func (d *diagram) xor(a, b node) node { return d.choose(a, d.not(b), b) }

// equal is where a == b.
func (d *diagram) equal(a, b word) node {
	result := yes
	for i := range a {
		result = d.and(d.not(d.xor(a[i], b[i])), result)
	}
	return result
}

// above is where a > b, or also where they are equal.
func (d *diagram) above(a, b word, orEqual bool) node {
	result := no
	if orEqual {
		result = yes
	}
	for i := range a {
		result = d.choose(d.xor(a[i], b[i]), a[i], result)
	}
	return result
}

// shared is where a & b != 0.
func (d *diagram) shared(a, b word) node {
	result := no
	for i := range a {
		result = d.or(d.and(a[i], b[i]), result)
	}
	return result
}

// each is a word made of two, bit by bit.
func each(a, b word, f func(a, b node) node) word {
	w := make(word, len(a))
	for i := range w {
		w[i] = f(a[i], b[i])
	}
	return w
}

// sum is a + b + carry, where carry is no or yes.
func (d *diagram) sum(a, b word, carry node) word {
	return each(a, b, func(a, b node) node {
		differ := d.xor(a, b)
		bit := d.xor(differ, carry)
		carry = d.choose(differ, carry, a)
		return bit
	})
}

// join is the function whose value is w's.
func (d *diagram) join(w word) node { return d.joinLower(w, len(w), 0) }

func (d *diagram) joinLower(w word, bits int, higher uint32) node {
	if bits == 0 {
		return d.number(higher)
	}
	bits--
	switch w[bits] {
	case no:
		return d.joinLower(w, bits, higher)
	case yes:
		return d.joinLower(w, bits, higher|1<<bits)
	}
	if d.exhausted(0) {
		return no
	}
	return d.choose(w[bits], d.joinLower(w, bits, higher|1<<bits), d.joinLower(w, bits, higher))
}

// table is the function that is entries[nr] where the number of the call is nr,
// and rest where it has no entry. The entries ask for later words only.
func (d *diagram) table(entries map[int32]node, rest node) node {
	numbers := slices.SortedFunc(maps.Keys(entries), func(x, y int32) int { return cmp.Compare(uint32(x), uint32(y)) })
	var among func(numbers []int32, bit int32) node
	among = func(numbers []int32, bit int32) node {
		switch {
		case len(numbers) == 0:
			return rest
		case bit < 0:
			return entries[numbers[0]]
		}
		upper := sort.Search(len(numbers), func(i int) bool { return numbers[i]>>bit&1 == 1 })
		return d.ask(32*rank[0]+31-bit, among(numbers[:upper], bit-1), among(numbers[upper:], bit-1))
	}
	return among(numbers, 31)
}

// apply is the function n with every value v made f(v).
func (d *diagram) apply(n node, f func(v uint32) node) node {
	known := map[node]node{}
	var walk func(n node) node
	walk = func(n node) node {
		result, ok := known[n]
		if !ok {
			if v := d.nodes[n]; v.level == leaves {
				result = f(uint32(v.zero))
			} else {
				result = d.ask(v.level, walk(v.zero), walk(v.one))
			}
			known[n] = result
		}
		return result
	}
	return walk(n)
}

// fix is the function n where one word has a value. The words before it in the
// order must have been fixed already.
func (d *diagram) fix(n node, offset int, value uint32) node {
	for bit := 31; bit >= 0; bit-- {
		zero, one := d.split(n, 32*rank[offset]+31-int32(bit))
		if n = zero; value>>bit&1 == 1 {
			n = one
		}
	}
	return n
}

// difference is an input at which two different functions have different values,
// with as many bits 0 as lets the earlier ones in the order be 0.
func (d *diagram) difference(a, b node) (words [sizeofData / 4]uint32) {
	for {
		level := min(d.nodes[a].level, d.nodes[b].level)
		if level == leaves {
			return words
		}
		a0, a1 := d.split(a, level)
		b0, b1 := d.split(b, level)
		if a0 != b0 {
			a, b = a0, b0
			continue
		}
		a, b = a1, b1
		words[order[level/32]] |= 1 << (31 - level%32)
	}
}

// at is the value of a function at an input.
func (d *diagram) at(n node, words [sizeofData / 4]uint32) uint32 {
	for {
		v := d.nodes[n]
		if v.level == leaves {
			return uint32(v.zero)
		}
		if n = v.zero; words[order[v.level/32]]>>(31-v.level%32)&1 == 1 {
			n = v.one
		}
	}
}
