// Package stack runs a Lambda function and what feeds it on one machine, for tests and the demo.
//
// Input: the path of a built bootstrap; output: its responses, its log lines, and a record of each invocation. It
// emulates:
//
//   - Function: the Lambda service. It starts processes of the bootstrap, speaks the Runtime API with them, and ends those that
//     exceed their time-out. A process has one invocation at a time, or several as on Lambda Managed Instances. It leaves out
//     throttling, limits of memory and disk, extensions, tracing, and the freezing of a process between invocations.
//   - Queue: a standard SQS queue, in memory, with visibility time-outs, delays, duplicates and dead letters. It leaves out message
//     attributes, retention, and changes of a message's visibility.
//   - SQSEndpoint: SQS's protocol, for SendMessage and SendMessageBatch alone.
//   - Poller: Lambda's event source mapping, which moves batches from a Queue to a Function. It leaves out batching windows and
//     slowing down after failures.
//   - Notifier: S3's event notifications, which tell a Queue of an upload, directly or by the ways that teams fan events out: SNS,
//     EventBridge, and both (Route). It is called by who uploads: it watches no bucket.
//
// What AWS documents is done as documented; where this differs, the doc comment of the part says so. Two things are for
// tests alone. A process is killed at an event that the test chooses (FunctionConfig.Kill, Function.Kill), and a Queue
// goes by a Clock that the test moves on, so that no test waits for a visibility time-out.
package stack

// Every resource pretends to be in Region, and to belong to account.
const (
	Region  = "us-east-1"
	account = "123456789012"
)
