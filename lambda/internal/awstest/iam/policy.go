// Package iam emulates the evaluation of AWS's policies, so that tests can hold a program to the policy that it is
// deployed with.
//
// Input: JSON policies, as the deployment's template has them (LoadTemplate). Output: whether an action on a resource
// is allowed, and which statement says so. A Caller records what was used of a policy, and S3Gate stands before a local
// S3 server and refuses what is not allowed. Tests and the demo call this package.
//
// It leaves out NotAction, NotResource, NotPrincipal, principals other than a service or everybody, policy variables,
// and the operators of conditions other than StringEquals, StringLike, ArnEquals, ArnLike and Bool. Parse returns an
// error for a policy that has one of them: to ignore it could allow more than AWS does.
package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Policy holds the statements of one or more policies, evaluated together: what a statement denies is denied, whatever
// others allow, and what no statement allows is denied too. IAM joins the policies of a role so, and, within an
// account, those of a role and of a bucket or queue.
type Policy struct {
	statements []statement
}

// Grant is an action that a statement allows. The action may have wildcards.
type Grant struct {
	Statement, Action string
}

type statement struct {
	name       string
	deny       bool
	service    string // the only principal; empty for everybody
	actions    []string
	resources  []string
	conditions []condition
}

type condition struct {
	operator, key string
	values        []string
}

// Parse reads policies. A statement without a Sid is named by its place, from 1.
func Parse(policies ...[]byte) (*Policy, error) {
	p := &Policy{}
	for i, text := range policies {
		var document struct {
			Version   string
			ID        string `json:"Id"`
			Statement json.RawMessage
		}
		if err := strict(text, &document); err != nil {
			return nil, fmt.Errorf("policy %d: %w", i+1, err)
		}
		// A policy without this version is in the language of 2008.
		if document.Version != "2012-10-17" {
			return nil, fmt.Errorf("policy %d: version %q, expected 2012-10-17", i+1, document.Version)
		}
		var raw []json.RawMessage
		if json.Unmarshal(document.Statement, &raw) != nil {
			raw = []json.RawMessage{document.Statement}
		}
		if len(raw) == 0 {
			return nil, fmt.Errorf("policy %d has no statement", i+1)
		}
		for j, r := range raw {
			s, err := parseStatement(r)
			if err != nil {
				return nil, fmt.Errorf("policy %d, statement %d: %w", i+1, j+1, err)
			}
			if s.name == "" {
				s.name = fmt.Sprint(len(p.statements) + 1)
			}
			p.statements = append(p.statements, s)
		}
	}
	return p, nil
}

func parseStatement(text []byte) (statement, error) {
	var raw struct {
		Sid              string
		Effect           string
		Principal        json.RawMessage
		Action, Resource list
		Condition        map[string]map[string]list
	}
	if err := strict(text, &raw); err != nil {
		return statement{}, err
	}
	s := statement{name: raw.Sid, deny: raw.Effect == "Deny", actions: raw.Action, resources: raw.Resource}
	if raw.Effect != "Allow" && raw.Effect != "Deny" {
		return s, fmt.Errorf("effect %q, expected Allow or Deny", raw.Effect)
	}
	if len(s.actions) == 0 || len(s.resources) == 0 {
		return s, errors.New("no Action or no Resource")
	}
	for _, r := range s.resources {
		if strings.Contains(r, "${") {
			return s, fmt.Errorf("resource %q has a variable, which is not known here", r)
		}
	}
	if raw.Principal != nil {
		var err error
		if s.service, err = parsePrincipal(raw.Principal); err != nil {
			return s, err
		}
	}
	for operator, keys := range raw.Condition {
		if _, ok := operators[operator]; !ok {
			return s, fmt.Errorf("operator %q of a condition is not known here", operator)
		}
		for key, values := range keys {
			for _, v := range values {
				if strings.Contains(v, "${") {
					return s, fmt.Errorf("value %q of %s has a variable, which is not known here", v, key)
				}
			}
			s.conditions = append(s.conditions, condition{operator, key, values})
		}
	}
	return s, nil
}

// parsePrincipal returns the name of a service, or nothing for everybody.
func parsePrincipal(text []byte) (service string, err error) {
	var everybody string
	if json.Unmarshal(text, &everybody) == nil && everybody == "*" {
		return "", nil
	}
	var of struct{ Service string }
	if err := strict(text, &of); err != nil || of.Service == "" {
		return "", fmt.Errorf("principal %s is not known here; expected a service or \"*\"", text)
	}
	return of.Service, nil
}

// strict is json.Unmarshal, and fails where the text has a field that v does not have.
func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// list is in JSON a string, or a list of strings.
type list []string

func (l *list) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// Allowed returns whether an action (such as s3:GetObject) on a resource's ARN is allowed, for a request with these
// condition keys (such as s3:prefix). It also returns the statement that allows the action, or denies it, or nothing
// where no statement applies. A statement whose principal is a service applies where the key aws:PrincipalServiceName
// has the service's name.
func (p *Policy) Allowed(action, resource string, context map[string]string) (statement string, ok bool) {
	g, ok := p.find(action, resource, context)
	return g.Statement, ok
}

// find is Allowed, and returns the statement's action as the policy writes it.
func (p *Policy) find(action, resource string, context map[string]string) (found Grant, ok bool) {
	keys := make(map[string]string, len(context))
	for k, v := range context {
		keys[strings.ToLower(k)] = v
	}
	for _, s := range p.statements {
		pattern, applies := s.applies(action, resource, keys)
		switch {
		case !applies:
		case s.deny:
			return Grant{s.name, pattern}, false
		case !ok:
			found, ok = Grant{s.name, pattern}, true
		}
	}
	return found, ok
}

// Grants lists what the policy allows, in the order of its text.
func (p *Policy) Grants() []Grant {
	var grants []Grant
	for _, s := range p.statements {
		if s.deny {
			continue
		}
		for _, a := range s.actions {
			grants = append(grants, Grant{s.name, a})
		}
	}
	return grants
}

// applies returns the statement's action that matches, where the statement is about this action on this resource, and
// its conditions hold.
func (s statement) applies(action, resource string, keys map[string]string) (pattern string, ok bool) {
	if s.service != "" && keys["aws:principalservicename"] != s.service {
		return "", false
	}
	pattern, ok = firstMatch(s.actions, func(p string) bool { return wildcard(strings.ToLower(p), strings.ToLower(action)) })
	if !ok {
		return "", false
	}
	if _, ok := firstMatch(s.resources, func(p string) bool { return arn(p, resource) }); !ok {
		return "", false
	}
	for _, c := range s.conditions {
		// Where the request does not have the key, these operators do not hold.
		value, has := keys[strings.ToLower(c.key)]
		if !has {
			return "", false
		}
		if _, ok := firstMatch(c.values, func(want string) bool { return operators[c.operator](want, value) }); !ok {
			return "", false
		}
	}
	return pattern, true
}

func firstMatch(of []string, match func(string) bool) (string, bool) {
	for _, s := range of {
		if match(s) {
			return s, true
		}
	}
	return "", false
}

var operators = map[string]func(want, value string) bool{
	"StringEquals": func(want, value string) bool { return want == value },
	"StringLike":   wildcard,
	"ArnEquals":    arn, // AWS documents that it is the same as ArnLike
	"ArnLike":      arn,
	"Bool":         strings.EqualFold,
}

// arn matches an ARN by its six parts. Each part may have wildcards, which do not reach into the next part. The pattern
// "*" matches everything.
func arn(pattern, value string) bool {
	if pattern == "*" {
		return true
	}
	p, v := strings.SplitN(pattern, ":", 6), strings.SplitN(value, ":", 6)
	if len(p) != 6 || len(v) != 6 {
		return false
	}
	for i := range p {
		if !wildcard(p[i], v[i]) {
			return false
		}
	}
	return true
}

// wildcard matches the whole of s. In the pattern, * stands for any number of bytes, also for none and for slashes, and
// ? stands for one.
func wildcard(pattern, s string) bool {
	// Where the rest of s does not match, the last star takes one more byte. Earlier stars need no second try.
	star, from := -1, 0
	p := 0
	for i := 0; i < len(s); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
