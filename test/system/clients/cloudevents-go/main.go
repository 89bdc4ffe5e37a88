// Sends events in both content modes, and reads the replies, with the CloudEvents Go SDK, which
// Knative's Broker uses. Writes the results as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"runtime/debug"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

const row = `{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}`

func event(data string) cloudevents.Event {
	event := cloudevents.NewEvent()
	event.SetType("com.example.iris.classify.request")
	event.SetSource("/garden")
	event.SetID("12")
	event.SetTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	event.SetExtension("correlationid", "naïve 日本")
	event.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if err := event.SetData(cloudevents.ApplicationJSON, json.RawMessage(data)); err != nil {
		log.Fatal(err)
	}
	return event
}

// result returns what the SDK reports about a sent event: acknowledged, or the error.
func result(result cloudevents.Result) map[string]any {
	seen := map[string]any{"acknowledged": cloudevents.IsACK(result), "undelivered": cloudevents.IsUndelivered(result)}
	var http *cehttp.Result
	if errors.As(result, &http) {
		seen["status"] = http.StatusCode
	}
	if !cloudevents.IsACK(result) {
		seen["error"] = result.Error()
	}
	return seen
}

func request(ctx context.Context, client cloudevents.Client, event cloudevents.Event) map[string]any {
	reply, answered := client.Request(ctx, event)
	seen := result(answered)
	if reply != nil {
		if err := reply.Validate(); err != nil {
			seen["invalid"] = err.Error()
		}
		attributes := map[string]any{"id": reply.ID(), "source": reply.Source(), "type": reply.Type(), "subject": reply.Subject(),
			"datacontenttype": reply.DataContentType(), "specversion": reply.SpecVersion()}
		for name, value := range reply.Extensions() {
			attributes[name] = value
		}
		seen["attributes"] = attributes
		seen["data"] = json.RawMessage(reply.Data())
	}
	return seen
}

func main() {
	url := os.Args[1]
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(url))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	binary, structured := binding.WithForceBinary(ctx), binding.WithForceStructured(ctx)
	seen := map[string]any{
		"binary":     request(binary, client, event(row)),
		"structured": request(structured, client, event(row)),
		// Request reports every response without an event as acknowledged, even a 400 (sdk-go 2.16.2,
		// client.go); Send reports the 400.
		"malformed": result(client.Send(binary, event(`{"inputs":[]}`))),
		"batched":   batch(ctx, url),
		"versions":  versions(),
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		log.Fatal(err)
	}
}

func versions() map[string]string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == "github.com/cloudevents/sdk-go/v2" {
			return map[string]string{"go": info.GoVersion, "sdk-go": dependency.Version}
		}
	}
	return nil
}
