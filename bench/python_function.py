"""What a function is compared to: Python and boto3, with the same clients, asking for invocations.

    AWS_LAMBDA_RUNTIME_API=HOST:PORT python_function.py SERVICE...
"""

import http.client
import os
import sys

import boto3

NEXT = "/2018-06-01/runtime/invocation/next"


def main(services):
    clients = [boto3.client(service) for service in services]
    lambda_api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while clients:
        lambda_api.request("GET", NEXT)
        invocation = lambda_api.getresponse()
        invocation.read()
        request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
        lambda_api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", "null")
        lambda_api.getresponse().read()


if __name__ == "__main__":
    main(sys.argv[1:])
