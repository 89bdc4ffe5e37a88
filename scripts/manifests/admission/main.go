// Command admission answers as the admission webhooks of Knative Serving and KServe would: with their own types, their own
// strict decoding, their own defaults and their own Validate. It reads one JSON object a line, and writes one JSON line for
// each: a list of errors, or null where neither of them has a webhook for that kind.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
)

// A webhook returns what is wrong with an object.
type webhook func(manifest []byte) []error

var webhooks = map[string]webhook{
	"serving.knative.dev/v1 Service":                   knativeService,
	"serving.kserve.io/v1beta1 InferenceService":       inferenceService,
	"serving.kserve.io/v1alpha1 ServingRuntime":        servingRuntime,
	"serving.kserve.io/v1alpha1 ClusterServingRuntime": clusterServingRuntime,
}

func main() {
	if err := answer(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func answer(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		said, err := admit(lines.Bytes())
		if err != nil {
			return err
		}
		if err := encoder.Encode(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func admit(manifest []byte) ([]string, error) {
	var kind struct{ APIVersion, Kind string }
	if err := json.Unmarshal(manifest, &kind); err != nil {
		return nil, fmt.Errorf("a line of the input is no JSON object: %w", err)
	}
	check, known := webhooks[kind.APIVersion+" "+kind.Kind]
	if !known {
		return nil, nil
	}
	said := []string{}
	for _, err := range check(manifest) {
		said = append(said, err.Error())
	}
	return said, nil
}

// decode fails on a field that the type does not have, as `kubectl apply` does.
func decode(manifest []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(manifest))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
