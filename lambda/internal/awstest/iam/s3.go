package iam

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
)

// S3Gate returns a proxy before an S3 server at that address (scheme and host). It lets requests in path style through
// that the caller is allowed, and answers the others as S3 does. Signatures stay valid: host, path and query go on as
// the client signed them.
//
// S3 tells that an object does not exist (404) only to callers who may list the bucket, and answers 403 to others. AWS
// documents that, and leaves open what holds where the permission to list has a condition on s3:prefix. Here, as in Ceph,
// which found S3 to do so (github.com/ceph/ceph/pull/68577), the condition is asked with the key as the prefix.
func S3Gate(caller *Caller, server *url.URL) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.DisableCompression = true // otherwise it would ask for compression, which the client did not, and unpack the answer
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = server.Scheme, server.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // otherwise it drops what it cannot parse
		},
		ModifyResponse: func(r *http.Response) error {
			hideMissing(caller.policy, r)
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, a := range accesses(r) {
			if !caller.Allowed(a.Action, a.Resource, a.context) {
				forbid(w, r, fmt.Sprintf("not authorized to perform: %s on resource: %q", a.Action, a.Resource))
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})
}

// hideMissing turns the answer 404 for an object into 403, where the policy does not allow to list its key.
func hideMissing(policy *Policy, r *http.Response) {
	bucket, key := split(r.Request.URL.Path)
	if r.StatusCode != http.StatusNotFound || key == "" || (r.Request.Method != http.MethodGet && r.Request.Method != http.MethodHead) {
		return
	}
	// The caller is not asked, for it would record a use, and the program did not list.
	if _, ok := policy.Allowed("s3:ListBucket", "arn:aws:s3:::"+bucket, map[string]string{"s3:prefix": key}); ok {
		return
	}
	_ = r.Body.Close()
	body := ""
	if r.Request.Method == http.MethodGet {
		body = accessDenied("Access Denied")
	}
	r.StatusCode, r.Status = http.StatusForbidden, "403 Forbidden"
	r.Header.Set("Content-Type", "application/xml")
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	r.ContentLength = int64(len(body))
	r.Body = io.NopCloser(strings.NewReader(body))
}

// forbid answers that a request is denied.
func forbid(w http.ResponseWriter, r *http.Request, message string) {
	// A client that still sends its body would see a broken connection, and not the answer.
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, accessDenied(message)) // not sent for HEAD
}

// accessDenied is the body of a denial.
func accessDenied(message string) string {
	text, err := xml.Marshal(struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}{Code: "AccessDenied", Message: message})
	if err != nil {
		panic(err) // strings only
	}
	return xml.Header + string(text)
}

func split(path string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return bucket, key
}

// access is one of the permissions that a request needs.
type access struct {
	Request
	context map[string]string
}

// accesses returns all permissions that a request needs. A request of a kind that is not known here needs an action
// that no policy has, such as s3:GET?acl.
func accesses(r *http.Request) []access {
	bucket, key := split(r.URL.Path)
	query := r.URL.Query()
	parameters := parametersOfObject
	if key == "" {
		parameters = parametersOfBucket
	}
	var sub []string // such as acl: the part of the object or the bucket that the request is about
	for name := range query {
		if !slices.Contains(parameters, name) && !strings.HasPrefix(name, "response-") && !strings.HasPrefix(name, "X-Amz-") {
			sub = append(sub, name)
		}
	}
	slices.Sort(sub)
	call := r.Method
	if len(sub) > 0 {
		call += "?" + strings.Join(sub, "&")
	}
	arn := "arn:aws:s3:::" + bucket
	if bucket == "" {
		return []access{{Request: Request{"s3:ListAllMyBuckets", "arn:aws:s3:::*"}}}
	}
	if key == "" {
		return []access{ofBucket(call, arn, query)}
	}
	return ofObject(call, arn+"/"+key, r.Header)
}

var (
	parametersOfObject = []string{"partNumber", "x-id"}
	parametersOfBucket = []string{"continuation-token", "delimiter", "encoding-type", "fetch-owner", "list-type", "marker", "max-keys", "prefix", "start-after", "x-id"}
)

func ofBucket(call, arn string, query url.Values) access {
	switch call {
	case "GET", "HEAD":
		context := map[string]string{}
		for _, name := range []string{"prefix", "delimiter", "max-keys"} {
			if query.Has(name) {
				context["s3:"+name] = query.Get(name)
			}
		}
		return access{Request{"s3:ListBucket", arn}, context}
	case "POST?delete":
		return access{Request: Request{"s3:DeleteObject", arn + "/*"}}
	case "PUT":
		return access{Request: Request{"s3:CreateBucket", arn}}
	case "DELETE":
		return access{Request: Request{"s3:DeleteBucket", arn}}
	}
	return access{Request: Request{"s3:" + call, arn}}
}

func ofObject(call, arn string, header http.Header) []access {
	action, ok := map[string]string{
		"GET":             "s3:GetObject",
		"HEAD":            "s3:GetObject",
		"PUT":             "s3:PutObject",
		"POST?uploads":    "s3:PutObject", // this and the next two begin an upload in pieces, put a piece, and end it
		"PUT?uploadId":    "s3:PutObject",
		"POST?uploadId":   "s3:PutObject",
		"DELETE?uploadId": "s3:AbortMultipartUpload",
		"GET?uploadId":    "s3:ListMultipartUploadParts",
		"DELETE":          "s3:DeleteObject",
	}[call]
	if !ok {
		return []access{{Request: Request{"s3:" + call, arn}}}
	}
	needs := []access{{Request: Request{action, arn}}}
	if action != "s3:PutObject" {
		return needs
	}
	// By its headers a put can do more, which needs more.
	for name, values := range header {
		name = strings.ToLower(name)
		switch {
		case name == "x-amz-copy-source":
			source, err := url.PathUnescape(strings.TrimPrefix(values[0], "/"))
			if err != nil || strings.Contains(source, "?") {
				source = "?" // a version of an object, or nonsense: it is not known here, and this is no bucket's name
			}
			needs = append(needs, access{Request: Request{"s3:GetObject", "arn:aws:s3:::" + source}})
		case name == "x-amz-acl" || strings.HasPrefix(name, "x-amz-grant-"):
			needs = append(needs, access{Request: Request{"s3:PutObjectAcl", arn}})
		case name == "x-amz-tagging":
			needs = append(needs, access{Request: Request{"s3:PutObjectTagging", arn}})
		case strings.HasPrefix(name, "x-amz-object-lock-"):
			needs = append(needs, access{Request: Request{"s3:PutObjectRetention", arn}})
		}
	}
	return needs
}
