"""The stack that template.yaml makes: transformed as SAM does it, with its intrinsic functions resolved.

    python stack.py translated.json resolved.json

writes both steps, with the parameters' defaults and an input bucket named quarry-in: the first for cfn-lint, which looks at what SAM makes
of a function and not at the function, the second, with the bounds of numeric parameters, for tests in Go. test_template.py imports it.
"""

import copy
import json
import logging
import pathlib
import re
import sys
from unittest import mock

import boto3
from cfnlint.decode import cfn_yaml
from samtranslator.translator.transform import transform

TEMPLATE = pathlib.Path(__file__).with_name("template.yaml")
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "quarry",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()

# It warns that its metrics are not sent anywhere.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)


def load():
    """template.yaml with its tags written as Fn::..., as plain dicts and lists."""
    return json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE))))


def parameters(template, **values):
    """The value of every parameter: the one given, else its default."""
    values = {"InputBucketName": "quarry-in", **values}
    return {name: str(values.get(name, p.get("Default"))) for name, p in template["Parameters"].items()}


def translate(template, values):
    """template as CloudFormation gets it from SAM. Code on disk stands for an upload, which sam deploy makes first."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function" and not str(resource["Properties"]["CodeUri"]).startswith("s3:"):
            resource["Properties"]["CodeUri"] = "s3://code/lambda.zip"
    # Policies that AWS manages are looked up in an account where a template names them. This one must not.
    loader = mock.Mock()
    loader.load.return_value = {}
    with mock.patch.object(boto3.session.Session, "region_name", PSEUDO["AWS::Region"]):
        return transform(template, values, loader)


class Resolver:
    """Resolves what CloudFormation resolves. Anything it does not know is an error, never left as it is."""

    def __init__(self, template, values):
        self.template = template
        self.values = values

    def stack(self):
        """The template without its intrinsic functions."""
        return {
            "Parameters": self.values,
            "Bounds": {n: [p["MinValue"], p["MaxValue"]] for n, p in self.template["Parameters"].items() if "MinValue" in p and "MaxValue" in p},
            "Resources": {n: self.resolve(r) for n, r in self.template["Resources"].items() if self.wanted(r)},
            "Outputs": {n: self.resolve(o["Value"]) for n, o in self.template.get("Outputs", {}).items()},
        }

    def wanted(self, resource):
        return "Condition" not in resource or self.condition(resource["Condition"])

    def condition(self, name):
        return self.resolve(self.template["Conditions"][name])

    def resolve(self, node):
        if isinstance(node, list):
            return [v for v in map(self.resolve, node) if v is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, arg), = node.items()
            if key == "Ref":
                return self.ref(arg)
            if key.startswith("Fn::"):
                return self.call(key.removeprefix("Fn::"), arg)
        return {k: v for k, v in ((k, self.resolve(v)) for k, v in node.items()) if v is not NO_VALUE}

    def call(self, name, arg):
        if name == "If":
            return self.resolve(arg[1] if self.condition(arg[0]) else arg[2])
        if name == "Sub":
            text, given = (arg, {}) if isinstance(arg, str) else (arg[0], self.resolve(arg[1]))
            return re.sub(r"\$\{([^!}]+)\}", lambda m: str(given[m[1]] if m[1] in given else self.variable(m[1])), text)
        if name == "GetAtt":
            return self.attribute(*(arg.split(".", 1) if isinstance(arg, str) else arg))
        arg = self.resolve(arg)
        if name == "FindInMap":
            return self.template["Mappings"][arg[0]][arg[1]][arg[2]]
        if name == "Join":
            return arg[0].join(map(str, arg[1]))
        if name == "Equals":
            return str(arg[0]) == str(arg[1])
        if name == "Not":
            return not arg[0]
        raise ValueError(f"Fn::{name} is not known here")

    def variable(self, name):
        return self.attribute(*name.split(".", 1)) if "." in name else self.ref(name)

    def ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.values:
            return self.values[name]
        if self.template["Resources"][name]["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{PSEUDO['AWS::Region']}.amazonaws.com/{PSEUDO['AWS::AccountId']}/{self.name(name)}"
        return self.name(name)

    def name(self, resource):
        """A resource's name, or its id in the template where CloudFormation makes one up."""
        properties = self.template["Resources"][resource].get("Properties", {})
        for key in ("BucketName", "QueueName", "FunctionName", "LogGroupName", "RoleName"):
            if key in properties:
                return self.resolve(properties[key])
        return resource

    def attribute(self, resource, attribute):
        kind, name = self.template["Resources"][resource]["Type"], self.name(resource)
        where = f"{PSEUDO['AWS::Region']}:{PSEUDO['AWS::AccountId']}"
        known = {
            ("AWS::S3::Bucket", "Arn"): f"arn:aws:s3:::{name}",
            ("AWS::SQS::Queue", "Arn"): f"arn:aws:sqs:{where}:{name}",
            ("AWS::SQS::Queue", "QueueName"): name,
            ("AWS::IAM::Role", "Arn"): f"arn:aws:iam::{PSEUDO['AWS::AccountId']}:role/{name}",
            ("AWS::Lambda::Function", "Arn"): f"arn:aws:lambda:{where}:function:{name}",
            ("AWS::Logs::LogGroup", "Arn"): f"arn:aws:logs:{where}:log-group:{name}:*",
            ("AWS::Events::Rule", "Arn"): f"arn:aws:events:{where}:rule/{name}",
        }
        return known[kind, attribute]


def dependencies(template):
    """For every resource, those that CloudFormation makes first: named by DependsOn, Ref, Fn::GetAtt or Fn::Sub."""
    resources = template["Resources"]

    def named(node):
        if isinstance(node, list):
            for item in node:
                yield from named(item)
        elif isinstance(node, dict):
            for key, arg in node.items():
                if key == "Ref":
                    yield arg
                elif key == "Fn::GetAtt":
                    yield arg.split(".")[0] if isinstance(arg, str) else arg[0]
                elif key == "Fn::Sub":
                    text = arg if isinstance(arg, str) else arg[0]
                    yield from (v.split(".")[0] for v in re.findall(r"\$\{([^!}]+)\}", text))
                yield from named(arg)

    graph = {}
    for name, resource in resources.items():
        depends = resource.get("DependsOn", [])
        depends = [depends] if isinstance(depends, str) else depends
        graph[name] = (set(depends) | set(named(resource.get("Properties", {})))) & resources.keys()
    return graph


def build(template, **values):
    """The transformed template, and the stack that it makes with these values."""
    values = parameters(template, **values)
    translated = translate(template, values)
    return translated, Resolver(translated, values).stack()


if __name__ == "__main__":
    for path, what in zip(sys.argv[1:], build(load()), strict=True):
        pathlib.Path(path).write_text(json.dumps(what, indent=2) + "\n")
