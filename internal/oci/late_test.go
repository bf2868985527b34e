package oci_test

import _ "github.com/cloche-sandbox/cloche/internal/oci/late" // the test program is the whole runtime
