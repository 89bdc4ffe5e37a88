"""Sends events in both content modes to the server at the URL, and reads the replies, with the CloudEvents Python SDK."""

import json
import sys
from datetime import datetime, timezone
from importlib.metadata import version

import requests
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

[URL] = sys.argv[1:]
REQUEST = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}


def event(data, content_type="application/json"):
    attributes = {
        "type": "com.example.iris.classify.request",
        "source": "/garden",
        "id": "12",
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "datacontenttype": content_type,
        "correlationid": "naïve 日本",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return CloudEvent(attributes, data)


def send(message):
    response = requests.post(URL, headers=message.headers, data=message.body, timeout=10)
    if response.status_code != 200:
        return {"status": response.status_code, "body": response.json()}
    reply = http.from_http_event(http.HTTPMessage(dict(response.headers), response.content))
    return {
        "status": response.status_code,
        "mode": "structured" if "cloudevents" in response.headers["content-type"] else "binary",
        "attributes": {name: value for name, value in sorted(reply.get_attributes().items()) if isinstance(value, str)},
        "data": reply.get_data(),
    }


seen = {
    "binary": send(http.to_binary_event(event(REQUEST))),
    "structured": send(http.to_structured_event(event(REQUEST))),
    "structured, data as bytes": send(http.to_structured_event(event(json.dumps(REQUEST).encode(), "application/octet-stream"))),
    "malformed": send(http.to_binary_event(event({"inputs": []}))),
    "versions": {"cloudevents": version("cloudevents")},
}
json.dump(seen, sys.stdout)
