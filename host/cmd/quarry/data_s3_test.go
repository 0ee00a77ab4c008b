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

// TestInspectOnS3 inspects files and folders that lie in a bucket: what it says is the same as of those on disk, but for where they lie.
func TestInspectOnS3(t *testing.T) {
	server := storetest.S3(t)
	w := workFolder(t, sample())
	w.mustRun(t, mineLine)
	w.write(t, files{"data/vectors/a/parts/part-9.npy": f4(planar(queryDegrees)...), "data/vectors/a/parts/part-10.npy": f4(planar(documentDegrees)...)})
	const bucket = "s3://my-bucket"
	w.fails(t, "inspect s3:///x", exitUsage, "no bucket is named")
	w.fails(t, "inspect "+bucket+"/x", exitInput, bucket, "no such bucket")
	if err := server.CreateBucket(t.Context(), "my-bucket"); err != nil {
		t.Fatal(err)
	}
	w.fails(t, "inspect "+bucket, exitInput, bucket+": there is no such object", "hint: ")
	store, err := objstore.Open(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		if err := store.Put(t.Context(), name, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range w.tree(t) {
		put(name, content)
		put(strings.TrimPrefix(name, "data/"), content) // the bucket itself is a data folder
	}
	for _, name := range []string{"data", "data/", "data/vectors/a/docs.npy", "data/vectors/a/parts", "out/n.jsonl", "out/n.manifest.json", "out/projection.safetensors"} {
		if got, want := w.mustRun(t, "inspect "+bucket+"/"+name), w.mustRun(t, "inspect ./"+name); strings.ReplaceAll(got, bucket+"/", "") != want {
			t.Errorf("%s:\n%s\nexpected\n%s", name, got, want)
		}
	}
	if got, want := w.mustRun(t, "inspect "+bucket), w.mustRun(t, "inspect ./data"); strings.ReplaceAll(got, bucket+"/", "data/") != want {
		t.Errorf("%s:\n%s\nexpected\n%s", bucket, got, want)
	}
	put("out/n.jsonl", strings.Replace(w.read(t, "out/n.jsonl"), `"d_q_pd":`, `"d_q_pd":1`, 1))
	o := w.quarry(t.Context(), "inspect "+bucket+"/out/n.jsonl")
	if says := bucket + "/out/n.jsonl: not sound: n.manifest.json names other negatives"; o.code != exitInput || !strings.Contains(o.stderr, says) {
		t.Errorf("exit %d, %q; expected %d and %q", o.code, o.stderr, exitInput, says)
	}
	put("data/vectors/a/docs.npy", w.read(t, "data/vectors/a/docs.npy")[:150])
	w.fails(t, "inspect "+bucket+"/data/vectors/a/docs.npy", exitInput, bucket+"/data/vectors/a/docs.npy, row 2 (the first is 0): cut off")
	if o := w.quarry(t.Context(), "inspect "+bucket+"/data"); o.code != exitInput || !strings.HasSuffix(o.stdout, " no\n") || !strings.Contains(o.stderr, ": not sound: "+bucket+"/data/vectors/a/docs.npy, row 2 ") {
		t.Errorf("exit %d, %q, %q", o.code, o.stdout, o.stderr)
	}
	w.fails(t, "inspect "+bucket+"/out/none", exitInput, bucket+"/out/none: there is no such object", "hint: ")
	w.fails(t, "inspect "+bucket+"/out/n.none", exitInput, bucket+"/out/n.none: file does not exist") // the names of others begin alike
}
