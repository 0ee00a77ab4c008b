package job

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/quarry-hn/quarry/host/option"
)

// describeShards cuts the documents into shards of sizes as equal as can be, and describes these in the manifest. A
// shard's bytes are made here for its fingerprint, and again when it is uploaded.
func (i *initial) describeShards(ctx context.Context) error {
	m, n, shards := i.manifest, i.plan.Documents(), i.options.Shards
	for s := range shards {
		first, end := s*n/shards, (s+1)*n/shards
		m.Shards = append(m.Shards, Shard{File: File{Name: fmt.Sprintf("%s%06d.safetensors", ShardsPrefix, s)}, First: int64(first), Rows: end - first})
	}
	number := 0
	for file, err := range i.shardFiles() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		sum := sha256.New()
		if m.Shards[number].Size, err = io.Copy(sum, file); err != nil {
			return err
		}
		m.Shards[number].SHA256 = hex.EncodeToString(sum.Sum(nil))
		number++
		i.report("cut shards", number)
	}
	return m.checkSizes()
}

// shardFiles gives the shards' files, in order. The bytes of a file are made as it is read.
func (i *initial) shardFiles() iter.Seq2[*io.SectionReader, error] {
	return func(yield func(*io.SectionReader, error) bool) {
		var err error
		next, stop := iter.Pull(i.folder.Documents.All(&err))
		defer stop()
		for _, s := range i.manifest.Shards {
			documents := make([]string, 0, s.Rows)
			for range s.Rows {
				id, ok := next()
				if !ok {
					yield(nil, errors.Join(err, fmt.Errorf("%s changed while it was read", i.folder.Documents.Name())))
					return
				}
				documents = append(documents, id)
			}
			if !yield(newShard(i.projection.Models, i.plan.Matrices(), int(s.First), s.Rows, documents)) {
				return
			}
		}
	}
}

// checkSizes fails where a shard is too large for S3.
func (m *Manifest) checkSizes() error {
	for _, s := range m.Shards {
		if s.Size > maxShard {
			return fmt.Errorf("%w: %d shards, of which %s has %d bytes; a shard has at most %d\n  hint: about %d shards would do",
				option.ErrOption, len(m.Shards), s.Name, s.Size, maxShard, int64(len(m.Shards))*s.Size/maxShard+1)
		}
	}
	return nil
}
