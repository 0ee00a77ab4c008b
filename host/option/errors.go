package option

import (
	"errors"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
)

// Kinds of errors that several rooms return, wrapped. Problems of an input file are *dataset.Error.
var (
	// ErrOption is the kind of options that are not valid. All that is wrong with them is reported together.
	ErrOption = errors.New("invalid option")
	// ErrMemory is the kind of a budget that is too little; the message says how much would do.
	ErrMemory = errors.New("too little memory")
	// ErrExists is the kind of an output that is there already and may not be replaced.
	ErrExists = atomicfile.ErrExists
	// ErrWrite is the kind of an output that could not be written: the disk is full, the folder is missing or read-only.
	ErrWrite = atomicfile.ErrWrite
)
