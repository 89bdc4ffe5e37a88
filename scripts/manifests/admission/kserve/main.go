// Command kserve validates objects with the code of KServe's admission webhooks. It is a separate
// module, because KServe 0.20 pins an older version of Kubernetes than Knative Serving 1.23 needs.
package main

import "onnx-function/lines"

func main() {
	lines.Serve(map[string]lines.Webhook{
		"serving.kserve.io/v1beta1 InferenceService":       inferenceService,
		"serving.kserve.io/v1alpha1 ServingRuntime":        servingRuntime,
		"serving.kserve.io/v1alpha1 ClusterServingRuntime": clusterServingRuntime,
	})
}
