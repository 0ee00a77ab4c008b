"""What linters do not see of template.yaml, checked on the stack that it makes. Run by make template-check.

A check is a function of a Stack that fails by AssertionError. mutations.py breaks the template in one place at a time, and says which check
must fail; every check has to fail at least once.
"""

import copy
import graphlib
import json
import unittest

import stack
from mutations import DAYS, MUTATIONS

CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


class Stack:
    """A template, transformed and resolved with values of its parameters."""

    def __init__(self, template, **values):
        self.template = template
        self.translated, self.resolved = stack.build(template, **values)
        self.resources = self.resolved["Resources"]

    def with_(self, **values):
        return Stack(self.template, **values)

    def allowed(self, parameter):
        return self.template["Parameters"][parameter].get("AllowedValues", [])

    def bounds(self, parameter):
        p = self.template["Parameters"][parameter]
        return p.get("MinValue"), p.get("MaxValue")

    def of(self, kind):
        return {n: r["Properties"] for n, r in self.resources.items() if r["Type"] == kind}

    def one(self, kind):
        found = self.of(kind)
        assert len(found) == 1, f"{len(found)} of {kind}: {sorted(found)}"
        return next(iter(found.values()))

    def properties(self, name):
        return self.resources[name]["Properties"]

    def arn(self, name):
        return stack.Resolver(self.translated, self.resolved["Parameters"]).attribute(name, "Arn")


def equal(got, want, what):
    assert got == want, f"{what}: {got!r}, expected {want!r}"


@check
def queue_policy_before_notification(s):
    graph = stack.dependencies(s.translated)

    def first(name):
        found = set()
        rest = [name]
        while rest:
            for other in graph[rest.pop()] - found:
                found.add(other)
                rest.append(other)
        return found

    for name, bucket in s.of("AWS::S3::Bucket").items():
        if "NotificationConfiguration" in bucket:
            assert "QueuePolicy" in first(name), f"{name} may be made before QueuePolicy"


@check
def no_cycle(s):
    try:
        graphlib.TopologicalSorter(stack.dependencies(s.translated)).prepare()
    except graphlib.CycleError as e:
        raise AssertionError(f"resources wait for each other: {e.args[1]}") from e


@check
def memory(s):
    low, high = s.bounds("MemorySize")
    # What the template lets begin finishes: TestLeastMemory of lambda/internal/awstest/account mines the demo with the least.
    assert low is not None and low >= 256, f"memory from {low}"
    assert high is not None and high <= 10240, f"memory up to {high}"
    equal(s.properties("Worker")["MemorySize"], s.resolved["Parameters"]["MemorySize"], "memory")


@check
def visibility(s):
    timeouts = s.allowed("Timeout")
    assert timeouts and max(timeouts) <= 900, f"time-outs {timeouts}"
    for timeout in timeouts:
        t = s.with_(Timeout=timeout)
        equal(int(t.properties("Worker")["Timeout"]), timeout, "time-out")
        window = int(t.one("AWS::Lambda::EventSourceMapping").get("MaximumBatchingWindowInSeconds", 0))
        hidden = int(t.properties("Queue").get("VisibilityTimeout", 30))
        assert 6 * timeout + window <= hidden <= 12 * 60 * 60, f"a message is hidden for {hidden} s, the function has {timeout} s"


@check
def storage(s):
    sizes = s.allowed("MaxShardMiB")
    assert sizes, "any size of a shard is allowed"
    for size in sizes:
        worker = s.with_(MaxShardMiB=size).properties("Worker")
        equal(worker["Environment"]["Variables"].get("QUARRY_MAX_SHARD_MIB"), str(size), "largest shard")
        disk = int(worker["EphemeralStorage"]["Size"])
        assert size + 256 <= disk and 512 <= disk <= 10240, f"{disk} MiB of storage for a shard of {size}"


@check
def retention(s):
    queue = int(s.properties("Queue").get("MessageRetentionPeriod", 4 * DAYS))
    dead = int(s.properties("DeadLetterQueue").get("MessageRetentionPeriod", 4 * DAYS))
    equal(queue, 14 * DAYS, "retention")
    assert dead >= queue, f"the dead-letter queue keeps messages for {dead} s, the queue for {queue}"


@check
def redrive(s):
    redrive = s.properties("Queue").get("RedrivePolicy", {})
    equal(redrive.get("deadLetterTargetArn"), s.arn("DeadLetterQueue"), "dead-letter queue")
    assert int(redrive["maxReceiveCount"]) >= 5, f"{redrive['maxReceiveCount']} tries"
    allow = s.properties("DeadLetterQueue").get("RedriveAllowPolicy")
    equal(allow, {"redrivePermission": "byQueue", "sourceQueueArns": [s.arn("Queue")]}, "queues that may use the dead-letter queue")


@check
def runtime(s):
    worker = s.one("AWS::Lambda::Function")
    equal(worker["Runtime"], "provided.al2023", "runtime")
    equal(worker.get("Architectures"), ["arm64"], "architecture")
    equal(worker["Handler"], "bootstrap", "handler")


@check
def event_source(s):
    source = s.one("AWS::Lambda::EventSourceMapping")
    equal(source["EventSourceArn"], s.arn("Queue"), "event source")
    equal(source.get("FunctionResponseTypes"), ["ReportBatchItemFailures"], "response types")
    equal(source.get("ScalingConfig"), {"MaximumConcurrency": "10"}, "concurrency")
    low, high = s.bounds("MaximumConcurrency")
    assert low is not None and low >= 2 and high <= 1000, f"concurrency from {low} to {high}"
    # More than ten messages would need a batching window.
    low, high = s.bounds("BatchSize")
    assert low == 1 and high is not None and high <= 10, f"batches from {low} to {high}"
    equal(source["BatchSize"], s.resolved["Parameters"]["BatchSize"], "batch size")


def filters(bucket):
    for configuration in bucket.get("NotificationConfiguration", {}).get("QueueConfigurations", []):
        rules = {r["Name"]: r["Value"] for r in configuration["Filter"]["S3Key"]["Rules"]}
        yield configuration, rules.get("prefix", ""), rules.get("suffix", "")


@check
def notifications(s):
    found = list(filters(s.properties("InputBucket")))
    for configuration, _, _ in found:
        equal(configuration["Event"], "s3:ObjectCreated:*", "event")
        equal(configuration["Queue"], s.arn("Queue"), "queue")

    def hits(key):
        return sum(key.startswith(prefix) and key.endswith(suffix) for _, prefix, suffix in found)

    for key in ("jobs/j/manifest.json", "jobs/j/shards/0.safetensors", "jobs/j/shards/a/b c.safetensors"):
        equal(hits(key), 1, f"notifications for {key}")
    for key in ("jobs/j/negatives.jsonl", "jobs/j/negatives.manifest.json", "jobs/j/cancelled.json", "jobs/j/shards/0.safetensors.tmp",
                "other/manifest.json", "other/0.safetensors", "manifest.json", "0.safetensors"):
        equal(hits(key), 0, f"notifications for {key}")
    # S3 refuses two filters that a key could match both.
    for i, (_, prefix, suffix) in enumerate(found):
        for _, prefix2, suffix2 in found[i + 1:]:
            apart = not (prefix.startswith(prefix2) or prefix2.startswith(prefix)) or not (suffix.endswith(suffix2) or suffix2.endswith(suffix))
            assert apart, f"filters overlap: {prefix}*{suffix} and {prefix2}*{suffix2}"


@check
def results(s):
    equal(s.properties("ResultsBucket")["BucketName"], s.properties("InputBucket")["BucketName"] + "-results", "results bucket")
    assert "NotificationConfiguration" not in s.properties("ResultsBucket"), "what is written to the results bucket calls the function"
    assert s.template["Parameters"]["InputBucketName"].get("MaxLength", 64) + len("-results") <= 63, "the results bucket's name is too long"


@check
def environment(s):
    variables = s.properties("Worker").get("Environment", {}).get("Variables", {})
    equal(variables.get("QUARRY_INPUTS"), "s3://" + s.properties("InputBucket")["BucketName"], "QUARRY_INPUTS")
    equal(variables.get("QUARRY_RESULTS"), "s3://" + s.properties("ResultsBucket")["BucketName"], "QUARRY_RESULTS")
    equal(variables.get("QUARRY_QUEUE_URL"), s.resolved["Outputs"]["QueueUrl"], "QUARRY_QUEUE_URL")


@check
def sweep_age(s):
    low, high = s.bounds("SweepAgeMinutes")
    assert low is not None and low >= 1 and high is not None, f"an age from {low} to {high}"
    for minutes in ("60", "7"):
        t = s if minutes == "60" else s.with_(SweepAgeMinutes=minutes)
        equal(t.properties("Worker")["Environment"]["Variables"].get("QUARRY_SWEEP_AGE_MINUTES"), minutes, "age")


@check
def queue_policy(s):
    policy = s.one("AWS::SQS::QueuePolicy")
    equal(policy["Queues"], [s.resolved["Outputs"]["QueueUrl"]], "queues of the policy")
    statement, = policy["PolicyDocument"]["Statement"]
    equal({k: v for k, v in statement.items() if k != "Sid"}, {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": s.arn("Queue"),
        "Condition": {
            "ArnEquals": {"aws:SourceArn": s.arn("InputBucket")},
            "StringEquals": {"aws:SourceAccount": stack.PSEUDO["AWS::AccountId"]},
        },
    }, "who may send to the queue")


@check
def log(s):
    group = s.one("AWS::Logs::LogGroup")
    worker = s.properties("Worker")
    assert int(group.get("RetentionInDays", 0)) > 0, "the log is kept for ever"
    equal(group.get("LogGroupName"), "/aws/lambda/" + worker["FunctionName"], "log group")
    # By reference, so that Lambda does not make the group first.
    assert "WorkerLog" in stack.dependencies(s.translated)["Worker"], "the function may be made before its log group"
    equal(worker.get("LoggingConfig"), {"LogGroup": group["LogGroupName"], "LogFormat": "JSON"}, "log of the function")


@check
def buckets(s):
    found = s.of("AWS::S3::Bucket")
    equal(sorted(found), ["InputBucket", "ResultsBucket"], "buckets")
    policies = {p["Bucket"]: p["PolicyDocument"]["Statement"] for p in s.of("AWS::S3::BucketPolicy").values()}
    for name, bucket in found.items():
        for attribute, policy in (("DeletionPolicy", "RetainExceptOnCreate"), ("UpdateReplacePolicy", "Retain")):
            equal(s.resources[name].get(attribute), policy, f"{attribute} of {name}")
        rules = bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
        equal([r["ServerSideEncryptionByDefault"]["SSEAlgorithm"] for r in rules], ["AES256"], f"encryption of {name}")
        equal(bucket.get("PublicAccessBlockConfiguration"), {
            "BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True,
        }, f"public access to {name}")
        equal(bucket.get("OwnershipControls"), {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}, f"ownership in {name}")
        arn = s.arn(name)
        statements = policies.get(bucket["BucketName"], [])
        assert any(t["Effect"] == "Deny" and t["Principal"] == "*" and t["Action"] == "s3:*" and t["Resource"] == [arn, arn + "/*"]
                   and t.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}} for t in statements), f"{name} may be used without TLS"


@check
def queues(s):
    for name, queue in s.of("AWS::SQS::Queue").items():
        equal(queue.get("SqsManagedSseEnabled"), True, f"encryption of {name}")


@check
def least_privilege(s):
    role = s.one("AWS::IAM::Role")
    equal(s.properties("Worker")["Role"], s.arn("WorkerRole"), "role of the function")
    assert not s.of("AWS::IAM::Policy") and not s.of("AWS::IAM::ManagedPolicy"), "there are other policies"
    equal(role.get("ManagedPolicyArns", []), [], "managed policies")
    equal([(t["Effect"], t["Principal"], t["Action"]) for t in role["AssumeRolePolicyDocument"]["Statement"]],
          [("Allow", {"Service": "lambda.amazonaws.com"}, "sts:AssumeRole")], "who may take the role")
    granted = {}
    for policy in role.get("Policies", []):
        for t in policy["PolicyDocument"]["Statement"]:
            equal(t["Effect"], "Allow", "effect")
            assert not t.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}, f"a statement has {sorted(t)}"
            for action in [t["Action"]] if isinstance(t["Action"], str) else t["Action"]:
                for resource in [t["Resource"]] if isinstance(t["Resource"], str) else t["Resource"]:
                    granted[action, resource] = t.get("Condition")
    given, found = s.arn("InputBucket"), s.arn("ResultsBucket")
    want = {
        ("s3:GetObject", given + "/jobs/*"): None,
        ("s3:GetObject", found + "/jobs/*"): None,
        ("s3:PutObject", found + "/jobs/*"): None,
        ("s3:ListBucket", given): None,
        ("s3:ListBucket", found): None,
        **{(f"sqs:{a}", s.arn("Queue")): None for a in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "SendMessage")},
        **{(f"logs:{a}", s.arn("WorkerLog")): None for a in ("CreateLogStream", "PutLogEvents")},
    }
    equal(granted, want, "what the role allows")


@check
def sweep(s):
    rule_name, = s.of("AWS::Events::Rule")
    rule = s.properties(rule_name)
    equal(rule["ScheduleExpression"], "rate(15 minutes)", "schedule")
    target, = rule["Targets"]
    equal(target["Arn"], s.arn("Worker"), "target of the schedule")
    equal(json.loads(target["Input"]), {"quarry": "sweep", "bucket": s.properties("InputBucket")["BucketName"]}, "input of the schedule")
    permission = s.one("AWS::Lambda::Permission")
    equal((permission["Principal"], permission["SourceArn"]), ("events.amazonaws.com", s.arn(rule_name)), "who may call the function")
    again = s.one("AWS::Lambda::EventInvokeConfig")
    equal(again["MaximumRetryAttempts"], 2, "sweeps tried again")
    # Lambda waits a minute before the second try, and two before the third.
    assert 2 * max(s.allowed("Timeout")) + 180 <= again["MaximumEventAgeInSeconds"] <= 6 * 60 * 60, f"a sweep is given up after {again['MaximumEventAgeInSeconds']} s"


def alarms(s, namespace, metric):
    return [a for a in s.of("AWS::CloudWatch::Alarm").values() if (a["Namespace"], a["MetricName"]) == (namespace, metric)]


@check
def alarm_of_dead_letters(s):
    a, = alarms(s, "AWS/SQS", "ApproximateNumberOfMessagesVisible") or [{}]
    equal(a.get("Dimensions"), [{"Name": "QueueName", "Value": s.properties("DeadLetterQueue")["QueueName"]}], "queue of the alarm")
    equal(a["Statistic"], "Maximum", "statistic")


@check
def alarm_of_errors(s):
    a, = alarms(s, "AWS/Lambda", "Errors") or [{}]
    equal(a.get("Dimensions"), [{"Name": "FunctionName", "Value": s.properties("Worker")["FunctionName"]}], "function of the alarm")
    equal(a["Statistic"], "Sum", "statistic")


@check
def alarms_of_the_log(s):
    """Every filter counts lines of the function's log into a metric of this stack, which an alarm looks at."""
    found = s.of("AWS::Logs::MetricFilter")
    equal({n: f["FilterPattern"] for n, f in found.items()}, {"ErrorLines": '{ $.level = "ERROR" }', "DeniedInputs": "{ $.denied IS TRUE }"}, "filters")
    for name, f in found.items():
        equal(f["LogGroupName"], s.one("AWS::Logs::LogGroup")["LogGroupName"], f"log of {name}")
        transformation, = f["MetricTransformations"]
        want = {"MetricNamespace": "quarry/" + stack.PSEUDO["AWS::StackName"], "MetricName": name, "MetricValue": "1", "Unit": "Count"}
        equal(transformation, want, f"metric of {name}")
        a, = alarms(s, want["MetricNamespace"], name) or [{}]
        equal((a.get("Statistic"), a.get("Dimensions")), ("Sum", None), f"alarm of {name}")


@check
def alarms_tell(s):
    topic = "arn:aws:sns:us-east-1:123456789012:t"
    told = s.with_(AlarmTopicArn=topic).of("AWS::CloudWatch::Alarm")
    for name, a in s.of("AWS::CloudWatch::Alarm").items():
        equal((a["ComparisonOperator"], a["Threshold"], a["EvaluationPeriods"]), ("GreaterThanThreshold", 0, 1), f"threshold of {name}")
        equal(a["TreatMissingData"], "notBreaching", f"{name} where nothing happens")
        assert "AlarmActions" not in a, f"{name} tells somebody, and no topic was given"
        equal(told[name].get("AlarmActions"), [topic], f"whom {name} tells")


@check
def code(s):
    equal(s.template["Resources"]["Worker"]["Properties"]["CodeUri"], "../../bin/lambda.zip", "code")


class Test(unittest.TestCase):
    def test_template(self):
        s = Stack(stack.load())
        for f in CHECKS:
            with self.subTest(f.__name__):
                f(s)

    def test_every_check_fails_once(self):
        template = stack.load()
        checks = {f.__name__: f for f in CHECKS}
        for what, mutate, name in MUTATIONS:
            with self.subTest(what):
                broken = copy.deepcopy(template)
                mutate(broken)
                self.assertNotEqual(broken, template)
                with self.assertRaises(AssertionError):
                    checks[name](Stack(broken))
        self.assertEqual(set(checks), {name for _, _, name in MUTATIONS})


if __name__ == "__main__":
    unittest.main()
