package cli

import "strings"

// nearest returns the name that s was probably meant to be, or "".
func nearest(s string, names []string) string {
	if s == "" || len(s) > 64 {
		return ""
	}
	best, least := "", max(1, len(s)/3)+1
	for _, n := range names {
		if d := slips(s, n); d < least {
			best, least = n, d
		}
	}
	if best != "" {
		return best
	}
	// An abbreviation, or a name with something more: --mem, --read-only.
	for _, n := range names {
		if len(s) >= 3 && len(n) >= 3 && (strings.HasPrefix(n, s) || strings.HasPrefix(s, n)) {
			return n
		}
	}
	return ""
}

// slips counts the letters that must be put in, taken out, replaced or swapped
// with their neighbour to turn a into b.
func slips(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, twice := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], twice[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
