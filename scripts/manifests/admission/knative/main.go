// Command knative validates objects with the code of Knative Serving's admission webhook, and with
// the Gateway API's CRDs as the API server does.
package main

import "onnx-function/lines"

func main() {
	lines.Serve(map[string]lines.Webhook{
		"serving.knative.dev/v1 Service":         knativeService,
		"gateway.networking.k8s.io/v1 HTTPRoute": httpRoute,
	})
}
