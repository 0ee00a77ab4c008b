//go:build !race

package datasettest

// underRace is true where the race detector is built in.
const underRace = false
