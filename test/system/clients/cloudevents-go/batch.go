package main

import (
	"context"
	"log"
	"net/http"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// batch sends two events in one request, and reports the result of each.
func batch(ctx context.Context, url string) []map[string]any {
	good, bad := event(row), event(`{"inputs":[]}`)
	bad.SetID("13")
	message, err := cehttp.NewHTTPRequestFromEvents(ctx, url, []cloudevents.Event{good, bad})
	if err != nil {
		log.Fatal(err)
	}
	response, err := http.DefaultClient.Do(message)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	replies, err := cehttp.NewEventsFromHTTPResponse(response)
	if err != nil {
		log.Fatal(err)
	}
	seen := []map[string]any{}
	for _, reply := range replies {
		seen = append(seen, map[string]any{"type": reply.Type(), "subject": reply.Subject(), "valid": reply.Validate() == nil})
	}
	return seen
}
