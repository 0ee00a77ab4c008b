"""What linters do not see of template.yaml, checked on the stack that it makes. Run by make template-check.

A check is a function of a Stack that fails by AssertionError. MUTATIONS breaks the template in one place at a time, and says which check
must fail; every check has to fail at least once.
"""

import copy
import functools
import graphlib
import json
import unittest

import stack

DAYS = 24 * 60 * 60
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
    assert low is not None and low >= 128, f"memory from {low}"
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
    equal(variables.get("QUARRY_RESULTS"), "s3://" + s.properties("ResultsBucket")["BucketName"], "QUARRY_RESULTS")
    equal(variables.get("QUARRY_QUEUE_URL"), s.resolved["Outputs"]["QueueUrl"], "QUARRY_QUEUE_URL")


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
    equal(worker.get("LoggingConfig"), {"LogGroup": group["LogGroupName"], "LogFormat": "Text"}, "log of the function")


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
        ("s3:ListBucket", found): {"StringLike": {"s3:prefix": "jobs/*"}},
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
    equal(s.one("AWS::Lambda::EventInvokeConfig")["MaximumRetryAttempts"], 0, "sweeps tried again")


@check
def alarm(s):
    a = s.one("AWS::CloudWatch::Alarm")
    equal((a["Namespace"], a["MetricName"]), ("AWS/SQS", "ApproximateNumberOfMessagesVisible"), "metric")
    equal(a["Dimensions"], [{"Name": "QueueName", "Value": s.properties("DeadLetterQueue")["QueueName"]}], "queue of the alarm")
    equal((a["ComparisonOperator"], a["Threshold"]), ("GreaterThanThreshold", 0), "threshold")
    assert "AlarmActions" not in a, "the alarm tells somebody, and no topic was given"
    topic = "arn:aws:sns:us-east-1:123456789012:t"
    equal(s.with_(AlarmTopicArn=topic).one("AWS::CloudWatch::Alarm").get("AlarmActions"), [topic], "whom the alarm tells")


@check
def code(s):
    equal(s.template["Resources"]["Worker"]["Properties"]["CodeUri"], "../../bin/lambda.zip", "code")


def at(template, path):
    return functools.reduce(lambda node, key: node[int(key) if isinstance(node, list) else key], path, template)


def put(path, value):
    """Sets what is at a path of resources, or of the template where it begins with a slash."""
    def mutate(template):
        *to, last = keys(path)
        node = at(template, to)
        node[int(last) if isinstance(node, list) else last] = value
    return mutate


def drop(path):
    def mutate(template):
        *to, last = keys(path)
        node = at(template, to)
        del node[int(last) if isinstance(node, list) else last]
    return mutate


def append(path, value):
    return lambda template: at(template, keys(path)).append(value)


def keys(path):
    if path.startswith("/"):
        return path[1:].split("/")
    resource, *rest = path.split("/")
    return ["Resources", resource, *(["Properties", *rest] if rest[:1] != ["."] else rest[1:])]


def drop_role(template):
    del template["Resources"]["WorkerRole"]
    del template["Resources"]["Worker"]["Properties"]["Role"]


STATEMENTS = "WorkerRole/Policies/0/PolicyDocument/Statement"
FILTERS = "InputBucket/NotificationConfiguration/QueueConfigurations"
ARN_OF_DEAD = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}

MUTATIONS = [
    # what is broken, how, the check that must fail
    ("no DependsOn", drop("InputBucket/./DependsOn"), "queue_policy_before_notification"),
    ("it depends on another resource", put("InputBucket/./DependsOn", "Queue"), "queue_policy_before_notification"),
    ("the policy names the bucket", put("QueuePolicy/PolicyDocument/Statement/0/Condition/ArnEquals/aws:SourceArn", {"Fn::GetAtt": ["InputBucket", "Arn"]}), "no_cycle"),
    ("the two queues name each other", put("DeadLetterQueue/RedriveAllowPolicy/sourceQueueArns", [{"Fn::GetAtt": ["Queue", "Arn"]}]), "no_cycle"),
    ("the bucket waits for its policy", put("InputBucket/./DependsOn", ["QueuePolicy", "InputBucketPolicy"]), "no_cycle"),
    ("more memory than there is", put("/Parameters/MemorySize/MaxValue", 10241), "memory"),
    ("no bound of memory", drop("/Parameters/MemorySize/MaxValue"), "memory"),
    ("too little memory", put("/Parameters/MemorySize/MinValue", 64), "memory"),
    ("memory is fixed", put("Worker/MemorySize", 512), "memory"),
    ("visible a second early", put("/Mappings/VisibilityOfTimeout/900/Seconds", 5399), "visibility"),
    ("visibility of the default", put("Queue/VisibilityTimeout", 1800), "visibility"),
    ("visibility by SQS's default", drop("Queue/VisibilityTimeout"), "visibility"),
    ("batching window", put("Worker/Events/Shards/Properties/MaximumBatchingWindowInSeconds", 1), "visibility"),
    ("any time-out", drop("/Parameters/Timeout/AllowedValues"), "visibility"),
    ("a time-out beyond Lambda's", append("/Parameters/Timeout/AllowedValues", 901), "visibility"),
    ("storage as large as the shard", put("/Mappings/StorageOfShard/8192/MiB", 8192), "storage"),
    ("storage beyond Lambda's", put("/Mappings/StorageOfShard/8192/MiB", 10241), "storage"),
    ("storage is fixed", put("Worker/EphemeralStorage/Size", 1536), "storage"),
    ("the function does not know the largest shard", drop("Worker/Environment/Variables/QUARRY_MAX_SHARD_MIB"), "storage"),
    ("any shard", drop("/Parameters/MaxShardMiB/AllowedValues"), "storage"),
    ("dead letters kept for four days", drop("DeadLetterQueue/MessageRetentionPeriod"), "retention"),
    ("dead letters kept a second less", put("DeadLetterQueue/MessageRetentionPeriod", 14 * DAYS - 1), "retention"),
    ("messages kept for four days", drop("Queue/MessageRetentionPeriod"), "retention"),
    ("no redrive", drop("Queue/RedrivePolicy"), "redrive"),
    ("four tries", put("Queue/RedrivePolicy/maxReceiveCount", 4), "redrive"),
    ("any queue may use the dead-letter queue", drop("DeadLetterQueue/RedriveAllowPolicy"), "redrive"),
    ("the queue is named otherwise", put("Queue/QueueName", {"Fn::Sub": "${AWS::StackName}-other"}), "redrive"),
    ("amd64", put("Worker/Architectures", ["x86_64"]), "runtime"),
    ("architecture by default", drop("Worker/Architectures"), "runtime"),
    ("old runtime", put("Worker/Runtime", "provided.al2"), "runtime"),
    ("handler", put("Worker/Handler", "main"), "runtime"),
    ("a failed message fails its batch", drop("Worker/Events/Shards/Properties/FunctionResponseTypes"), "event_source"),
    ("no bound of concurrency", drop("Worker/Events/Shards/Properties/ScalingConfig"), "event_source"),
    ("concurrency below Lambda's", put("/Parameters/MaximumConcurrency/MinValue", 1), "event_source"),
    ("batches beyond ten", put("/Parameters/BatchSize/MaxValue", 11), "event_source"),
    ("dead letters are mined", put("Worker/Events/Shards/Properties/Queue", ARN_OF_DEAD), "event_source"),
    ("manifests do not notify", drop(FILTERS + "/1"), "notifications"),
    ("results' manifests notify", put(FILTERS + "/1/Filter/S3Key/Rules/1/Value", "manifest.json"), "notifications"),
    ("anything under jobs/ notifies", drop(FILTERS + "/0/Filter/S3Key/Rules/1"), "notifications"),
    ("anything of the bucket notifies", drop(FILTERS + "/0/Filter/S3Key/Rules/0"), "notifications"),
    ("two filters take shards", append(FILTERS, {"Event": "s3:ObjectCreated:*", "Queue": {"Fn::GetAtt": ["Queue", "Arn"]}, "Filter": {"S3Key": {"Rules": [
        {"Name": "prefix", "Value": "jobs/0"}, {"Name": "suffix", "Value": "0.safetensors"}]}}}), "notifications"),
    ("only some puts notify", put(FILTERS + "/0/Event", "s3:ObjectCreated:Put"), "notifications"),
    ("notifications to the dead-letter queue", put(FILTERS + "/0/Queue", ARN_OF_DEAD), "notifications"),
    ("results notify", put("ResultsBucket/NotificationConfiguration", {"QueueConfigurations": []}), "results"),
    ("results are named otherwise", put("ResultsBucket/BucketName", {"Fn::Sub": "${InputBucketName}-out"}), "results"),
    ("no room for -results", put("/Parameters/InputBucketName/MaxLength", 56), "results"),
    ("results go to the input", put("Worker/Environment/Variables/QUARRY_RESULTS", {"Fn::Sub": "s3://${InputBucketName}"}), "environment"),
    ("no queue", drop("Worker/Environment/Variables/QUARRY_QUEUE_URL"), "environment"),
    ("an ARN for a URL", put("Worker/Environment/Variables/QUARRY_QUEUE_URL", {"Fn::GetAtt": ["Queue", "Arn"]}), "environment"),
    ("any bucket may send", drop("QueuePolicy/PolicyDocument/Statement/0/Condition/ArnEquals"), "queue_policy"),
    ("any account's bucket may send", drop("QueuePolicy/PolicyDocument/Statement/0/Condition/StringEquals"), "queue_policy"),
    ("anybody may send", put("QueuePolicy/PolicyDocument/Statement/0/Principal", "*"), "queue_policy"),
    ("the results bucket sends", put("QueuePolicy/PolicyDocument/Statement/0/Condition/ArnEquals/aws:SourceArn", {"Fn::GetAtt": ["ResultsBucket", "Arn"]}), "queue_policy"),
    ("log kept for ever", drop("WorkerLog/RetentionInDays"), "log"),
    ("log of another function", put("WorkerLog/LogGroupName", "/aws/lambda/worker"), "log"),
    ("log by default", drop("Worker/LoggingConfig"), "log"),
    ("lines are wrapped", put("Worker/LoggingConfig/LogFormat", "JSON"), "log"),
    ("log group named, not referred to", put("Worker/LoggingConfig/LogGroup", {"Fn::Sub": "/aws/lambda/${AWS::StackName}-worker"}), "log"),
    ("not encrypted", drop("InputBucket/BucketEncryption"), "buckets"),
    ("results not encrypted", drop("ResultsBucket/BucketEncryption"), "buckets"),
    ("public policy", put("InputBucket/PublicAccessBlockConfiguration/BlockPublicPolicy", False), "buckets"),
    ("results public", drop("ResultsBucket/PublicAccessBlockConfiguration"), "buckets"),
    ("ACLs", drop("ResultsBucket/OwnershipControls"), "buckets"),
    ("deleted with the stack", put("ResultsBucket/./DeletionPolicy", "Delete"), "buckets"),
    ("kept when it could not be made", put("InputBucket/./DeletionPolicy", "Retain"), "buckets"),
    ("deleted when replaced", drop("InputBucket/./UpdateReplacePolicy"), "buckets"),
    ("without TLS", drop("ResultsBucketPolicy/."), "buckets"),
    ("objects without TLS", put("InputBucketPolicy/PolicyDocument/Statement/0/Resource", [{"Fn::GetAtt": ["InputBucket", "Arn"]}]), "buckets"),
    ("queue not encrypted", drop("Queue/SqsManagedSseEnabled"), "queues"),
    ("dead letters not encrypted", put("DeadLetterQueue/SqsManagedSseEnabled", False), "queues"),
    ("SAM makes the role", drop_role, "least_privilege"),
    ("a managed policy", put("WorkerRole/ManagedPolicyArns", ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]), "least_privilege"),
    ("the whole input bucket", put(STATEMENTS + "/0/Resource", {"Fn::Sub": "arn:${AWS::Partition}:s3:::${InputBucketName}/*"}), "least_privilege"),
    ("writing the input", put(STATEMENTS + "/0/Action", ["s3:GetObject", "s3:PutObject"]), "least_privilege"),
    ("deleting results", append(STATEMENTS + "/1/Action", "s3:DeleteObject"), "least_privilege"),
    ("everything on objects", put(STATEMENTS + "/1/Action", "s3:*Object"), "least_privilege"),
    ("listing everything", drop(STATEMENTS + "/2/Condition"), "least_privilege"),
    ("no listing", drop(STATEMENTS + "/2"), "least_privilege"),
    ("any queue", put(STATEMENTS + "/3/Resource", "*"), "least_privilege"),
    ("the dead-letter queue too", put(STATEMENTS + "/3/Resource", [{"Fn::GetAtt": ["Queue", "Arn"]}, ARN_OF_DEAD]), "least_privilege"),
    ("any log group", put(STATEMENTS + "/4/Resource", "*"), "least_privilege"),
    ("making log groups", append(STATEMENTS + "/4/Action", "logs:CreateLogGroup"), "least_privilege"),
    ("another statement", append(STATEMENTS, {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}), "least_privilege"),
    ("all but an action", append(STATEMENTS, {"Effect": "Allow", "NotAction": "iam:*", "Action": [], "Resource": "*"}), "least_privilege"),
    ("anybody takes the role", put("WorkerRole/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}), "least_privilege"),
    ("a sweep of nothing", put("Worker/Events/Sweep/Properties/Input", '{"quarry":"sweep"}'), "sweep"),
    ("a sweep of the results", put("Worker/Events/Sweep/Properties/Input", {"Fn::Sub": '{"quarry":"sweep","bucket":"${InputBucketName}-results"}'}), "sweep"),
    ("a fixed schedule", put("Worker/Events/Sweep/Properties/Schedule", "rate(1 day)"), "sweep"),
    ("sweeps are tried again", put("Worker/EventInvokeConfig/MaximumRetryAttempts", 2), "sweep"),
    ("alarm of the wrong queue", put("DeadLetterAlarm/Dimensions/0/Value", {"Fn::GetAtt": ["Queue", "QueueName"]}), "alarm"),
    ("alarm from two messages on", put("DeadLetterAlarm/Threshold", 1), "alarm"),
    ("alarm tells nobody", drop("DeadLetterAlarm/AlarmActions"), "alarm"),
    ("code elsewhere", put("Worker/CodeUri", "s3://code/lambda.zip"), "code"),
]


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
