package early

// growStack returns with a stack of at least 64 KiB. A goroutine's begins with
// 8 KiB and doubles when it is full, each time with every frame of it copied
// and every pointer into it corrected by tables that have to be read from disk
// or the page cache first; at the very beginning there is nothing to copy.
func growStack()
