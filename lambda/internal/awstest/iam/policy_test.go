package iam

import (
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, policies ...string) *Policy {
	t.Helper()
	var texts [][]byte
	for _, p := range policies {
		texts = append(texts, []byte(`{"Version": "2012-10-17", "Statement": `+p+`}`))
	}
	policy, err := Parse(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// TestAllowed has rows after AWS's own description of how policies are evaluated: IAM User Guide, "Policy evaluation
// logic", and "IAM JSON policy elements" for Action, Resource and Condition.
func TestAllowed(t *testing.T) {
	t.Parallel()
	const get, object = "s3:GetObject", "arn:aws:s3:::b/jobs/j/x"
	allow := func(action, resource string) string {
		return `{"Sid": "A", "Effect": "Allow", "Action": "` + action + `", "Resource": "` + resource + `"}`
	}
	where := func(condition string) string {
		return `{"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": ` + condition + `}`
	}
	for _, row := range []struct {
		name, policy, action, resource string
		context                        map[string]string
		want                           string // the statement; behind a minus, one that denies; empty where none speaks of it
	}{
		{"by name", allow(get, object), get, object, nil, "A"},
		{"a list", `{"Sid": "A", "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": ["arn:aws:s3:::c", "arn:aws:s3:::b/jobs/j/x"]}`, get, object, nil, "A"},
		{"no Sid", `[` + allow("s3:PutObject", object) + `, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]`, get, object, nil, "2"},
		{"denied by default", allow(get, object), "s3:PutObject", object, nil, ""},
		{"an action's name has no case", allow("S3:getobject", object), get, object, nil, "A"},
		{"an action's wildcard", allow("s3:Get*", object), get, object, nil, "A"},
		{"an action's wildcard is anchored", allow("s3:Get*", object), "s3:PutObject", object, nil, ""},
		{"an action's ?", allow("s3:?etObject", object), get, object, nil, "A"},
		{"every action", allow("*", object), get, object, nil, "A"},
		{"a resource has case", allow(get, "arn:aws:s3:::B/jobs/j/x"), get, object, nil, ""},
		{"a star reaches over slashes", allow(get, "arn:aws:s3:::b/*"), get, object, nil, "A"},
		{"a star may be nothing", allow(get, "arn:aws:s3:::b/jobs/*"), get, "arn:aws:s3:::b/jobs/", nil, "A"},
		{"a star has to follow the rest", allow(get, "arn:aws:s3:::b/jobs/*"), get, "arn:aws:s3:::b/jobs", nil, ""},
		{"another bucket that begins so", allow(get, "arn:aws:s3:::b/*"), get, "arn:aws:s3:::bb/jobs/j/x", nil, ""},
		{"a bucket is not its objects", allow("s3:ListBucket", "arn:aws:s3:::b/*"), "s3:ListBucket", "arn:aws:s3:::b", nil, ""},
		{"stars within", allow(get, "arn:aws:s3:::b/jobs/*/x"), get, "arn:aws:s3:::b/jobs/a/x/c/x", nil, "A"},
		{"a star stays in its part", allow("sqs:*", "arn:aws:sqs:*:q"), "sqs:SendMessage", "arn:aws:sqs:r:1:q", nil, ""},
		{"stars for parts", allow("sqs:*", "arn:aws:sqs:*:*:q"), "sqs:SendMessage", "arn:aws:sqs:r:1:q", nil, "A"},
		{"the last part has colons", allow("logs:*", "arn:aws:logs:r:1:log-group:g:*"), "logs:PutLogEvents", "arn:aws:logs:r:1:log-group:g:log-stream:s", nil, "A"},
		{"not an ARN", allow(get, "arn:aws:s3:::*"), get, "b/x", nil, ""},
		{"the first part of an ARN", allow(get, "arn"), get, object, nil, ""},

		{"a denial wins", `[` + allow("*", "*") + `, {"Sid": "D", "Effect": "Deny", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}]`, get, object, nil, "-D"},
		{"a denial wins when first", `[{"Sid": "D", "Effect": "Deny", "Action": "*", "Resource": "*"}, ` + allow("*", "*") + `]`, get, object, nil, "-D"},
		{"a denial of others", `[` + allow("*", "*") + `, {"Sid": "D", "Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::c/*"}]`, get, object, nil, "A"},
		{"the first that allows", `[{"Sid": "Z", "Effect": "Allow", "Action": "*", "Resource": "*"}, ` + allow("*", "*") + `]`, get, object, nil, "Z"},

		{"a key that is not there", where(`{"StringLike": {"s3:prefix": "*"}}`), get, object, nil, ""},
		{"a key that is empty", where(`{"StringLike": {"s3:prefix": "*"}}`), get, object, map[string]string{"s3:prefix": ""}, "A"},
		{"StringLike", where(`{"StringLike": {"s3:prefix": "jobs/*"}}`), get, object, map[string]string{"s3:prefix": "jobs/j/parts/"}, "A"},
		{"StringLike, other", where(`{"StringLike": {"s3:prefix": "jobs/*"}}`), get, object, map[string]string{"s3:prefix": "other"}, ""},
		{"StringEquals has no wildcards", where(`{"StringEquals": {"s3:prefix": "jobs/*"}}`), get, object, map[string]string{"s3:prefix": "jobs/j"}, ""},
		{"StringEquals has case", where(`{"StringEquals": {"k": "a"}}`), get, object, map[string]string{"k": "A"}, ""},
		{"a key's name has no case", where(`{"StringEquals": {"AWS:SourceAccount": "1"}}`), get, object, map[string]string{"aws:sourceaccount": "1"}, "A"},
		{"one of several values", where(`{"StringEquals": {"k": ["a", "b"]}}`), get, object, map[string]string{"k": "b"}, "A"},
		{"every key", where(`{"StringEquals": {"k": "a", "l": "a"}}`), get, object, map[string]string{"k": "a", "l": "b"}, ""},
		{"every operator", where(`{"StringEquals": {"k": "a"}, "StringLike": {"k": "b*"}}`), get, object, map[string]string{"k": "a"}, ""},
		{"ArnLike", where(`{"ArnLike": {"aws:SourceArn": "arn:aws:s3:::b*"}}`), get, object, map[string]string{"aws:SourceArn": "arn:aws:s3:::bb"}, "A"},
		{"ArnLike by parts", where(`{"ArnLike": {"aws:SourceArn": "arn:*:b"}}`), get, object, map[string]string{"aws:SourceArn": "arn:aws:s3:::b"}, ""},
		{"ArnEquals", where(`{"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::b"}}`), get, object, map[string]string{"aws:SourceArn": "arn:aws:s3:::bb"}, ""},
		{"Bool", where(`{"Bool": {"aws:SecureTransport": "false"}}`), get, object, map[string]string{"aws:SecureTransport": "false"}, "A"},
		{"Bool, other", where(`{"Bool": {"aws:SecureTransport": "false"}}`), get, object, map[string]string{"aws:SecureTransport": "true"}, ""},

		{"everybody", `{"Sid": "A", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}`, get, object, nil, "A"},
		{"a service", `{"Sid": "A", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "*", "Resource": "*"}`, get, object, map[string]string{"aws:PrincipalServiceName": "s3.amazonaws.com"}, "A"},
		{"another service", `{"Sid": "A", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "*", "Resource": "*"}`, get, object, map[string]string{"aws:PrincipalServiceName": "sns.amazonaws.com"}, ""},
		{"no service", `{"Sid": "A", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "*", "Resource": "*"}`, get, object, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := parse(t, row.policy).Allowed(row.action, row.resource, row.context)
			if !ok && got != "" {
				got = "-" + got
			}
			if got != row.want {
				t.Errorf("%q, expected %q", got, row.want)
			}
		})
	}
}

func TestSeveralPolicies(t *testing.T) {
	p := parse(t, `{"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"}`, `{"Sid": "D", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}`)
	if s, ok := p.Allowed("s3:GetObject", "arn:aws:s3:::b/x", nil); ok || s != "D" {
		t.Errorf("%q %t, expected a denial by D", s, ok)
	}
	if s, ok := p.Allowed("sqs:SendMessage", "arn:aws:sqs:r:1:q", nil); !ok || s != "A" {
		t.Errorf("%q %t, expected A", s, ok)
	}
}

// TestParseRefuses has policies that Parse must not accept: to ignore a condition, for one, would make a policy wider.
func TestParseRefuses(t *testing.T) {
	for _, row := range []struct{ policy, says string }{
		{``, "EOF"},
		{`{"Statement": []}`, "version"},
		{`{"Version": "2008-10-17", "Statement": []}`, "version"},
		{`{"Version": "2012-10-17", "Statement": []}`, "no statement"},
		{`{"Version": "2012-10-17"}`, "statement 1"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "allow", "Action": "*", "Resource": "*"}}`, "effect"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Resource": "*"}}`, "no Action"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*"}}`, "no Resource"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "NotAction": "*", "Resource": "*"}}`, "NotAction"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "NotResource": "*"}}`, "NotResource"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "NotPrincipal": "*", "Action": "*", "Resource": "*"}}`, "NotPrincipal"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "1"}, "Action": "*", "Resource": "*"}}`, "principal"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}"}}`, "variable"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": {"Ref": "Q"}}}`, "cannot unmarshal"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"k": "${k}"}}}}`, "variable"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringNotLike": {"k": "v"}}}}`, "StringNotLike"},
		{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLikeIfExists": {"k": "v"}}}}`, "StringLikeIfExists"},
	} {
		if _, err := Parse([]byte(row.policy)); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, expected %q", row.policy, err, row.says)
		}
	}
}

func TestCallerRecords(t *testing.T) {
	c := NewCaller(parse(t, `[{"Sid": "A", "Effect": "Allow", "Action": ["s3:Get*", "s3:PutObject"], "Resource": "arn:aws:s3:::b/*"},
		{"Sid": "D", "Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::b/secret"}]`))
	if !c.Allowed("s3:GetObject", "arn:aws:s3:::b/x", nil) || c.Allowed("s3:PutObject", "arn:aws:s3:::b/secret", nil) {
		t.Fatal("not what the policy says")
	}
	if got := c.Used(); len(got) != 1 || got[Grant{"A", "s3:Get*"}] != 1 {
		t.Errorf("used: %v", got)
	}
	if got := c.Denied(); len(got) != 1 || got[Request{"s3:PutObject", "arn:aws:s3:::b/secret"}] != 1 {
		t.Errorf("denied: %v", got)
	}
	if got := c.Unused(); !slices.Equal(got, []Grant{{"A", "s3:PutObject"}}) {
		t.Errorf("unused: %v", got)
	}
}

// FuzzWildcard compares wildcard with the plain recursion that it replaces.
func FuzzWildcard(f *testing.F) {
	for _, s := range [][2]string{{"a*b?c", "aXXbYc"}, {"**", ""}, {"*a*a*", "aaa"}, {"?", ""}, {"a", "ab"}, {"*ab", "aab"}} {
		f.Add(s[0], s[1])
	}
	var plain func(p, s string) bool
	plain = func(p, s string) bool {
		switch {
		case p == "":
			return s == ""
		case p[0] == '*':
			return plain(p[1:], s) || s != "" && plain(p, s[1:])
		}
		return s != "" && (p[0] == '?' || p[0] == s[0]) && plain(p[1:], s[1:])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			return
		}
		if got, want := wildcard(pattern, s), plain(pattern, s); got != want {
			t.Errorf("%q of %q: %t, expected %t", pattern, s, got, want)
		}
	})
}
