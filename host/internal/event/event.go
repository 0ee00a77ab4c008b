// Package event names the moments at which a test may stop the process: before each change to the disk, and at each
// report of progress.
//
// Input: the name of what is about to happen. Nothing comes out: Hook is nil in every program of the project, and a
// call then costs one comparison. Only a test binary sets Hook, to kill or to interrupt its own process at the n-th
// event, which is the same place on every machine. A kill after some milliseconds would not be.
package event

// Hook is called with the name of each event, by several goroutines at once. Set it before the first event.
var Hook func(name string)

// At says that the event is about to happen.
func At(name string) {
	if Hook != nil {
		Hook(name)
	}
}
