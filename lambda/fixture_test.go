package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/quarry-hn/quarry/host/dataset/demo"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/stack"
)

const (
	projectionKey = "projection.safetensors"
	pairsKey      = "pairs/00000.safetensors"
	resultKey     = "negatives.manifest.json"
	negativesKey  = "negatives.jsonl"
	demoShards    = 4
)

var native = engine.Native(engine.Options{})

func shardKey(i int) string { return fmt.Sprintf("%s%06d.safetensors", job.ShardsPrefix, i) }

// shardKeys returns the keys of the shards of the demo's job.
func shardKeys() (keys []string) {
	for i := range demoShards {
		keys = append(keys, shardKey(i))
	}
	return keys
}

// sample is the demo as the uploads of a job, and the result of mining it on one machine.
type sample struct {
	objects             map[string][]byte // uploads, by key below the job's
	negatives, manifest []byte
	private             map[string]bool // ids of documents and queries
	texts               []string        // beginnings of their texts
}

var demoJob = sync.OnceValues(func() (*sample, error) {
	ctx, s := context.Background(), &sample{objects: map[string][]byte{}, private: map[string]bool{}}
	folder, err := demo.Open()
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	p, err := projection.Fit(ctx, folder, projection.FitOptions{})
	if err != nil {
		return nil, err
	}
	o := mining.Options{Compute: mining.Compute{Engine: native}}
	r, err := mining.Mine(ctx, folder, p, o)
	if err != nil {
		return nil, err
	}
	var negatives, manifest bytes.Buffer
	at := &job.Place{Name: "demo", In: objstore.NewMemory(), Out: objstore.NewMemory()}
	_, err = job.Init(ctx, at, folder, p, job.InitOptions{Mine: o, Shards: demoShards})
	if err := errors.Join(err, r.WriteNegatives(&negatives), r.Manifest.Write(&manifest)); err != nil {
		return nil, err
	}
	s.negatives, s.manifest = negatives.Bytes(), manifest.Bytes()
	for object, err := range at.In.List(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		if s.objects[object.Key], _, err = objstore.ReadAll(ctx, at.In, object.Key, 1<<30); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"corpus.jsonl", "queries.jsonl"} {
		b, err := demo.FS.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(b) {
			var l struct {
				ID   string `json:"_id"`
				Text string `json:"text"`
			}
			if err := json.Unmarshal(line, &l); err != nil {
				return nil, err
			}
			s.private[l.ID] = true
			s.texts = append(s.texts, l.Text[:20])
		}
	}
	return s, nil
})

// watched is a store that counts reads and records writes. Before an operation it calls before, which may wait, or fail
// the operation.
type watched struct {
	objstore.Store
	url    string
	mu     sync.Mutex
	gets   map[string]int // by key
	puts   []string       // keys
	before func(op, key string) error
}

func watch(url string, s objstore.Store) *watched {
	return &watched{Store: s, url: url, gets: map[string]int{}}
}

func (s *watched) URL() string { return s.url }

func (s *watched) note(op, key string) error {
	s.mu.Lock()
	switch op {
	case "get":
		s.gets[key]++
	case "put":
		s.puts = append(s.puts, key)
	}
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(op, key)
}

func (s *watched) Head(ctx context.Context, key string) (objstore.Object, error) {
	if err := s.note("head", key); err != nil {
		return objstore.Object{}, err
	}
	return s.Store.Head(ctx, key)
}

func (s *watched) Get(ctx context.Context, key string, from int64, etag string) (io.ReadCloser, objstore.Object, error) {
	if err := s.note("get", key); err != nil {
		return nil, objstore.Object{}, err
	}
	return s.Store.Get(ctx, key, from, etag)
}

func (s *watched) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	if err := s.note("put", key); err != nil {
		return err
	}
	return s.Store.Put(ctx, key, body)
}

func (s *watched) PutNew(ctx context.Context, key string, body io.ReadSeeker) error {
	if err := s.note("put", key); err != nil {
		return err
	}
	return s.Store.PutNew(ctx, key, body)
}

func (s *watched) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	if err := s.note("list", prefix); err != nil {
		return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, err) }
	}
	return s.Store.List(ctx, prefix, after)
}

func (s *watched) Folders(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	if err := s.note("list", prefix); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return s.Store.Folders(ctx, prefix, after)
}

// fakeQueue records what it is sent, or fails.
type fakeQueue struct {
	bodies []string
	err    error
}

func (q *fakeQueue) Send(_ context.Context, bodies []string) error {
	if q.err == nil {
		q.bodies = append(q.bodies, bodies...)
	}
	return q.err
}

// world is a handler with a store for jobs, a store for results, and a log.
type world struct {
	t       *testing.T
	sample  *sample
	in, out *watched
	log     bytes.Buffer
	handler *Handler
	calls   int
}

// newWorld returns a world. At the end of the test it checks that the log has nothing that is private.
func newWorld(t *testing.T, q Queue) *world {
	t.Helper()
	s, err := demoJob()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, sample: s, in: watch("s3://in", objstore.NewMemory()), out: watch("s3://results", objstore.NewMemory())}
	w.handler = New(Config{
		Inputs: "s3://in", Results: "s3://results", Queue: q, Dir: t.TempDir(), Run: mining.Compute{Engine: native}, Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
		open: func(_ context.Context, url string) (objstore.Store, error) {
			switch url {
			case "s3://in":
				return w.in, nil
			case "s3://results":
				return w.out, nil
			}
			return nil, fmt.Errorf("open %s: %w", url, objstore.ErrNoBucket)
		},
	})
	t.Cleanup(func() {
		if err := w.handler.Close(context.Background()); err != nil {
			t.Error(err)
		}
		w.checkPrivate()
	})
	return w
}

var word = regexp.MustCompile(`[A-Za-z0-9]+`)

// checkPrivate fails where the log has an id, a text or a value of a vector. Only a whole word is an id, not some
// digits of a fingerprint.
func (w *world) checkPrivate() {
	for _, found := range word.FindAllString(w.log.String(), -1) {
		if w.sample.private[found] {
			w.t.Errorf("the log has the id %s", found)
		}
	}
	for _, text := range w.sample.texts {
		if strings.Contains(w.log.String(), text) {
			w.t.Errorf("the log has the text %q", text)
		}
	}
	for _, line := range w.lines() {
		for key, value := range line {
			switch v := value.(type) {
			case string, bool:
			case float64:
				if v != math.Trunc(v) && !strings.Contains(key, "seconds") {
					w.t.Errorf("the log has %s %v", key, v)
				}
			default:
				w.t.Errorf("the log has %s %v", key, v)
			}
		}
	}
}

// lines returns the lines of the log so far.
func (w *world) lines() (lines []map[string]any) {
	w.t.Helper()
	for line := range bytes.Lines(w.log.Bytes()) {
		var l map[string]any
		if err := json.Unmarshal(line, &l); err != nil {
			w.t.Fatalf("not JSON: %s", line)
		}
		lines = append(lines, l)
	}
	return lines
}

// last returns the last line of the log.
func (w *world) last() map[string]any {
	w.t.Helper()
	lines := w.lines()
	if len(lines) == 0 {
		w.t.Fatal("nothing was logged")
	}
	return lines[len(lines)-1]
}

// expect fails where the last line of the log does not have these values.
func (w *world) expect(want map[string]any) {
	w.t.Helper()
	w.compare(w.last(), want)
}

// expectOf fails where the last line of a job does not have these values.
func (w *world) expectOf(name string, want map[string]any) {
	w.t.Helper()
	for _, line := range slices.Backward(w.lines()) {
		if line["job"] == name {
			w.compare(line, want)
			return
		}
	}
	w.t.Errorf("no line is of job %q", name)
}

func (w *world) compare(got, want map[string]any) {
	w.t.Helper()
	for key, value := range want {
		if got[key] != value {
			w.t.Errorf("%s is %v; expected %v, in %v", key, got[key], value, got)
		}
	}
}

// upload puts objects of a job, all of them where no keys are given. The handler is not told of it.
func (w *world) upload(name string, keys ...string) {
	w.t.Helper()
	if len(keys) == 0 {
		keys = slices.Sorted(maps.Keys(w.sample.objects))
	}
	for _, key := range keys {
		w.put(name, key, w.sample.objects[key])
	}
}

func (w *world) put(name, key string, b []byte) {
	w.t.Helper()
	if err := w.in.Store.Put(w.t.Context(), job.Folder+name+"/"+key, bytes.NewReader(b)); err != nil {
		w.t.Fatal(err)
	}
}

// told returns the event of the upload of one object of a job.
func told(name, key string) string { return s3Event(job.Folder + name + "/" + key) }

// s3Event returns S3's event of the uploads of these keys.
func s3Event(keys ...string) string {
	var objects []stack.Object
	for _, key := range keys {
		objects = append(objects, stack.Object{Bucket: "in", Key: key, Size: 1, ETag: "0"})
	}
	return stack.S3Event(objects...)
}

// toldAll returns the events of the uploads of a job's shards.
func toldAll(name string) (bodies []string) {
	for _, key := range shardKeys() {
		bodies = append(bodies, told(name, key))
	}
	return bodies
}

// context returns the context of another invocation.
func (w *world) context() context.Context {
	w.calls++
	return lambdacontext.NewContext(w.t.Context(), &lambdacontext.LambdaContext{AwsRequestID: fmt.Sprint("request-", w.calls)})
}

// direct invokes the handler with an event, as S3 or the schedule does.
func (w *world) direct(payload string) error {
	_, err := w.handler.Invoke(w.context(), []byte(payload))
	return err
}

// deliver invokes the handler with a batch of messages, numbered from 0, and returns the numbers of those that must
// come again.
func (w *world) deliver(bodies ...string) []string {
	w.t.Helper()
	return w.deliverIn(w.context(), bodies...)
}

func (w *world) deliverIn(ctx context.Context, bodies ...string) (again []string) {
	w.t.Helper()
	q, err := stack.NewQueue(stack.QueueConfig{})
	if err != nil {
		w.t.Fatal(err)
	}
	var batch []stack.Message
	for i, body := range bodies {
		batch = append(batch, stack.Message{ID: fmt.Sprint(i), Receipt: "receipt", Body: body, Receives: 1})
	}
	answer, err := w.handler.Invoke(ctx, stack.SQSEvent(q, batch))
	if err != nil {
		w.t.Fatal(err)
	}
	var response events.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		w.t.Fatal(err)
	}
	if len(response.BatchItemFailures) == 0 && string(answer) != `{"batchItemFailures":[]}` {
		w.t.Errorf("the answer is %s", answer)
	}
	for _, f := range response.BatchItemFailures {
		again = append(again, f.ItemIdentifier)
	}
	return again
}

// acknowledged delivers messages, and fails where one must come again.
func (w *world) acknowledged(bodies ...string) {
	w.t.Helper()
	if again := w.deliver(bodies...); len(again) > 0 {
		w.t.Errorf("messages %v come again; the log is\n%s", again, w.log.String())
	}
}

// named is a store under another URL.
type named struct {
	objstore.Store
	url string
}

func (n named) URL() string { return n.url }

// place is where a job is, for who is not the function.
func (w *world) place(name string) *job.Place {
	return job.Within(named{w.in.Store, w.in.url}, named{w.out.Store, w.out.url}, name)
}

// finished fails where a job does not have the result of one machine.
func (w *world) finished(name string) {
	w.t.Helper()
	var negatives, manifest bytes.Buffer
	m, err := job.Fetch(w.t.Context(), w.place(name), &negatives)
	if err != nil {
		w.t.Fatalf("job %q: %v; the log is\n%s", name, err, w.log.String())
	}
	if err := m.Write(&manifest); err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(negatives.Bytes(), w.sample.negatives) || !bytes.Equal(manifest.Bytes(), w.sample.manifest) {
		w.t.Errorf("job %q: the result differs from one machine's", name)
	}
}

// unfinished fails where a job has a result.
func (w *world) unfinished(name string) {
	w.t.Helper()
	if _, err := job.Fetch(w.t.Context(), w.place(name), io.Discard); !errors.Is(err, job.ErrUnfinished) {
		w.t.Errorf("job %q: %v", name, err)
	}
}

// partsOf returns the numbers of the shards that have parts, each with a comma behind it. Shard 0 is an empty number.
func (w *world) partsOf(name string) (shards string) {
	w.t.Helper()
	for object, err := range w.out.List(w.t.Context(), job.Folder+name+"/parts/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		shards += strings.TrimLeft(strings.Split(object.Key[strings.LastIndex(object.Key, "/")+1:], "-")[1], "0") + ","
	}
	return shards
}

// mended ends what breaks and slows began, and empties the records of the store.
func (s *watched) mended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.puts, s.gets = nil, nil, map[string]int{}
}

// breaks makes an operation fail on keys that contain part.
func (s *watched) breaks(op, part string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = func(o, key string) error {
		if o == op && strings.Contains(key, part) {
			return err
		}
		return nil
	}
}
