package main

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"onnx-function/lines"
)

// knativeService validates a Service as if it were applied twice. If the revision's name does not
// change, Serving sets no defaults the second time, and refuses a template that received some the
// first time.
func knativeService(manifest []byte) []error {
	ctx := apis.WithUserInfo(context.Background(), &authenticationv1.UserInfo{Username: "checker"})
	created := &servingv1.Service{}
	if err := lines.Decode(manifest, created); err != nil {
		return []error{err}
	}
	if errs := admitService(apis.WithinCreate(ctx), created); len(errs) > 0 {
		return errs
	}
	updated, err := applied(created, manifest)
	if err != nil {
		return []error{err}
	}
	errs := admitService(apis.WithinUpdate(ctx, created), updated)
	for i, err := range errs {
		errs[i] = fmt.Errorf("the second apply is refused: %w", err)
	}
	return errs
}

func admitService(ctx context.Context, service *servingv1.Service) []error {
	service.SetDefaults(ctx)
	return errorsOf(service.Validate(ctx))
}

// errorsOf omits the warnings, because Serving accepts objects with warnings.
func errorsOf(all *apis.FieldError) (errs []error) {
	for _, err := range all.Filter(apis.ErrorLevel).WrappedErrors() {
		errs = append(errs, err)
	}
	return errs
}

// applied returns the result of `kubectl apply` on a custom resource: a JSON merge patch, which
// replaces complete lists.
func applied(live *servingv1.Service, manifest []byte) (*servingv1.Service, error) {
	before, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	after, err := jsonpatch.MergePatch(before, manifest)
	if err != nil {
		return nil, err
	}
	service := &servingv1.Service{}
	return service, json.Unmarshal(after, service)
}
