package policy

import "github.com/cloche-sandbox/cloche/internal/document"

// Error is a mistake in a policy file: its File and Line (from 1; 0: the file as
// a whole), the dotted Key, and Err, what is wrong and what to write instead.
type Error = document.Error
