// Package stack runs a Lambda function and what feeds it on one machine, for tests and the demo.
//
// In goes the path of a built bootstrap; out come its responses, its log lines, and a record of each invocation. The parts:
//
//   - Function is the Lambda service: it starts processes of the bootstrap and speaks the Runtime API with them.
//   - Queue is a standard SQS queue in memory, ServeSQS the endpoint by which a process sends to it.
//   - Poller is Lambda's event source mapping: it moves batches from a Queue to a Function.
//   - Notifier is S3's event notification: it tells a Queue of an upload.
//
// What AWS documents is done as documented; where this differs, the doc comment of the part says so.
package stack

// Region is where all resources pretend to be, and account whose they are.
const (
	Region  = "us-east-1"
	account = "123456789012"
)
