"""Write the template as CloudFormation sees it, after the SAM transform, for the linters.

cfn-lint looks into policies and definitions only where they stand in plain CloudFormation. Code
that `sam package` would upload is replaced by a place that does not exist, and the definition is
put in as it stands in its file.

Usage: translate.py TEMPLATE > TRANSLATED
"""

import json
import pathlib
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    """The template names no managed policies, so none are looked up."""

    def load(self):
        return {}


def timeouts_as_numbers(node):
    """cfn-lint takes only numbers there, where JSONata definitions may hold an expression
    (https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html)."""
    if isinstance(node, dict):
        return {
            key: 1 if key == "TimeoutSeconds" and isinstance(value, str) else timeouts_as_numbers(value)
            for key, value in node.items()
        }
    return [timeouts_as_numbers(item) for item in node] if isinstance(node, list) else node


def main(path):
    template = yaml_parse(path.read_text())
    template["Globals"]["Function"]["CodeUri"] = "s3://somewhere/code.zip"
    definitions = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::StateMachine":
            source = path.parent / resource["Properties"].pop("DefinitionUri")
            definitions[name] = json.loads(source.read_text())
            resource["Properties"]["DefinitionUri"] = "s3://somewhere/definition.json"
    translated = transform(template, {}, NoManagedPolicies())
    for name, definition in definitions.items():
        properties = translated["Resources"][name]["Properties"]
        del properties["DefinitionS3Location"]
        properties["Definition"] = timeouts_as_numbers(definition)
    json.dump(translated, sys.stdout, indent=2)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
