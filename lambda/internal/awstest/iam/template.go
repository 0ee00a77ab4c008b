package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Template has the policies and names of the deployment's template, as `make bin/template.json` writes it.
type Template struct {
	Role    *Policy // of the function
	Input   *Policy // of the input bucket: what it denies to everybody
	Results *Policy // of the results bucket: what it denies to everybody
	Queue   *Policy // of the queue: what it allows to S3

	InputBucket, ResultsBucket       string
	QueueURL, QueueARN               string
	DeadLetterQueueARN, LogGroupName string
	Environment                      map[string]string // of the function
	MemoryMiB, LeastMemoryMiB        int               // of the function: by default, and the least that the template takes
}

// TemplateFile returns the path of bin/template.json in the module that the working directory is in.
func TemplateFile() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bin", "template.json"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in this directory or above")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// LoadTemplate reads what `make bin/template.json` wrote. Where there is no such file the error wraps fs.ErrNotExist
// and says how to make it.
func LoadTemplate(path string) (*Template, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; run make bin/template.json, which needs Python", err)
	}
	if err != nil {
		return nil, err
	}
	var t struct {
		Resources map[string]struct{ Properties json.RawMessage }
		Outputs   map[string]string
		Bounds    map[string][2]int // of numeric parameters
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Template{
		InputBucket:        t.Outputs["InputBucket"],
		ResultsBucket:      t.Outputs["ResultsBucket"],
		QueueURL:           t.Outputs["QueueUrl"],
		QueueARN:           t.Outputs["QueueArn"],
		DeadLetterQueueARN: t.Outputs["DeadLetterQueueArn"],
		LogGroupName:       t.Outputs["LogGroup"],
	}
	var worker struct {
		Environment struct{ Variables map[string]string }
		MemorySize  int `json:",string"`
	}
	if err := json.Unmarshal(t.Resources["Worker"].Properties, &worker); err != nil {
		return nil, fmt.Errorf("%s: Worker: %w", path, err)
	}
	s.Environment, s.MemoryMiB, s.LeastMemoryMiB = worker.Environment.Variables, worker.MemorySize, t.Bounds["MemorySize"][0]
	for name, to := range map[string]**Policy{
		"WorkerRole": &s.Role, "InputBucketPolicy": &s.Input, "ResultsBucketPolicy": &s.Results, "QueuePolicy": &s.Queue,
	} {
		if *to, err = policiesOf(t.Resources[name].Properties); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	return s, nil
}

// policiesOf returns the policies of a role, or the policy of a bucket or a queue, by its properties in the template.
func policiesOf(properties []byte) (*Policy, error) {
	var p struct {
		ManagedPolicyArns []string
		Policies          []struct{ PolicyDocument json.RawMessage }
		PolicyDocument    json.RawMessage
	}
	if err := json.Unmarshal(properties, &p); err != nil {
		return nil, err
	}
	if len(p.ManagedPolicyArns) > 0 {
		return nil, fmt.Errorf("managed policies %v: what they allow is not known here", p.ManagedPolicyArns)
	}
	var documents [][]byte
	for _, of := range p.Policies {
		documents = append(documents, of.PolicyDocument)
	}
	if p.PolicyDocument != nil {
		documents = append(documents, p.PolicyDocument)
	}
	if len(documents) == 0 {
		return nil, errors.New("no policy")
	}
	return Parse(documents...)
}
