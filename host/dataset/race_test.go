//go:build race

package dataset

// underRace is true where the race detector is built in, which allocates memory of its own.
const underRace = true
