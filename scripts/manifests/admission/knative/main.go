// Command knative answers as Knative Serving's admission webhook would, with its own types, strict
// decoding, defaults and Validate; and as the API server does with the Gateway API's CRDs.
package main

import "onnx-function/lines"

func main() {
	lines.Serve(map[string]lines.Webhook{
		"serving.knative.dev/v1 Service":         knativeService,
		"gateway.networking.k8s.io/v1 HTTPRoute": httpRoute,
	})
}
