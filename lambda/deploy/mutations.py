"""Ways to break template.yaml, one place at a time, and the check of test_template.py that must fail then."""

import functools

DAYS = 24 * 60 * 60


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
    ("too little memory", put("/Parameters/MemorySize/MinValue", 128), "memory"),
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
    ("any bucket's events", drop("Worker/Environment/Variables/QUARRY_INPUTS"), "environment"),
    ("events of the results", put("Worker/Environment/Variables/QUARRY_INPUTS", {"Fn::Sub": "s3://${InputBucketName}-results"}), "environment"),
    ("the function does not know the age", drop("Worker/Environment/Variables/QUARRY_SWEEP_AGE_MINUTES"), "sweep_age"),
    ("the age is fixed", put("Worker/Environment/Variables/QUARRY_SWEEP_AGE_MINUTES", "60"), "sweep_age"),
    ("no age", put("/Parameters/SweepAgeMinutes/MinValue", 0), "sweep_age"),
    ("any age", drop("/Parameters/SweepAgeMinutes/MaxValue"), "sweep_age"),
    ("another age by default", put("/Parameters/SweepAgeMinutes/Default", 15), "sweep_age"),
    ("no queue", drop("Worker/Environment/Variables/QUARRY_QUEUE_URL"), "environment"),
    ("an ARN for a URL", put("Worker/Environment/Variables/QUARRY_QUEUE_URL", {"Fn::GetAtt": ["Queue", "Arn"]}), "environment"),
    ("any bucket may send", drop("QueuePolicy/PolicyDocument/Statement/0/Condition/ArnEquals"), "queue_policy"),
    ("any account's bucket may send", drop("QueuePolicy/PolicyDocument/Statement/0/Condition/StringEquals"), "queue_policy"),
    ("anybody may send", put("QueuePolicy/PolicyDocument/Statement/0/Principal", "*"), "queue_policy"),
    ("the results bucket sends", put("QueuePolicy/PolicyDocument/Statement/0/Condition/ArnEquals/aws:SourceArn", {"Fn::GetAtt": ["ResultsBucket", "Arn"]}), "queue_policy"),
    ("log kept for ever", drop("WorkerLog/RetentionInDays"), "log"),
    ("log of another function", put("WorkerLog/LogGroupName", "/aws/lambda/worker"), "log"),
    ("log by default", drop("Worker/LoggingConfig"), "log"),
    ("Lambda's own lines are text", put("Worker/LoggingConfig/LogFormat", "Text"), "log"),
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
    ("listing by prefix", put(STATEMENTS + "/2/Condition", {"StringLike": {"s3:prefix": "jobs/*"}}), "least_privilege"),
    ("listing any bucket", put(STATEMENTS + "/2/Resource", "*"), "least_privilege"),
    ("no listing of the input", drop(STATEMENTS + "/2/Resource/0"), "least_privilege"),
    ("no listing of the results", drop(STATEMENTS + "/2/Resource/1"), "least_privilege"),
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
    ("sweeps are not tried again", put("Worker/EventInvokeConfig/MaximumRetryAttempts", 0), "sweep"),
    ("sweeps are given up before their third try", put("Worker/EventInvokeConfig/MaximumEventAgeInSeconds", 900), "sweep"),
    ("alarm of the wrong queue", put("DeadLetterAlarm/Dimensions/0/Value", {"Fn::GetAtt": ["Queue", "QueueName"]}), "alarm_of_dead_letters"),
    ("no alarm of dead letters", drop("DeadLetterAlarm/."), "alarm_of_dead_letters"),
    ("alarm of dead letters by their sum", put("DeadLetterAlarm/Statistic", "Sum"), "alarm_of_dead_letters"),
    ("alarm of every function's errors", drop("FunctionErrorAlarm/Dimensions"), "alarm_of_errors"),
    ("alarm of invocations", put("FunctionErrorAlarm/MetricName", "Invocations"), "alarm_of_errors"),
    ("alarm of the largest error", put("FunctionErrorAlarm/Statistic", "Maximum"), "alarm_of_errors"),
    ("every line is counted", put("ErrorLines/FilterPattern", ""), "alarms_of_the_log"),
    ("denied inputs are not counted", drop("DeniedInputs/."), "alarms_of_the_log"),
    ("lines of another log are counted", put("DeniedInputs/LogGroupName", "/aws/lambda/other"), "alarms_of_the_log"),
    ("a metric of all stacks", put("ErrorLines/MetricTransformations/0/MetricNamespace", "quarry"), "alarms_of_the_log"),
    ("a metric that costs when nothing happens", put("ErrorLines/MetricTransformations/0/DefaultValue", 0), "alarms_of_the_log"),
    ("no alarm of denied inputs", drop("DeniedInputAlarm/."), "alarms_of_the_log"),
    ("an alarm of another metric", put("ErrorLineAlarm/MetricName", "DeniedInputs"), "alarms_of_the_log"),
    ("alarm from two messages on", put("DeadLetterAlarm/Threshold", 1), "alarms_tell"),
    ("alarm of the second period", put("FunctionErrorAlarm/EvaluationPeriods", 2), "alarms_tell"),
    ("alarm where nothing happens", put("ErrorLineAlarm/TreatMissingData", "breaching"), "alarms_tell"),
    ("alarm tells nobody", drop("DeadLetterAlarm/AlarmActions"), "alarms_tell"),
    ("another alarm tells nobody", drop("DeniedInputAlarm/AlarmActions"), "alarms_tell"),
    ("code elsewhere", put("Worker/CodeUri", "s3://code/lambda.zip"), "code"),
]
