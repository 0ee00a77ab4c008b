// Package awstest holds the emulators of AWS that the function is tested with, on one machine and without an account.
// It has no code of its own:
//
//   - stack is the Lambda service, SQS, Lambda's event source mapping between them, and the events that S3 sends.
//   - iam says what a policy allows, and holds requests to an S3 server to it.
//   - account joins them as lambda/deploy/template.yaml does, around a real S3 server (host/objstore/s3server) and the built function.
//
// The tests of the function and the program of `make demo-lambda` use them. The function does not.
package awstest
