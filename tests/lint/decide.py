"""Write a template as if all its conditions were true.

checkov leaves out a policy that holds an `Fn::If`. With every condition true a policy grants the most
that it ever does.

Usage: decide.py TEMPLATE > DECIDED
"""

import json
import pathlib
import sys

from samtranslator.yaml_helper import yaml_parse


def decided(node):
    if isinstance(node, list):
        return [decided(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "Fn::If" in node:
        _, then, _ = node["Fn::If"]
        return decided(then)
    return {key: decided(value) for key, value in node.items()}


if __name__ == "__main__":
    json.dump(decided(yaml_parse(pathlib.Path(sys.argv[1]).read_text())), sys.stdout, indent=2)
