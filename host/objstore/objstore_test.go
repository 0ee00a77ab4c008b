package objstore_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) objstore.Store { return objstore.NewMemory() })
}

func TestFile(t *testing.T) {
	storetest.Run(t, func(t *testing.T) objstore.Store {
		t.Parallel() // they wait for the disk
		return openFile(t, filepath.Join(t.TempDir(), "not/there/yet"))
	})
}

func TestS3(t *testing.T) {
	server := storetest.S3(t)
	var n atomic.Int32
	storetest.Run(t, func(t *testing.T) objstore.Store {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		if err := server.CreateBucket(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
		s, err := objstore.OpenS3(t.Context(), bucket, "", objstore.S3Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func openFile(t *testing.T, dir string) objstore.Store {
	t.Helper()
	s, err := objstore.OpenFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
