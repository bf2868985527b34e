package policy

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Size
		err  string
	}{
		{in: "0", want: 0},
		{in: "1", want: 1},
		{in: "4096B", want: 4096},
		{in: "64K", want: 64 << 10},
		{in: "64k", want: 64 << 10},
		{in: "64M", want: 64 << 20},
		{in: "64MiB", want: 64 << 20},
		{in: "64Mi", want: 64 << 20},
		{in: "1.5G", want: 3 << 29},
		{in: "0.1K", want: 102},
		{in: "1.000000000000000001K", want: 1024},
		{in: "2T", want: 2 << 40},
		{in: "4096P", want: maxNumber},
		{in: "4611686018427387904", want: maxNumber},
		{in: "4611686018427387905", err: "2^62"},
		{in: "4096.5P", err: "2^62"},
		{in: "99999999999999999999", err: "2^62"},
		{in: "8E", err: `unknown unit "E"`},
		{in: "64MB", err: "write M or MiB"},
		{in: "64Q", err: `unknown unit "Q"`},
		{in: "64 M", err: "not a size"},
		{in: "", err: "not a size"},
		{in: "M", err: "not a size"},
		{in: ".5G", err: "not a size"},
		{in: "5.G", err: "not a size"},
		{in: "1.2.3G", err: "not a size"},
		{in: "-5M", err: "negative"},
		{in: "+5M", err: "not a size"},
		{in: "NaN", err: "not a size"},
		{in: "0x10", err: "unknown unit"},
		{in: "1_000", err: "not a size"},
		{in: "64\x00M", err: "not a size"},
	} {
		got, err := ParseSize(c.in)
		if !matches(err, c.err) || (err == nil && got != c.want) {
			t.Errorf("ParseSize(%q) = %d, %v; want %d, %q", c.in, got, err, c.want, c.err)
		}
	}
}

// matches reports whether err has the text, or is nil for "".
func matches(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text) && !strings.Contains(err.Error(), "\n")
}

func TestSizeString(t *testing.T) {
	for _, n := range []Size{0, 1, 1023, 1024, 1536, 3 << 29, 1 << 50, 1<<62 - 1, 1 << 62} {
		back, err := ParseSize(n.String())
		if err != nil || back != n {
			t.Errorf("%d is written %q, which is read as %d, %v", n, n, back, err)
		}
	}
	if s := Size(3 << 29).String(); s != "1536M" {
		t.Errorf("1.5G is written %q", s)
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
		err  string
	}{
		{in: "500ms", want: 500 * time.Millisecond},
		{in: "2m", want: 2 * time.Minute},
		{in: "1h30m", want: 90 * time.Minute},
		{in: "1.5s", want: 1500 * time.Millisecond},
		{in: "10", err: `no unit: write 10s for seconds`},
		{in: "0", err: "zero"},
		{in: "0s", err: "zero"},
		{in: "-1s", err: "negative"},
		{in: "", err: "not a duration"},
		{in: "soon", err: "not a duration"},
		{in: "10 s", err: "not a duration"},
		{in: "9999999999h", err: "2^62"},
		{in: "2000000h", err: "2^62"},
		{in: "inf", err: "not a duration"},
	} {
		got, err := ParseDuration(c.in)
		if !matches(err, c.err) || (err == nil && got != c.want) {
			t.Errorf("ParseDuration(%q) = %d, %v; want %d, %q", c.in, got, err, c.want, c.err)
		}
	}
	for _, d := range []time.Duration{1, time.Microsecond, 10 * time.Second, time.Minute, time.Hour, 90 * time.Minute, 3601 * time.Second, 100 * time.Hour} {
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Errorf("%v is written %q, which is read as %v, %v", d, FormatDuration(d), back, err)
		}
	}
	if s := FormatDuration(2 * time.Hour); s != "2h" {
		t.Errorf("two hours are written %q", s)
	}
}

func TestParseCPUs(t *testing.T) {
	for _, c := range []struct {
		in   string
		want float64
		err  string
	}{
		{in: "2", want: 2},
		{in: "0.5", want: 0.5},
		{in: "0", err: "at least 0.01"},
		{in: "0.001", err: "at least 0.01"},
		{in: "-1", err: "not a number"},
		{in: "NaN", err: "not a number"},
		{in: "Inf", err: "not a number"},
		{in: "1e3", err: "not a number"},
		{in: "0x2", err: "not a number"},
		{in: "65537", err: "more processors"},
		{in: strings.Repeat("9", 400), err: "more processors"},
	} {
		got, err := ParseCPUs(c.in)
		if !matches(err, c.err) || (err == nil && got != c.want) {
			t.Errorf("ParseCPUs(%q) = %v, %v; want %v, %q", c.in, got, err, c.want, c.err)
		}
	}
	for _, n := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		if checkCPUs(n) == nil {
			t.Errorf("%v processors are accepted", n)
		}
	}
	for _, n := range []float64{0.01, 1.0 / 3, 1, 64} {
		if back, err := ParseCPUs(FormatCPUs(n)); err != nil || back != n {
			t.Errorf("%v is written %s, which is read as %v, %v", n, FormatCPUs(n), back, err)
		}
	}
}
