// Package s3server starts an S3 server on this machine, versitygw, for tests and for trying things out.
//
// Input: a folder for its data; output: a server with its endpoint and keys. Tests of objstore, of jobs, and the
// demo of jobs call it. `make bin/versitygw` builds the program.
package s3server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Variable is the environment variable that names the program, instead of bin/versitygw of the module that the current
// folder is in.
const Variable = "QUARRY_VERSITYGW"

// ErrNoProgram is returned, wrapped, where Variable is not set and nothing is at its default.
var ErrNoProgram = errors.New("versitygw is not built: run `make bin/versitygw`, or name it in " + Variable)

const (
	startTimeout = 5 * time.Minute // the machine may be busy; a server that has not answered by then hangs
	startTries   = 5               // another process may take the free port before the server does
)

// Server is a running versitygw.
type Server struct {
	Endpoint  string // http://127.0.0.1:port
	Region    string
	AccessKey string
	SecretKey string

	process *exec.Cmd
	said    *bytes.Buffer
	gone    chan struct{} // closed once the process is
	stop    sync.Once
}

// Start runs a server until Stop, or until ctx ends. Its buckets are folders of dir, whose file system has to keep
// extended attributes.
func Start(ctx context.Context, dir string) (*Server, error) {
	program, err := find()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for range startTries {
		s := &Server{Region: "us-east-1", AccessKey: "quarry", SecretKey: rand.Text(), said: &bytes.Buffer{}, gone: make(chan struct{})}
		if err = s.start(ctx, program, dir); err == nil {
			return s, nil
		}
		s.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// find is the program's path.
func find() (string, error) {
	if path := os.Getenv(Variable); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("%s: %w", Variable, err)
		}
		return path, nil
	}
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", ErrNoProgram
		}
		folder = parent
	}
	path := filepath.Join(folder, "bin", "versitygw")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoProgram
	} else if err != nil {
		return "", err
	}
	return path, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *Server) start(ctx context.Context, program, dir string) error {
	address, err := freePort()
	if err != nil {
		return err
	}
	s.Endpoint = "http://" + address
	s.process = exec.CommandContext(ctx, program, "--port", address, "--region", s.Region, "--keep-alive", "--quiet",
		"posix", dir)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.AccessKey, "ROOT_SECRET_ACCESS_KEY="+s.SecretKey)
	s.process.Stdout, s.process.Stderr = s.said, s.said
	if err := s.process.Start(); err != nil {
		return err
	}
	go func() {
		_ = s.process.Wait() // Stop kills it, so that how it ended says nothing
		close(s.gone)
	}()
	return s.wait(ctx)
}

// wait waits until the server answers to its own keys: another server may have taken the port.
func (s *Server) wait(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := s.client()
	for {
		_, err := client.ListBuckets(within, &s3.ListBucketsInput{})
		if err == nil {
			return nil
		}
		select {
		case <-s.gone:
			return fmt.Errorf("versitygw ended: %s", bytes.TrimSpace(s.said.Bytes()))
		case <-within.Done():
			return fmt.Errorf("versitygw does not answer at %s: %w (%w)", s.Endpoint, context.Cause(within), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// client is a client of the server that tries nothing again.
func (s *Server) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, UsePathStyle: true, Region: s.Region, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// Stop ends the server, and waits until it has ended. Its data stays.
func (s *Server) Stop() {
	s.stop.Do(func() {
		if s.process == nil || s.process.Process == nil {
			return
		}
		_ = s.process.Process.Kill() // it may have ended
		<-s.gone
	})
}

// Environment is what a program needs to use the server, as NAME=value.
func (s *Server) Environment() []string {
	return []string{
		"AWS_ENDPOINT_URL_S3=" + s.Endpoint, "AWS_REGION=" + s.Region,
		"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
	}
}

// Setenv gives the server to a function such as os.Setenv or a test's, one variable at a time. Variables that would
// lead elsewhere are emptied.
func (s *Server) Setenv(set func(name, value string)) {
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_MAX_ATTEMPTS", "AWS_CA_BUNDLE"} {
		set(name, "")
	}
	for _, v := range s.Environment() {
		name, value, _ := strings.Cut(v, "=")
		set(name, value)
	}
}

// CreateBucket makes a bucket.
func (s *Server) CreateBucket(ctx context.Context, name string) error {
	if _, err := s.client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	return nil
}
