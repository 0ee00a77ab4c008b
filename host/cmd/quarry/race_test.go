//go:build race

package main

// underRace is true where the race detector is on. Bounds on memory are not checked then: its shadow memory is not the
// command's.
const underRace = true
