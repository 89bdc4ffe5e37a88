// Package lines reads one JSON object per line and writes one JSON line for each, for admission
// code.
package lines

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
)

type Webhook func(manifest []byte) []error

// Serve writes, for each object on standard input, the errors of the webhook for its apiVersion and
// kind, or null if no webhook validates this kind.
func Serve(webhooks map[string]Webhook) {
	if err := answer(webhooks, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func answer(webhooks map[string]Webhook, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		said, err := admit(webhooks, lines.Bytes())
		if err != nil {
			return err
		}
		if err := encoder.Encode(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func admit(webhooks map[string]Webhook, manifest []byte) ([]string, error) {
	var kind struct{ APIVersion, Kind string }
	if err := json.Unmarshal(manifest, &kind); err != nil {
		return nil, fmt.Errorf("a line of the input is not a JSON object: %w", err)
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

// Decode fails on unknown fields, like `kubectl apply`.
func Decode(manifest []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(manifest))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
