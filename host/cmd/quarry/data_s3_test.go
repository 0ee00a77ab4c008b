package main

import (
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/objstore/storetest"
)

// TestDataOnS3 fits, mines and exports a data folder that lies in a bucket: what is written is the same as of the folder on disk.
func TestDataOnS3(t *testing.T) {
	server := storetest.S3(t)
	w := demoFolder(t)
	const at = "s3://my-data/sets/demo"
	fit := func(data, out string) string { return "fit " + data + " -o ./" + out }
	mine := func(data, out string) string {
		return "mine " + data + " --engine native --projection ./p.safetensors -o ./" + out
	}
	export := func(data, out string) string { return "export ./disk.jsonl " + data + " -o ./" + out }
	w.fails(t, fit("s3:///demo", "x.safetensors"), exitUsage, "no bucket is named")
	w.fails(t, fit(at, "x.safetensors"), exitInput, "s3://my-data", "no such bucket")
	if err := server.CreateBucket(t.Context(), "my-data"); err != nil {
		t.Fatal(err)
	}
	w.fails(t, fit(at, "x.safetensors"), exitInput, at+": there are no objects below it", "hint: ")
	store, err := objstore.Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	data := below(minedDemo(t), "data")
	for name, content := range data {
		if err := store.Put(t.Context(), name, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	w.mustRun(t, mine("./data", "disk.jsonl"))
	w.mustRun(t, mine(at+"/", "s3.jsonl"))
	w.mustRun(t, fit("./data", "disk.safetensors"))
	w.mustRun(t, fit(at, "s3.safetensors"))
	w.mustRun(t, export("./data", "disk.triplets.jsonl"))
	w.mustRun(t, export(at, "s3.triplets.jsonl"))
	for _, file := range []string{".jsonl", ".manifest.json", ".safetensors", ".triplets.jsonl"} {
		if w.read(t, "s3"+file) != w.read(t, "disk"+file) {
			t.Errorf("s3%s differs from disk%s", file, file)
		}
	}
	const queries = "queries.jsonl"
	if err := store.Put(t.Context(), queries, strings.NewReader(data[queries]+"{")); err != nil {
		t.Fatal(err)
	}
	w.fails(t, fit(at, "x.safetensors"), exitInput, at+"/"+queries+", line ")
}
