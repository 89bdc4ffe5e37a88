// Command kserve answers as KServe's admission webhooks would, with its own types, strict decoding,
// defaults and Validate. It is a separate module: KServe 0.20 pins an older Kubernetes than Knative
// Serving 1.23 needs.
package main

import "onnx-function/lines"

func main() {
	lines.Serve(map[string]lines.Webhook{
		"serving.kserve.io/v1beta1 InferenceService":       inferenceService,
		"serving.kserve.io/v1alpha1 ServingRuntime":        servingRuntime,
		"serving.kserve.io/v1alpha1 ClusterServingRuntime": clusterServingRuntime,
	})
}
