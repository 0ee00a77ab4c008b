package objstore

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

func (s *s3Store) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		in := &s3.ListObjectsV2Input{Prefix: &prefix}
		if after != "" {
			in.StartAfter = &after
		}
		for page, err := range s.pages(ctx, prefix, in) {
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, o := range page.Contents {
				key, err := s.listed(prefix, o.Key, page)
				if err != nil {
					yield(Object{}, err)
					return
				}
				if isKey(key) && !yield(Object{key, aws.ToInt64(o.Size), unquoted(o.ETag), modified(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Folders has S3 put all keys of a folder together to one name.
func (s *s3Store) Folders(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield("", err)
			return
		}
		in := &s3.ListObjectsV2Input{Prefix: &prefix, Delimiter: aws.String("/")}
		if after != "" {
			in.StartAfter = aws.String(prefix + after + "0") // the first key that can follow those of after/
		}
		for page, err := range s.pages(ctx, prefix, in) {
			if err != nil {
				yield("", err)
				return
			}
			for _, folder := range page.CommonPrefixes {
				key, err := s.listed(prefix, folder.Prefix, page)
				if err != nil {
					yield("", err)
					return
				}
				name := strings.TrimSuffix(strings.TrimPrefix(key, prefix), "/")
				if isKey(name) && isAfter(name, after) && !yield(name, nil) {
					return
				}
			}
		}
	}
}

// pages gives the answers to a list, one for each 1,000 keys. It asks for keys that are escaped as in a URL: XML cannot
// hold some characters. An error ends it.
func (s *s3Store) pages(ctx context.Context, prefix string, in *s3.ListObjectsV2Input) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		in.Bucket, in.EncodingType = &s.bucket, types.EncodingTypeUrl
		for pages := s3.NewListObjectsV2Paginator(s.client, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, s.fail(ctx, "list", prefix, err))
				return
			}
			s.exists.Store(true)
			if !yield(page, nil) {
				return
			}
			if aws.ToBool(page.IsTruncated) && !pages.HasMorePages() {
				yield(nil, fmt.Errorf("list %s: the answer says that there are more objects, and not how to go on", s.name(prefix)))
				return
			}
		}
	}
}

// listed is a key, or a folder, of an answer to a list.
func (s *s3Store) listed(prefix string, name *string, page *s3.ListObjectsV2Output) (string, error) {
	if page.EncodingType != types.EncodingTypeUrl {
		return aws.ToString(name), nil
	}
	key, err := url.QueryUnescape(aws.ToString(name))
	if err != nil {
		return "", fmt.Errorf("list %s: the key %s of the answer: %w", s.name(prefix), excerpt.Quote(aws.ToString(name)), excerpt.Error(err))
	}
	return key, nil
}
