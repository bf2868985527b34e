package supervise

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"

	"github.com/cloche-sandbox/cloche/internal/plan"
)

// record is a status record of the image, see plan.RecordKind.
type record struct {
	kind plan.RecordKind
	a, b uint32
}

// readRecord reads the next record; io.EOF when the image and pid 1 are gone.
func readRecord(f io.Reader) (record, error) {
	var buf [plan.RecordSize]byte
	for n := 0; n < len(buf); {
		m, err := f.Read(buf[n:])
		n += m
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return record{}, err
		}
	}
	le := binary.LittleEndian
	return record{plan.RecordKind(le.Uint32(buf[:])), le.Uint32(buf[4:]), le.Uint32(buf[8:])}, nil
}
